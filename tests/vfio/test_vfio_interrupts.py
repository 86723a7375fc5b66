"""MSI-X vectors through SET_IRQS, on kernels that can add vectors later and on those that cannot."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.vfio.conftest import BDF
from tests.vfio.fake_kernel import FakeKernel, Nic
from vfiodpa.errors import DeviceError, Unsupported, UsageError
from vfiodpa.spec.pci import Command, ConfigHeader
from vfiodpa.spec.vfio import PciIrq
from vfiodpa.vfio.function import VfioFunction


@pytest.fixture(params=[False, True], ids=["grows", "fixed"])
def nic(kernel: FakeKernel, request: pytest.FixtureRequest) -> Nic:
    return kernel.add(Nic(BDF, group=7, noresize=request.param))


@pytest.fixture
def fds() -> Iterator[list[int]]:
    made = [os.eventfd(0) for _ in range(4)]
    yield made
    for fd in made:
        os.close(fd)


def attached(nic: Nic) -> dict[int, int]:
    return {vector: fd for (index, vector), fd in nic.fds.items() if index == PciIrq.MSIX}


def test_each_vector_has_its_own_eventfd(nic: Nic, fds: list[int]) -> None:
    with VfioFunction(BDF) as function:
        assert function.vectors == 4
        for vector, fd in enumerate(fds):
            function.set_irq(vector, fd)
        assert attached(nic) == dict(enumerate(fds))


def test_a_change_leaves_the_others_alone(kernel: FakeKernel, nic: Nic, fds: list[int]) -> None:
    with VfioFunction(BDF) as function:
        function.set_irq(3, fds[3])
        function.set_irq(0, fds[0])
        before = kernel.log.count("DEVICE_SET_IRQS")
        function.set_irq(0, fds[1])
        function.set_irq(3, None)
        assert attached(nic) == {0: fds[1]}
        assert kernel.log.count("DEVICE_SET_IRQS") == before + 2, "one call each, for that vector only"


def test_detaching_what_was_not_attached_asks_nobody(kernel: FakeKernel, nic: Nic) -> None:
    with VfioFunction(BDF) as function:
        before = kernel.log.count("DEVICE_SET_IRQS")
        function.set_irq(2, None)
        assert kernel.log.count("DEVICE_SET_IRQS") == before


def test_msix_off_and_the_pin_masked_again(nic: Nic, fds: list[int]) -> None:
    with VfioFunction(BDF) as function:
        header = ConfigHeader(function.config)
        header.command = Command.MEMORY | Command.INTX_DISABLE
        function.set_irq(0, fds[0])
        function.msix_off()
        assert attached(nic) == {}
        assert header.command == Command.MEMORY | Command.INTX_DISABLE
        function.set_irq(1, fds[1])
        assert attached(nic) == {1: fds[1]}


def test_a_kernel_that_grows_gives_only_what_is_used(kernel: FakeKernel) -> None:
    nic = kernel.add(Nic(BDF, group=7, vectors=2048, free_vectors=8))
    fd = os.eventfd(0)
    with VfioFunction(BDF) as function:
        assert function.vectors == 2048
        assert nic.enabled == 0
        function.set_irq(5, fd)
        assert attached(nic) == {5: fd}
        with pytest.raises(Unsupported, match="no interrupt for MSI-X vector 9"):
            function.set_irq(9, fd)
    os.close(fd)


def test_a_kernel_with_fewer_vectors_says_how_many(kernel: FakeKernel) -> None:
    nic = kernel.add(Nic(BDF, group=7, vectors=16, free_vectors=3, noresize=True))
    with VfioFunction(BDF) as function:
        assert function.vectors == 3
        assert nic.enabled == 3


def test_a_vector_that_is_not_there(nic: Nic, fds: list[int]) -> None:
    with VfioFunction(BDF) as function, pytest.raises(UsageError, match="there are 4"):
        function.set_irq(4, fds[0])


def test_what_is_no_eventfd_is_named(nic: Nic) -> None:
    read, write = os.pipe()
    with VfioFunction(BDF) as function, pytest.raises(DeviceError, match=r"is no eventfd.*EINVAL"):
        function.set_irq(0, read)
    os.close(read)
    os.close(write)


@pytest.mark.parametrize("noresize", [False, True])
def test_a_kernel_that_refuses(kernel: FakeKernel, noresize: bool) -> None:
    kernel.add(Nic(BDF, group=7, noresize=noresize))
    kernel.refuse["DEVICE_SET_IRQS"] = 12
    with pytest.raises(DeviceError, match=r"cannot switch MSI-X on.*ENOMEM"), VfioFunction(BDF) as function:
        function.set_irq(0, 0)


def test_a_function_without_vectors(kernel: FakeKernel) -> None:
    kernel.add(Nic(BDF, group=7, vectors=0))
    with VfioFunction(BDF) as function:
        assert function.vectors == 0
        with pytest.raises(UsageError, match="there are 0"):
            function.set_irq(0, 0)
