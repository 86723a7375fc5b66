"""Whatever a guest writes into its rings: nobody crashes, nothing outside its buffers changes, a reset mends all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from tests.e2e.conftest import Connect, Serve
from tests.e2e.hostile import Entry, RawQueue, pack
from tests.e2e.random_arena import (
    BASE,
    ENTRY,
    GOOD_RX,
    GOOD_TX,
    INDEX,
    NEAR_RX,
    NEAR_TX,
    PLAY,
    SIZE,
    TABLE,
    WITHIN,
    Arena,
    Masks,
    arena_memory,
    lists,
    mark,
)
from tests.e2e.rig import wait_for
from vfiodpa.guest.queue import DriverQueue
from vfiodpa.spec.virtio_ring import SplitDesc


@dataclass(frozen=True)
class Ring:
    """What is written: descriptors, heads, and by how much the available index then moves."""

    table: list[Entry]
    heads: list[int]
    move: int


def _rings(good: st.SearchStrategy[Entry], near: st.SearchStrategy[Entry]) -> st.SearchStrategy[Ring]:
    moves = st.one_of(*[st.integers(1, SIZE)] * 4, st.sampled_from([0, SIZE + 1, 0x8000, 0xFFFF]))
    return st.builds(Ring, lists(good, near, ENTRY), lists(WITHIN, WITHIN, WITHIN, INDEX), moves)


class SplitArena(Arena):
    """Split rings."""

    layout = SplitDesc

    def play(self, rx: Ring, tx: Ring, table: list[Entry]) -> None:
        """Write everything raw, kick, and wait for progress or the device's failure."""
        self.begin()
        self.memory.write(BASE + TABLE, pack(*table))
        queues = [RawQueue(queue) for queue in self.guest.queues]
        for raw, ring in zip(queues, (rx, tx), strict=True):
            raw.desc(0, *ring.table)
            raw.enter(*ring.heads)
        before, moved = self.bytes().copy(), self.served.packets(1)
        received = self.served.packets(0)
        for raw, ring in zip(queues, (rx, tx), strict=True):
            index = raw.queue.avail_idx_gpa - BASE
            before[index : index + 2] = ring.move & 0xFF, ring.move >> 8
            raw.jump(ring.move)
        queues[1].kick()
        wait_for(lambda: self.failed or not tx.move or self.served.packets(1) > moved, "progress, nor NEEDS_RESET", 10)
        event(f"received {self.served.packets(0) > received}, failed {self.failed}")
        assert self.failed or tx.move <= SIZE
        self.end(before)

    def mark_ring(self, masks: Masks, queue: DriverQueue) -> None:
        mark(masks.rings, queue.device, 6 + 8 * SIZE)
        mark(masks.read, queue.driver, 6 + 2 * SIZE)


@pytest.fixture
def arena(serve: Serve, connect: Connect) -> Iterator[SplitArena]:
    with arena_memory(serve, connect) as parts:
        yield SplitArena(*parts)


@PLAY
@given(
    rx=_rings(GOOD_RX, NEAR_RX),
    tx=_rings(GOOD_TX, NEAR_TX),
    table=st.lists(ENTRY | GOOD_TX, min_size=SIZE, max_size=SIZE),
)
def test_random_rings(arena: SplitArena, rx: Ring, tx: Ring, table: list[Entry]) -> None:
    arena.play(rx, tx, table)
