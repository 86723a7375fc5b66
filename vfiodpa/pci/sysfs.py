"""One PCI function as sysfs shows it. Nothing is cached: drivers come and go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .address import is_address, normalise

SYSFS = Path("/sys")


@dataclass(frozen=True, slots=True)
class SysfsFunction:
    """``address`` in the long form."""

    address: str

    @classmethod
    def of(cls, text: str) -> Self:
        """From a PCI address in either form."""
        return cls(normalise(text))

    @property
    def path(self) -> Path:
        """Its directory."""
        return SYSFS / "bus/pci/devices" / self.address

    @property
    def exists(self) -> bool:
        """Is the function there?"""
        return self.path.exists()

    @property
    def driver(self) -> str:
        """The kernel driver that it is bound to; empty: none."""
        return _link_name(self.path / "driver")

    @property
    def has_vfio(self) -> bool:
        """Does a VFIO driver (vfio-pci or a vendor's) have it?"""
        return (self.path / "vfio-dev").is_dir() or "vfio" in self.driver

    @property
    def cdev(self) -> str:
        """Name of its VFIO character device (``vfio0``); empty where the kernel makes none."""
        found = sorted(entry.name for entry in (self.path / "vfio-dev").glob("vfio*"))
        return found[0] if found else ""

    @property
    def group(self) -> int | None:
        """Number of its IOMMU group."""
        name = _link_name(self.path / "iommu_group")
        return int(name) if name else None

    @property
    def is_noiommu(self) -> bool:
        """Is its group VFIO's make-believe one for functions without an IOMMU?"""
        name = self.path / "iommu_group/name"
        return name.exists() and name.read_text().strip() == "vfio-noiommu"

    @property
    def members(self) -> list[SysfsFunction]:
        """All functions of its IOMMU group, itself included."""
        return [
            SysfsFunction(entry.name)
            for entry in sorted((self.path / "iommu_group/devices").glob("*"))
            if is_address(entry.name)
        ]


def _link_name(link: Path) -> str:
    return link.resolve().name if link.exists() else ""
