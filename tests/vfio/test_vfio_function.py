"""VfioFunction on a fake kernel: registers, doorbells, reset, end."""

from __future__ import annotations

import os
import select

import pytest

from tests.vfio.conftest import BDF
from tests.vfio.fake_kernel import HALF_BAR, MSIX_BAR, PAGE, PLAIN_BAR, VIRTIO_BAR, FakeKernel, Nic
from tests.vfio.fds import open_fds
from vfiodpa._native import ffi, lib
from vfiodpa.errors import DeviceError, StateError, Unsupported
from vfiodpa.memory import Mapping
from vfiodpa.pci.capabilities import capabilities
from vfiodpa.spec.pci import CapId, Command, ConfigHeader, Status
from vfiodpa.spec.vfio import PciIrq
from vfiodpa.vfio.domain import VfioDomain
from vfiodpa.vfio.function import VfioFunction
from vfiodpa.vfio.iommufd import Iommufd
from vfiodpa.vfio.type1 import Type1


def test_the_short_address_is_enough(nic: Nic) -> None:
    with VfioFunction("3B:00.2") as function:
        assert function.name == BDF


def test_configuration_space_by_registers(nic: Nic, iommu: str) -> None:
    with VfioFunction(BDF, iommu=iommu) as function:
        header = ConfigHeader(function.config)
        assert (header.vendor_id, header.device_id) == (0x1AF4, 0x1041)
        header.command = Command.MEMORY | Command.BUS_MASTER
        assert nic.peek(7, 4, 2) == Command.MEMORY | Command.BUS_MASTER
        assert [kind for _, kind in capabilities(function.config)] == [CapId.MSIX]


# BARs


def test_a_mapped_bar(nic: Nic) -> None:
    with VfioFunction(BDF) as function:
        bar = function.bar(VIRTIO_BAR)
        assert bar.length == 0x4000
        bar.write(0x1004, 32, 0x11223344)
        bar.write(0x1005, 8, 0xAA)
        bar.write(0x1006, 16, 0xBBCC)
        assert nic.peek(VIRTIO_BAR, 0x1004, 4) == 0xBBCCAA44
        assert [bar.read(0x1004, width) for width in (8, 16, 32)] == [0x44, 0xAA44, 0xBBCCAA44]
        assert function.bar(VIRTIO_BAR) is bar


def test_a_bar_that_cannot_be_mapped_goes_through_the_fd(nic: Nic) -> None:
    with VfioFunction(BDF) as function:
        bar = function.bar(PLAIN_BAR)
        assert bar.maps == []
        bar.write(0x10, 16, 0x1234)
        assert nic.peek(PLAIN_BAR, 0x10, 4) == 0x1234
        assert bar.read(0x10, 32) == 0x1234


def test_only_the_areas_that_the_kernel_names_are_mapped(nic: Nic) -> None:
    with VfioFunction(BDF) as function:
        bar = function.bar(HALF_BAR)
        assert [(m.area.offset, m.area.length) for m in bar.maps] == [(0, PAGE), (0x3000, PAGE)]
        assert bar.address(PAGE - 2, 4) is None, "it runs over the end of the mapped part"
        for offset in (0x10, 0x1010, 0x3FFC):  # mapped, not mapped, the last word
            bar.write(offset, 32, offset)
            assert nic.peek(HALF_BAR, offset, 4) == offset
            assert bar.read(offset, 32) == offset


def test_the_pages_of_the_msix_table_are_never_mapped(nic: Nic) -> None:
    with VfioFunction(BDF) as function:
        areas = [(m.area.offset, m.area.length) for m in function.bar(MSIX_BAR).maps]
        assert areas == [(0, PAGE), (2 * PAGE, PAGE)]


def test_a_large_msix_table_takes_all_its_pages(kernel: FakeKernel) -> None:
    kernel.add(Nic(BDF, group=7, vectors=300))  # 4800 bytes from 0x1000 on: two pages
    with VfioFunction(BDF) as function:
        assert [(m.area.offset, m.area.length) for m in function.bar(MSIX_BAR).maps] == [(0, PAGE)]


