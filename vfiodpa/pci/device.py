"""One PCI function as the kernel shows it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ..errors import NoDevice
from ..spec.virtio_pci import DEVICE_TYPE_NET, MODERN_ID_BASE, TRANSITIONAL_NET, VENDOR_ID
from .host import Host

NETWORK_CLASS = 0x02
VFIO_PCI = "vfio-pci"
NOIOMMU_NAME = "vfio-noiommu"  # of the group that VFIO makes up for a function without an IOMMU
_VFIO_DRIVER = re.compile(r"vfio[-_]pci$")  # vfio-pci, and its variants for one vendor


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A snapshot; read it again after a change. Empty strings and ``None`` mean: there is none."""

    address: str
    vendor_id: int
    device_id: int
    subsystem_vendor: int
    subsystem: int
    revision: int
    class_code: int  # 24 bits: class, subclass, interface
    driver: str
    driver_override: str
    iommu_group: int | None
    numa_node: int | None
    physical_function: str  # address, for an SR-IOV virtual function
    virtual_functions: tuple[str, ...]  # addresses of the SR-IOV virtual functions that exist
    virtual_functions_max: int
    interfaces: tuple[str, ...]
    vfio_device: str  # vfio0: its name in /dev/vfio/devices
    is_noiommu: bool  # its group is VFIO's make-believe one for functions without an IOMMU

    @classmethod
    def read(cls, host: Host, address: str) -> Self:
        """Raises ``NoDevice`` when there is no function at ``address`` (spelled as sysfs does)."""
        path = host.device(address)
        if not path.exists():
            raise NoDevice("there is no such PCI function", device=address, remedy="vfiodpa list")
        group = host.link(path / "iommu_group")
        node = host.number(path / "numa_node", -1)
        override = host.text(path / "driver_override")
        return cls(
            address=address,
            vendor_id=host.number(path / "vendor"),
            device_id=host.number(path / "device"),
            subsystem_vendor=host.number(path / "subsystem_vendor"),
            subsystem=host.number(path / "subsystem_device"),
            revision=host.number(path / "revision"),
            class_code=host.number(path / "class"),
            driver=host.link(path / "driver"),
            driver_override="" if override == "(null)" else override,
            iommu_group=int(group) if group else None,
            numa_node=node if node >= 0 else None,
            physical_function=host.link(path / "physfn"),
            virtual_functions=tuple(host.link(path / name) for name in _virtfns(host, path)),
            virtual_functions_max=host.number(path / "sriov_totalvfs"),
            interfaces=_interfaces(path),
            vfio_device=next(iter(host.names(path / "vfio-dev")), ""),
            is_noiommu=host.text(path / "iommu_group/name") == NOIOMMU_NAME,
        )

    @property
    def is_network(self) -> bool:
        """Is it a network controller?"""
        return self.class_code >> 16 == NETWORK_CLASS

    @property
    def is_virtio(self) -> bool:
        """Does it carry the ids of a virtio network device (virtio 1.3, 4.1.2)?"""
        return self.vendor_id == VENDOR_ID and self.device_id in (TRANSITIONAL_NET, MODERN_ID_BASE + DEVICE_TYPE_NET)

    @property
    def on_vfio(self) -> bool:
        """Does a VFIO driver (vfio-pci or a vendor's) have it?"""
        return bool(self.vfio_device) or is_vfio_driver(self.driver)

    @property
    def has_iommu(self) -> bool:
        """Does an IOMMU stand between it and memory?"""
        return self.iommu_group is not None and not self.is_noiommu

    @property
    def group_node(self) -> str:
        """Its group's name in /dev/vfio; empty without a group."""
        return "" if self.iommu_group is None else f"{'noiommu-' * self.is_noiommu}{self.iommu_group}"

    @property
    def ids(self) -> str:
        """``'1af4:1041'``."""
        return f"{self.vendor_id:04x}:{self.device_id:04x}"


def is_vfio_driver(name: str) -> bool:
    """Is it vfio-pci, or a variant of it such as mlx5_vfio_pci?"""
    return _VFIO_DRIVER.search(name) is not None


def _virtfns(host: Host, path: Path) -> list[str]:
    names = [name for name in host.names(path) if name.startswith("virtfn")]
    return sorted(names, key=lambda name: int(name.removeprefix("virtfn")))


def _interfaces(path: Path) -> tuple[str, ...]:
    """Network interfaces: of the function itself, or of the virtio device on it."""
    return tuple(sorted({entry.name for pattern in ("net/*", "*/net/*") for entry in path.glob(pattern)}))
