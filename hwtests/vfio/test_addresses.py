"""Guest memory where the IOMMU cannot take it: refused with the hole, and the kernel agrees."""

from __future__ import annotations

import pytest

from vfiodpa.errors import IommuError
from vfiodpa.frontends.frontend import Region
from vfiodpa.memory import Gpa, Iova, Mapping
from vfiodpa.pci.function import Perm
from vfiodpa.pci.iova import hole
from vfiodpa.vdpa.guest_map import GuestMap
from vfiodpa.vfio.function import VfioFunction

SIZE = 1 << 20
MSI = 0xFEE0_0000


def check_refused(bdf: str, iommu: str, iova: int, text: str) -> None:
    with VfioFunction(bdf, iommu=iommu) as function, Mapping.create(SIZE) as memory:
        with pytest.raises(IommuError, match=text):
            function.dma.map(Iova(iova), memory)
        with pytest.raises(IommuError, match=text):  # asked before the memory table is accepted
            GuestMap(function.name, function.dma).check([Region(Gpa(iova), SIZE, memory)])
        with pytest.raises(OSError, match=r"Errno"):  # the kernel, asked in spite of it, refuses too
            function.dma._backend.map(iova, memory, 0, SIZE, Perm.RW)


@pytest.mark.parametrize("iova", [MSI, MSI - SIZE // 2, MSI + (1 << 20) - 0x1000])
def test_over_the_msi_window(bdf: str, iommu: str, iova: int) -> None:
    with VfioFunction(bdf, iommu=iommu) as function:
        missing = hole(function.dma.iova_ranges, iova, iova + SIZE - 1)
    if not missing.startswith(hex(MSI)):
        pytest.skip(f"no MSI window at {MSI:#x}")
    check_refused(bdf, iommu, iova, "0xfee00000-0xfeefffff")


def test_beyond_the_width(bdf: str, iommu: str) -> None:
    with VfioFunction(bdf, iommu=iommu) as function:
        last = function.dma.iova_ranges[-1].last
    if last + 1 + SIZE > 1 << 64:
        pytest.skip("this IOMMU takes every address")
    check_refused(bdf, iommu, last + 1 - SIZE // 2, f"everything from {last + 1:#x}")
    check_refused(bdf, iommu, last + 1, f"everything from {last + 1:#x}")


def test_the_last_addresses_can_be_used(bdf: str, iommu: str) -> None:
    with VfioFunction(bdf, iommu=iommu) as function, Mapping.create(SIZE) as memory:
        for one in function.dma.iova_ranges:
            for iova in (one.first, one.last + 1 - SIZE):
                function.dma.map(Iova(iova), memory)
                function.dma.unmap(Iova(iova), SIZE)