@pytest.mark.parametrize("index", [3, 5, 6, -1])
def test_a_bar_that_is_not_there(nic: Nic, index: int) -> None:
    with VfioFunction(BDF) as function, pytest.raises(DeviceError, match=f"BAR {index} is"):
        function.bar(index)


@pytest.mark.parametrize("bar", [VIRTIO_BAR, PLAIN_BAR])
@pytest.mark.parametrize(
    ("offset", "width", "error"),
    [(0x10, 64, ValueError), (2, 32, ValueError), (1, 16, ValueError), (-4, 32, IndexError), (0x4000, 8, IndexError)],
)
def test_an_access_that_no_register_has(nic: Nic, bar: int, offset: int, width: int, error: type[Exception]) -> None:
    with VfioFunction(BDF) as function:
        with pytest.raises(error):
            function.bar(bar).read(offset, width)
        with pytest.raises(error):
            function.bar(bar).write(offset, width, 0)


def test_a_value_that_does_not_fit(nic: Nic) -> None:
    with VfioFunction(BDF) as function, pytest.raises(ValueError, match="exceeds 8 bits"):
        function.bar(VIRTIO_BAR).write(0, 8, 0x100)


def test_a_register_that_stops_answering_is_an_error(nic: Nic) -> None:
    with VfioFunction(BDF) as function:
        bar = function.bar(VIRTIO_BAR)
        assert bar.read(0, 32) == 0
        os.ftruncate(nic.fd, 0)  # SIGBUS, as with Memory Space off
        for access in (lambda: bar.read(0, 32), lambda: bar.write(0, 16, 1)):
            with pytest.raises(DeviceError, match="Memory Space is off"):
                access()
        with pytest.raises(DeviceError, match="the kernel gave 0 bytes"):
            function.config.read(0, 16)


# Doorbells


@pytest.mark.parametrize(("width", "kind"), [(16, lib.VDP_DOORBELL_MMIO16), (32, lib.VDP_DOORBELL_MMIO32)])
def test_a_doorbell_for_c_threads(nic: Nic, width: int, kind: int) -> None:
    with VfioFunction(BDF) as function:
        bell = function.doorbell(VIRTIO_BAR, 0x3004, width, 7)
        assert bell.native.kind == kind
        assert lib.vdp_doorbell_ring(bell.native) == 0
        assert nic.peek(VIRTIO_BAR, 0x3004, 4) == 7


def test_a_doorbell_outside_the_mapped_part(nic: Nic) -> None:
    with VfioFunction(BDF) as function, pytest.raises(Unsupported, match="cannot be mapped"):
        function.doorbell(PLAIN_BAR, 0x10, 16, 0)


def test_the_page_of_a_doorbell(nic: Nic) -> None:
    with VfioFunction(BDF) as function:
        shared = function.doorbell_page(VIRTIO_BAR, 3 * PAGE)
        assert (shared.offset, shared.length) == ((VIRTIO_BAR << 40) + 3 * PAGE, PAGE)
        with Mapping(os.dup(shared.fd), shared.length, fd_offset=shared.offset) as page:
            bell = {"kind": lib.VDP_DOORBELL_MMIO16, "value": 5, "addr": ffi.cast("void *", page.address)}
            assert lib.vdp_doorbell_ring(ffi.new("struct vdp_doorbell *", bell)) == 0
        assert nic.peek(VIRTIO_BAR, 3 * PAGE, 2) == 5


@pytest.mark.parametrize(
    ("bar", "offset", "why"),
    [
        (VIRTIO_BAR, PAGE + 2, "no page's beginning"),
        (VIRTIO_BAR, 4 * PAGE, "cannot be mapped"),
        (HALF_BAR, PAGE, "cannot be mapped"),
        (MSIX_BAR, PAGE, "cannot be mapped.*MSI-X table"),
        (PLAIN_BAR, 0, "cannot be mapped"),
    ],
    ids=["within a page", "behind the BAR", "not mappable", "MSI-X table", "small BAR"],
)
def test_a_page_that_cannot_be_given_away(nic: Nic, bar: int, offset: int, why: str) -> None:
    with VfioFunction(BDF) as function, pytest.raises(Unsupported, match=why):
        function.doorbell_page(bar, offset)


