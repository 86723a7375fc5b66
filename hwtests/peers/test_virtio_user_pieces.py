"""Frames in pieces from DPDK's virtio-user: below eight it takes an indirect table, from eight on a chain.

On a packed ring without IN_ORDER it cannot do both (22.11 to 26.11-rc0): ``virtqueue_enqueue_xmit_packed`` writes a
buffer's id into the indirect table, not into the ring, so the device returns what stood in the ring before. That is the
right id while each buffer has one descriptor. After a chain it is another one's: the driver frees that, goes on by its
number of descriptors, and waits for ever at a descriptor that nobody will use. Ref: virtio 1.3, 2.8.8 and 2.8.13
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from hwtests.peers.backend import EchoBackend
from hwtests.peers.testpmd import RING, two_cpus, virtio_user

pytestmark = pytest.mark.timeout(180)

INDIRECT = 5
CHAIN = 12
ENOUGH = 50 * RING  # frames: many times round the ring
PATIENCE_S = 60.0  # while they move
STUCK_S = 3.0


@dataclass(frozen=True, slots=True)
class Case:
    """Frames of ``pieces``, or of 1 to ``pieces`` at random, on one kind of ring."""

    pieces: int
    random: bool = False
    packed: bool = True
    in_order: bool = False

    def __str__(self) -> str:
        ring = ["packed" if self.packed else "split"] + ["in-order"] * self.in_order
        return "-".join([*ring, "both" if self.random else "indirect" if self.pieces == INDIRECT else "chains"])

    @property
    def beyond_dpdk(self) -> bool:
        return self.packed and self.random and not self.in_order


CASES = [
    Case(INDIRECT),
    Case(CHAIN),
    Case(CHAIN, random=True),
    Case(CHAIN, random=True, in_order=True),
    Case(CHAIN, random=True, packed=False),
    Case(CHAIN, random=True, packed=False, in_order=True),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_frames_in_pieces(server: EchoBackend, need_program: Callable[[str, str], None], case: Case) -> None:
    need_program("dpdk-testpmd", "dpdk-dev")
    log, cpu = server.socket.with_name("guest.log"), two_cpus()[1]
    with virtio_user(server.socket, log, cpu=cpu, mergeable=True, packed=case.packed, in_order=case.in_order) as guest:
        guest.set_pieces([100] * case.pieces, random=case.random)
        guest.start_sending()
        taken = taken_until_it_is_stuck(server)
    if taken < ENOUGH and case.beyond_dpdk:
        pytest.xfail("DPDK's driver gets stuck when chains and indirect tables share a packed ring without IN_ORDER")
    assert taken >= ENOUGH


def taken_until_it_is_stuck(server: EchoBackend) -> int:
    """Frames that the back end took, once there are enough or nothing moves any more."""
    taken, moved = 0, time.monotonic()
    deadline = moved + PATIENCE_S
    while taken < ENOUGH and time.monotonic() < min(deadline, moved + STUCK_S):
        time.sleep(0.1)
        now = server.counters().from_guest
        if now != taken:
            taken, moved = now, time.monotonic()
    return taken
