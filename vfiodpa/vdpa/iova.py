"""Can the device's IOMMU take a guest's memory? Asked before the memory table is accepted."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import IommuError
from ..pci.function import IovaRange
from ..pci.iova import hole


def check_iova(device: str, ranges: Sequence[IovaRange], iova: int, length: int) -> None:
    """Raise ``IommuError`` with the hole that ``iova`` .. ``iova + length - 1`` falls into."""
    if any(r.holds(iova, length) for r in ranges):
        return
    last = iova + length - 1
    raise IommuError(
        f"guest memory {iova:#x}-{last:#x} cannot be mapped: the IOMMU leaves out {hole(ranges, iova, last)}",
        device=device,
        cause="the guest has more memory than the IOMMU's address width, or memory over a reserved window",
        remedy="a guest with less memory, or a machine type that places it elsewhere",
    )


def check_free(device: str, reserved: Sequence[IovaRange], iova: int, length: int) -> None:
    """Raise ``IommuError`` when ``iova`` .. ``iova + length - 1`` touches what the driver uses itself."""
    for taken in reserved:
        if iova <= taken.last and taken.first < iova + length:
            raise IommuError(
                f"guest memory {iova:#x}-{iova + length - 1:#x} cannot be mapped: "
                f"the driver uses {taken.first:#x}-{taken.last:#x} itself",
                device=device,
                cause="the device's control queue lies there, in the highest pages of the IOMMU",
                remedy="a guest with less memory, or a machine type that places it elsewhere",
            )
