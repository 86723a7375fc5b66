"""IOMMU groups: functions that the hardware cannot keep apart go to one user together."""

from __future__ import annotations

from ..errors import NoDevice, Unsupported
from ..pci.iommu_group import HARMLESS_DRIVERS
from ..pci.sysfs import SysfsFunction


def foreign_members(function: SysfsFunction) -> list[SysfsFunction]:
    """Other members of the function's group that a host driver has."""
    others = [member for member in function.members if member.address != function.address]
    return [other for other in others if not other.has_vfio and other.driver not in HARMLESS_DRIVERS]


def check_members(function: SysfsFunction) -> None:
    """Raise ``NoDevice`` naming the members that keep the group from being used."""
    foreign = foreign_members(function)
    if not foreign:
        return
    raise NoDevice(
        f"its IOMMU group {function.group} is not viable",
        device=function.address,
        cause="; ".join(f"{member.address} belongs to {member.driver}" for member in foreign),
        remedy=" && ".join(f"vfiodpa bind {member.address}" for member in foreign),
    )


def check_ready(function: SysfsFunction, *, unsafe_noiommu: bool = False) -> None:
    """Raise what keeps a function from being opened: absent, no IOMMU, or another driver has it."""
    address = function.address
    if not function.exists:
        raise NoDevice("there is no such PCI function", device=address, remedy="vfiodpa list")
    if function.group is None or (function.is_noiommu and not unsafe_noiommu):
        raise Unsupported(
            "it is in no IOMMU group",
            device=address,
            cause="the IOMMU is off or absent",
            remedy="switch it on in the firmware (VT-d, AMD-Vi, SMMU) and with intel_iommu=on on the kernel's "
            "command line; in a VM, give it a virtual IOMMU",
        )
    if not function.has_vfio:
        driver = function.driver
        raise NoDevice(
            f"it is bound to {driver}, not to vfio-pci" if driver else "it is not bound to vfio-pci",
            device=address,
            remedy=f"vfiodpa bind {address}",
        )
