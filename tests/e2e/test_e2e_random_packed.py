"""Whatever a guest writes into packed rings: nobody crashes, nothing outside its buffers changes, a reset mends all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from tests.e2e.conftest import Connect, Serve
from tests.e2e.hostile import Entry
from tests.e2e.hostile_packed import AVAIL, TURNED, USED, RawPacked
from tests.e2e.random_arena import (
    BASE,
    ENTRY,
    FEATURES,
    GOOD_RX,
    GOOD_TX,
    NEAR_RX,
    NEAR_TX,
    PLAY,
    SIZE,
    TABLE,
    Arena,
    Masks,
    arena_memory,
    lists,
    mark,
)
from tests.e2e.rig import wait_for
from vfiodpa.guest.queue import DriverQueue
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_ring import PACKED_START, EventSuppress, PackedDesc

OFFERED = int(AVAIL)  # on the first lap


@dataclass(frozen=True)
class Ring:
    """What is written: descriptors, what their wrap bits are turned by, and the driver's event area.

    The first descriptor's flags come last: they make the device look at the others.
    """

    table: list[Entry]
    lies: list[int]
    event: tuple[int, int]

    @property
    def offers(self) -> bool:
        """Does it offer anything?"""
        return self.flags(0) & TURNED == OFFERED

    def flags(self, at: int) -> int:
        return (self.table[at][2] & ~TURNED | OFFERED) ^ self.lies[at]


_lies = st.one_of(*[st.just(0)] * 4, st.sampled_from([TURNED, int(USED), OFFERED]))
_events = st.one_of(st.just((0, 0)), st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)))


def _rings(good: st.SearchStrategy[Entry], near: st.SearchStrategy[Entry]) -> st.SearchStrategy[Ring]:
    return st.builds(Ring, lists(good, near, ENTRY), lists(st.just(0), _lies), _events)


class PackedArena(Arena):
    """Packed rings."""

    features = FEATURES | Feature.RING_PACKED
    layout = PackedDesc

    def play(self, rx: Ring, tx: Ring, table: list[Entry]) -> None:
        """Write everything raw, kick, and wait for progress or the device's failure."""
        self.begin()
        entries = (PackedDesc(addr=a, len=n, id=i, flags=f).pack() for a, n, f, i in table)
        self.memory.write(BASE + TABLE, b"".join(entries))
        queues = [RawPacked(queue) for queue in self.guest.queues]
        for raw, ring in zip(queues, (rx, tx), strict=True):
            self.write(raw, ring)
        before, moved = self.bytes().copy(), self.served.packets(1)
        received = self.served.packets(0)
        for raw, ring in zip(queues, (rx, tx), strict=True):
            flags, at = ring.flags(0), raw.queue.desc + 14
            before[at - BASE : at - BASE + 2] = flags & 0xFF, flags >> 8
            self.memory.store16(at, flags)
        queues[1].kick()
        wait_for(
            lambda: self.failed or not tx.offers or self.served.packets(1) > moved, "progress, nor NEEDS_RESET", 10
        )
        event(f"received {self.served.packets(0) > received}, failed {self.failed}, offered {tx.offers}")
        self.end(before)

    def write(self, raw: RawPacked, ring: Ring) -> None:
        """All but the flags of the first descriptor."""
        for at, (address, length, _, ident) in enumerate(ring.table):
            raw.next = at | PACKED_START
            raw.write(address, length, ring.flags(at) if at else 0, ident)
        self.memory.write(raw.queue.driver, EventSuppress(off_wrap=ring.event[0], flags=ring.event[1]).pack())

    def mark_ring(self, masks: Masks, queue: DriverQueue) -> None:
        mark(masks.rings, queue.device, 4)
        mark(masks.read, queue.driver, 4)
        for at in range(SIZE):  # a used one: length, id, flags
            mark(masks.rings, queue.desc + 16 * at + 8, 8)


@pytest.fixture
def arena(serve: Serve, connect: Connect) -> Iterator[PackedArena]:
    with arena_memory(serve, connect) as parts:
        yield PackedArena(*parts)


@PLAY
@given(
    rx=_rings(GOOD_RX, NEAR_RX),
    tx=_rings(GOOD_TX, NEAR_TX),
    table=st.lists(ENTRY | GOOD_TX, min_size=SIZE, max_size=SIZE),
)
def test_random_packed_rings(arena: PackedArena, rx: Ring, tx: Ring, table: list[Entry]) -> None:
    arena.play(rx, tx, table)
