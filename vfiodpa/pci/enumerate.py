"""PCI network functions of this machine, by udev."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyudev

from ..errors import Unsupported
from ..spec.virtio_pci import DEVICE_TYPE_NET, MODERN_ID_BASE, TRANSITIONAL_NET, VENDOR_ID

NETWORK_CLASS = 0x02


@dataclass(frozen=True, slots=True)
class PciEntry:
    """One PCI function as the kernel shows it."""

    address: str
    vendor_id: int
    device_id: int
    driver: str  # empty: none
    iommu_group: int | None
    interfaces: tuple[str, ...]

    @property
    def is_virtio(self) -> bool:
        """Does it carry the ids of a virtio network device (virtio 1.3, 4.1.2)?"""
        return self.vendor_id == VENDOR_ID and self.device_id in (TRANSITIONAL_NET, MODERN_ID_BASE + DEVICE_TYPE_NET)


def network_functions() -> list[PciEntry]:
    """All PCI network controllers, by address. Raises ``Unsupported`` where libudev is not installed."""
    try:
        context = pyudev.Context()
    except ImportError as error:
        raise Unsupported("cannot list PCI functions", cause=str(error), remedy="apt-get install libudev1") from error
    found = [_entry(device) for device in context.list_devices(subsystem="pci") if _is_candidate(device)]
    return sorted(found, key=lambda entry: entry.address)


def _is_candidate(device: pyudev.Device) -> bool:
    return _number(device, "class") >> 16 == NETWORK_CLASS


def _entry(device: pyudev.Device) -> PciEntry:
    path = Path(device.sys_path)
    group = path / "iommu_group"
    return PciEntry(
        address=device.sys_name,
        vendor_id=_number(device, "vendor"),
        device_id=_number(device, "device"),
        driver=device.driver or "",
        iommu_group=int(group.resolve().name) if group.exists() else None,
        interfaces=tuple(sorted(entry.name for entry in path.glob("net/*"))),
    )


def _number(device: pyudev.Device, attribute: str) -> int:
    return int(device.attributes.get(attribute, b"0"), 0)
