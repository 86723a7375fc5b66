"""Whatever a guest writes into its rings: nobody crashes, nothing outside its buffers changes, a reset mends all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
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
_index = st.one_of(st.integers(0, SIZE - 1), st.sampled_from([SIZE, SIZE + 1, 0xFFFF]))
_entry: st.SearchStrategy[Entry] = st.tuples(_places, _lengths, _flags, _index)
_good_tx: st.SearchStrategy[Entry] = st.tuples(st.just(BASE + FRAME), st.integers(72, 1500), st.just(0), _index)
_good_rx: st.SearchStrategy[Entry] = st.tuples(
    st.integers(FRAME, RINGS - 2048).map(lambda offset: BASE + offset), st.just(2048), st.just(int(WRITE)), _index
)


@dataclass(frozen=True)
class Ring:
    """What is written: descriptors, heads, and by how much the available index then moves."""

    table: list[Entry]
    heads: list[int]
    move: int


def _rings(good: st.SearchStrategy[Entry]) -> st.SearchStrategy[Ring]:
    entries = st.lists(st.one_of(good, good, _entry), min_size=SIZE, max_size=SIZE)
    moves = st.one_of(st.integers(0, SIZE), st.integers(1, SIZE), st.sampled_from([SIZE + 1, 0x8000, 0xFFFF]))
    return st.builds(Ring, entries, st.lists(_index, min_size=SIZE, max_size=SIZE), moves)


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
        for raw, ring in zip(queues, (rx, tx), strict=True):
            index = raw.queue.avail_idx_gpa - BASE
            before[index : index + 2] = ring.move & 0xFF, ring.move >> 8
            raw.jump(ring.move)
        queues[1].kick()
        wait_for(lambda: self.failed or not tx.move or self.served.packets(1) > moved, "progress, nor NEEDS_RESET", 10)
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
            self.mark_buffers(before, raw.queue.desc, SIZE, may, read)
        if not (may & read).any():  # else the guest had its own rings written over
            changed = np.flatnonzero((self.bytes() != before) & ~may)
            assert not changed.size, f"{changed.size} bytes changed that are nobody's buffer, first {changed[0]:#x}"

    def mark_buffers(
        self,
        before: npt.NDArray[np.uint8],
        at: int,
        count: int,
        may: npt.NDArray[np.bool_],
        read: npt.NDArray[np.bool_],
    ) -> None:
        for index in range(count):
            offset = at - BASE + 16 * index
            if not 0 <= offset <= REGION - 16:
                continue
            desc = SplitDesc.unpack(before[offset : offset + 16].tobytes())
            if desc.flags & WRITE:
                _mark(may, desc.addr, desc.len)
            if desc.flags & INDIRECT and count == SIZE and at in [queue.desc for queue in self.guest.queues]:
                entries = min(desc.len // 16, SIZE)
                _mark(read, desc.addr, 16 * entries)
                self.mark_buffers(before, desc.addr, entries, may, read)


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
    max_examples=50,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(rx=_rings(_good_rx), tx=_rings(_good_tx), table=st.lists(_entry | _good_tx, min_size=SIZE, max_size=SIZE))
def test_random_rings(arena: Arena, rx: Ring, tx: Ring, table: list[Entry]) -> None:
    arena.play(rx, tx, table)
    arena.guest.start(FEATURES, size=SIZE)
    move(arena.guest, count=8, poll_us=0)
