"""A guest's memory as its devices see it: whole regions, IOVA = GPA."""

from __future__ import annotations

from collections.abc import Sequence

from .._native import ffi, lib
from ..drivers.device import QueueState
from ..frontends.frontend import Region, Ring
from ..memory import Iova
from ..pci.function import DmaDomain, IovaRange
from ..spec.virtio_ring import UsedHeader
from .iova import check_free, check_iova


class GuestMap:
    """The regions that are mapped in a DMA domain. The front end owns the memory itself."""

    def __init__(self, device: str, dma: DmaDomain, reserved: Sequence[IovaRange] = ()) -> None:
        """``reserved``: addresses that the device's driver uses itself."""
        self._device = device
        self._dma = dma
        self._reserved = reserved
        self.regions: list[Region] = []

    def check(self, regions: list[Region]) -> None:
        """Raise ``IommuError`` when the IOMMU could not take the regions."""
        for region in regions:
            check_iova(self._device, self._dma.iova_ranges, region.gpa, region.length)
            check_free(self._device, self._reserved, region.gpa, region.length)

    def add(self, region: Region) -> None:
        """Map a region."""
        self.check([region])
        self._dma.map(Iova(region.gpa), region.memory, 0, region.length)
        self.regions.append(region)

    def remove(self, region: Region) -> None:
        """Unmap a region; on return no device uses it."""
        self.regions = [known for known in self.regions if known.gpa != region.gpa]
        self._dma.unmap(Iova(region.gpa), region.length)

    def position(self, ring: Ring) -> QueueState | None:
        """Where a stopped device stands on a split ring: in order, so at the used index (DESIGN section 7).

        ``None`` when the guest's memory is gone.
        """
        gpa = ring.device + UsedHeader.offset_of("idx")
        for region in self.regions:
            if region.gpa <= gpa < region.last:
                index = lib.vdp_guest_read16(ffi.cast("void *", region.memory.address + gpa - region.gpa))
                return QueueState(index) if index >= 0 else None
        return None


def holds_part_of(region: Region, ring: Ring) -> bool:
    """Does a part of the ring lie in the region?"""
    return any(region.gpa <= part <= region.last for part in (ring.desc, ring.driver, ring.device))
