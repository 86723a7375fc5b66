"""Packed rings through the registers: sizes, positions with a wrap counter, queue reset, and what goes wrong."""

from __future__ import annotations

import pytest

from tests.soft.soft_rig import Nic, PackedRing
from vfiodpa.errors import DriverBreach
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_ring import DescFlag

SIZE = 5  # no power of two: legal in a packed ring (2.8.10.1)


FEATURES = Feature.RING_PACKED | Feature.VERSION_1 | Feature.RING_RESET


def bring_up(nic: Nic, features: Feature = FEATURES, starts: tuple[int, ...] = ()) -> None:
    assert nic.to_features_ok(features)
    for queue, start in enumerate(starts):
        nic.vendor.ring_state[queue] = start
    for queue in range(2):
        nic.enable(queue, SIZE)
    nic.common.device_status |= 4


def echo(nic: Nic, rx: PackedRing, tx: PackedRing, count: int) -> None:
    for number in range(count):
        frame = bytes((number + i) & 0xFF for i in range(60))
        slot = rx.avail
        rx.offer_packed(bytes(256), writable=True)
        tx.offer_packed(bytes(12) + frame)
        nic.bell(1)
        assert rx.wait_packed() == (slot, 72)
        assert tx.wait_packed() is not None
        assert rx.buffer(slot, 72) == bytes(10) + b"\1\0" + frame


@pytest.mark.parametrize("features", [Feature(0), Feature.EVENT_IDX, Feature.IN_ORDER | Feature.NET_MRG_RXBUF])
def test_frames_come_back_over_several_laps(nic: Nic, features: Feature) -> None:
    bring_up(nic, Feature.RING_PACKED | Feature.VERSION_1 | features)
    echo(nic, PackedRing(nic, 0, SIZE), PackedRing(nic, 1, SIZE), 3 * SIZE + 2)


def test_positions_hold_the_wrap_counter(nic: Nic) -> None:
    bring_up(nic)
    rx, tx = PackedRing(nic, 0, SIZE), PackedRing(nic, 1, SIZE)
    assert list(nic.vendor.ring_state)[:2] == [0x8000, 0x8000]
    echo(nic, rx, tx, SIZE - 1)
    assert nic.vendor.ring_state[0] == 0x8000 | SIZE - 1
    echo(nic, rx, tx, 2)
    assert list(nic.vendor.ring_state)[:2] == [1, 1]


def test_a_queue_starts_where_it_is_told(nic: Nic) -> None:
    bring_up(nic, starts=(3, 3))  # wrap counter 0
    rings = PackedRing(nic, 0, SIZE), PackedRing(nic, 1, SIZE)
    for ring in rings:
        ring.avail, ring.wrap = 3, 0
    echo(nic, *rings, 3)
    assert nic.vendor.ring_state[0] == 0x8001


def test_a_reset_queue_starts_anew(nic: Nic) -> None:
    bring_up(nic)
    echo(nic, PackedRing(nic, 0, SIZE), PackedRing(nic, 1, SIZE), 3)
    for queue in range(2):
        nic.common.queue_select = queue
        nic.common.queue_reset = 1
        assert nic.common.queue_reset == 0
        assert nic.vendor.ring_state[queue] == 0x8003
        PackedRing(nic, queue).put(0, bytes(16 * SIZE))
        nic.enable(queue, SIZE)
    echo(nic, PackedRing(nic, 0, SIZE), PackedRing(nic, 1, SIZE), SIZE + 1)


def test_event_areas_are_aligned_to_4(nic: Nic) -> None:
    nic.to_features_ok(nic.offered())
    nic.set_up(0, SIZE)
    nic.common.queue_driver = 0x18002  # enough for an available ring
    with pytest.raises(DriverBreach, match="unaligned rings"):
        nic.common.queue_enable = 1


def test_a_chain_that_is_not_all_there_is_an_error(nic: Nic) -> None:
    bring_up(nic)
    tx = PackedRing(nic, 1, SIZE)
    tx.offer_packed(bytes(72), more=DescFlag.NEXT)  # but descriptor 1 was never offered
    nic.bell(1)
    assert nic.wait_needs_reset()
    assert "not available (position 0x8001)" in nic.f.diagnose()


def test_doorbells_with_notification_data(nic: Nic) -> None:
    bring_up(nic, FEATURES | Feature.NOTIFICATION_DATA)
    tx = PackedRing(nic, 1, SIZE)
    for number in range(SIZE + 1):
        nic.wait_asleep()
        tx.offer_packed(bytes(72))
        position = 0x8000 | number + 1 if number + 1 < SIZE else number + 1 - SIZE
        nic.bell(1, 1 | position << 16, width=32)
        assert tx.wait_packed() is not None
    for value, width in ((1, 16), (0x8001_0000, 32)):
        with pytest.raises(DriverBreach, match="NOTIFICATION_DATA"):
            nic.bell(1, value, width=width)


def test_it_can_be_left_out() -> None:
    nic = Nic("soft:off=ring_packed+in_order")
    try:
        assert not nic.offered() & (Feature.RING_PACKED | Feature.IN_ORDER)
    finally:
        nic.close()
