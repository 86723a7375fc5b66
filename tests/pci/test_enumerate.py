"""PCI functions of this machine, and of one made up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import pyudev

from tests.pci.fake_host import NIC, OTHER, FakeHost
from vfiodpa.pci.device import PciDevice
from vfiodpa.pci.enumerate import addresses, functions
from vfiodpa.pci.host import Host

ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


def test_entries_of_this_machine_are_well_formed() -> None:
    found = functions(Host())
    assert found == sorted(found, key=lambda device: device.address)
    for device in found:
        assert ADDRESS.fullmatch(device.address)
        assert 0 < device.vendor_id < 0xFFFF
        assert all(Path("/sys/class/net", name).exists() for name in device.interfaces)


def test_udev_and_sysfs_name_the_same_functions() -> None:
    assert addresses(Host()) == Host().names(Host().pci / "devices")


def test_a_machine_without_libudev_is_listed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError("No library named udev")

    before = addresses(Host())
    monkeypatch.setattr(pyudev, "Context", missing)
    assert addresses(Host()) == before


def test_what_is_wanted_by_address(host: FakeHost) -> None:
    host.add("0000:3b:00.1", ids=(0x8086, 0x1041), class_code=0x028000, driver="", group=1)
    host.add(OTHER, class_code=0x010802, group=2)
    host.add(NIC)
    assert [(d.address, d.driver) for d in functions(host)] == [
        (NIC, "virtio-pci"),
        (OTHER, "virtio-pci"),
        ("0000:3b:00.1", ""),
    ]
    assert [d.address for d in functions(host, lambda d: d.is_network)] == [NIC, "0000:3b:00.1"]


@pytest.mark.parametrize(
    ("vendor", "number", "virtio"),
    [(0x1AF4, 0x1000, True), (0x1AF4, 0x1041, True), (0x1AF4, 0x1042, False), (0x8086, 0x1041, False)],
)
def test_virtio_network_devices_by_their_ids(host: FakeHost, vendor: int, number: int, virtio: bool) -> None:
    host.add(ids=(vendor, number))
    assert PciDevice.read(host, NIC).is_virtio is virtio
