"""Memory given to the device, and taken back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vfiodpa.errors import IommuError, VfiodpaError
from vfiodpa.memory import PAGE_SIZE, Iova, Mapping
from vfiodpa.pci.function import PciFunction, Perm

SIZE = 2 << 20


@pytest.fixture
def memory() -> Iterator[Mapping]:
    with Mapping.create(SIZE) as made:
        yield made


@pytest.fixture
def iova(function: PciFunction) -> Iova:
    """An address that can be mapped, with room behind it."""
    return next(Iova(-(-r.first // SIZE) * SIZE) for r in function.dma.iova_ranges if r.last - r.first > 8 * SIZE)


def test_map_and_unmap_again_and_again(function: PciFunction, memory: Mapping, iova: Iova) -> None:
    for _ in range(20):
        function.dma.map(iova, memory)
        function.dma.unmap(iova, SIZE)


def test_parts_of_a_memory_at_other_places(function: PciFunction, memory: Mapping, iova: Iova) -> None:
    high = Iova(iova + 4 * SIZE)
    function.dma.map(iova, memory, 0, PAGE_SIZE, Perm.READ)
    function.dma.map(high, memory, PAGE_SIZE, SIZE - PAGE_SIZE)
    function.dma.unmap(iova, PAGE_SIZE)
    function.dma.unmap(high, SIZE - PAGE_SIZE)


def test_overlap_is_refused_and_leaves_the_first(function: PciFunction, memory: Mapping, iova: Iova) -> None:
    function.dma.map(iova, memory)
    with Mapping.create(SIZE) as other, pytest.raises(IommuError):
        function.dma.map(Iova(iova + PAGE_SIZE), other, 0, PAGE_SIZE)
    function.dma.unmap(iova, SIZE)


def test_addresses_beyond_the_iommu_are_refused(function: PciFunction, memory: Mapping) -> None:
    last = max(r.last for r in function.dma.iova_ranges)
    if last + 1 + SIZE >= 1 << 64:
        pytest.skip("this IOMMU takes every 64-bit address")
    with pytest.raises(IommuError):
        function.dma.map(Iova(last + 1), memory)


def test_a_hole_between_ranges_is_refused(function: PciFunction, memory: Mapping) -> None:
    ranges = sorted(function.dma.iova_ranges, key=lambda r: r.first)
    if len(ranges) < 2:
        pytest.skip("this IOMMU has one range without a hole")
    with pytest.raises(IommuError):
        function.dma.map(Iova(ranges[0].last + 1), memory, 0, PAGE_SIZE)


def test_unmapping_what_is_not_mapped(function: PciFunction, iova: Iova) -> None:
    with pytest.raises(VfiodpaError):
        function.dma.unmap(iova, SIZE)


def test_close_gives_everything_back(function: PciFunction, memory: Mapping, iova: Iova) -> None:
    function.dma.map(iova, memory)
    function.close()
    function.close()