def test_ioeventfd_is_bound_and_taken_back(nic: Nic) -> None:
    fd = os.eventfd(0)
    with VfioFunction(BDF) as function:
        function.ioeventfd(VIRTIO_BAR, 0x3004, 16, 1, fd)
        assert nic.bells == {((VIRTIO_BAR << 40) + 0x3004, 1, 2): fd}
        with pytest.raises(DeviceError, match=r"already bound.*EEXIST"):
            function.ioeventfd(VIRTIO_BAR, 0x3004, 16, 1, fd)
        function.ioeventfd(VIRTIO_BAR, 0x3004, 16, 1, None)
        assert nic.bells == {}
        with pytest.raises(DeviceError, match="not bound"):
            function.ioeventfd(VIRTIO_BAR, 0x3004, 16, 1, None)
    os.close(fd)


def test_a_kernel_without_ioeventfd_says_so(nic: Nic) -> None:
    nic.ioeventfd = False
    with VfioFunction(BDF) as function, pytest.raises(Unsupported, match="ENOTTY"):
        function.ioeventfd(VIRTIO_BAR, 0x3004, 16, 1, 0)


def test_an_ioeventfd_width_that_is_none(nic: Nic) -> None:
    with VfioFunction(BDF) as function, pytest.raises(Unsupported, match="64 bits"):
        function.ioeventfd(VIRTIO_BAR, 0x3000, 64, 1, 0)


# Reset, errors, end


def test_reset_takes_dma_vectors_and_doorbells(nic: Nic) -> None:
    fd = os.eventfd(0)
    with VfioFunction(BDF) as function:
        ConfigHeader(function.config).command = Command.MEMORY | Command.BUS_MASTER
        function.set_irq(1, fd)
        function.ioeventfd(VIRTIO_BAR, 0x3004, 16, 1, fd)
        function.reset()
        assert (nic.resets, nic.enabled, nic.bells) == (1, 0, {})
        assert nic.peek(7, 4, 2) == Command.MEMORY
        assert {index for index, _ in nic.fds} == {PciIrq.ERR, PciIrq.REQ}, "they stay armed"
        function.set_irq(1, fd)
    os.close(fd)


def test_a_function_without_reset_is_left_as_it_is(nic: Nic) -> None:
    nic.has_reset = False
    fd = os.eventfd(0)
    with VfioFunction(BDF) as function:
        function.set_irq(1, fd)
        with pytest.raises(Unsupported, match="cannot be reset"):
            function.reset()
        assert (PciIrq.MSIX, 1) in nic.fds
    os.close(fd)


def test_a_reset_that_fails(kernel: FakeKernel, nic: Nic) -> None:
    kernel.refuse["DEVICE_RESET"] = 5
    with VfioFunction(BDF) as function, pytest.raises(DeviceError, match="EIO"):
        function.reset()


@pytest.mark.parametrize(("irq", "name"), [(PciIrq.ERR, "error_event"), (PciIrq.REQ, "release_event")])
def test_errors_and_requests_become_events(nic: Nic, irq: PciIrq, name: str) -> None:
    with VfioFunction(BDF) as function:
        event: int = getattr(function, name)
        assert not select.select([event], [], [], 0)[0]
        os.eventfd_write(nic.fds[irq, 0], 1)  # as the kernel does
        assert select.select([event], [], [], 0)[0]


def test_a_function_without_error_interrupt(nic: Nic) -> None:
    nic.has_err = False
    with VfioFunction(BDF):
        assert {index for index, _ in nic.fds} == {PciIrq.REQ}


