"""A guest that writes packed rings by hand: what hostile.py has for both layouts, and what only these have."""

from __future__ import annotations

from tests.e2e.hostile import (
    COMMON_CASES,
    INDIRECT,
    LOOP,
    NEXT,
    ORDER,
    TABLE,
    WRITE,
    Case,
    Entry,
    RawRing,
    RingAttack,
)
from vfiodpa.guest.queue import DriverQueue
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.spec.virtio_ring import PACKED_INDEX, PACKED_START, DescFlag, PackedDesc

AVAIL, USED = DescFlag.AVAIL, DescFlag.USED


class RawPacked(RawRing):
    """A packed ring, from its beginning on. Of an entry the last number is its id."""

    def __init__(self, queue: DriverQueue) -> None:
        super().__init__(queue)
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


class PackedAttack(RingAttack[RawPacked]):
    """On packed rings."""

    def __init__(self, guest: VhostUserGuest) -> None:
        super().__init__(guest, RawPacked)

    def transmit(self, *entries: Entry, lie: int = 0) -> None:
        """The last descriptor's flags are turned by ``lie``."""
        self.tx.put(*entries, lie=lie)

    def receive(self, *entries: Entry, lie: int = 0) -> None:
        self.rx.put(*entries, lie=lie)
        self.good_frame()

    def indirect(self, length: int, *entries: Entry, flags: int = 0, at: int = -1) -> None:
        table = (PackedDesc(addr=a, len=n, id=i, flags=f).pack() for a, n, f, i in entries)
        self.memory.write(self.table, b"".join(table) or b"\0")
        self.transmit((self.table if at < 0 else at, length, INDIRECT | flags, 1))

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
    *COMMON_CASES,
    Case("loop",                 1, LOOP,    lambda a: a.fill(a.tx.size, NEXT)),
    Case("loop, receive",        0, LOOP,    lambda a: a.receive(*[(a.frame, 1, WRITE | NEXT, 0)] * a.rx.size)),
    Case("half a chain",         1, RAN_OUT, lambda a: a.transmit((a.frame, 100, NEXT, 0))),
    Case("wrong wrap counter",   1, RAN_OUT, lambda a: a.torn(TURNED)),
    Case("used by itself",       1, RAN_OUT, lambda a: a.torn(int(USED))),
    Case("half a chain, rx",     0, RAN_OUT, lambda a: a.receive((a.frame, 20, NEXT | WRITE, 0))),
    Case("wrong wrap, rx",       0, RAN_OUT, lambda a: a.receive(
        (a.frame, 20, NEXT | WRITE, 0), (a.frame, 2048, WRITE, 0), lie=TURNED)),
    Case("table in a chain",     1, TABLE,   lambda a: a.transmit((a.frame, 20, NEXT, 0), (a.table, 16, INDIRECT, 0))),
    Case("writable at the end",  1, ORDER,   lambda a: a.transmit((a.frame, 20, NEXT, 0), (a.frame, 99, WRITE, 0))),
]
# fmt: on
