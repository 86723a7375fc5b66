"""What stands between a PCI function and user space, and the command that moves it out of the way."""

from __future__ import annotations

from dataclasses import dataclass

from .device import PciDevice
from .host import Host
from .iommu_group import IommuGroup
from .usage import in_use

IOMMU_REMEDY = (
    "enable the IOMMU in the firmware (VT-d, AMD-Vi, SMMU), and on Intel boot with intel_iommu=on "
    "(in a VM: give it a virtual IOMMU)"
)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """``text`` is a phrase about the function; ``remedy`` a command or a change."""

    text: str
    remedy: str


def obstacles(host: Host, device: PciDevice) -> list[Obstacle]:
    """All of them, the worst first; none when the function can be opened."""
    found = [Obstacle(reason, "leave it to this machine") for reason in in_use(host, device)]
    if not device.has_iommu:
        found.append(Obstacle("no IOMMU group", IOMMU_REMEDY))
    if not device.on_vfio:
        bound = f"bound to {device.driver}" if device.driver else "bound to no driver"
        found.append(Obstacle(bound, f"vfiodpa bind {device.address}"))
    return found + group_obstacles(host, device)


def group_obstacles(host: Host, device: PciDevice) -> list[Obstacle]:
    """Other members of its IOMMU group that kernel drivers have."""
    if device.iommu_group is None:
        return []
    foreign = IommuGroup.read(host, device.iommu_group).foreign(device.address)
    remedy = f"vfiodpa bind --group {device.address}"
    text = f"group {device.iommu_group} also holds {', '.join(map(str, foreign))}"
    return [Obstacle(text, remedy)] if foreign else []
