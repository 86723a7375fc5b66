"""What VFIO itself does: the choice of back end, regions, interrupts, shared domains."""

from __future__ import annotations

import os
import select
from pathlib import Path

import pytest

from hwtests.footprint import footprint, settled
from hwtests.vfio.binding import PCI
from vfiodpa.errors import DeviceError, Unsupported
from vfiodpa.memory import Iova, Mapping
from vfiodpa.pci.capabilities import capabilities, read_layout
from vfiodpa.spec import vfio
from vfiodpa.spec.pci import CapId, ConfigHeader, MsixCap
from vfiodpa.vfio.choice import choose, iommufd_obstacle
from vfiodpa.vfio.domain import VfioDomain
from vfiodpa.vfio.function import VfioFunction
from vfiodpa.vfio.iommufd import Iommufd
from vfiodpa.vfio.nodes import read_function
from vfiodpa.vfio.regions import read_region

SIZE = 1 << 20
CYCLES = 20


def test_auto_says_what_it_took_and_why(bdf: str) -> None:
    with VfioFunction(bdf) as function:
        if iommufd_obstacle(read_function(bdf)):
            assert (function.dma.kind, function.dma.reason[:12]) == ("type1", "not iommufd:")
        else:
            assert function.dma.kind == "iommufd"


def test_ids_agree_with_sysfs(bdf: str, iommu: str) -> None:
    with VfioFunction(bdf, iommu=iommu) as function:
        header = ConfigHeader(function.config)
        path = PCI / "devices" / bdf
        assert header.vendor_id == int((path / "vendor").read_text(), 16)
        assert header.device_id == int((path / "device").read_text(), 16)


def test_the_msix_table_is_never_mapped(bdf: str, iommu: str) -> None:
    with VfioFunction(bdf, iommu=iommu) as function:
        at = next(at for at, kind in capabilities(function.config) if kind == CapId.MSIX)
        cap = read_layout(function.config, at, MsixCap)
        assert cap.vectors == function.vectors
        bar = function.bar(cap.table & 7)
        table = cap.table & ~7
        for offset in (table, table + 16 * cap.vectors - 4):
            assert bar.address(offset, 4) is None
        assert read_region(function._fd, cap.table & 7, bdf).length == bar.length


def test_registers_with_memory_space_off_are_an_error_not_the_end(bdf: str, iommu: str) -> None:
    with VfioFunction(bdf, iommu=iommu) as function:
        header = ConfigHeader(function.config)
        lengths = [read_region(function._fd, index, bdf).length for index in range(6)]
        bars = [function.bar(index) for index, length in enumerate(lengths) if length]
        bar = next(bar for bar in bars if bar.maps)
        mapped = bar.maps[0].area.offset
        header.command = header.command & ~2
        with pytest.raises(DeviceError, match="Memory Space is off"):
            bar.read(mapped, 32)
        header.command = header.command | 2
        bar.read(mapped, 32)


def test_all_vectors_one_after_the_other(bdf: str, iommu: str) -> None:
    """Each is attached, exchanged and detached; /proc/interrupts shows who is there."""
    with VfioFunction(bdf, iommu=iommu) as function:
        fds = [os.eventfd(0) for _ in range(function.vectors)]
        for vector, fd in enumerate(fds):
            function.set_irq(vector, fd)
        assert shown(bdf) == set(range(function.vectors))
        for vector in range(0, function.vectors, 2):
            function.set_irq(vector, None)
        assert shown(bdf) == set(range(1, function.vectors, 2))
        for vector in range(function.vectors):
            function.set_irq(vector, fds[0])
        assert shown(bdf) == set(range(function.vectors))
        for fd in fds:
            os.close(fd)
    assert shown(bdf) == set()


def shown(bdf: str) -> set[int]:
    """Vectors of the function that the kernel has a handler for."""
    lines = Path("/proc/interrupts").read_text().splitlines()
    return {int(line.split("vfio-msix[")[1].split("]")[0]) for line in lines if f"]({bdf})" in line and "msix" in line}


def test_a_pipe_is_no_eventfd(bdf: str, iommu: str) -> None:
    read, write = os.pipe()
    with VfioFunction(bdf, iommu=iommu) as function, pytest.raises(DeviceError, match=r"no eventfd.*EINVAL"):
        function.set_irq(0, write)
    os.close(read)
    os.close(write)


def test_the_release_interrupt_is_armed(bdf: str, iommu: str) -> None:
    """Set off by hand: SET_IRQS with a count and no data signals the eventfd."""
    with VfioFunction(bdf, iommu=iommu) as function:
        flags = vfio.IrqAction.DATA_NONE | vfio.IrqAction.TRIGGER
        fire = vfio.IrqSet(argsz=vfio.IrqSet.size, flags=flags, index=vfio.PciIrq.REQ, count=1)
        vfio.DEVICE_SET_IRQS(function._fd, fire)
        assert select.select([function.release_event], [], [], 1)[0]


def test_a_reset_or_a_word_why_not(bdf: str, iommu: str) -> None:
    with VfioFunction(bdf, iommu=iommu) as function:
        resettable = (PCI / "devices" / bdf / "reset").exists()
        if resettable:
            function.reset()
        else:
            with pytest.raises(Unsupported, match="cannot be reset"):
                function.reset()


def test_a_domain_outlives_its_functions(bdf: str, iommu: str) -> None:
    domain = VfioDomain(choose(iommu, read_function(bdf)))
    with Mapping.create(SIZE) as memory:
        for _ in range(3):
            with VfioFunction(bdf, domain):
                if not domain._maps:
                    domain.map(Iova(0), memory)
        domain.unmap(Iova(0), SIZE)
        domain.close()


def test_two_functions_in_one_domain(bdf: str, iommu: str) -> None:
    others = [a for a in os.environ.get("VFIODPA_RIG_NICS", "").split(",") if a and a != bdf]
    if not others:
        pytest.skip("only one NIC is bound to vfio-pci")
    domain = VfioDomain(choose(iommu, read_function(bdf)))
    with Mapping.create(SIZE) as memory, VfioFunction(bdf, domain), VfioFunction(others[0], domain) as other:
        assert other.dma is domain
        domain.map(Iova(0), memory)
        domain.unmap(Iova(0), SIZE)
    domain.close()


def test_handed_in_by_its_fds(bdf: str) -> None:
    cdev = read_function(bdf).vfio_device
    if iommufd_obstacle(read_function(bdf)):
        pytest.skip("no iommufd here")
    device, iommufd = (os.open(path, os.O_RDWR) for path in (f"/dev/vfio/devices/{cdev}", "/dev/iommu"))
    domain = VfioDomain(Iommufd(fd=iommufd))
    with VfioFunction.from_fds(bdf, device, domain) as function, Mapping.create(SIZE) as memory:
        function.dma.map(Iova(0), memory)
        assert ConfigHeader(function.config).vendor_id != 0xFFFF
    domain.close()


def test_cycles_leave_nothing_behind(bdf: str, iommu: str) -> None:
    def cycle() -> None:
        fd = os.eventfd(0)
        with VfioFunction(bdf, iommu=iommu) as function, Mapping.create(SIZE) as memory:
            function.dma.map(Iova(0), memory)
            function.set_irq(0, fd)
            function.bar(next(i for i in range(6) if read_region(function._fd, i, bdf).length))
        os.close(fd)

    cycle()
    before = footprint()
    for _ in range(CYCLES):
        cycle()
    assert settled(before) == before
