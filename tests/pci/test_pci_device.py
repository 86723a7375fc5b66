"""What is read of a function, its group, and what stands in its way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pci.fake_host import NIC, OTHER, FakeHost
from vfiodpa.errors import NoDevice, UsageError
from vfiodpa.pci.address import is_address, normalise
from vfiodpa.pci.device import PciDevice
from vfiodpa.pci.obstacles import obstacles


def test_normalise() -> None:
    assert normalise("3b:00.2") == normalise("0000:3B:00.2") == "0000:3b:00.2"
    assert normalise("10000:01:1f.7") == "10000:01:1f.7"


@pytest.mark.parametrize("text", ["", "soft", "3b:00", "3b:00.8", "3b:20.0", "000:3b:00.0", "3b:00.0 ", "eth0"])
def test_what_is_no_address(text: str) -> None:
    assert not is_address(text)
    with pytest.raises(UsageError, match="no PCI address"):
        normalise(text)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFF), st.integers(0, 0x1F), st.integers(0, 7))
def test_every_address_is_its_own_normal_form(domain: int, bus: int, slot: int, function: int) -> None:
    text = f"{domain:04x}:{bus:02x}:{slot:02x}.{function}"
    assert normalise(text) == normalise(text.upper()) == text


def test_a_function_is_read(host: FakeHost) -> None:
    path = host.add(interface="eth7")
    (path / "numa_node").write_text("1\n")
    device = PciDevice.read(host, NIC)
    assert (device.ids, device.driver, device.driver_override) == ("1af4:1041", "virtio-pci", "")
    assert (device.iommu_group, device.numa_node, device.interfaces) == (3, 1, ("eth7",))
    assert device.is_virtio
    assert device.is_network


def test_no_numa_node_and_no_group(host: FakeHost) -> None:
    host.add(group=None)
    device = PciDevice.read(host, NIC)
    assert (device.iommu_group, device.numa_node) == (None, None)


def test_sriov_parent_and_children(host: FakeHost) -> None:
    parent = host.add()
    (parent / "sriov_totalvfs").write_text("8\n")
    for number in (0, 10, 2):
        child = host.add(f"0000:00:1{number % 8}.{number % 7}", group=20 + number)
        (parent / f"virtfn{number}").symlink_to(child)
        (child / "physfn").symlink_to(parent)
    device = PciDevice.read(host, NIC)
    assert device.virtual_functions == ("0000:00:10.0", "0000:00:12.2", "0000:00:12.3")
    assert device.virtual_functions_max == 8
    assert PciDevice.read(host, "0000:00:10.0").physical_function == NIC


def test_absent(host: FakeHost) -> None:
    with pytest.raises(NoDevice):
        PciDevice.read(host, NIC)


def test_obstacles_name_what_mends_them(host: FakeHost) -> None:
    host.add(NIC)
    host.add(OTHER, driver="e1000e")
    found = {o.text: o.remedy for o in obstacles(host, PciDevice.read(host, NIC))}
    assert found == {
        "bound to virtio-pci": f"vfiodpa bind {NIC}",
        "group 3 also holds 0000:00:06.0 (e1000e)": f"vfiodpa bind --group {NIC}",
    }


def test_no_obstacles(host: FakeHost) -> None:
    host.add(driver="vfio-pci")
    assert obstacles(host, PciDevice.read(host, NIC)) == []
