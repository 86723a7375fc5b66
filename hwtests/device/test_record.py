"""A bring-up that was recorded plays back without the NIC: the same driver finds the same, and does the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hwtests.device.bring_up import bring_up
from vfiodpa.trace.replay import ReplayFunction
from vfiodpa.vdpa.devices import Access


def test_a_recorded_bring_up_plays_back(device_name: str, access: Access, tmp_path: Path) -> None:
    trace = tmp_path / "nic.trace"
    found = bring_up(device_name, replace(access, trace=trace))
    assert bring_up(f"replay:{trace}") == found
    with ReplayFunction.open(trace) as function:
        assert function.player.left > 20, "nothing was recorded"
