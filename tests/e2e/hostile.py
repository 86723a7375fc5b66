"""A guest that writes its rings by hand, past our driver half and past every rule."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vfiodpa.guest.queue import DriverQueue
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.spec.virtio_ring import DescFlag, SplitDesc

NEXT, WRITE, INDIRECT = DescFlag.NEXT, DescFlag.WRITE, DescFlag.INDIRECT
HEADER = 12
TOP = 1 << 64
HALF, MAX = 1 << 31, (1 << 32) - 1
Entry = tuple[int, int, int, int]  # address, length, flags, next


def pack(*entries: Entry) -> bytes:
    """Descriptors as they lie in memory."""
    return b"".join(SplitDesc(addr=a, len=n, flags=f, next=x).pack() for a, n, f, x in entries)


class RawRing:
    """One queue's ring, written by hand. Nothing is kicked before ``kick``."""

    def __init__(self, queue: DriverQueue) -> None:
        self.queue = queue
        self.memory = queue.memory
        self.size = queue.size

    def kick(self) -> None:
        """Not through the driver half, which would look into memory that may be gone."""
        assert self.queue.ring_bell is not None
        self.queue.ring_bell()


class RawQueue(RawRing):
    """A split ring."""

    def __init__(self, queue: DriverQueue) -> None:
        super().__init__(queue)
        self.next = self.memory.load16(queue.avail_idx_gpa)

    def desc(self, at: int, *entries: Entry) -> None:
        """Write descriptors from entry ``at`` on."""
        self.memory.write(self.queue.desc + 16 * at, pack(*entries))

    def offer(self, *heads: int) -> None:
        """Make chains available."""
        self.enter(*heads)
        self.next = (self.next + len(heads)) & 0xFFFF
        self.jump(0)

    def enter(self, *heads: int) -> None:
        """Write the next available entries; the index stays."""
        for at, head in enumerate(heads, self.next):
            self.memory.write(self.queue.driver + 4 + 2 * (at % self.size), struct.pack("<H", head))

    def jump(self, by: int) -> None:
        """Move the available index by any number, entries or not."""
        self.memory.store16(self.queue.avail_idx_gpa, (self.next + by) & 0xFFFF)

    @property
    def used(self) -> int:
        """The device's used index."""
        return self.memory.load16(self.queue.used_idx_gpa)


Raw = TypeVar("Raw", bound=RawRing)


class RingAttack(ABC, Generic[Raw]):
    """Both queues of the first pair, and some memory for tables and buffers. What is written is not yet kicked."""

    def __init__(self, guest: VhostUserGuest, raw: Callable[[DriverQueue], Raw]) -> None:
        self.guest = guest
        self.memory = guest.memory
        self.rx, self.tx = (raw(queue) for queue in guest.queues[:2])
        self.table = self.memory.alloc(16 * 512, 16)
        self.frame = self.memory.alloc(1 << 17)
        region = self.memory.regions[0]
        self.end = region.gpa + region.length  # the first address behind the guest's memory

    @abstractmethod
    def transmit(self, *entries: Entry) -> None:
        """A chain in the transmit queue."""

    @abstractmethod
    def receive(self, *entries: Entry) -> None:
        """A chain in the receive queue, and a frame that is to go there."""

    @abstractmethod
    def indirect(self, length: int, *entries: Entry, flags: int = 0, at: int = -1) -> None:
        """An indirect table of ``length`` bytes in the transmit queue."""

    def good_frame(self) -> None:
        """A harmless frame, so that the device looks at the receive queue."""
        self.transmit((self.frame, HEADER + 60, 0, 0))


class Attack(RingAttack[RawQueue]):
    """On split rings."""

    def __init__(self, guest: VhostUserGuest) -> None:
        super().__init__(guest, RawQueue)

    def indirect(self, length: int, *entries: Entry, flags: int = 0, at: int = -1) -> None:
        self.memory.write(self.table, pack(*entries))
        self.transmit((self.table if at < 0 else at, length, INDIRECT | flags, 1), (self.frame, 100, 0, 0))

    def transmit(self, *entries: Entry) -> None:
        self.tx.desc(0, *entries)
        self.tx.offer(0)

    def receive(self, *entries: Entry) -> None:
        self.rx.desc(0, *entries)
        self.receive_head(0)

    def receive_head(self, head: int) -> None:
        """Any head in the receive queue."""
        self.rx.offer(head)
        self.good_frame()

    def receive_jump(self, by: int) -> None:
        """An index without entries in the receive queue."""
        self.rx.jump(by)
        self.good_frame()


@dataclass(frozen=True)
class Case:
    """``act`` writes the ring of an attack; the device must stop at ``queue`` for ``reason``."""

    name: str
    queue: int
    reason: str
    act: Callable[[Any], None]

    def __str__(self) -> str:
        return self.name


LOOP, OUTSIDE, TABLE = "chain loops", "is outside the table", "bad indirect table"
LENGTHS, ORDER, JUMP, IOMMU = "lengths make no frame", "wrong direction", "jumped by more", "stopped by the IOMMU"

