"""Frames beyond the MTU: not for a driver that was told it. Ref: virtio 1.4, 5.1.4.1"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.soft.soft_rig import Nic, Ring
from vfiodpa.drivers.feature_policy import LONG_HEADERS
from vfiodpa.soft.options import CONTROL
from vfiodpa.spec.features import NONE, Feature

HEADER = bytes(12)
MTU = 100
LONGEST = MTU + 14


@pytest.fixture
def nic() -> Iterator[Nic]:
    one = Nic(f"soft:mtu={MTU}")
    yield one
    one.close()


def negotiate(nic: Nic, without: Feature = NONE) -> None:
    nic.bring_up(nic.offered() & ~(Feature.RING_PACKED | Feature.NOTIFICATION_DATA | CONTROL | LONG_HEADERS | without))


def echoed(nic: Nic, lengths: list[int]) -> list[int]:
    """Send frames of these lengths; of which come back?"""
    rx, tx = Ring(nic, 0), Ring(nic, 1)
    for _ in lengths:
        rx.offer(bytes(1000), writable=True)
    for length in lengths:
        tx.offer(HEADER + bytes(length))
    nic.bell(1)
    assert tx.wait_used(len(lengths))
    entries = [rx.get(0xA000 + 4 + 8 * at + 4, 4) for at in range(rx.used)]
    return [int.from_bytes(entry, "little") - len(HEADER) for entry in entries]


def test_longer_frames_are_dropped_and_counted(nic: Nic) -> None:
    negotiate(nic)
    assert echoed(nic, [60, LONGEST + 1, LONGEST, 900]) == [60, LONGEST]
    assert (nic.f.queue_stats(0)["too_long"], nic.f.queue_stats(0)["dropped"]) == (2, 0)


def test_a_driver_that_was_not_told_gets_them(nic: Nic) -> None:
    negotiate(nic, without=Feature.NET_MTU)
    assert echoed(nic, [LONGEST + 1, 900]) == [LONGEST + 1, 900]


def test_a_reset_takes_the_limit_away(nic: Nic) -> None:
    negotiate(nic)
    nic.to_driver()
    negotiate(nic, without=Feature.NET_MTU)
    assert echoed(nic, [LONGEST + 1]) == [LONGEST + 1]


def test_another_mtu_is_another_limit(nic: Nic) -> None:
    negotiate(nic)
    nic.f.set_mtu(200)
    assert echoed(nic, [LONGEST + 1, 214, 215]) == [LONGEST + 1, 214]


def test_all_workers_hold_to_it() -> None:
    nic = Nic(f"soft:mtu={MTU},queues=2,workers=2")
    try:
        negotiate(nic)
        rx, tx = Ring(nic, 2), Ring(nic, 3)
        rx.offer(bytes(1000), writable=True)
        tx.offer(HEADER + bytes(LONGEST + 1))
        nic.bell(3)
        assert tx.wait_used(1)
        assert nic.f.queue_stats(2)["too_long"] == 1
    finally:
        nic.close()
