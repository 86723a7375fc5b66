"""Split and packed virtqueues in memory.

Ref: virtio 1.3, sections 2.7 (split) and 2.8 (packed).
"""

from __future__ import annotations

from enum import IntFlag

from ..layout import Layout, le16, le32, le64

MAX_QUEUE_SIZE = 32768
SPLIT_ALIGN = (16, 2, 4)  # descriptor table, available ring, used ring (2.7)
PACKED_INDEX = 0x7FFF  # of a position: the descriptor; bit 15 is the wrap counter
PACKED_START = 0x8000  # descriptor 0 with wrap counter 1: where a packed queue begins (2.8.1)
PACKED_ALIGN = (16, 4, 4)  # descriptor ring, driver area, device area (2.8)


class DescFlag(IntFlag):
    """Descriptor flags; AVAIL and USED belong to packed rings (2.7.5, 2.8.1)."""

    NEXT = 1
    WRITE = 2
    INDIRECT = 4
    AVAIL = 1 << 7
    USED = 1 << 15


class SplitDesc(Layout, size=16, ref="virtio 1.3, 2.7.5"):
    addr = le64
    len = le32
    flags = le16
    next = le16


class AvailHeader(Layout, size=4, ref="virtio 1.3, 2.7.6"):
    """Followed by ``size`` le16 heads and, last, used_event."""

    flags = le16
    idx = le16


class UsedHeader(Layout, size=4, ref="virtio 1.3, 2.7.8"):
    """Followed by ``size`` used elements and, last, avail_event."""

    flags = le16
    idx = le16


class UsedElem(Layout, size=8, ref="virtio 1.3, 2.7.8"):
    id = le32
    len = le32


class PackedDesc(Layout, size=16, ref="virtio 1.3, 2.8.13"):
    addr = le64
    len = le32
    id = le16
    flags = le16


class EventSuppress(Layout, size=4, ref="virtio 1.3, 2.8.14"):
    """Descriptor offset in bits 0-14 and wrap counter in bit 15; flags 0 enable, 1 disable, 2 desc."""

    off_wrap = le16
    flags = le16


AVAIL_NO_INTERRUPT = 1  # avail.flags (2.7.6)
USED_NO_NOTIFY = 1  # used.flags (2.7.8)


def split_sizes(size: int) -> tuple[int, int, int]:
    """Bytes of descriptor table, available ring and used ring of a split queue of ``size`` (2.7)."""
    return 16 * size, 6 + 2 * size, 6 + 8 * size


def packed_sizes(size: int) -> tuple[int, int, int]:
    """Bytes of descriptor ring, driver area and device area of a packed queue of ``size`` (2.8)."""
    return 16 * size, 4, 4


def packed_size_ok(size: int) -> bool:
    """A packed queue has any size up to 32768 (2.8.10.1)."""
    return 0 < size <= MAX_QUEUE_SIZE


def split_size_ok(size: int) -> bool:
    """A split queue's size is a power of two up to 32768 (2.7)."""
    return 0 < size <= MAX_QUEUE_SIZE and size & (size - 1) == 0


def size_ok(size: int, packed: bool) -> bool:
    """Can a queue of this layout have this size?"""
    return packed_size_ok(size) if packed else split_size_ok(size)


def packed_base(position: int) -> int:
    """What vhost-user calls the base of a packed ring on which both sides stand at ``position``.

    Available position in bits 0 to 15, used position in bits 16 to 31, each with its wrap counter on top.
    """
    return position | position << 16