# fmt: off
# Of either layout. The last number of an entry is the next one's index, or an id that says nothing.
COMMON_CASES = [
    Case("nested table",        1, TABLE,   lambda a: a.indirect(16, (a.table, 16, INDIRECT, 0))),
    Case("table with next",     1, TABLE,   lambda a: a.indirect(16, (a.frame, 100, 0, 0), flags=NEXT)),
    Case("empty table",         1, TABLE,   lambda a: a.indirect(0)),
    Case("table of 24 bytes",   1, TABLE,   lambda a: a.indirect(24, (a.frame, 100, 0, 0))),
    Case("table of 4 GiB",      1, TABLE,   lambda a: a.indirect(0xFFFF_FFF0, (a.frame, 100, 0, 0))),
    Case("table over queue",    1, TABLE,   lambda a: a.indirect(16 * (a.tx.size + 1), (a.frame, 100, 0, 0))),
    Case("table wraps",         1, TABLE,   lambda a: a.indirect(16, at=TOP - 8)),
    Case("table outside",       1, IOMMU,   lambda a: a.indirect(16, at=a.end)),
    Case("table over the end",  1, IOMMU,   lambda a: a.indirect(32, at=a.end - 8)),
    Case("address wraps",       1, LENGTHS, lambda a: a.transmit((TOP - 32, 100, 0, 0))),
    Case("sum wraps",           1, LENGTHS, lambda a: a.transmit((a.frame, HALF, NEXT, 1), (a.frame, HALF + 9, 0, 0))),
    Case("sum wraps, rx",       0, LENGTHS, lambda a: a.receive((a.frame, MAX, NEXT | WRITE, 1), (0, 1, WRITE, 0))),
    Case("address wraps, rx",   0, LENGTHS, lambda a: a.receive((TOP - 32, 100, WRITE, 0))),
    Case("too long",            1, LENGTHS, lambda a: a.transmit((a.frame, 1 << 17, 0, 0))),
    Case("no room for header",  1, LENGTHS, lambda a: a.transmit((a.frame, HEADER - 1, 0, 0))),
    Case("empty",               1, LENGTHS, lambda a: a.transmit((a.frame, 0, 0, 0))),
    Case("short, receive",      0, LENGTHS, lambda a: a.receive((a.frame, HEADER - 1, WRITE, 0))),
    Case("outside",             1, IOMMU,   lambda a: a.transmit((0x1000, 100, 0, 0))),
    Case("behind the end",      1, IOMMU,   lambda a: a.transmit((a.end, 100, 0, 0))),
    Case("over the end",        1, IOMMU,   lambda a: a.transmit((a.end - 50, 100, 0, 0))),
    Case("outside, receive",    0, IOMMU,   lambda a: a.receive((a.end, 2048, WRITE, 0))),
    Case("over the end, rx",    0, IOMMU,   lambda a: a.receive((a.end - 20, 2048, WRITE, 0))),
    Case("writable transmit",   1, ORDER,   lambda a: a.transmit((a.frame, 100, WRITE, 0))),
    Case("readable receive",    0, ORDER,   lambda a: a.receive((a.frame, 2048, 0, 0))),
    Case("readable at the end", 0, ORDER,   lambda a: a.receive((a.frame, 20, WRITE | NEXT, 1), (a.frame, 2048, 0, 0))),
]
CASES = [
    *COMMON_CASES,
    Case("loop of two",         1, LOOP,    lambda a: a.transmit((a.frame, 20, NEXT, 1), (a.frame, 20, NEXT, 0))),
    Case("loop of one",         1, LOOP,    lambda a: a.transmit((a.frame, 20, NEXT, 0))),
    Case("loop of no bytes",    1, LOOP,    lambda a: a.transmit((a.frame, 0, NEXT, 0))),
    Case("loop, receive",       0, LOOP,    lambda a: a.receive((a.frame, 1, WRITE | NEXT, 0))),
    Case("head",                1, OUTSIDE, lambda a: a.tx.offer(a.tx.size)),
    Case("largest head",        1, OUTSIDE, lambda a: a.tx.offer(0xFFFF)),
    Case("head, receive",       0, OUTSIDE, lambda a: a.receive_head(a.rx.size)),
    Case("next",                1, OUTSIDE, lambda a: a.transmit((a.frame, 20, NEXT, a.tx.size))),
    Case("next, receive",       0, OUTSIDE, lambda a: a.receive((a.frame, 20, WRITE | NEXT, 0xFFFF))),
    Case("next in table",       1, OUTSIDE, lambda a: a.indirect(32, (a.frame, 20, NEXT, 2))),
    Case("loop in table",       1, LOOP,    lambda a: a.indirect(32, (a.frame, 20, NEXT, 1), (a.frame, 20, NEXT, 0))),
    Case("index jumps",         1, JUMP,    lambda a: a.tx.jump(a.tx.size + 1)),
    Case("index goes back",     1, JUMP,    lambda a: a.tx.jump(-1)),
    Case("index jumps, rx",     0, JUMP,    lambda a: a.receive_jump(a.rx.size + 1)),
]
# fmt: on
