"""One virtqueue as the front end describes it.

Ref: vhost-user, "Ring states" and SET_VRING_*; virtio 1.3, 2.7 and 2.8 for sizes and alignment.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import ProtocolViolation, StateError
from ...spec.vhost_user import VringAddr
from ...spec.virtio_ring import (
    MAX_QUEUE_SIZE,
    PACKED_ALIGN,
    SPLIT_ALIGN,
    packed_size_ok,
    packed_sizes,
    split_size_ok,
    split_sizes,
)
from ..frontend import Region, Ring
from .fds import close_all, signal_eventfd
from .memory import MemoryTable

LOG_FLAG = 1  # of VringAddr.flags

_SPLIT = ("descriptor table", "available ring", "used ring")
_PACKED = ("descriptor ring", "driver event area", "device event area")


@dataclass(slots=True)
class Vring:
    """What is known about queue ``index``. Owns its three fds; -1 is none.

    ``base`` is where it starts, ``position`` where it stopped (``QueueState.avail``; ``None``: never used).
    They differ only after a reset: the next start is a first one, but QEMU sends status 0 before it asks
    where the ring was, also when it merely pauses.
    """

    index: int
    size: int = 0
    addresses: VringAddr | None = None
    base: int | None = None
    position: int | None = None
    ring: Ring | None = None  # while it runs
    kick: int = -1
    call: int = -1
    err: int = -1

    @property
    def running(self) -> bool:
        """Started and not stopped."""
        return self.ring is not None

    def idle(self) -> None:
        """Raises ``StateError`` while the ring runs: its description must not change then."""
        if self.running:
            raise StateError(f"queue {self.index} is running; it must be stopped with GET_VRING_BASE first")

    def forget(self) -> None:
        """After a reset: everything but the position and the fds."""
        self.size = 0
        self.base = self.addresses = self.ring = None

    def close(self) -> None:
        """Close the fds."""
        close_all((self.kick, self.call, self.err))
        self.kick = self.call = self.err = -1

    def signal_error(self) -> None:
        """Tell the front end, if it wants to know, that the queue is in error."""
        signal_eventfd(self.err)

    def translated(self, memory: MemoryTable, packed: bool) -> Ring:
        """The ring in guest addresses. Raises what ``check_addresses`` raises, or when a part is missing."""
        if not self.size or self.addresses is None:
            missing = "SET_VRING_ADDR" if self.size else "SET_VRING_NUM"
            raise StateError(f"queue {self.index} cannot start before {missing}")
        return translate(self.addresses, self.size, memory, packed)

    def lies_in(self, region: Region) -> bool:
        """Is any part of the running ring in this region?"""
        if self.ring is None:
            return False
        parts = (self.ring.desc, self.ring.driver, self.ring.device)
        return any(region.gpa <= part <= region.last for part in parts)


def check_size(size: int, packed: bool) -> None:
    """A split queue's size is a power of two (2.7), a packed one's is not limited to that (2.8)."""
    if not (packed_size_ok if packed else split_size_ok)(size):
        what = "1" if packed else "a power of two"
        raise ProtocolViolation(f"{size} is no queue size: it must be {what} up to {MAX_QUEUE_SIZE}")


def translate(addresses: VringAddr, size: int, memory: MemoryTable, packed: bool) -> Ring:
    """Check alignment and place of each part; ``size`` 0 (not known yet) checks the smallest ring."""
    if addresses.flags & LOG_FLAG:
        raise ProtocolViolation("logging of the used ring was not negotiated")
    names, aligns, sizes = (_PACKED, PACKED_ALIGN, packed_sizes) if packed else (_SPLIT, SPLIT_ALIGN, split_sizes)
    parts = []
    where = (addresses.desc, addresses.avail, addresses.used)
    for what, uaddr, align, length in zip(names, where, aligns, sizes(size or 1), strict=True):
        if uaddr % align:
            raise ProtocolViolation(f"the {what} at {uaddr:#x} is not aligned to {align} bytes")
        parts.append(memory.to_gpa(uaddr, length, f"the {what}"))
    return Ring(size, *parts)
