"""Who was tested, and where: facts that head a report."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

from ..pci.function import PciFunction
from ..spec.features import names
from ..spec.pci import ConfigHeader
from .device import Device
from .wire import Wire


def describe(function: PciFunction) -> dict[str, Any]:
    """Ids, BARs, features by name, queues. Resets the device."""
    header = ConfigHeader(function.config)
    device = Device(function)
    device.reset()
    return {
        "name": function.name,
        "vendor_id": f"{int(header.vendor_id):04x}",
        "device_id": f"{int(header.device_id):04x}",
        "subsystem_vendor_id": f"{int(header.subsystem_vendor_id):04x}",
        "subsystem_id": f"{int(header.subsystem_id):04x}",
        "revision": int(header.revision_id),
        "features": names(device.offered),
        "queues": int(device.common.num_queues),
        "vectors": function.vectors,
        "iommu": function.dma.kind,
    }


def environment(wire: Wire | None) -> dict[str, Any]:
    """The machine in general terms, and the wire."""
    return {
        "vfiodpa": version("vfiodpa"),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "wire": wire.name if wire else "",
    }
