"""A guest that writes packed rings by hand: hostile.py's list again, and what only these have."""

from __future__ import annotations

from tests.e2e.hostile import (
    HALF,
    HEADER,
    INDIRECT,
    IOMMU,
    LENGTHS,
    LOOP,
    MAX,
    NEXT,
    ORDER,
    TABLE,
    TOP,
    WRITE,
    Case,
)
from vfiodpa.guest.queue import DriverQueue
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.spec.virtio_ring import PACKED_INDEX, PACKED_START, DescFlag, PackedDesc

AVAIL, USED = DescFlag.AVAIL, DescFlag.USED
Entry = tuple[int, int, int, int]  # address, length, flags, id


class RawPacked:
    """One queue's ring, written by hand from its beginning on. Nothing is kicked before ``kick``."""

    def __init__(self, queue: DriverQueue) -> None:
        self.queue = queue
        self.memory = queue.memory
        self.size = queue.size
        self.next = PACKED_START

    @property
    def lap(self) -> int:
        """The flags of an offer at the next position."""
        return int(AVAIL if self.next & PACKED_START else USED)

    def put(self, *entries: Entry, lie: int = 0) -> None:
        """Offer descriptors in order; the last one's flags are turned by ``lie``."""
        for n, (addr, length, flags, ident) in enumerate(entries):
            self.write(addr, length, flags | self.lap ^ (lie if n == len(entries) - 1 else 0), ident)
            at = (self.next & PACKED_INDEX) + 1
            self.next = self.next & PACKED_START | at if at < self.size else self.next & PACKED_START ^ PACKED_START

    def write(self, addr: int, length: int, flags: int, ident: int) -> None:
        """One descriptor at the next position, with any flags."""
        desc = PackedDesc(addr=addr, len=length, id=ident, flags=flags)
        self.memory.write(self.queue.desc + 16 * (self.next & PACKED_INDEX), desc.pack())

    def read(self, at: int) -> PackedDesc:
        """What stands there now."""
        return PackedDesc.unpack(self.memory.read(self.queue.desc + 16 * at, 16))

    def kick(self) -> None:
        """Not through the driver half."""
        assert self.queue.ring_bell is not None
        self.queue.ring_bell()


class PackedAttack:
    """Both queues of the first pair, and some memory for tables and buffers."""

    def __init__(self, guest: VhostUserGuest) -> None:
        self.guest = guest
        self.memory = guest.memory
        self.rx, self.tx = (RawPacked(queue) for queue in guest.queues[:2])
        self.table = self.memory.alloc(16 * 512, 16)
        self.frame = self.memory.alloc(1 << 17)
        region = self.memory.regions[0]
        self.end = region.gpa + region.length

    def transmit(self, *entries: Entry, lie: int = 0) -> None:
        """Descriptors in the transmit queue."""
        self.tx.put(*entries, lie=lie)

    def receive(self, *entries: Entry, lie: int = 0) -> None:
        """Descriptors in the receive queue, and a frame that is to go there."""
        self.rx.put(*entries, lie=lie)
        self.good_frame()

    def good_frame(self, ident: int = 0) -> None:
        """A harmless frame."""
        self.tx.put((self.frame, HEADER + 60, 0, ident))

    def indirect(self, length: int, *entries: Entry, flags: int = 0, at: int = -1) -> None:
        """An indirect table of ``length`` bytes in the transmit queue."""
        table = (PackedDesc(addr=a, len=n, id=i, flags=f).pack() for a, n, f, i in entries)
        self.memory.write(self.table, b"".join(table) or b"\0")
        self.tx.put((self.table if at < 0 else at, length, INDIRECT | flags, 1))

    def torn(self, lie: int) -> None:
        """A chain of two whose second descriptor has other flags."""
        self.transmit((self.frame, 100, NEXT, 0), (self.frame, 100, 0, 0), lie=lie)

    def fill(self, count: int, flags: int) -> None:
        """So many descriptors, all alike."""
        self.transmit(*[(self.frame, 1, flags, 0)] * count)


RAN_OUT = "is not available"
TURNED = int(AVAIL | USED)


