"""From a DEVICE string to an opened device: a PCI address, ``soft[:key=value,...]`` or ``replay:FILE``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..drivers.device import VdpaDevice
from ..drivers.registry import driver_for
from ..errors import UsageError
from ..pci.address import is_address
from ..pci.function import DmaDomain, PciFunction
from ..soft.device_string import parse_options
from ..soft.domain import SoftDomain
from ..soft.function import SoftFunction
from ..trace.file import record
from ..trace.replay import SCHEME, ReplayFunction
from ..trace.traced import TracedDomain
from ..vfio.backend import IommuKind
from ..vfio.domain import VfioDomain
from ..vfio.function import VfioFunction
from .nic import Nic


@dataclass(frozen=True, slots=True)
class Access:
    """How a function is reached. ``unsafe_noiommu``: also without an IOMMU, which no guest may be served by.

    ``trace``: a file that all that passes is recorded in.
    """

    iommu: IommuKind | str = IommuKind.AUTO
    unsafe_noiommu: bool = False
    trace: Path | None = None


DEFAULT = Access()


def open_function(device: str, *, dma: DmaDomain | None = None, access: Access = DEFAULT) -> PciFunction:
    """Open a function. ``dma`` shares another function's address space (one guest, several devices)."""
    function = _open(device, dma.inner if isinstance(dma, TracedDomain) else dma, access)
    if access.trace is None:
        return function
    try:
        return record(function, access.trace)
    except BaseException:
        function.close()
        raise


def _open(device: str, dma: DmaDomain | None, access: Access) -> PciFunction:
    kind, _, rest = device.partition(":")
    if kind == "soft":
        if dma is not None and not isinstance(dma, SoftDomain):
            raise UsageError("a software NIC shares address spaces with software NICs only", device=device)
        return SoftFunction(parse_options(device), dma)
    if is_address(device):
        if dma is not None and not isinstance(dma, VfioDomain):
            raise UsageError("a PCI function shares address spaces with PCI functions only", device=device)
        return VfioFunction(device, dma, iommu=access.iommu, unsafe_noiommu=access.unsafe_noiommu)
    if kind == SCHEME and rest:
        if dma is not None:
            raise UsageError("a recording shares no address space", device=device)
        return ReplayFunction.open(Path(rest))
    cause = "a device is a PCI address (0000:3b:00.2, 3b:00.2), soft[:key=value,...] or replay:FILE"
    raise UsageError(f"{device!r} is no device", cause=cause)


def open_device(
    device: str, *, dma: DmaDomain | None = None, driver: str | None = None, access: Access = DEFAULT
) -> VdpaDevice:
    """Open a function and find its driver, by PCI ids or by name. The function closes when none fits."""
    function = open_function(device, dma=dma, access=access)
    try:
        return driver_for(function, driver)
    except BaseException:
        function.close()
        raise


def open_nic(device: str, *, dma: DmaDomain | None = None, driver: str | None = None, access: Access = DEFAULT) -> Nic:
    """``vfiodpa.open``: a NIC to work with at a prompt."""
    return Nic(open_device(device, dma=dma, driver=driver, access=access))
