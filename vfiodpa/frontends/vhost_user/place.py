"""Where a memory region is, and whether a set of them can be believed.

Ref: vhost-user, "Memory region description". Regions overlap neither in guest addresses nor in the
front end's; nothing wraps; the file is as long as it must be, else the first touch is a SIGBUS.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ...errors import LimitError, ProtocolViolation
from ...spec.vhost_user import MAX_MEM_SLOTS
from .fds import kind

GRANULE = 4096  # the smallest page of any front end or IOMMU
_ADDRESS_END = 1 << 64
_OFFSET_END = 1 << 63  # off_t


class WireRegion(Protocol):
    """The fields that MemRegion and SingleRegion have in common."""

    @property
    def gpa(self) -> int: ...
    @property
    def length(self) -> int: ...
    @property
    def uaddr(self) -> int: ...
    @property
    def mmap_offset(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Addresses for the guest and the front end, and which bytes of which file."""

    gpa: int
    length: int
    uaddr: int
    offset: int
    file: tuple[int, int]  # st_dev, st_ino

    def __str__(self) -> str:
        return f"memory region at guest address {self.gpa:#x} ({self.length:#x} bytes)"

    def same_addresses(self, other: WireRegion) -> bool:
        """What REM_MEM_REG goes by."""
        return (self.gpa, self.length, self.uaddr) == (other.gpa, other.length, other.uaddr)


def place_of(region: WireRegion, fd: int) -> Place:
    """Check one region against its fd. Raises ``ProtocolViolation``."""
    info = os.fstat(fd)
    place = Place(region.gpa, region.length, region.uaddr, region.mmap_offset, (info.st_dev, info.st_ino))
    _check_numbers(place)
    if not stat.S_ISREG(info.st_mode):
        raise ProtocolViolation(f"{place}: its fd must be a file or memfd, got {kind(fd)}")
    end = place.offset + place.length
    if end > info.st_size:
        raise ProtocolViolation(f"{place}: its file has {info.st_size:#x} bytes, the region ends at {end:#x}")
    return place


def _check_numbers(place: Place) -> None:
    if not place.length:
        raise ProtocolViolation(f"{place}: it is empty")
    for what, start, limit in (
        ("guest address", place.gpa, _ADDRESS_END),
        ("user address", place.uaddr, _ADDRESS_END),
        ("offset", place.offset, _OFFSET_END),
    ):
        if start + place.length > limit:
            raise ProtocolViolation(f"{place}: {what} {start:#x} plus its length overflows")
        if start % GRANULE:
            raise ProtocolViolation(f"{place}: {what} {start:#x} is not page aligned")
    if place.length % GRANULE:
        raise ProtocolViolation(f"{place}: its length is not a multiple of the page size")


def check_table(places: Sequence[Place]) -> None:
    """Check a whole table: count and overlaps."""
    if len(places) > MAX_MEM_SLOTS:
        raise LimitError(f"{len(places)} memory regions, at most {MAX_MEM_SLOTS} are supported")
    _check_overlap(places, "guest", lambda place: place.gpa)
    _check_overlap(places, "user", lambda place: place.uaddr)


def _check_overlap(places: Sequence[Place], what: str, start: Callable[[Place], int]) -> None:
    ordered = sorted(places, key=start)
    for low, high in itertools.pairwise(ordered):
        if start(low) + low.length > start(high):
            raise ProtocolViolation(f"{high}: its {what} addresses overlap those of the {low}")
