"""Frames out and back over the wire, each one checked."""

from __future__ import annotations

import pytest

from vfiodpa.guest.traffic import Plan, run
from vfiodpa.spec.features import Feature
from vfiodpa.vdpa.nic import Nic

COUNT = 300
SECONDS = 40.0  # a limit: an emulated NIC with a Python peer takes one or two

pytestmark = pytest.mark.usefixtures("echo")


def _plan(sizes: int | tuple[int, ...] = (60, 64, 590, 1514)) -> Plan:
    # Few at a time: the peer is slow, and a full hub drops. A frame is lost only after a long time.
    return Plan(sizes=sizes, count=COUNT, window=16, stall=5.0, drain=5.0)


def _check(nic: Nic, features: Feature | None = None, plan: Plan | None = None, pairs: int = 1) -> None:
    with nic.guest() as guest:
        guest.start(features, pairs=pairs)
        verdict = run(guest, plan or _plan(), seconds=SECONDS)
    assert verdict.clean, str(verdict)
    assert verdict.total.distinct == COUNT * pairs


def test_all_useful_features(nic: Nic) -> None:
    _check(nic)


def test_plain_rings(nic: Nic) -> None:
    _check(nic, Feature.VERSION_1)


def test_small_rings(nic: Nic) -> None:
    with nic.guest() as guest:
        guest.start(size=8)
        verdict = run(guest, Plan(count=COUNT, window=4, stall=5.0, drain=5.0), seconds=SECONDS)
    assert verdict.clean, str(verdict)


def test_start_again_and_again(nic: Nic) -> None:
    with nic.guest() as guest:
        for _ in range(5):
            guest.start()
            verdict = run(guest, Plan(count=20, window=8, stall=5.0, drain=5.0), seconds=SECONDS)
            assert verdict.clean, str(verdict)
            guest.stop()


def test_memory_comes_and_goes_while_it_runs(nic: Nic) -> None:
    with nic.guest() as guest:
        guest.start()
        for _ in range(3):
            region = guest.add_region(4 << 20)
            verdict = run(guest, Plan(count=20, window=8, stall=5.0, drain=5.0), seconds=SECONDS)
            assert verdict.clean, str(verdict)
            guest.remove_region(region)
