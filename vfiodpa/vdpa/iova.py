"""Can the device's IOMMU take a guest's memory? Asked before the memory table is accepted."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import IommuError
from ..pci.function import IovaRange


def check_iova(device: str, ranges: Sequence[IovaRange], iova: int, length: int) -> None:
    """Raise ``IommuError`` with the hole that ``iova`` .. ``iova + length - 1`` falls into."""
    if any(r.holds(iova, length) for r in ranges):
        return
    last = iova + length - 1
    hole = _hole(ranges, iova, last)
    raise IommuError(
        f"guest memory {iova:#x}-{last:#x} cannot be mapped: the IOMMU leaves out {hole}",
        device=device,
        cause="the guest has more memory than the IOMMU's address width, or memory over a reserved window",
        remedy="a guest with less memory, or a machine type that places it elsewhere",
    )


def _hole(ranges: Sequence[IovaRange], first: int, last: int) -> str:
    """The first stretch of unmappable addresses that the wanted ones touch."""
    start = 0
    for usable in sorted(ranges, key=lambda r: r.first):
        if start <= last and usable.first > max(start, first):
            return f"{start:#x}-{usable.first - 1:#x}"
        start = max(start, usable.last + 1)
    return f"everything from {start:#x}"
