"""Guest memory of our own: memfd-backed regions at guest physical addresses, with an allocator.

    memory = GuestMemory(64 << 20)
    gpa = memory.alloc(2048)
    memory.write(gpa, b"hello")
    memory.read(gpa, 5)

Guest physical, front end and host addresses are deliberately different numbers, so that code which
confuses them fails at once.
"""

from __future__ import annotations

import fcntl
import os
from bisect import insort
from dataclasses import dataclass, field
from typing import Self

from .._native import ffi, lib
from ..errors import LimitError, UsageError, check
from ..memory import PAGE_SIZE, Gpa, Mapping, Uaddr

DEFAULT_SIZE = 64 << 20
DEFAULT_BASE = Gpa(0x1000_0000)
UADDR_OFFSET = 0x7E00_0000_0000  # where a guest's memory seems to lie in its front end
HOLE = 1 << 20  # unmapped between regions: an access that runs over an end must not succeed by luck


@dataclass(eq=False, slots=True)
class GuestRegion:
    """``length`` bytes of ``mapping`` at ``gpa``; ``taken`` holds the allocated stretches, sorted."""

    gpa: Gpa
    length: int
    mapping: Mapping
    taken: list[tuple[int, int]] = field(default_factory=list, repr=False)

    @property
    def uaddr(self) -> Uaddr:
        """The region's address as a vhost-user front end tells it."""
        return Uaddr(self.gpa + UADDR_OFFSET)

    def holds(self, gpa: int, length: int) -> bool:
        """Does the stretch lie in the region?"""
        return self.gpa <= gpa and length >= 0 and gpa + length <= self.gpa + self.length

    def alloc(self, size: int, align: int) -> Gpa | None:
        """First fit; ``None`` when there is no room."""
        at = int(self.gpa)
        for first, end in [*self.taken, (self.gpa + self.length, 0)]:
            at = -(-at // align) * align
            if at + size <= first:
                insort(self.taken, (at, at + size))
                return Gpa(at)
            at = max(at, end)
        return None


class GuestMemory:
    """Regions that a device may work on. Owns their mappings; closing unmaps them.

    ``sealed``: the memory cannot be truncated, not even by us. ``huge``: 2 MiB pages (hugetlbfs).
    """

    def __init__(self, *sizes: int, base: Gpa = DEFAULT_BASE, sealed: bool = True, huge: bool = False) -> None:
        self._sealed = sealed
        self._huge = huge
        self._base = base
        self.regions: list[GuestRegion] = []
        try:
            for size in sizes or (DEFAULT_SIZE,):
                self.add_region(size)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        parts = (f"{region.gpa:#x}+{region.length:#x}" for region in self.regions)
        return f"<GuestMemory {' '.join(parts) or 'empty'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Regions

    def add_region(self, size: int, gpa: Gpa | None = None) -> GuestRegion:
        """New zeroed memory of ``size`` bytes (a multiple of the page size), after all others or at ``gpa``."""
        if size <= 0 or size % PAGE_SIZE:
            raise UsageError(f"a region of {size:#x} bytes is not a multiple of the page size {PAGE_SIZE:#x}")
        end = max((region.gpa + region.length + HOLE for region in self.regions), default=self._base)
        at = Gpa(end) if gpa is None else gpa
        for other in self.regions:
            if at < other.gpa + other.length and other.gpa < at + size:
                raise UsageError(f"region {at:#x}+{size:#x} overlaps {other.gpa:#x}+{other.length:#x}")
        region = GuestRegion(at, size, Mapping(self._create(size), size))
        self.regions.append(region)
        return region

    def _create(self, size: int) -> int:
        flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | (os.MFD_HUGETLB if self._huge else 0)
        fd = os.memfd_create("vfiodpa-guest", flags)
        try:
            os.ftruncate(fd, size)
            if self._sealed:
                fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def remove_region(self, region: GuestRegion) -> None:
        """Unmap a region; nobody may use it any more."""
        self.regions.remove(region)
        region.mapping.close()

    def region_of(self, gpa: int, length: int = 1) -> GuestRegion:
        """The region that holds the whole stretch; raises ``UsageError`` when none does."""
        for region in self.regions:
            if region.holds(gpa, length):
                return region
        raise UsageError(f"{gpa:#x}+{length:#x} is not inside one region of {self!r}")

    # Allocation

    def alloc(self, size: int, align: int = 64, *, region: GuestRegion | None = None) -> Gpa:
        """``size`` bytes at a multiple of ``align``; contents are what was there before (at first, zeroes)."""
        if size <= 0 or align <= 0 or align & (align - 1):
            raise UsageError(f"cannot allocate {size} bytes aligned to {align}")
        for candidate in [region] if region else self.regions:
            gpa = candidate.alloc(size, align)
            if gpa is not None:
                return gpa
        raise LimitError(f"no {size:#x} free bytes in {self!r}", remedy="make the guest's memory larger")

    def free(self, gpa: Gpa) -> None:
        """Give back what ``alloc`` returned."""
        taken = self.region_of(gpa).taken
        for stretch in taken:
            if stretch[0] == gpa:
                taken.remove(stretch)
                return
        raise UsageError(f"{gpa:#x} was not allocated")

    # Access

    def address(self, gpa: int, length: int = 1) -> int:
        """Host address of a stretch, for C."""
        region = self.region_of(gpa, length)
        return region.mapping.address + gpa - region.gpa

    def pointer(self, gpa: int, length: int = 1) -> object:
        """The same as ``void *``."""
        return ffi.cast("void *", self.address(gpa, length))

    def uaddr(self, gpa: Gpa) -> Uaddr:
        """The address as a vhost-user front end tells it."""
        return Uaddr(gpa + UADDR_OFFSET)

    def read(self, gpa: int, length: int) -> bytes:
        """Copy bytes out of guest memory."""
        private = ffi.new("char[]", max(length, 1))
        check(lib.vdp_guest_copy_in(private, self.pointer(gpa, length), length), f"cannot read {gpa:#x}")
        return bytes(ffi.buffer(private, length))

    def write(self, gpa: int, data: bytes | bytearray | memoryview) -> None:
        """Copy bytes into guest memory."""
        source = ffi.from_buffer(data)
        length = len(source)
        check(lib.vdp_guest_copy_out(self.pointer(gpa, length), source, length), f"cannot write {gpa:#x}")

    def load16(self, gpa: int) -> int:
        """Read a ring index (acquire)."""
        return check(lib.vdp_guest_read16(self.pointer(gpa, 2)), f"cannot read {gpa:#x}")

    def store16(self, gpa: int, value: int) -> None:
        """Write a ring index (release): how a test publishes what no driver would."""
        check(lib.vdp_ring_store16(self.pointer(gpa, 2), value), f"cannot write {gpa:#x}")

    def close(self) -> None:
        """Unmap everything; harmless when already closed."""
        while self.regions:
            self.regions.pop().mapping.close()
