"""The operations that differ between the kernel's ways to an IOMMU; picked once, at run time (choice.py)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum

from ..memory import Mapping
from ..pci.device import PciDevice
from ..pci.function import IovaRange, Perm


class IommuKind(StrEnum):
    """What ``--iommu`` takes."""

    AUTO = "auto"
    IOMMUFD = "iommufd"
    TYPE1 = "type1"


class IommuBackend(ABC):
    """One I/O address space in the kernel. Map and unmap raise the kernel's ``OSError``."""

    kind: str  # iommufd, type1 or noiommu
    reason: str  # why this one, for people
    isolates: bool = True  # does an IOMMU stop the device at what is not mapped?

    @abstractmethod
    def open_device(self, function: PciDevice) -> int:
        """Open a function and let it use this address space; returns the device fd."""

    @abstractmethod
    def adopt(self, device_fd: int, name: str) -> None:
        """Let a device that somebody else opened use this address space. The fd is ours from here on."""

    @abstractmethod
    def release(self, device_fd: int) -> None:
        """The device leaves and its fd is closed."""

    @abstractmethod
    def ranges(self) -> list[IovaRange]:
        """What all devices in it can reach; empty while there is none."""

    @abstractmethod
    def room(self) -> int | None:
        """How many more maps the kernel takes; ``None``: no limit is known."""

    @abstractmethod
    def map(self, iova: int, memory: Mapping, offset: int, length: int, perm: Perm) -> None:
        """Map; checked by the caller."""

    @abstractmethod
    def unmap(self, iova: int, length: int) -> int:
        """Take back exactly one map; returns the bytes that were unmapped."""

    @abstractmethod
    def close(self) -> None:
        """Give the address space back; after all devices left."""
