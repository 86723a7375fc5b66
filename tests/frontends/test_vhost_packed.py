"""Ring messages for packed rings: sizes, places, and bases with wrap counters.

Ref: vhost-user, "A vring state description" (the used position is in the upper half).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.frontends.fakes import FEATURES, USER_BASE, FakeBackend, Peer, ring_at
from vfiodpa.spec.features import Feature
from vfiodpa.spec.vhost_user import U64, Request, VringState

R = Request
F = Feature
Warnings = Callable[[], list[str]]


@pytest.fixture
def backend() -> FakeBackend:
    backend = FakeBackend()
    backend.features = FEATURES | F.RING_PACKED
    return backend


@pytest.fixture
def guest(peer: Peer) -> Peer:
    peer.negotiate(FEATURES | F.RING_PACKED | F.VHOST_PROTOCOL_FEATURES)
    peer.add_memory()
    return peer


def kick(guest: Peer, queue: int = 0) -> bool:
    return guest.acked(R.SET_VRING_KICK, U64(value=queue), [guest.eventfd()])


@pytest.mark.parametrize(("size", "good"), [(1, True), (3, True), (32768, True), (0, False), (32769, False)])
def test_sizes(guest: Peer, size: int, good: bool) -> None:
    assert guest.acked(R.SET_VRING_NUM, VringState(index=0, num=size)) == good


@pytest.mark.parametrize(
    ("base", "start"),
    [
        (0x8000, 0x8000),  # DPDK's virtio-user: nothing above
        (0x8000_8000, 0x8000),
        (0x0000_0000, 0),
        (0x00FF_00FF, 0xFF),
        (0x80FF_80FF, 0x80FF),
    ],
)
def test_bases_reach_the_device_and_come_back(guest: Peer, backend: FakeBackend, base: int, start: int) -> None:
    guest.describe(0, base=base)
    assert kick(guest)
    assert backend.of("set_base")[-1] == (0, start)
    assert guest.ask(R.GET_VRING_BASE, VringState(index=0)) == start | start << 16


def test_buffers_in_flight_are_refused(guest: Peer, warnings: Warnings) -> None:
    assert not guest.acked(R.SET_VRING_BASE, VringState(index=0, num=0x8003_8005))
    assert "in flight" in warnings()[-1]


def test_a_start_beyond_the_ring_is_refused(guest: Peer, warnings: Warnings) -> None:
    guest.describe(0, size=255, base=0x80FF)
    assert not kick(guest)
    assert "cannot start at 0x80ff" in warnings()[-1]


def test_a_queue_that_never_ran_stands_at_the_first_position(guest: Peer) -> None:
    assert guest.ask(R.GET_VRING_BASE, VringState(index=1)) == 0x8000_8000


def test_after_a_reset_it_starts_first_again(guest: Peer, backend: FakeBackend) -> None:
    guest.describe(0, base=0x0007)
    assert kick(guest)
    guest.send(R.RESET_DEVICE)
    guest.negotiate(FEATURES | F.RING_PACKED | F.VHOST_PROTOCOL_FEATURES)
    assert guest.acked(R.SET_VRING_NUM, VringState(index=0, num=256))
    assert guest.acked(R.SET_VRING_ADDR, ring_at(0))
    assert kick(guest)
    assert backend.of("set_base")[-1] == (0, 0x8000)


def test_event_areas_are_small_and_aligned_to_4(guest: Peer, warnings: Warnings) -> None:
    addresses = ring_at(0)
    addresses.avail = USER_BASE + 0x40_0000 - 4  # the last bytes of memory are enough
    assert guest.acked(R.SET_VRING_ADDR, addresses)
    addresses.avail = USER_BASE + 0x5002
    assert not guest.acked(R.SET_VRING_ADDR, addresses)
    assert "driver event area" in warnings()[-1]
