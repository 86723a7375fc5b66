"""A PCI function that could be served: what it is, who would drive it, and what stands in its way."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

from ..drivers.quirks import PciId
from ..drivers.registry import record_for
from ..pci.device import PciDevice
from ..pci.enumerate import functions
from ..pci.host import Host
from ..pci.obstacles import Obstacle, obstacles


@dataclass(frozen=True, slots=True)
class Candidate:
    """``driver``: the name of our driver that knows its ids (empty: none does)."""

    device: PciDevice
    driver: str
    obstacles: tuple[Obstacle, ...]

    @classmethod
    def of(cls, host: Host, device: PciDevice) -> Self:
        """Look at one function."""
        driver = our_driver(device)
        found = obstacles(host, device)
        if not driver:
            found.insert(0, Obstacle(f"no driver of vfiodpa knows {device.ids}", "vfiodpa serve --driver NAME"))
        return cls(device, driver, tuple(found))

    @property
    def kind(self) -> str:
        """For people: ``'virtio NIC 1af4:1041'``."""
        kind = "NIC" if self.device.is_network else "function"
        return f"{'virtio ' if self.device.is_virtio else ''}{kind} {self.device.ids}"

    def describe(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        device = self.device
        return {
            "device": device.address,
            "kind": self.kind,
            "ids": device.ids,
            "subsystem": f"{device.subsystem_vendor:04x}:{device.subsystem:04x}",
            "driver": device.driver,
            "vfiodpa_driver": self.driver,
            "iommu_group": device.iommu_group,
            "numa_node": device.numa_node,
            "interfaces": list(device.interfaces),
            "physical_function": device.physical_function,
            "virtual_functions": list(device.virtual_functions),
            "virtual_functions_max": device.virtual_functions_max,
            "obstacle": "; ".join(obstacle.text for obstacle in self.obstacles),
            "obstacles": [asdict(obstacle) for obstacle in self.obstacles],
        }


def our_driver(device: PciDevice) -> str:
    """Name of the driver that its ids choose; empty when no driver knows them."""
    ids = PciId(device.vendor_id, device.device_id, device.subsystem_vendor, device.subsystem)
    record = record_for(ids)
    return record.name if record else ""


def candidates(host: Host) -> list[Candidate]:
    """Network controllers, and what else a driver of ours knows, by address."""
    found = functions(host, lambda device: device.is_network or bool(our_driver(device)))
    return [Candidate.of(host, device) for device in found]
