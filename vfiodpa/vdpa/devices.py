"""From a DEVICE string to an opened device: a PCI address, or ``soft[:key=value,...]``."""

from __future__ import annotations

import re

from ..drivers.device import VdpaDevice
from ..drivers.registry import driver_for
from ..errors import Unsupported, UsageError
from ..pci.function import DmaDomain, PciFunction
from ..soft.domain import SoftDomain
from ..soft.function import SoftFunction
from ..soft.options import parse_options
from .nic import Nic

PCI_ADDRESS = re.compile(r"(?:[0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", re.IGNORECASE)


def open_function(device: str, *, dma: DmaDomain | None = None) -> PciFunction:
    """Open a PCI function. ``dma`` shares another function's address space (one guest, several devices)."""
    kind = device.partition(":")[0]
    if kind == "soft":
        if dma is not None and not isinstance(dma, SoftDomain):
            raise UsageError("a software NIC shares address spaces with software NICs only", device=device)
        return SoftFunction(parse_options(device), dma)
    if PCI_ADDRESS.fullmatch(device):
        raise Unsupported("PCI functions through VFIO are not in this version", device=device, remedy="soft")
    raise UsageError(
        f"{device!r} is no device", cause="a device is a PCI address (0000:3b:00.2, 3b:00.2) or soft[:key=value,...]"
    )


def open_device(device: str, *, dma: DmaDomain | None = None, driver: str | None = None) -> VdpaDevice:
    """Open a function and find its driver, by PCI ids or by name. The function closes when none fits."""
    function = open_function(device, dma=dma)
    try:
        return driver_for(function, driver)
    except BaseException:
        function.close()
        raise


def open_nic(device: str, *, dma: DmaDomain | None = None, driver: str | None = None) -> Nic:
    """``vfiodpa.open``: a NIC to work with at a prompt."""
    return Nic(open_device(device, dma=dma, driver=driver))
