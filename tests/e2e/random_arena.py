"""What the tests of random rings share: memory to write them into, what may change there, numbers to write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.e2e.conftest import Connect, Serve
from tests.e2e.hostile import INDIRECT, NEXT, WRITE, Entry
from tests.e2e.rig import PLAIN, Served, move, needs_reset
from vfiodpa.guest.memory import GuestMemory
from vfiodpa.guest.queue import DriverQueue
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.memory import Gpa
from vfiodpa.spec.features import Feature
from vfiodpa.vdpa.datapath import State

SIZE = 4  # entries of each queue
REGION = 1 << 18
TABLE, FRAME, RINGS = 0, 0x1000, 0x22000  # offsets in the region: indirect table, buffers, first fit of the queues
BASE = Gpa(0x1000_0000)
FEATURES = PLAIN | Feature.NET_MRG_RXBUF | Feature.INDIRECT_DESC

PLAY = settings(
    max_examples=80,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # shrinking would take longer than the test may; rings are small as it is
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

Mask = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

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
# Of an entry: the next one, or its id.
WITHIN = st.integers(0, SIZE - 1)
INDEX = st.one_of(WITHIN, st.sampled_from([SIZE, 0xFFFF]))
ENTRY: st.SearchStrategy[Entry] = st.tuples(_places, _lengths, _flags, INDEX)
# Good, nearly good, and anything at all: with anything alone no chain would come as far as the later checks.
_inside = st.integers(FRAME, RINGS - 2048).map(lambda offset: BASE + offset)
GOOD_RX: st.SearchStrategy[Entry] = st.tuples(_inside, st.just(2048), st.just(int(WRITE)), WITHIN)
NEAR_RX: st.SearchStrategy[Entry] = st.tuples(
    _inside, st.sampled_from([20, 64, 2048]), st.sampled_from([int(WRITE | NEXT), int(WRITE), 0]), WITHIN
)
GOOD_TX: st.SearchStrategy[Entry] = st.tuples(st.just(BASE + FRAME), st.integers(72, 1500), st.just(0), WITHIN)
NEAR_TX: st.SearchStrategy[Entry] = st.tuples(
    st.just(BASE + FRAME), st.integers(1, 1500), st.sampled_from([int(NEXT), 0, int(WRITE)]), WITHIN
)


def lists(*kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A queue's worth, of the first kind only, or of the first and second, and so on."""
    full = partial(st.lists, min_size=SIZE, max_size=SIZE)
    return st.integers(1, len(kinds)).flatmap(lambda count: full(st.one_of(kinds[:count])))


class Masks:
    """Bytes of the region: ``buffers`` and ``rings`` the device may write, ``read`` says which buffers there are."""

    def __init__(self) -> None:
        self.buffers, self.rings, self.read = (np.zeros(REGION, bool) for _ in range(3))

    def buffer(self, entry: Entry) -> None:
        """What a descriptor, of a ring or a table, lets the device write."""
        address, length, flags, _ = entry
        if flags & WRITE:
            mark(self.buffers, address, length)

    @property
    def clear(self) -> bool:
        """Else the guest has its own rings written over, and anything may come of that."""
        return not (self.buffers & self.read).any()


def mark(mask: Mask, gpa: int, length: int) -> None:
    """Set [gpa, gpa + length), as far as it lies in the region."""
    first = min(max(gpa - BASE, 0), REGION)
    mask[first : min(max(gpa + length - BASE, 0), REGION)] = True


class Arena(ABC):
    """One guest that is played again and again, and memory behind its own that it has no part in."""

    features: ClassVar[Feature] = FEATURES
    layout: ClassVar[Any]  # of a descriptor

    def __init__(self, served: Served, guest: VhostUserGuest, fence: GuestMemory) -> None:
        self.served = served
        self.guest = guest
        self.memory = guest.memory
        self.fence = fence
        self.fence.write(BASE + REGION, b"\xa5" * REGION)

    def begin(self) -> None:
        """A guest with fresh rings that nobody has written yet."""
        self.guest.reset()
        self.guest.start(self.features, size=SIZE)

    def end(self, before: Bytes) -> None:
        """Reset, see what changed, and that the guest goes on."""
        failed = self.failed  # it may yet fail, at a later chain
        assert needs_reset(self.guest) or not failed
        self.guest.reset()
        self.check_untouched(before)
        self.guest.start(self.features, size=SIZE)
        move(self.guest, count=8, poll_us=0)

    @property
    def failed(self) -> bool:
        return self.served.datapath.state is State.FAILED

    def bytes(self) -> Bytes:
        return np.frombuffer(self.memory.read(BASE, REGION), np.uint8)

    def check_untouched(self, before: Bytes) -> None:
        """Only used entries and writable buffers have changed; nothing of others."""
        assert self.fence.read(BASE + REGION, REGION) == b"\xa5" * REGION
        masks = Masks()
        for queue in self.guest.queues[:2]:
            self.mark_ring(masks, queue)
            mark(masks.read, queue.desc, 16 * SIZE)
            for entry in self._entries(before, queue.desc, SIZE):
                masks.buffer(entry)
                if entry[2] & INDIRECT:
                    self._mark_table(masks, before, entry)
        if masks.clear:
            changed = np.flatnonzero((self.bytes() != before) & ~(masks.buffers | masks.rings))
            assert not changed.size, f"{changed.size} bytes changed that are nobody's buffer, first {changed[0]:#x}"

    def _mark_table(self, masks: Masks, before: Bytes, table: Entry) -> None:
        count = min(table[1] // 16, SIZE)
        mark(masks.read, table[0], 16 * count)
        for entry in self._entries(before, table[0], count):
            masks.buffer(entry)

    def _entries(self, memory: Bytes, gpa: int, count: int) -> Iterator[Entry]:
        """Descriptors that follow each other, as far as they lie in the guest's memory."""
        places: Iterable[int] = (gpa - BASE + 16 * index for index in range(count))
        for at in places:
            if 0 <= at <= REGION - 16:
                desc = self.layout.unpack(memory[at : at + 16].tobytes())
                yield desc.addr, desc.len, desc.flags, 0

    @abstractmethod
    def mark_ring(self, masks: Masks, queue: DriverQueue) -> None:
        """The parts of a ring besides its descriptors' buffers."""


@contextmanager
def arena_memory(serve: Serve, connect: Connect) -> Iterator[tuple[Served, VhostUserGuest, GuestMemory]]:
    """A served NIC, a guest whose rings come behind table and buffers, and the fence."""
    with GuestMemory(REGION, base=Gpa(BASE + REGION)) as fence:
        memory = GuestMemory(REGION, base=BASE)
        memory.alloc(RINGS)
        served = serve("soft:poll=0")
        yield served, connect(served, memory=memory), fence
