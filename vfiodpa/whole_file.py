"""Files that a reader never sees half of."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str, *, durable: bool = False) -> None:
    """Write beside the file and rename; ``durable``: on the disk when it returns. Raises ``OSError``.

    A link keeps pointing where it does. What is no file (a pipe, /dev/null) is written to: renaming would replace it.
    """
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    path = path.resolve()
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def check_writable(path: Path) -> None:
    """Could ``write_whole`` do it? Said before the hours that the text takes to come about. Raises ``OSError``."""
    if path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    if not path.exists() or path.is_file():
        beside = path.resolve()
        probe = beside.with_name(f".{beside.name}.{os.getpid()}")
        probe.touch()
        probe.unlink()
