"""PCI network functions of this machine, and of one made up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pyudev

from vfiodpa.errors import Unsupported
from vfiodpa.pci.enumerate import PciEntry, network_functions

ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


def test_entries_of_this_machine_are_well_formed() -> None:
    entries = network_functions()
    assert entries == sorted(entries, key=lambda entry: entry.address)
    for entry in entries:
        assert ADDRESS.fullmatch(entry.address)
        assert 0 < entry.vendor_id < 0xFFFF
        assert all(Path("/sys/class/net", name).exists() for name in entry.interfaces)


def device(sysfs: Path, name: str, ids: str, kind: str = "0x020000", driver: str | None = None) -> SimpleNamespace:
    """What pyudev says of a PCI function."""
    path = sysfs / name
    path.mkdir()
    vendor, _, number = ids.partition(":")
    attributes = {"class": kind.encode(), "vendor": f"0x{vendor}".encode(), "device": f"0x{number}".encode()}
    return SimpleNamespace(sys_path=str(path), sys_name=name, driver=driver, attributes=attributes)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[SimpleNamespace]]:
    devices: list[SimpleNamespace] = []

    class Context:
        def list_devices(self, **match: Any) -> list[SimpleNamespace]:
            assert match == {"subsystem": "pci"}
            return devices

    monkeypatch.setattr(pyudev, "Context", Context)
    yield devices


def test_network_controllers_of_all_kinds_by_address(machine: list[SimpleNamespace], tmp_path: Path) -> None:
    machine += [
        device(tmp_path, "0000:3b:00.1", "8086:1041", "0x028000"),
        device(tmp_path, "0000:00:1f.0", "8086:a0c8", "0x060100"),
        device(tmp_path, "0000:03:00.0", "1af4:1041", driver="virtio-pci"),
    ]
    assert [(e.address, e.driver) for e in network_functions()] == [
        ("0000:03:00.0", "virtio-pci"),
        ("0000:3b:00.1", ""),
    ]


def test_group_and_interfaces(machine: list[SimpleNamespace], tmp_path: Path) -> None:
    machine += [device(tmp_path, "0000:03:00.0", "1af4:1000")]
    path = tmp_path / "0000:03:00.0"
    (tmp_path / "groups/17").mkdir(parents=True)
    (path / "iommu_group").symlink_to(tmp_path / "groups/17")
    for name in ("eth1", "eth0"):
        (path / "net" / name).mkdir(parents=True)
    assert network_functions() == [PciEntry("0000:03:00.0", 0x1AF4, 0x1000, "", 17, ("eth0", "eth1"))]


@pytest.mark.parametrize(
    ("vendor", "number", "virtio"),
    [(0x1AF4, 0x1000, True), (0x1AF4, 0x1041, True), (0x1AF4, 0x1042, False), (0x8086, 0x1041, False)],
)
def test_virtio_network_devices_by_their_ids(vendor: int, number: int, virtio: bool) -> None:
    assert PciEntry("0000:00:00.0", vendor, number, "", None, ()).is_virtio is virtio


def test_a_machine_without_udev_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ImportError("No library named udev")

    monkeypatch.setattr(pyudev, "Context", missing)
    with pytest.raises(Unsupported, match="apt-get install libudev1"):
        network_functions()
