"""What keeps a function from being opened: each its own error, with the command that mends it and an exit code."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from tests.vfio.conftest import BDF
from tests.vfio.fake_kernel import FakeKernel, Nic
from vfiodpa.errors import ExitCode, LimitError, NoDevice, Unsupported, UsageError, VfiodpaError
from vfiodpa.memory import Iova, Mapping
from vfiodpa.pci.address import is_address, normalise
from vfiodpa.spec.pci import ConfigHeader
from vfiodpa.vdpa.devices import Access, open_function
from vfiodpa.vfio import nodes
from vfiodpa.vfio.function import VfioFunction

GROUP_NODE, CDEV_NODE = "vfio/7", "vfio/devices/vfio0"


def refusal(iommu: str = "auto", *, unsafe: bool = False) -> VfiodpaError:
    with pytest.raises(VfiodpaError) as info:
        VfioFunction(BDF, iommu=iommu, unsafe_noiommu=unsafe)
    assert info.value.device == BDF or info.value.device == ""
    return info.value


def test_addresses() -> None:
    assert normalise("3B:00.2") == BDF
    assert normalise(BDF) == BDF
    assert is_address("00:1f.7")
    for text in ("soft", "3b:00", "3b:00.8", "0000:3b:00.2x", "g0:00.0"):
        assert not is_address(text)
        with pytest.raises(UsageError, match="no PCI address"):
            normalise(text)


def test_the_device_registry_opens_pci_addresses(nic: Nic) -> None:
    with open_function("3b:00.2", access=Access("type1")) as function:
        assert function.dma.kind == "type1"


def test_absent(kernel: FakeKernel) -> None:
    error = refusal()
    assert "no such PCI function" in str(error)
    assert error.exit_code == ExitCode.NO_DEVICE


@pytest.mark.parametrize(("driver", "text"), [("virtio-pci", "bound to virtio-pci, not"), ("", "not bound to vfio")])
def test_not_bound(kernel: FakeKernel, driver: str, text: str) -> None:
    kernel.add(Nic(BDF, group=7), driver=driver)
    error = refusal()
    assert text in str(error)
    assert error.remedy == f"vfiodpa bind {BDF}"
    assert error.exit_code == ExitCode.NO_DEVICE


def test_no_iommu(kernel: FakeKernel, nic: Nic) -> None:
    (kernel.root / "sys/bus/pci/devices" / BDF / "iommu_group").unlink()
    error = refusal()
    assert isinstance(error, Unsupported)
    assert "in no IOMMU group" in str(error)
    assert "intel_iommu=on" in error.remedy


def test_group_not_viable(kernel: FakeKernel, nic: Nic, iommu: str) -> None:
    kernel.add(Nic("0000:3b:00.0", group=7), driver="mlx5_core")
    kernel.add(Nic("0000:3a:00.0", group=7), driver="")
    error = refusal(iommu)
    assert isinstance(error, NoDevice)
    assert error.what == "its IOMMU group 7 is not viable"
    assert error.cause == "0000:3b:00.0 belongs to mlx5_core"
    assert error.remedy == "vfiodpa bind 0000:3b:00.0"


@pytest.mark.parametrize("node", ["vfio/vfio", GROUP_NODE, "iommu", CDEV_NODE])
def test_no_permission(kernel: FakeKernel, nic: Nic, node: str) -> None:
    kernel.open_errors[node] = errno.EACCES
    error = refusal("type1" if node in ("vfio/vfio", GROUP_NODE) else "iommufd")
    assert isinstance(error, LimitError)
    assert error.exit_code == ExitCode.NO_PERMISSION
    assert f"dev/{node}" in error.what
    assert "EACCES" in error.cause
    assert "chown" in error.remedy


def test_in_use_by_a_group(kernel: FakeKernel, nic: Nic) -> None:
    kernel.open_errors[GROUP_NODE] = errno.EBUSY
    error = refusal("type1")
    assert isinstance(error, nodes.InUse)
    assert "in use by another process" in error.what
    assert "fuser" in error.remedy


def test_a_group_of_somebody_unseen_or_interrupts_that_are_not_remapped(kernel: FakeKernel, nic: Nic) -> None:
    kernel.refuse["DEVICE_BIND_IOMMUFD"] = errno.EPERM
    assert "interrupts are not remapped" in str(refusal("iommufd"))


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EBUSY])
def test_in_use_through_iommufd(kernel: FakeKernel, nic: Nic, code: int) -> None:
    kernel.refuse["DEVICE_BIND_IOMMUFD"] = code
    assert isinstance(refusal("iommufd"), nodes.InUse)


def test_in_use_names_the_process(
    kernel: FakeKernel, nic: Nic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.open_errors[GROUP_NODE] = errno.EBUSY
    for pid, name, path in ((42, "qemu", f"dev/{GROUP_NODE}"), (43, "sh", "dev/tty")):
        fds = tmp_path / f"proc/{pid}/fd"
        fds.mkdir(parents=True)
        (fds / "3").symlink_to(tmp_path / path)
        (fds.parent / "comm").write_text(name + "\n")
    monkeypatch.setattr(nodes, "HOST", replace(nodes.HOST, proc=tmp_path / "proc"))
    assert refusal("type1").what == "it is in use by process 42 (qemu)"


def test_bind_refused_for_another_reason(kernel: FakeKernel, nic: Nic) -> None:
    kernel.refuse["DEVICE_BIND_IOMMUFD"] = errno.ENODEV
    assert "cannot bind it to iommufd (ENODEV" in str(refusal("iommufd"))


def test_no_iommufd_where_it_is_asked_for(kernel: FakeKernel, nic: Nic) -> None:
    (kernel.root / "dev/iommu").unlink()
    error = refusal("iommufd")
    assert error.exit_code == ExitCode.UNSUPPORTED
    assert "--iommu type1" in error.remedy


def test_no_character_device_where_it_is_asked_for(kernel: FakeKernel, nic: Nic) -> None:
    (kernel.root / "sys/bus/pci/devices" / BDF / "vfio-dev/vfio0").rmdir()
    assert "no VFIO character device" in refusal("iommufd").what


def test_no_node_of_the_character_device(kernel: FakeKernel, nic: Nic) -> None:
    (kernel.root / "dev" / CDEV_NODE).unlink()
    assert "udevadm settle" in refusal("iommufd").remedy


def test_a_kernel_without_type1(kernel: FakeKernel, nic: Nic) -> None:
    kernel.has_type1 = False
    assert "modprobe vfio_iommu_type1" in refusal("type1").remedy


def test_an_address_space_that_cannot_be_had(kernel: FakeKernel, nic: Nic) -> None:
    kernel.refuse["IOAS_ALLOC"] = errno.ENOMEM
    assert "no I/O address space" in refusal("iommufd").what


def test_a_device_that_the_group_does_not_hand_out(kernel: FakeKernel, nic: Nic) -> None:
    kernel.refuse["GROUP_GET_DEVICE_FD"] = errno.EPERM  # for example a VF whose token is not given
    assert "does not hand it out" in refusal("type1").what


def test_a_container_that_does_not_take_the_group(kernel: FakeKernel, nic: Nic) -> None:
    kernel.refuse["SET_IOMMU"] = errno.EPERM
    assert "group 7 cannot join the container" in refusal("type1").what


# Choice


def test_auto_takes_iommufd(nic: Nic) -> None:
    with VfioFunction(BDF) as function:
        assert function.dma.kind == "iommufd"
        assert "character device" in function.dma.reason
        assert function.dma.isolates


@pytest.mark.parametrize(
    ("obstacle", "reason"),
    [("iommu", "cannot open"), (CDEV_NODE, "there is no"), ("permission", "cannot open"), ("cdev", "no VFIO char")],
)
def test_auto_falls_back_to_type1_and_says_why(kernel: FakeKernel, nic: Nic, obstacle: str, reason: str) -> None:
    if obstacle == "permission":
        kernel.open_errors["iommu"] = errno.EACCES
    elif obstacle == "cdev":
        (kernel.root / "sys/bus/pci/devices" / BDF / "vfio-dev/vfio0").rmdir()
    else:
        (kernel.root / "dev" / obstacle).unlink()
    with VfioFunction(BDF) as function:
        assert function.dma.kind == "type1"
        assert function.dma.reason.startswith("not iommufd: ")
        assert reason in function.dma.reason


def test_an_unknown_way(nic: Nic) -> None:
    with pytest.raises(UsageError, match="auto, iommufd or type1"):
        VfioFunction(BDF, iommu="type2")


# No IOMMU


@pytest.fixture
def noiommu(kernel: FakeKernel, nic: Nic) -> Nic:
    (kernel.root / "sys/kernel/iommu_groups/7/name").write_text("vfio-noiommu\n")
    (kernel.root / "dev/vfio/7").rename(kernel.root / "dev/vfio/noiommu-7")
    return nic


def test_no_iommu_is_never_used_unasked(noiommu: Nic) -> None:
    assert "in no IOMMU group" in refusal().what


def test_no_iommu_when_asked_for(noiommu: Nic) -> None:
    with VfioFunction(BDF, unsafe_noiommu=True) as function, Mapping.create(0x1000) as memory:
        assert function.dma.kind == "noiommu"
        assert not function.dma.isolates
        assert list(function.dma.iova_ranges) == []
        assert ConfigHeader(function.config).vendor_id == 0x1AF4
        with pytest.raises(Unsupported, match="there is no IOMMU"):
            function.dma.map(Iova(0), memory)


def test_an_iommu_is_used_also_when_none_would_do(nic: Nic) -> None:
    with VfioFunction(BDF, unsafe_noiommu=True) as function:
        assert function.dma.isolates
