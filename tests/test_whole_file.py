"""Files that a reader never sees half of."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from vfiodpa.whole_file import check_writable, write_whole


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_made_and_replaced_and_nothing_else_stays(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    for text in ("first", "second"):
        check_writable(path)
        write_whole(path, text, durable=durable)
        assert path.read_text() == text
        assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_what_is_no_file_stays_what_it_is(tmp_path: Path) -> None:
    """A report to /dev/null by root made a file of it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    write_whole(pipe, "text")
    reader.join(10)
    assert found == ["text"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "link"
    link.symlink_to(elsewhere / "file")
    for text in ("first", "second"):
        write_whole(link, text)
        assert (link.is_symlink(), (elsewhere / "file").read_text()) == (True, text)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new", durable=True)
    assert (path.read_text(), [one.name for one in tmp_path.iterdir()]) == ("old", ["file"])


def test_what_cannot_be_written_is_known_before(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check_writable(tmp_path / "none" / "file")
    with pytest.raises(IsADirectoryError):
        check_writable(tmp_path)
    check_writable(Path("/dev/full"))
