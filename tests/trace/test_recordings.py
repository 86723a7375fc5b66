"""Bring-ups that were recorded on other machines: the driver of today finds there what the driver found then.

A recording is made with ``python -m hwtests.device.bring_up DEVICE tests/data/NAME.trace > tests/data/NAME.json``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwtests.device.bring_up import bring_up
from tests.trace.trace_rig import edited
from vfiodpa.errors import DeviceError
from vfiodpa.trace.file import load

DATA = Path(__file__).parents[1] / "data"
RECORDINGS = sorted(DATA.glob("*.trace"))


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_the_driver_finds_what_it_found_then(recording: Path) -> None:
    assert bring_up(f"replay:{recording}") == json.loads(recording.with_suffix(".json").read_text())


def test_there_is_one_of_a_device_behind_vfio() -> None:
    assert "type1" in [load(path).subject.iommu for path in RECORDINGS]


def test_a_driver_that_does_something_else_is_caught(tmp_path: Path) -> None:
    """As if the driver of then had set another queue size."""
    path = tmp_path / "changed.trace"
    path.write_bytes((DATA / "qemu-virtio-net.trace").read_bytes())

    def another_size(lines: list[list[object]]) -> list[list[object]]:
        return [[*line[:-1], 128] if line[1:5] == ["w", "bar4", 0x18, 16] else line for line in lines]

    with pytest.raises(DeviceError, match=r"write common.queue_size 0x0080 queue 0; the driver: .* 0x0100 queue 0"):
        bring_up(f"replay:{edited(path, another_size)}")
