"""What keeps a function from being used: each its own error, from the real kernel."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from hwtests.vfio.binding import bound
from hwtests.vfio.child import Child, in_child
from hwtests.vfio.server import Server
from vfiodpa.errors import ExitCode, LimitError, NoDevice, Unsupported, VfiodpaError
from vfiodpa.memory import Iova, Mapping
from vfiodpa.vfio import memlock
from vfiodpa.vfio.choice import iommufd_obstacle
from vfiodpa.vfio.function import VfioFunction
from vfiodpa.vfio.nodes import InUse, read_function

NOBODY = 65534
SIZE = 1 << 20


def refusal(bdf: str, iommu: str = "auto") -> VfiodpaError:
    with pytest.raises(VfiodpaError) as info, VfioFunction(bdf, iommu=iommu):
        pass
    return info.value


def test_absent() -> None:
    error = refusal("ffff:ff:1f.7")
    assert isinstance(error, NoDevice)
    assert "no such PCI function" in error.what


@pytest.mark.parametrize(("driver", "text"), [("virtio-pci", "bound to virtio-pci, not"), ("", "is not bound")])
def test_not_bound(bdf: str, driver: str, text: str) -> None:
    with bound(bdf, driver):
        error = refusal(bdf)
    assert text in error.what
    assert error.remedy == f"vfiodpa bind {bdf}"
    assert error.exit_code == ExitCode.NO_DEVICE
    with VfioFunction(bdf) as function:  # and back
        assert function.name == bdf


@pytest.mark.parametrize("driver", ["virtio-pci", ""])
def test_serve_refuses_what_is_not_bound(bdf: str, driver: str, directory: Path) -> None:
    with bound(bdf, driver), Server(bdf, "auto", directory / "s") as server:
        assert server.status() == ExitCode.NO_DEVICE
        assert not server.socket.exists()


@pytest.mark.parametrize("holder", ["iommufd", "type1"])
def test_in_use_by_another_process(bdf: str, iommu: str, holder: str) -> None:
    if holder == "iommufd" and (obstacle := iommufd_obstacle(read_function(bdf))):
        pytest.skip(f"no iommufd here: {obstacle.what}")  # kernel 6.1 names the device, but has no node for it

    def hold(tell: Callable[[object], None]) -> None:
        with VfioFunction(bdf, iommu=holder):
            tell("open")
            signal.pause()

    with Child(hold) as child:
        assert child.next() == "open"
        error = refusal(bdf, iommu)
        assert isinstance(error, InUse)
        if holder == iommu:
            assert f"process {child.process.pid}" in error.what
    with VfioFunction(bdf, iommu=iommu):  # the kernel cleaned up behind the killed one
        pass


def test_in_use_by_ourselves(bdf: str, iommu: str) -> None:
    with VfioFunction(bdf, iommu=iommu):
        assert isinstance(refusal(bdf, iommu), InUse)


def test_no_permission(bdf: str, iommu: str) -> None:
    def try_it() -> None:
        os.setuid(NOBODY)
        VfioFunction(bdf, iommu=iommu)

    with pytest.raises(LimitError, match=r"cannot open /dev/|no permission") as info:
        in_child(try_it)
    assert "chown" in info.value.remedy


@pytest.mark.parametrize("ask_first", [True, False], ids=["before", "by the kernel"])
def test_too_little_locked_memory(bdf: str, iommu: str, ask_first: bool) -> None:
    """Found before the kernel is asked, and understood when the kernel says it."""

    def map_it() -> None:
        with VfioFunction(bdf, iommu=iommu) as function, Mapping.create(SIZE) as memory:
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (SIZE // 2, SIZE // 2))
            os.setuid(NOBODY)  # CAP_IPC_LOCK goes with root
            if not ask_first:
                memlock.is_exempt = lambda: True
            function.dma.map(Iova(0), memory, 0, SIZE // 4)
            function.dma.map(Iova(SIZE), memory)

    with pytest.raises(LimitError, match=r"needs 1280 KiB of locked memory.*RLIMIT_MEMLOCK is 512 KiB") as info:
        in_child(map_it)
    assert info.value.remedy.startswith("ulimit -l 1280")
    assert ("ENOMEM" in info.value.cause) is not ask_first


def test_a_group_with_a_foreign_member(iommu: str) -> None:
    address, other = shared_group()
    with bound(address, "vfio-pci"), bound(other, "virtio-pci"):
        error = refusal(address, iommu)
        assert isinstance(error, NoDevice)
        assert "is not viable" in error.what
        assert error.cause == f"{other} belongs to virtio-pci"
        assert error.remedy == f"vfiodpa bind {other}"
    with bound(address, "vfio-pci"), bound(other, ""), VfioFunction(address, iommu=iommu) as function:
        assert function.name == address


def shared_group() -> tuple[str, str]:
    """Two virtio NICs of one IOMMU group, that nobody needs."""
    for group in Path("/sys/kernel/iommu_groups").glob("*/devices"):
        members = [entry.name for entry in sorted(group.iterdir()) if (entry / "device").read_text() == "0x1041\n"]
        if len(members) > 1:
            return members[0], members[1]
    pytest.skip("no two virtio NICs share an IOMMU group (in the rig: NICs behind a pcie-pci-bridge)")


def test_a_machine_without_an_iommu_is_no_place(bdf: str) -> None:
    if read_function(bdf).has_iommu:
        pytest.skip("this machine has an IOMMU")
    assert isinstance(refusal(bdf), Unsupported)
