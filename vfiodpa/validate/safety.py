"""Devices that are not to be validated: checks reset them, and send them what no driver would."""

from __future__ import annotations

from ..errors import StateError
from ..pci.device import PciDevice
from ..pci.host import Host
from ..pci.usage import default_route_interfaces, in_use, vfio_users


def check_free(host: Host, address: str) -> None:
    """Raise ``StateError`` when this machine, or a process, works with the function."""
    device = PciDevice.read(host, address)
    reasons = in_use(host, device) + [f"{user} has it open" for user in vfio_users(host, device)]
    if reasons:
        raise StateError("it is in use, and validation would break that", device=address, cause="; ".join(reasons))


def check_wire(host: Host, interface: str) -> None:
    """Raise ``StateError`` when the interface carries the machine's default route: frames are sent out of it."""
    if interface in default_route_interfaces(host):
        raise StateError("it carries the default route, and cannot be the wire's other end", device=interface)
