"""DPDK's virtio-user, unmodified, as the guest of our vhost-user server: both sides count the same.

Every path of it, with each frame verified: test_virtio_user_paths.py.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hwtests.peers import hugepages
from hwtests.peers.backend import EchoBackend
from hwtests.peers.testpmd import MEMORY_MB, RING, Memory, PortStats, Testpmd, two_cpus, virtio_user

pytestmark = pytest.mark.timeout(180)

BURSTS = 32
SENT_FIRST = BURSTS * 32
FRAME = 64
WATCH_S = 0.5
CIRCULATE_S = 20.0


@pytest.fixture(autouse=True)
def _testpmd(need_program: Callable[[str, str], None]) -> None:
    need_program("dpdk-testpmd", "dpdk-dev")


@pytest.fixture(params=[True, False], ids=["mergeable", "plain"])
def mergeable(request: pytest.FixtureRequest) -> bool:
    value: bool = request.param
    return value


@pytest.fixture(params=[False, True], ids=["split", "packed"])
def packed(request: pytest.FixtureRequest) -> bool:
    value: bool = request.param
    return value


@pytest.fixture(params=list(Memory), ids=lambda memory: f"{memory.value}-pages")
def memory(request: pytest.FixtureRequest) -> Iterator[Memory]:
    kind: Memory = request.param
    if kind is Memory.SMALL_PAGES:
        yield kind
        return
    with hugepages.reserved(MEMORY_MB + 16) as why_not:
        if why_not:
            pytest.skip(why_not)
        yield kind


@contextlib.contextmanager
def peer(
    server: EchoBackend, name: str, *, mergeable: bool, memory: Memory = Memory.SMALL_PAGES, **rings: Any
) -> Iterator[Testpmd]:
    """``rings``: ``packed``, ``in_order``, ``vectorized`` and ``ring``, the number of entries."""
    log = server.socket.with_name(f"{name}.log")
    with virtio_user(server.socket, log, cpu=two_cpus()[1], mergeable=mergeable, memory=memory, **rings) as guest:
        yield guest


def circulate(guest: Testpmd) -> None:
    """Send the first frames and see them come round, twice: more arrive than were ever sent afresh."""
    guest.start(BURSTS)
    seen = guest.port_stats()
    for _ in range(2):
        seen = wait_for_frames(guest, seen.rx_packets + SENT_FIRST)


def wait_for_frames(guest: Testpmd, more_than: int) -> PortStats:
    """A deadline, not a rate: on a busy machine neither side may get a CPU for a second."""
    deadline = time.monotonic() + CIRCULATE_S
    while True:
        time.sleep(WATCH_S)
        stats = guest.port_stats()
        if stats.rx_packets > more_than:
            return stats
        assert time.monotonic() < deadline, f"the frames do not circulate: {stats}"


def check_agreement(guest: Testpmd, server: EchoBackend, before: int) -> int:
    """Both sides counted the same frames since ``before``; returns what the server has taken from guests so far."""
    guest.stop()
    theirs, ours = guest.port_stats(), server.settled()
    if ours.from_guest - before != theirs.tx_packets:  # one late look: the guest stopped first, the server drains
        theirs = guest.port_stats()
    assert ours.from_guest - before == theirs.tx_packets
    assert theirs.tx_bytes == theirs.tx_packets * FRAME
    in_ring = ours.to_guest + ours.dropped - before - theirs.rx_packets  # echoed, not yet looked at by the guest
    assert 0 <= in_ring <= RING
    assert ours.from_guest == ours.to_guest + ours.dropped
    assert ours.bytes_from_guest == ours.from_guest * FRAME
    assert ours.bytes_to_guest == ours.to_guest * FRAME
    return ours.from_guest


def test_frames_circulate_and_both_sides_count_the_same(server: EchoBackend, mergeable: bool, memory: Memory) -> None:
    with peer(server, "guest", mergeable=mergeable, memory=memory) as guest:
        circulate(guest)
        check_agreement(guest, server, 0)
        guest.quit()


def test_a_packed_ring_of_an_odd_size(server: EchoBackend) -> None:
    with peer(server, "guest", mergeable=True, packed=True, ring=1000) as guest:
        circulate(guest)
        check_agreement(guest, server, 0)
        guest.quit()


def test_three_guests_after_each_other(server: EchoBackend) -> None:
    taken = 0
    for number in range(3):
        with peer(server, f"guest-{number}", mergeable=True) as guest:
            circulate(guest)
            taken = check_agreement(guest, server, taken)
            guest.quit()


def test_a_killed_guest_makes_room_for_the_next(server: EchoBackend, packed: bool) -> None:
    for number in range(2):
        with peer(server, f"killed-{number}", mergeable=True, packed=packed) as victim:
            circulate(victim)
            victim.kill()  # frames in flight, rings half done
    taken = server.settled().from_guest
    with peer(server, "survivor", mergeable=True, packed=packed) as guest:
        circulate(guest)
        check_agreement(guest, server, taken)
        guest.quit()