def test_diagnosis(nic: Nic) -> None:
    with VfioFunction(BDF) as function:
        assert function.diagnose() == "Bus Master is off, Memory Space is off"
        ConfigHeader(function.config).command = Command.MEMORY | Command.BUS_MASTER
        assert function.diagnose() == ""
        nic.poke(7, 6, 2, Status.CAPABILITIES | Status.RECEIVED_MASTER_ABORT)
        assert "RECEIVED_MASTER_ABORT" in function.diagnose()
        nic.poke(7, 0, 4, 0xFFFF_FFFF)
        assert "all ones" in function.diagnose()
        os.ftruncate(nic.fd, 0)
        assert "cannot be read" in function.diagnose()
    assert function.diagnose() == ""


def test_closing_leaves_the_device_quiet_and_nothing_open(kernel: FakeKernel, nic: Nic, iommu: str) -> None:
    before = len(open_fds())
    fd = os.eventfd(0)
    function = VfioFunction(BDF, iommu=iommu)
    ConfigHeader(function.config).command = Command.MEMORY | Command.BUS_MASTER
    function.set_irq(0, fd)
    function.ioeventfd(VIRTIO_BAR, 0x3004, 16, 1, fd)
    bar = function.bar(VIRTIO_BAR)
    mark = len(kernel.log)
    function.close()
    function.close()
    os.close(fd)
    assert kernel.log[mark:].index("DEVICE_IOEVENTFD") < kernel.log[mark:].index("DEVICE_SET_IRQS")
    assert nic.peek(7, 4, 2) == Command.MEMORY
    assert (nic.fds, nic.bells, nic.enabled) == ({}, {}, 0)
    assert len(open_fds()) == before + 1  # the fake's own look into the device
    for use in (lambda: function.bar(0), lambda: bar.read(0, 8), lambda: function.config.read(0, 8), function.reset):
        with pytest.raises(StateError, match="closed"):
            use()


def test_closing_a_function_that_is_gone(nic: Nic) -> None:
    function = VfioFunction(BDF)
    os.ftruncate(nic.fd, 0)
    function.close()


@pytest.mark.parametrize("name", ["DEVICE_GET_INFO", "DEVICE_GET_REGION_INFO", "DEVICE_GET_IRQ_INFO"])
def test_a_kernel_that_does_not_answer(kernel: FakeKernel, nic: Nic, name: str, iommu: str) -> None:
    kernel.refuse[name] = 19
    with pytest.raises(DeviceError, match="ENODEV"):
        VfioFunction(BDF, iommu=iommu)


# Handed in


def test_from_the_fd_of_a_character_device(kernel: FakeKernel, nic: Nic) -> None:
    device, iommufd = (os.open(kernel.root / "dev" / name, os.O_RDWR) for name in ("vfio/devices/vfio0", "iommu"))
    domain = VfioDomain(Iommufd(fd=iommufd))
    with VfioFunction.from_fds(BDF, device, domain) as function:
        assert ConfigHeader(function.config).vendor_id == 0x1AF4
        assert domain.iova_ranges
    domain.close()
    assert nic.bound


def test_from_the_fd_of_a_group(kernel: FakeKernel, nic: Nic) -> None:
    with VfioFunction(BDF, iommu="type1"):
        container = next(fd for fd in open_fds() if kernel.is_container(fd))
        device = kernel.open_device(nic)
        domain = VfioDomain(Type1(fd=os.dup(container)))
        with VfioFunction.from_fds(BDF, device, domain) as function:
            assert ConfigHeader(function.config).vendor_id == 0x1AF4
        domain.close()


def test_a_handed_in_fd_is_closed_when_it_cannot_be_used(kernel: FakeKernel, nic: Nic) -> None:
    kernel.refuse["DEVICE_ATTACH_IOMMUFD_PT"] = 98
    device = os.open(kernel.root / "dev/vfio/devices/vfio0", os.O_RDWR)
    domain = VfioDomain(Iommufd())
    with pytest.raises(DeviceError, match="EADDRINUSE"):
        VfioFunction.from_fds(BDF, device, domain)
    domain.close()
