"""What can only be known by trying: each call opens what a back end would open, and closes it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..pci.function import IovaRange
from ..vfio.function import VfioFunction
from ..vfio.iommufd import Iommufd
from ..vfio.type1 import Type1


@dataclass(frozen=True, slots=True)
class Opened:
    """How a function was opened: ``way`` is iommufd or type1, ``ranges`` what its IOMMU can map."""

    way: str
    reason: str
    vectors: int
    ranges: tuple[IovaRange, ...]


class Prober(Protocol):
    """The questions. Each raises ``VfiodpaError`` when the answer is no."""

    def type1(self) -> None:
        """Is there a container with the type1 IOMMU?"""

    def iommufd(self) -> bool:
        """Is there iommufd? Returns whether it maps files (IOAS_MAP_FILE)."""
        ...

    def function(self, address: str) -> Opened:
        """Can this function be opened?"""
        ...


class KernelProber:
    """Asks the kernel."""

    def type1(self) -> None:
        """Open a container."""
        Type1().close()

    def iommufd(self) -> bool:
        """Open /dev/iommu and make an I/O address space."""
        space = Iommufd()
        try:
            return space.maps_files
        finally:
            space.close()

    def function(self, address: str) -> Opened:
        """Open the function, which resets it, and close it."""
        with VfioFunction(address) as function:
            dma = function.dma
            return Opened(dma.kind, dma.reason, function.vectors, tuple(dma.iova_ranges))
