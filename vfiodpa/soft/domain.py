"""The software NIC's IOMMU: what is not mapped is not reached.

As a kernel's would: whole pages, no overlaps, only addresses in ``iova_ranges``, and unmap takes back
exactly one map. One domain serves all functions of a guest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import RLock
from typing import Any

from .._native import ffi, lib
from ..errors import IommuError, StateError, check, errno_name
from ..memory import PAGE_SIZE, Iova, Mapping
from ..pci.function import DmaDomain, DmaFault, IovaRange, Perm
from .engine import Engine

MSI_HOLE = IovaRange(0xFEE0_0000, 0xFEEF_FFFF)  # x86: writes there are interrupts
_MAX_FAULTS = 64


class SoftDomain(DmaDomain):
    """A DmaDomain in software. ``lock`` serialises all control calls of the functions attached to it."""

    def __init__(self, *, bits: int = 48, msi_hole: bool = False) -> None:
        """``bits``: width of an I/O address."""
        self.lock = RLock()
        last = (1 << bits) - 1
        self._ranges = [IovaRange(0, last)]
        if msi_hole:
            self._ranges = [IovaRange(0, MSI_HOLE.first - 1), IovaRange(MSI_HOLE.last + 1, last)]
        self._maps: dict[int, int] = {}  # iova: length
        self._engines: list[Engine] = []
        self._faults: deque[DmaFault] = deque(maxlen=_MAX_FAULTS)
        self._last_fault: DmaFault | None = None
        self._closed = False
        box = ffi.new("struct vdp_dma **")
        check(lib.vdp_dma_init(box), "cannot make a DMA domain")
        self._dma: Any = box[0]

    def __repr__(self) -> str:
        return f"<SoftDomain {len(self._maps)} maps, {len(self._engines)} functions>"

    @property
    def kind(self) -> str:
        return "software"

    @property
    def iova_ranges(self) -> Sequence[IovaRange]:
        return tuple(self._ranges)

    def map(
        self, iova: Iova, memory: Mapping, offset: int = 0, length: int | None = None, perm: Perm = Perm.RW
    ) -> None:
        length = memory.length - offset if length is None else length
        if memory.fd < 0 or offset < 0 or length <= 0 or offset + length > memory.length:
            raise IommuError(f"cannot map {_span(iova, length)}: {offset:#x} and on is not inside {memory!r}")
        host = memory.address + offset
        with self.lock:
            self._check_place(iova, length, host)
            args = (self._dma, iova, length, ffi.cast("void *", host), int(perm))
            self._change(partial(lib.vdp_dma_map, *args), f"cannot map {_span(iova, length)}")
            self._maps[iova] = length

    def unmap(self, iova: Iova, length: int) -> None:
        with self.lock:
            if self._maps.get(iova) != length:
                raise IommuError(f"cannot unmap {_span(iova, length)}", cause="ENOENT: it is not one earlier map")
            self._change(partial(lib.vdp_dma_unmap, self._dma, iova, length), f"cannot unmap {_span(iova, length)}")
            del self._maps[iova]

    def faults(self) -> Sequence[DmaFault]:
        with self.lock:
            self._collect()
            taken = tuple(self._faults)
            self._faults.clear()
            return taken

    def last_fault(self) -> DmaFault | None:
        """The latest fault, without taking it."""
        with self.lock:
            self._collect()
            return self._last_fault

    def close(self) -> None:
        """Unmap everything; the map itself goes with the last function that is attached."""
        with self.lock:
            for iova, length in list(self._maps.items()):
                self.unmap(Iova(iova), length)
            self._closed = True
            self._release()

    # For the functions attached to it

    def attach(self, engine: Engine) -> None:
        """Let a NIC do its DMA through this domain."""
        with self.lock:
            if self._closed:
                raise StateError("the DMA domain is closed", device=engine.name)
            engine.set_dma(self._dma)
            self._engines.append(engine)

    def detach(self, engine: Engine) -> None:
        """The NIC is gone (its worker is joined)."""
        with self.lock:
            if engine in self._engines:
                self._engines.remove(engine)
                self._release()

    def _release(self) -> None:
        if self._closed and not self._engines and self._dma is not None:
            lib.vdp_dma_fini(self._dma)
            self._dma = None

    def _check_place(self, iova: int, length: int, host: int) -> None:
        if self._closed:
            raise StateError("the DMA domain is closed")
        wanted = _span(iova, length)
        if (iova | length | host) % PAGE_SIZE:
            cause = f"EINVAL: address, length and memory ({host:#x}) must be whole pages"
            raise IommuError(f"cannot map {wanted}", cause=cause)
        if not any(one.holds(iova, length) for one in self._ranges):
            ranges = ", ".join(f"{one.first:#x}-{one.last:#x}" for one in self._ranges)
            raise IommuError(f"cannot map {wanted}", cause=f"EINVAL: outside the I/O address ranges {ranges}")
        for other, other_length in self._maps.items():
            if iova < other + other_length and other < iova + length:
                cause = f"EEXIST: overlaps {_span(other, other_length)}"
                raise IommuError(f"cannot map {wanted}", cause=cause)

    def _change(self, change: Callable[[], int], what: str) -> None:
        with self._all_paused():
            rc = change()
            if rc < 0:
                raise IommuError(what, cause=errno_name(rc))
            for engine in self._engines:
                engine.refresh()

    @contextmanager
    def _all_paused(self) -> Iterator[None]:
        """Every attached NIC at rest; when one does not come to rest the others go on and nothing is changed."""
        with ExitStack() as stack:
            for engine in self._engines:
                stack.enter_context(engine.paused())
            yield

    def _collect(self) -> None:
        if self._dma is None:
            return
        out = ffi.new("struct vdp_dma_fault[]", _MAX_FAULTS)
        for i in range(lib.vdp_dma_take_faults(self._dma, out, _MAX_FAULTS)):
            self._last_fault = DmaFault(out[i].iova, out[i].length, Perm(out[i].perm))
            self._faults.append(self._last_fault)


def _span(iova: int, length: int) -> str:
    return f"[{iova:#x}, {iova + max(length, 1) - 1:#x}]"
