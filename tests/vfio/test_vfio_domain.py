"""DMA domains: the same rules through iommufd and type1."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vfio.conftest import BDF
from tests.vfio.fake_kernel import RANGES, FakeKernel, Nic
from vfiodpa.errors import DeviceError, ExitCode, IommuError, LimitError, StateError, VfiodpaError
from vfiodpa.memory import PAGE_SIZE, Iova, Mapping
from vfiodpa.pci.function import IovaRange, Perm
from vfiodpa.spec.iommufd import MapFlag
from vfiodpa.vfio import memlock
from vfiodpa.vfio.domain import VfioDomain
from vfiodpa.vfio.function import VfioFunction
from vfiodpa.vfio.iommufd import Iommufd
from vfiodpa.vfio.type1 import Type1

SIZE = 0x10000
OTHER = "0000:3b:00.3"


@pytest.fixture
def function(nic: Nic, iommu: str) -> Iterator[VfioFunction]:
    with VfioFunction(BDF, iommu=iommu) as function:
        yield function


@pytest.fixture
def memory() -> Iterator[Mapping]:
    with Mapping.create(SIZE) as memory:
        yield memory


def maps(kernel: FakeKernel) -> dict[int, int]:
    return {iova: length for space in kernel.spaces for iova, (length, _) in space.maps.items()}


def test_ranges_come_from_the_kernel(function: VfioFunction) -> None:
    assert list(function.dma.iova_ranges) == [IovaRange(*pair) for pair in RANGES]


@pytest.mark.parametrize("iommu", ["type1"])
def test_type1_leaves_the_last_page_alone(kernel: FakeKernel, nic: Nic, iommu: str) -> None:
    """As a virtio-iommu has it: 64 bits, of which the kernel cannot unmap the last page."""
    kernel.ranges = [(0, 0xFEDF_FFFF), (0xFEF0_0000, 2**64 - 1)]
    with VfioFunction(BDF, iommu=iommu) as function:
        assert list(function.dma.iova_ranges) == [
            IovaRange(0, 0xFEDF_FFFF),
            IovaRange(0xFEF0_0000, 2**64 - PAGE_SIZE - 1),
        ]


def test_more_ranges_than_expected(kernel: FakeKernel, nic: Nic, iommu: str) -> None:
    kernel.ranges = [(i << 20, (i << 20) + 0xFFFF) for i in range(100)]
    with VfioFunction(BDF, iommu=iommu) as function:
        assert len(function.dma.iova_ranges) == 100


def test_map_and_unmap_go_one_to_one(kernel: FakeKernel, function: VfioFunction, memory: Mapping) -> None:
    function.dma.map(Iova(0x1000), memory, 0, 0x3000)
    function.dma.map(Iova(0x4000), memory, 0x3000)  # adjacent, in the file as well: still two
    assert maps(kernel) == {0x1000: 0x3000, 0x4000: SIZE - 0x3000}
    function.dma.unmap(Iova(0x1000), 0x3000)
    assert maps(kernel) == {0x4000: SIZE - 0x3000}
    assert list(function.dma.faults()) == []


def test_permissions_are_passed_on(kernel: FakeKernel, function: VfioFunction, memory: Mapping, iommu: str) -> None:
    function.dma.map(Iova(0), memory, perm=Perm.READ)
    flags = next(flags for space in kernel.spaces for _, flags in space.maps.values())
    assert flags == (MapFlag.FIXED_IOVA | MapFlag.READABLE if iommu == "iommufd" else 1)


@pytest.mark.parametrize(
    ("iova", "hole"),
    [(0xFEE0_0000, "0xfee00000-0xfeefffff"), (0xFEDF_F000, "0xfee00000-0xfeefffff"), (1 << 48, "everything from")],
)
def test_an_address_outside_the_ranges_names_the_hole(
    kernel: FakeKernel, function: VfioFunction, memory: Mapping, iova: int, hole: str
) -> None:
    with pytest.raises(IommuError, match=hole):
        function.dma.map(Iova(iova), memory)
    assert maps(kernel) == {}


def test_an_overlap_names_both(function: VfioFunction, memory: Mapping) -> None:
    function.dma.map(Iova(0x10000), memory)
    with pytest.raises(IommuError, match=r"cannot map \[0x1f000, 0x2efff\].*EEXIST: overlaps \[0x10000, 0x1ffff\]"):
        function.dma.map(Iova(0x1F000), memory)


@pytest.mark.parametrize(("iova", "offset", "length"), [(0x800, 0, 0x1000), (0, 0x10, 0x1000), (0, 0, 0x10)])
def test_whole_pages_only(function: VfioFunction, memory: Mapping, iova: int, offset: int, length: int) -> None:
    with pytest.raises(IommuError, match="whole pages"):
        function.dma.map(Iova(iova), memory, offset, length)


@pytest.mark.parametrize(("offset", "length"), [(0, SIZE + 0x1000), (SIZE, 0x1000), (-0x1000, 0x1000), (0, 0)])
def test_outside_the_memory(function: VfioFunction, memory: Mapping, offset: int, length: int) -> None:
    with pytest.raises(IommuError, match="not inside"):
        function.dma.map(Iova(0), memory, offset, length)


@pytest.mark.parametrize(("iova", "length"), [(0x1000, SIZE), (0, SIZE // 2), (0, 2 * SIZE)])
def test_only_what_was_mapped_is_unmapped(function: VfioFunction, memory: Mapping, iova: int, length: int) -> None:
    function.dma.map(Iova(0), memory)
    with pytest.raises(IommuError, match="ENOENT"):
        function.dma.unmap(Iova(iova), length)


# Limits


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[int]:
    """64 KiB of locked memory and no CAP_IPC_LOCK."""
    status = tmp_path / "status"
    status.write_text("Name:\tx\nCapEff:\t0000000000000000\n")
    monkeypatch.setattr(memlock, "STATUS", status)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (0x10000, 0x10000))
    yield 0x10000


@pytest.mark.usefixtures("limited")
def test_too_little_locked_memory_is_found_before_the_kernel_is_asked(
    kernel: FakeKernel, function: VfioFunction, memory: Mapping
) -> None:
    function.dma.map(Iova(0), memory)
    with pytest.raises(LimitError, match=r"68 KiB.*RLIMIT_MEMLOCK is 64 KiB.*ulimit -l 68 .*LimitMEMLOCK=68K") as info:
        function.dma.map(Iova(0x100000), memory, 0, 0x1000)
    assert info.value.exit_code == ExitCode.NO_PERMISSION
    assert list(maps(kernel)) == [0]
    function.dma.unmap(Iova(0), SIZE)
    function.dma.map(Iova(0x100000), memory, 0, 0x1000)


def test_the_exempt_are_not_limited(
    limited: int, function: VfioFunction, memory: Mapping, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "status").write_text("CapEff:\t0000000000004000\n")
    assert memlock.is_exempt()
    function.dma.map(Iova(0), memory)
    function.dma.map(Iova(0x100000), memory)


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        (errno.ENOMEM, LimitError, "ulimit -l 64"),
        (errno.ENOSPC, LimitError, "no map more"),
        (errno.EFAULT, IommuError, "shorter than the mapping"),
        (errno.EINVAL, IommuError, "EINVAL"),
        (errno.EEXIST, IommuError, "EEXIST"),
    ],
)
def test_the_kernels_refusal(
    kernel: FakeKernel, function: VfioFunction, memory: Mapping, code: int, kind: type[VfiodpaError], text: str
) -> None:
    kernel.refuse = {"IOAS_MAP": code, "IOAS_MAP_FILE": code, "IOMMU_MAP_DMA": code}
    with pytest.raises(kind, match=text):
        function.dma.map(Iova(0), memory)
    kernel.refuse.clear()
    function.dma.map(Iova(0), memory)


def test_an_unmap_that_the_kernel_refuses(kernel: FakeKernel, function: VfioFunction, memory: Mapping) -> None:
    function.dma.map(Iova(0), memory)
    kernel.refuse = {"IOAS_UNMAP": errno.EBUSY, "IOMMU_UNMAP_DMA": errno.EBUSY}
    with pytest.raises(IommuError, match="EBUSY"):
        function.dma.unmap(Iova(0), SIZE)
    kernel.refuse.clear()


def test_type1_counts_its_entries(kernel: FakeKernel, nic: Nic, memory: Mapping) -> None:
    kernel.dma_avail = 2
    with VfioFunction(BDF, iommu="type1") as function:
        for iova in (0, 0x100000):
            function.dma.map(Iova(iova), memory)
        with pytest.raises(LimitError, match=r"no map more: there are 2.*dma_entry_limit"):
            function.dma.map(Iova(0x200000), memory)


# By file


def test_iommufd_maps_the_file_where_it_can(kernel: FakeKernel, nic: Nic) -> None:
    fd = os.memfd_create("guest")
    os.ftruncate(fd, 3 * SIZE)
    with Mapping(fd, SIZE, fd_offset=SIZE) as memory, VfioFunction(BDF, iommu="iommufd") as function:
        function.dma.map(Iova(0), memory, 0x1000, 0x2000)
        assert kernel.spaces[0].by_file == [SIZE + 0x1000]
        assert "IOAS_MAP" not in kernel.log


def test_iommufd_maps_by_address_what_is_no_memfd(kernel: FakeKernel, nic: Nic, tmp_path: Path) -> None:
    path = tmp_path / "guest"
    path.write_bytes(bytes(SIZE))
    with Mapping(os.open(path, os.O_RDWR), SIZE) as memory, VfioFunction(BDF, iommu="iommufd") as function:
        function.dma.map(Iova(0), memory)
        assert kernel.log[-2:] == ["IOAS_MAP_FILE", "IOAS_MAP"]


def test_a_kernel_without_map_file_is_asked_once(kernel: FakeKernel, nic: Nic, memory: Mapping) -> None:
    kernel.map_file = False
    with VfioFunction(BDF, iommu="iommufd") as function:
        function.dma.map(Iova(0), memory)
        function.dma.map(Iova(0x100000), memory)
    assert kernel.log.count("IOAS_MAP_FILE") == 1


# Shared domains


@pytest.mark.parametrize("backend", [Iommufd, Type1])
@pytest.mark.parametrize("group", [7, 8])
def test_two_functions_of_one_guest(
    kernel: FakeKernel, nic: Nic, memory: Mapping, backend: type[Iommufd | Type1], group: int
) -> None:
    kernel.add(Nic(OTHER, group=group))
    domain = VfioDomain(backend("a test"))
    assert list(domain.iova_ranges) == []
    first = VfioFunction(BDF, domain)
    with VfioFunction(OTHER, domain):
        domain.map(Iova(0), memory)
        assert len(kernel.spaces) == 1
        first.close()
        assert maps(kernel) == {0: SIZE}, "the other still uses it"
    assert maps(kernel) == {0: SIZE}, "the maps are the guest's, not a function's"
    with VfioFunction(BDF, domain):
        domain.close()
    assert maps(kernel) == {}
    with pytest.raises(StateError, match="closed"):
        VfioFunction(BDF, domain)
    domain.close()


@pytest.mark.parametrize(
    ("backend", "refused"), [(Iommufd, "DEVICE_ATTACH_IOMMUFD_PT"), (Type1, "GROUP_SET_CONTAINER")]
)
def test_a_device_that_cannot_reach_what_is_mapped(
    kernel: FakeKernel, nic: Nic, memory: Mapping, backend: type[Iommufd | Type1], refused: str
) -> None:
    kernel.add(Nic(OTHER, group=8))
    domain = VfioDomain(backend("a test"))
    with VfioFunction(BDF, domain):
        domain.map(Iova(0), memory)
        kernel.refuse[refused] = errno.EADDRINUSE
        with pytest.raises(DeviceError, match="what is mapped already"):
            VfioFunction(OTHER, domain)
    domain.close()


def test_after_close_nothing_is_mapped(nic: Nic, memory: Mapping, iommu: str) -> None:
    function = VfioFunction(BDF, iommu=iommu)
    function.dma.map(Iova(0), memory)
    function.close()
    with pytest.raises(StateError, match="closed"):
        function.dma.map(Iova(0), memory)