# fmt: off
PACKED_CASES = [
    Case("loop",                 1, LOOP,    lambda a: a.fill(a.tx.size, NEXT)),
    Case("loop, receive",        0, LOOP,    lambda a: a.receive(*[(a.frame, 1, WRITE | NEXT, 0)] * a.rx.size)),
    Case("half a chain",         1, RAN_OUT, lambda a: a.transmit((a.frame, 100, NEXT, 0))),
    Case("wrong wrap counter",   1, RAN_OUT, lambda a: a.torn(TURNED)),
    Case("used by itself",       1, RAN_OUT, lambda a: a.torn(int(USED))),
    Case("half a chain, rx",     0, RAN_OUT, lambda a: a.receive((a.frame, 20, NEXT | WRITE, 0))),
    Case("wrong wrap, rx",       0, RAN_OUT, lambda a: a.receive(
        (a.frame, 20, NEXT | WRITE, 0), (a.frame, 2048, WRITE, 0), lie=TURNED)),
    Case("nested table",         1, TABLE,   lambda a: a.indirect(16, (a.table, 16, INDIRECT, 0))),
    Case("table with next",      1, TABLE,   lambda a: a.indirect(16, (a.frame, 100, 0, 0), flags=NEXT)),
    Case("table in a chain",     1, TABLE,   lambda a: a.transmit((a.frame, 20, NEXT, 0), (a.table, 16, INDIRECT, 0))),
    Case("empty table",          1, TABLE,   lambda a: a.indirect(0)),
    Case("table of 24 bytes",    1, TABLE,   lambda a: a.indirect(24, (a.frame, 100, 0, 0))),
    Case("table of 4 GiB",       1, TABLE,   lambda a: a.indirect(0xFFFF_FFF0, (a.frame, 100, 0, 0))),
    Case("table over queue",     1, TABLE,   lambda a: a.indirect(16 * (a.tx.size + 1), (a.frame, 100, 0, 0))),
    Case("table wraps",          1, TABLE,   lambda a: a.indirect(16, at=TOP - 8)),
    Case("table outside",        1, IOMMU,   lambda a: a.indirect(16, at=a.end)),
    Case("table over the end",   1, IOMMU,   lambda a: a.indirect(32, at=a.end - 8)),
    Case("writable in a table",  1, ORDER,   lambda a: a.indirect(16, (a.frame, 100, WRITE, 0))),
    Case("address wraps",        1, LENGTHS, lambda a: a.transmit((TOP - 32, 100, 0, 0))),
    Case("sum wraps",            1, LENGTHS, lambda a: a.transmit((a.frame, HALF, NEXT, 0), (a.frame, HALF + 9, 0, 0))),
    Case("sum wraps, rx",        0, LENGTHS, lambda a: a.receive((a.frame, MAX, NEXT | WRITE, 0), (0, 1, WRITE, 0))),
    Case("address wraps, rx",    0, LENGTHS, lambda a: a.receive((TOP - 32, 100, WRITE, 0))),
    Case("too long",             1, LENGTHS, lambda a: a.transmit((a.frame, 1 << 17, 0, 0))),
    Case("no room for header",   1, LENGTHS, lambda a: a.transmit((a.frame, HEADER - 1, 0, 0))),
    Case("empty",                1, LENGTHS, lambda a: a.transmit((a.frame, 0, 0, 0))),
    Case("short, receive",       0, LENGTHS, lambda a: a.receive((a.frame, HEADER - 1, WRITE, 0))),
    Case("outside",              1, IOMMU,   lambda a: a.transmit((0x1000, 100, 0, 0))),
    Case("behind the end",       1, IOMMU,   lambda a: a.transmit((a.end, 100, 0, 0))),
    Case("over the end",         1, IOMMU,   lambda a: a.transmit((a.end - 50, 100, 0, 0))),
    Case("outside, receive",     0, IOMMU,   lambda a: a.receive((a.end, 2048, WRITE, 0))),
    Case("over the end, rx",     0, IOMMU,   lambda a: a.receive((a.end - 20, 2048, WRITE, 0))),
    Case("writable transmit",    1, ORDER,   lambda a: a.transmit((a.frame, 100, WRITE, 0))),
    Case("readable receive",     0, ORDER,   lambda a: a.receive((a.frame, 2048, 0, 0))),
    Case("readable at the end",  0, ORDER,   lambda a: a.receive((a.frame, 20, WRITE | NEXT, 0), (a.frame, 99, 0, 0))),
]
# fmt: on
