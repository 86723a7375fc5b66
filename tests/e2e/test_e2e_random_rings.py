"""Whatever a guest writes into its rings: nobody crashes, nothing outside its buffers changes, a reset mends all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from tests.e2e.conftest import Connect, Serve
from tests.e2e.hostile import INDIRECT, NEXT, WRITE, Entry, RawQueue, pack
from tests.e2e.rig import PLAIN, Served, move, needs_reset, wait_for
from vfiodpa.guest.memory import GuestMemory
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.memory import Gpa
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_ring import SplitDesc
from vfiodpa.vdpa.datapath import State

SIZE = 4  # entries of each queue
REGION = 1 << 18
TABLE, FRAME, RINGS = 0, 0x1000, 0x22000  # offsets in the region: indirect table, buffers, first fit of the queues
BASE = Gpa(0x1000_0000)
FEATURES = PLAIN | Feature.NET_MRG_RXBUF | Feature.INDIRECT_DESC

_places = st.one_of(
    st.just(BASE + FRAME),
    st.integers(FRAME, RINGS).map(lambda offset: BASE + offset),
    st.sampled_from([BASE, BASE + TABLE, BASE - 16, BASE + REGION, 0, 1 << 63, (1 << 64) - 1, (1 << 64) - 64]),
    st.integers(-128, 128).map(lambda offset: BASE + REGION + offset),
    st.integers(RINGS, REGION).map(lambda offset: BASE + offset),
    st.integers(0, (1 << 64) - 1),
)
_lengths = st.one_of(
    st.integers(12, 2048),
    st.sampled_from(
        [0, 1, 11, 12, 13, 16, 32, 16 * SIZE, 16 * SIZE + 16, 65562, 65563, 1 << 17, 1 << 31, (1 << 32) - 1]
    ),
)
_flags = st.one_of(st.sampled_from([0, NEXT, WRITE, WRITE | NEXT, INDIRECT, INDIRECT | NEXT]), st.integers(0, 0xFFFF))
_within = st.integers(0, SIZE - 1)
_index = st.one_of(_within, st.sampled_from([SIZE, 0xFFFF]))
_entry: st.SearchStrategy[Entry] = st.tuples(_places, _lengths, _flags, _index)
# Good, nearly good, and anything at all: with anything alone no chain would come as far as the later checks.
_inside = st.integers(FRAME, RINGS - 2048).map(lambda offset: BASE + offset)
_good_rx: st.SearchStrategy[Entry] = st.tuples(_inside, st.just(2048), st.just(int(WRITE)), _within)
_near_rx: st.SearchStrategy[Entry] = st.tuples(
    _inside, st.sampled_from([20, 64, 2048]), st.sampled_from([int(WRITE | NEXT), int(WRITE), 0]), _within
)
_good_tx: st.SearchStrategy[Entry] = st.tuples(st.just(BASE + FRAME), st.integers(72, 1500), st.just(0), _within)
_near_tx: st.SearchStrategy[Entry] = st.tuples(
    st.just(BASE + FRAME), st.integers(1, 1500), st.sampled_from([int(NEXT), 0, int(WRITE)]), _within
)


@dataclass(frozen=True)
class Ring:
    """What is written: descriptors, heads, and by how much the available index then moves."""

    table: list[Entry]
    heads: list[int]
    move: int


def _lists(*kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A queue's worth, of the first kind only, or of the first and second, and so on."""
    full = partial(st.lists, min_size=SIZE, max_size=SIZE)
    return st.integers(1, len(kinds)).flatmap(lambda count: full(st.one_of(kinds[:count])))


def _rings(good: st.SearchStrategy[Entry], near: st.SearchStrategy[Entry]) -> st.SearchStrategy[Ring]:
    moves = st.one_of(*[st.integers(1, SIZE)] * 4, st.sampled_from([0, SIZE + 1, 0x8000, 0xFFFF]))
    return st.builds(Ring, _lists(good, near, _entry), _lists(_within, _within, _within, _index), moves)


