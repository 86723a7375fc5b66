"""The PciFunction contract: how a device driver reaches registers, DMA and interrupts.

Two implementations: ``vfio`` (through the kernel) and ``soft`` (a register-level software NIC).
A driver never learns which one it has.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping as MappingABC
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Any, Self

from ..errors import Unsupported
from ..memory import Iova, Mapping
from ..registers import Window


class Perm(IntFlag):
    """What the device may do with a mapping."""

    READ = 1
    WRITE = 2
    RW = 3


@dataclass(frozen=True, slots=True)
class IovaRange:
    """Addresses ``first`` to ``last``, both inside."""

    first: int
    last: int

    def holds(self, iova: int, length: int) -> bool:
        """Is the whole stretch inside?"""
        return self.first <= iova and iova + length - 1 <= self.last


@dataclass(frozen=True, slots=True)
class DmaFault:
    """An access that the IOMMU stopped."""

    iova: int
    length: int
    perm: Perm

    def __repr__(self) -> str:
        return f"<DmaFault: {self.perm.name} of {self.length} bytes at {self.iova:#x}>"


class DmaDomain(ABC):
    """One I/O address space; shared by the devices of one guest."""

    @property
    def kind(self) -> str:
        """What it is made of, for people: software, iommufd, type1 or noiommu."""
        return ""

    @property
    def reason(self) -> str:
        """Why it is that one, for people; empty when there was no choice."""
        return ""

    @property
    def isolates(self) -> bool:
        """Is the device stopped at what is not mapped? Without that it must not serve guests."""
        return True

    @property
    @abstractmethod
    def iova_ranges(self) -> Sequence[IovaRange]:
        """Addresses that can be mapped."""

    @abstractmethod
    def map(
        self, iova: Iova, memory: Mapping, offset: int = 0, length: int | None = None, perm: Perm = Perm.RW
    ) -> None:
        """Let the device reach ``length`` bytes from ``offset`` of ``memory`` at ``iova``.

        The domain does not own ``memory``: unmap before closing it. Raises ``IommuError`` for an
        overlap, an address outside ``iova_ranges`` or what the kernel refuses. May be called while
        devices run.
        """

    @abstractmethod
    def unmap(self, iova: Iova, length: int) -> None:
        """Take back exactly one earlier ``map``. On return no device uses it any more."""

    @abstractmethod
    def faults(self) -> Sequence[DmaFault]:
        """Faults recorded since the last call, oldest first; empty where nobody reports them."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back; harmless when already closed."""


@dataclass(frozen=True, slots=True)
class Doorbell:
    """Where a C thread rings: ``native`` is a ``struct vdp_doorbell *`` (csrc/doorbell.h).

    ``owner`` keeps what the pointer needs alive.
    """

    native: Any
    owner: Any


@dataclass(frozen=True, slots=True)
class SharedPage:
    """One page of registers that another process can map: ``length`` bytes at ``offset`` of ``fd``.

    The fd is the function's; who keeps it longer than the call duplicates it. All of the fd's file goes with it: of
    VFIO that is the whole device.
    """

    fd: int
    offset: int
    length: int


class PciFunction(ABC):
    """One PCI function, opened. A context manager: leaving it resets and closes the function."""

    name: str  # a PCI address, or soft0, soft1, ...

    @property
    @abstractmethod
    def config(self) -> Window:
        """Configuration space (offsets in bytes, widths 8, 16 or 32 bits)."""

    @abstractmethod
    def bar(self, index: int) -> Window:
        """A base address register's window; raises ``DeviceError`` when it is not implemented."""

    @property
    @abstractmethod
    def dma(self) -> DmaDomain:
        """The I/O address space the function is attached to."""

    @property
    @abstractmethod
    def vectors(self) -> int:
        """How many MSI-X vectors can be used (0: none)."""

    @abstractmethod
    def set_irq(self, vector: int, fd: int | None) -> None:
        """Signal eventfd ``fd`` when the vector fires; ``None`` detaches it.

        The caller keeps its fd and may close it afterwards. Other vectors are not disturbed.
        """

    def msix_off(self) -> None:
        """Detach all vectors and switch MSI-X off, as it was at first, with the interrupt pin masked.

        The next ``set_irq`` switches it on again.
        """
        for vector in range(self.vectors):
            self.set_irq(vector, None)

    @abstractmethod
    def ioeventfd(self, bar: int, offset: int, width: int, value: int, fd: int | None) -> None:
        """Have each write to eventfd ``fd`` written as ``value`` to the BAR, without any thread of ours.

        ``width`` in bits. ``None`` takes it back. The caller keeps its fd. Raises ``Unsupported``
        where the function cannot do it.
        """

    @abstractmethod
    def doorbell(self, bar: int, offset: int, width: int, value: int) -> Doorbell:
        """The same register as a handle for C threads (the relay, the guest half)."""

    def doorbell_page(self, bar: int, offset: int) -> SharedPage:
        """The host page at ``offset`` of the BAR, for a guest to ring the doorbell at its start by itself.

        Raises ``Unsupported`` with the reason where it cannot be given away. That nothing else lies in the page is
        the caller's to know.
        """
        raise Unsupported(f"the page at BAR {bar}+{offset:#x} cannot be given away", device=self.name)

    @abstractmethod
    def reset(self) -> None:
        """Function level reset: registers at their defaults, no DMA; vectors and doorbell bindings are gone.

        The command register must be set again. Raises ``Unsupported`` where the function has none.
        """

    @property
    @abstractmethod
    def error_event(self) -> int:
        """An eventfd that becomes readable when the function fails or is gone. Owned by the function."""

    @property
    @abstractmethod
    def release_event(self) -> int:
        """An eventfd that becomes readable when somebody wants the function back. Owned by the function."""

    def diagnose(self) -> str:
        """What is known about why the device failed, in one line; empty when nothing is."""
        return ""

    def counters(self) -> MappingABC[str, Any]:
        """Counters that the function itself keeps, ready for JSON; empty where it keeps none."""
        return {}

    def mark(self, text: str) -> None:  # noqa: B027  most have nothing to do
        """A new part of the work begins. Recordings keep it and are played back from it; others need not know."""

    @abstractmethod
    def close(self) -> None:
        """Quiesce the device and release everything; harmless when already closed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
