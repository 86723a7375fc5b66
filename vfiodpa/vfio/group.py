"""IOMMU groups: functions that the hardware cannot keep apart go to one user together."""

from __future__ import annotations

from ..errors import NoDevice, Unsupported
from ..pci.device import PciDevice
from ..pci.obstacles import IOMMU_REMEDY
from .nodes import read_group


def check_members(function: PciDevice) -> None:
    """Raise ``NoDevice`` naming the members that keep the group from being used."""
    number = function.iommu_group
    foreign = () if number is None else read_group(number).foreign(function.address)
    if not foreign:
        return
    raise NoDevice(
        f"its IOMMU group {number} is not viable",
        device=function.address,
        cause="; ".join(f"{member.name} belongs to {member.driver}" for member in foreign),
        remedy=" && ".join(f"vfiodpa bind {member.name}" for member in foreign),
    )


def check_ready(function: PciDevice, *, unsafe_noiommu: bool = False) -> None:
    """Raise what keeps a function from being opened: no IOMMU, or another driver has it."""
    address = function.address
    if not function.has_iommu and not (function.is_noiommu and unsafe_noiommu):
        raise Unsupported(
            "it is in no IOMMU group",
            device=address,
            cause="the IOMMU is off or absent",
            remedy=IOMMU_REMEDY,
        )
    if not function.on_vfio:
        driver = function.driver
        raise NoDevice(
            f"it is bound to {driver}, not to vfio-pci" if driver else "it is not bound to vfio-pci",
            device=address,
            remedy=f"vfiodpa bind {address}",
        )
