"""Owned memory mappings and the three kinds of address that must not be mixed up.

``Gpa`` is what descriptors hold, ``Uaddr`` the front end's virtual address in SET_VRING_ADDR and
``Iova`` what the device issues. Direct mode maps IOVA = GPA (DESIGN section 6).
"""

from __future__ import annotations

import mmap
import os
from typing import NewType, Self

from ._native import ffi, lib
from .errors import check

Gpa = NewType("Gpa", int)
Uaddr = NewType("Uaddr", int)
Iova = NewType("Iova", int)

PAGE_SIZE = mmap.PAGESIZE


class Mapping:
    """One shared mapping of a file; owns the mapping and its fd.

    ``address`` is the host address of byte ``fd_offset`` of the file, ``length`` counts bytes from
    there. Python never touches the memory through it: only C does, guarded against SIGBUS.
    """

    def __init__(self, fd: int, length: int, *, fd_offset: int = 0, writable: bool = True) -> None:
        """Take ``fd`` over (it is closed with the mapping, and also when mapping fails)."""
        self.fd = fd
        self.fd_offset = fd_offset
        self.length = length
        align = _alignment(fd)
        lead = fd_offset % align
        self._mapped = -(-(lead + length) // align) * align
        base = ffi.new("void **")
        rc = lib.vdp_map_shared(fd, fd_offset - lead, self._mapped, writable, base)
        if rc < 0:
            os.close(fd)
            check(rc, f"cannot map {length:#x} bytes at {fd_offset:#x} of the memory's fd")
        self._base = int(ffi.cast("uintptr_t", base[0]))
        self.address = self._base + lead

    @classmethod
    def create(cls, length: int, name: str = "vfiodpa") -> Self:
        """New zeroed memory of our own (a memfd)."""
        fd = os.memfd_create(name, os.MFD_CLOEXEC)
        try:
            os.ftruncate(fd, length)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, length)

    def __repr__(self) -> str:
        state = "closed" if self.fd < 0 else f"fd {self.fd} at {self.address:#x}"
        return f"<Mapping {self.length:#x} bytes, {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmap and close the fd; harmless when already closed."""
        if self.fd < 0:
            return
        lib.vdp_unmap(ffi.cast("void *", self._base), self._mapped)
        os.close(self.fd)
        self.fd = -1
        self.address = self._base = 0


def _alignment(fd: int) -> int:
    """Page size of the file: hugetlbfs wants its own page size for offset and length."""
    return max(os.fstat(fd).st_blksize, PAGE_SIZE) if _is_hugetlbfs(fd) else PAGE_SIZE


def _is_hugetlbfs(fd: int) -> bool:
    return bool(lib.vdp_is_hugetlbfs(fd))