class Arena:
    """One guest that is played again and again, and memory behind its own that it has no part in."""

    def __init__(self, served: Served, guest: VhostUserGuest, fence: GuestMemory) -> None:
        self.served = served
        self.guest = guest
        self.memory = guest.memory
        self.fence = fence
        self.fence.write(BASE + REGION, b"\xa5" * REGION)

    def play(self, rx: Ring, tx: Ring, table: list[Entry]) -> None:
        """Write everything raw, kick, and wait for progress or the device's failure."""
        self.guest.reset()
        self.guest.start(FEATURES, size=SIZE)
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
        failed = self.failed  # it may yet fail, at a later chain
        assert failed or tx.move <= SIZE
        assert needs_reset(self.guest) or not failed
        self.guest.reset()
        self.check_untouched(before, queues)

    @property
    def failed(self) -> bool:
        return self.served.datapath.state is State.FAILED

    def bytes(self) -> npt.NDArray[np.uint8]:
        return np.frombuffer(self.memory.read(BASE, REGION), np.uint8)

    def check_untouched(self, before: npt.NDArray[np.uint8], queues: list[RawQueue]) -> None:
        """Only used rings and writable buffers have changed; nothing of others."""
        assert self.fence.read(BASE + REGION, REGION) == b"\xa5" * REGION
        may = np.zeros(REGION, bool)
        read = np.zeros(REGION, bool)  # what says which buffers there are
        for raw in queues:
            _mark(may, raw.queue.device, 6 + 8 * SIZE)
            _mark(read, raw.queue.driver, 6 + 2 * SIZE)
            _mark(read, raw.queue.desc, 16 * SIZE)
            for desc in _table(before, raw.queue.desc, SIZE):
                _mark_buffer(may, desc)
                if desc.flags & INDIRECT:
                    entries = min(desc.len // 16, SIZE)
                    _mark(read, desc.addr, 16 * entries)
                    for inner in _table(before, desc.addr, entries):
                        _mark_buffer(may, inner)
        if not (may & read).any():  # else the guest had its own rings written over
            changed = np.flatnonzero((self.bytes() != before) & ~may)
            assert not changed.size, f"{changed.size} bytes changed that are nobody's buffer, first {changed[0]:#x}"


def _table(memory: npt.NDArray[np.uint8], gpa: int, entries: int) -> list[SplitDesc]:
    """Descriptors of a table, as far as they lie in the guest's memory."""
    places = (gpa - BASE + 16 * index for index in range(entries))
    return [SplitDesc.unpack(memory[at : at + 16].tobytes()) for at in places if 0 <= at <= REGION - 16]


def _mark_buffer(may: npt.NDArray[np.bool_], desc: SplitDesc) -> None:
    if desc.flags & WRITE:
        _mark(may, desc.addr, desc.len)


def _mark(mask: npt.NDArray[np.bool_], gpa: int, length: int) -> None:
    first = min(max(gpa - BASE, 0), REGION)
    mask[first : min(max(gpa + length - BASE, 0), REGION)] = True


@pytest.fixture
def arena(serve: Serve, connect: Connect) -> Iterator[Arena]:
    with GuestMemory(REGION, base=Gpa(BASE + REGION)) as fence:
        memory = GuestMemory(REGION, base=BASE)
        memory.alloc(RINGS)  # the rings come behind table and buffers
        served = serve("soft:poll=0")
        yield Arena(served, connect(served, memory=memory), fence)


@settings(
    max_examples=80,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # shrinking would take longer than the test may; rings are small as it is
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    rx=_rings(_good_rx, _near_rx),
    tx=_rings(_good_tx, _near_tx),
    table=st.lists(_entry | _good_tx, min_size=SIZE, max_size=SIZE),
)
def test_random_rings(arena: Arena, rx: Ring, tx: Ring, table: list[Entry]) -> None:
    arena.play(rx, tx, table)
    arena.guest.start(FEATURES, size=SIZE)
    move(arena.guest, count=8, poll_us=0)
