"""Register windows of a VFIO device: each access one access of its width.

What can be mapped is, and read and written by csrc/mmio.h; the rest goes through the device fd, where
the kernel makes one access of the width it is given.
"""

from __future__ import annotations

import os
import sys

from .._native import ffi, lib
from ..errors import DeviceError, StateError, check, errno_name
from ..memory import PAGE_SIZE
from .regions import Area, Region


class RegionMap:
    """A mapped stretch of a region; owns the mapping."""

    def __init__(self, fd: int, region: Region, area: Area, name: str) -> None:
        self.area = area
        self._mapped = -(-area.length // PAGE_SIZE) * PAGE_SIZE  # a small BAR has a page of its own
        box = ffi.new("void **")
        rc = lib.vdp_map_shared(fd, region.offset + area.offset, self._mapped, True, box)
        check(rc, f"cannot map region {region.index}+{area.offset:#x}", device=name)
        self._base = int(ffi.cast("uintptr_t", box[0]))

    def holds(self, offset: int, size: int) -> bool:
        """Are the bytes inside?"""
        return self.area.offset <= offset and offset + size <= self.area.end

    def address(self, offset: int) -> int:
        """Host address of a byte of the region."""
        if not self._base:
            raise StateError("the region is unmapped")
        return self._base + offset - self.area.offset

    def close(self) -> None:
        """Unmap; harmless when already done."""
        if self._base:
            lib.vdp_unmap(ffi.cast("void *", self._base), self._mapped)
            self._base = 0


class RegionWindow:
    """A region. Accesses are aligned and inside, or raise ``IndexError`` or ``ValueError``."""

    def __init__(self, fd: int, region: Region, what: str, name: str) -> None:
        """``what`` is it called (``BAR 4``), ``name`` the function."""
        self._fd = fd
        self._region = region
        self._what = what
        self._name = name
        self._closed = False
        self.maps: list[RegionMap] = []
        try:
            for area in region.areas:
                self.maps.append(RegionMap(fd, region, area, name))
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<{self._what} of {self._name}: {self.length:#x} bytes, {len(self.maps)} mapped stretches>"

    @property
    def length(self) -> int:
        """Bytes of the region."""
        return self._region.length

    def read(self, offset: int, width: int) -> int:
        """Read ``width`` bits."""
        size = self._check(offset, width)
        if (at := self.address(offset, size)) is None:
            return self._read_fd(offset, size)
        value = ffi.new("uint32_t *")
        self._done(lib.vdp_mmio_load(ffi.cast("void *", at), width, value), "read", offset, width)
        return int(value[0])

    def write(self, offset: int, width: int, value: int) -> None:
        """Write ``width`` bits."""
        size = self._check(offset, width)
        if not 0 <= value < 1 << width:
            raise ValueError(f"{self._what}+{offset:#x}: {value:#x} exceeds {width} bits")
        if (at := self.address(offset, size)) is None:
            self._write_fd(offset, size, value)
        else:
            self._done(lib.vdp_mmio_store(ffi.cast("void *", at), width, value), "write", offset, width)

    def address(self, offset: int, size: int) -> int | None:
        """Host address of ``size`` bytes; ``None`` where the region is not mapped."""
        return next((m.address(offset) for m in self.maps if m.holds(offset, size)), None)

    def close(self) -> None:
        """Unmap; no access after it."""
        self._closed = True
        for one in self.maps:
            one.close()
        self.maps.clear()

    def _check(self, offset: int, width: int) -> int:
        if self._closed:
            raise StateError("the function is closed", device=self._name)
        if width not in (8, 16, 32) or offset * 8 % width:
            raise ValueError(f"no {width}-bit access at {self._what}+{offset:#x}: widths are 8, 16 and 32, aligned")
        if offset < 0 or offset + width // 8 > self.length:
            raise IndexError(f"{width}-bit access at {offset:#x} leaves {self._what} of {self.length:#x} bytes")
        return width // 8

    def _read_fd(self, offset: int, size: int) -> int:
        try:
            data = os.pread(self._fd, size, self._region.offset + offset)
        except OSError as error:
            raise self._failed("read", offset, size * 8, errno_name(error.errno or 0)) from error
        if len(data) != size:
            raise self._failed("read", offset, size * 8, f"the kernel gave {len(data)} bytes")
        return int.from_bytes(data, sys.byteorder)

    def _write_fd(self, offset: int, size: int, value: int) -> None:
        try:
            done = os.pwrite(self._fd, value.to_bytes(size, sys.byteorder), self._region.offset + offset)
        except OSError as error:
            raise self._failed("write", offset, size * 8, errno_name(error.errno or 0)) from error
        if done != size:
            raise self._failed("write", offset, size * 8, f"the kernel took {done} bytes")

    def _done(self, rc: int, verb: str, offset: int, width: int) -> None:
        if rc < 0:
            cause = "SIGBUS: Memory Space is off in its command register, or the function is gone"
            raise self._failed(verb, offset, width, cause)

    def _failed(self, verb: str, offset: int, width: int, cause: str) -> DeviceError:
        return DeviceError(f"{width}-bit {verb} of {self._what}+{offset:#x} failed", device=self._name, cause=cause)
