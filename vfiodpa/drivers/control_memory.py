"""Memory of our own in a device's address space: for the control queue, which no guest has.

It lies in the highest free pages of ``DmaDomain.iova_ranges``: guests' memory begins at the bottom. The
place is taken when the device is opened and kept until it is closed, so what can collide is a guest that
comes later; the memory table check refuses it (``VdpaDevice.reserved``). Further devices of the same
domain take the pages below.

A guest can make the device use any address that is mapped, these too. So what the device only reads (the
commands, and of a split ring everything that says where they are) is mapped for reading only: a guest can
have it sent out, but cannot forge a command. A packed ring's descriptors are written by the device, so
there a hostile guest could; see docs/memory-rules.md.
"""

from __future__ import annotations

from .._native import ffi, lib
from ..errors import IommuError, check
from ..memory import PAGE_SIZE, Iova, Mapping
from ..pci.function import DmaDomain, IovaRange, Perm

LENGTH = 2 * PAGE_SIZE
TRIES = 64  # devices of one domain


class ControlMemory:
    """Two pages: the first the device can only read, the second it can also write. Owns the mapping."""

    def __init__(self, dma: DmaDomain, device: str) -> None:
        """Raises ``IommuError`` when the domain has no place for it."""
        self._dma = dma
        self._memory = Mapping.create(LENGTH, "vfiodpa-control")
        try:
            self.iova = self._place(device)
        except BaseException:
            self._memory.close()
            raise

    @property
    def range(self) -> IovaRange:
        """Where the device sees it."""
        return IovaRange(self.iova, self.iova + LENGTH - 1)

    def _place(self, device: str) -> int:
        last = max(usable.last for usable in self._dma.iova_ranges)
        top = (last + 1) // PAGE_SIZE * PAGE_SIZE
        for iova in range(top - LENGTH, top - (TRIES + 1) * LENGTH, -LENGTH):
            try:
                self._map(iova)
            except IommuError as error:
                reason = error
            else:
                return iova
        raise IommuError(
            f"no place for the control queue in the {TRIES} highest stretches below {top:#x}",
            device=device,
            cause=str(reason),
        )

    def _map(self, iova: int) -> None:
        self._dma.map(Iova(iova), self._memory, 0, PAGE_SIZE, Perm.READ)
        try:
            self._dma.map(Iova(iova + PAGE_SIZE), self._memory, PAGE_SIZE, PAGE_SIZE, Perm.RW)
        except BaseException:
            self._dma.unmap(Iova(iova), PAGE_SIZE)
            raise

    def pointer(self, offset: int) -> object:
        """Host address of a byte, for C."""
        return ffi.cast("void *", self._memory.address + offset)

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes there."""
        check(lib.vdp_guest_copy_out(self.pointer(offset), data, len(data)), "cannot write a command")

    def read(self, offset: int, length: int) -> bytes:
        """Take bytes from there."""
        private = ffi.new("char[]", length)
        check(lib.vdp_guest_copy_in(private, self.pointer(offset), length), "cannot read an answer")
        return bytes(ffi.unpack(private, length))

    def close(self) -> None:
        """Take it from the device, which must be at rest; harmless when already closed."""
        if self._memory.fd < 0:
            return
        try:
            for offset in (0, PAGE_SIZE):
                self._dma.unmap(Iova(self.iova + offset), PAGE_SIZE)
        finally:
            self._memory.close()
