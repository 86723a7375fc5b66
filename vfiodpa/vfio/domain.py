"""A DMA domain in the kernel: what both back ends have in common.

Each map is checked here first, so that the error names the hole, the other map or the limit; the
kernel's EINVAL names nothing. Maps and unmaps go to the kernel one to one: type1 takes back only what
was mapped as one piece.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from threading import RLock

from ..errors import IommuError, LimitError, StateError, Unsupported, VfiodpaError, errno_name
from ..memory import PAGE_SIZE, Iova, Mapping
from ..pci.device import PciDevice
from ..pci.function import DmaDomain, DmaFault, IovaRange, Perm
from ..pci.iova import hole
from .backend import IommuBackend
from .memlock import check_memlock, memlock_error

log = logging.getLogger(__name__)

_ENTRY_LIMIT = "a guest with fewer memory regions, --iommu iommufd, or vfio_iommu_type1.dma_entry_limit"


class VfioDomain(DmaDomain):
    """One I/O address space, shared by the functions that are opened in it. Owns ``backend``.

    Whoever makes it closes it; the address space itself goes with the last function in it.
    """

    def __init__(self, backend: IommuBackend) -> None:
        self._backend = backend
        self._maps: dict[int, int] = {}  # iova: length
        self._ranges: tuple[IovaRange, ...] = ()
        self._devices: dict[int, str] = {}  # name by device fd
        self._closed = self._released = False
        self._lock = RLock()

    def __repr__(self) -> str:
        return f"<VfioDomain {self._backend!r}, {len(self._maps)} maps>"

    @property
    def kind(self) -> str:
        return self._backend.kind

    @property
    def reason(self) -> str:
        return self._backend.reason

    @property
    def isolates(self) -> bool:
        return self._backend.isolates

    @property
    def iova_ranges(self) -> Sequence[IovaRange]:
        return self._ranges

    # Functions

    def open_device(self, function: PciDevice) -> int:
        """Open a function in this domain; returns the device fd, which ``release`` closes."""
        with self._lock:
            self._check_open(function.address)
            fd = self._backend.open_device(function)
            self._joined(fd, function.address)
            return fd

    def adopt(self, device_fd: int, name: str) -> None:
        """Take over a device fd that was handed in."""
        with self._lock:
            self._check_open(name)
            self._backend.adopt(device_fd, name)
            self._joined(device_fd, name)

    def _joined(self, fd: int, name: str) -> None:
        self._devices[fd] = name
        self._ranges = tuple(self._backend.ranges())  # each device can narrow them

    def release(self, device_fd: int) -> None:
        """The function leaves; its fd is closed."""
        with self._lock:
            del self._devices[device_fd]
            self._backend.release(device_fd)
            self._give_back()

    def _check_open(self, name: str) -> None:
        if self._closed:
            raise StateError("the DMA domain is closed", device=name)

    # Maps

    def map(
        self, iova: Iova, memory: Mapping, offset: int = 0, length: int | None = None, perm: Perm = Perm.RW
    ) -> None:
        length = memory.length - offset if length is None else length
        if memory.fd < 0 or offset < 0 or length <= 0 or offset + length > memory.length:
            raise self._refusal(iova, length, f"{offset:#x} and on is not inside {memory!r}")
        with self._lock:
            self._check_open(self._who)
            self._check_place(iova, length, memory.address + offset)
            self._check_limits(length)
            try:
                self._backend.map(iova, memory, offset, length, perm)
            except OSError as error:
                raise self._translate(error, iova, length) from error
            self._maps[iova] = length
        log.debug("%s: mapped %s", self._who, _span(iova, length))

    def unmap(self, iova: Iova, length: int) -> None:
        with self._lock:
            if self._maps.get(iova) != length:
                raise IommuError(
                    f"cannot unmap {_span(iova, length)}", device=self._who, cause="ENOENT: it is not one earlier map"
                )
            try:
                done = self._backend.unmap(iova, length)
            except OSError as error:
                cause = errno_name(error.errno or 0)
                raise IommuError(f"cannot unmap {_span(iova, length)}", device=self._who, cause=cause) from error
            del self._maps[iova]
        if done != length:
            what = f"the kernel unmapped {done:#x} bytes of {_span(iova, length)}"
            raise IommuError(what, device=self._who)

    def faults(self) -> Sequence[DmaFault]:
        """Always empty: VFIO does not report them (the kernel's log does)."""
        return ()

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            for iova, length in list(self._maps.items()):
                self.unmap(Iova(iova), length)
            self._closed = True
            self._give_back()

    def _give_back(self) -> None:
        if self._closed and not self._devices and not self._released:
            self._released = True
            self._backend.close()

    # Checks

    @property
    def _who(self) -> str:
        return ", ".join(self._devices.values())

    def _refusal(self, iova: int, length: int, cause: str) -> IommuError:
        return IommuError(f"cannot map {_span(iova, length)}", device=self._who, cause=cause)

    def _check_place(self, iova: int, length: int, host: int) -> None:
        if not self.isolates:
            raise Unsupported(
                f"cannot map {_span(iova, length)}: there is no IOMMU",
                device=self._who,
                remedy="a machine with an IOMMU, switched on",
            )
        if (iova | length | host) % PAGE_SIZE:
            cause = f"EINVAL: address, length and memory ({host:#x}) must be whole pages"
            raise self._refusal(iova, length, cause)
        if not any(usable.holds(iova, length) for usable in self._ranges):
            missing = hole(self._ranges, iova, iova + length - 1)
            raise self._refusal(iova, length, f"EINVAL: the IOMMU leaves out {missing}")
        for other, other_length in self._maps.items():
            if iova < other + other_length and other < iova + length:
                raise self._refusal(iova, length, f"EEXIST: overlaps {_span(other, other_length)}")

    def _check_limits(self, length: int) -> None:
        room = self._backend.room()
        if room is not None and room < 1:
            raise self._no_room()
        check_memlock(sum(self._maps.values()) + length, self._who)

    def _no_room(self, cause: str = "") -> LimitError:
        return LimitError(
            f"the IOMMU takes no map more: there are {len(self._maps)}",
            device=self._who,
            cause=cause,
            remedy=_ENTRY_LIMIT,
        )

    def _translate(self, error: OSError, iova: int, length: int) -> VfiodpaError:
        cause = errno_name(error.errno or 0)
        if error.errno == errno.ENOMEM:
            return memlock_error(sum(self._maps.values()) + length, self._who, cause)
        if error.errno == errno.ENOSPC:
            return self._no_room(cause)
        if error.errno == errno.EFAULT:
            cause += "; the memory's file is shorter than the mapping, or its pages cannot be had"
        return self._refusal(iova, length, cause)


def _span(iova: int, length: int) -> str:
    return f"[{iova:#x}, {iova + max(length, 1) - 1:#x}]"
