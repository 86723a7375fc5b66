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


def network_functions(host: Host) -> list[PciDevice]:
    """All PCI network controllers, by address."""
    return functions(host, lambda device: device.is_network)


def addresses(host: Host) -> list[str]:
    """Addresses of all functions. udev knows the machine's own sysfs only; any other tree is listed."""
    if host.sysfs != Host.sysfs:
        return host.names(host.pci / "devices")
    return sorted(device.sys_name for device in pyudev.Context().list_devices(subsystem="pci"))
