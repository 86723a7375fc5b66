"""PCI functions of this machine, by udev."""

from __future__ import annotations

from collections.abc import Callable

import pyudev

from ..errors import NoDevice
from .device import PciDevice
from .host import Host


def functions(host: Host, wanted: Callable[[PciDevice], bool] = lambda _device: True) -> list[PciDevice]:
    """All PCI functions that ``wanted`` says yes to, by address."""
    found = []
    for address in addresses(host):
        try:
            device = PciDevice.read(host, address)
        except NoDevice:
            continue  # it went away meanwhile
        if wanted(device):
            found.append(device)
    return found


def addresses(host: Host) -> list[str]:
    """Addresses of all functions. udev knows the machine's own sysfs only, and libudev may be missing."""
    if host.sysfs == Host.sysfs:
        try:
            return sorted(device.sys_name for device in pyudev.Context().list_devices(subsystem="pci"))
        except ImportError:
            pass  # pyudev without its library: the directory says the same
    return host.names(host.pci / "devices")
