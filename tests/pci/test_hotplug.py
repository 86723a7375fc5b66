"""Hot-plug events, as udev hands them over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.pci.fake_host import NIC
from vfiodpa.pci.hotplug import Hotplug, HotplugEvent


class FakeMonitor:
    def __init__(self, *devices: Any) -> None:
        self.devices = list(devices)
        self.subsystem = ""
        self.started = False

    def filter_by(self, subsystem: str) -> None:
        self.subsystem = subsystem

    def start(self) -> None:
        self.started = True

    def poll(self, _timeout: float | None) -> Any:
        return self.devices.pop(0) if self.devices else None


def test_an_event_is_read_from_its_own_properties() -> None:
    words = {"PCI_ID": "1AF4:1041", "PCI_CLASS": "20000", "DRIVER": "vfio-pci"}
    monitor = FakeMonitor(SimpleNamespace(action="bind", sys_name=NIC, properties=words))
    hotplug = Hotplug(monitor)
    assert (monitor.subsystem, monitor.started) == ("pci", True)
    assert hotplug.poll() == HotplugEvent("bind", NIC, "1af4:1041", 0x20000, "vfio-pci")
    assert hotplug.poll(0) is None


def test_a_removal_tells_little() -> None:
    monitor = FakeMonitor(SimpleNamespace(action="remove", sys_name=NIC, properties={}))
    assert Hotplug(monitor).poll() == HotplugEvent("remove", NIC, "", 0, "")


def test_the_kernel_can_be_listened_to_without_udevd() -> None:
    assert Hotplug().poll(0) is None
