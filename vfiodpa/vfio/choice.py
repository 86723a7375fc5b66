"""Which way to the IOMMU, and why: what the kernel answers decides, never its version."""

from __future__ import annotations

import os

from ..errors import UsageError, VfiodpaError
from ..pci.device import PciDevice
from .backend import IommuBackend, IommuKind
from .iommufd import NODE, Iommufd, cdev_obstacle
from .nodes import open_node
from .type1 import NoIommu, Type1


def choose(wanted: IommuKind | str, function: PciDevice, *, unsafe_noiommu: bool = False) -> IommuBackend:
    """Open a back end for a function that is ready (group.check_ready). Raises what is in the way."""
    kind = parse(wanted)
    if function.is_noiommu:
        if not unsafe_noiommu:
            raise UsageError("no-IOMMU must be asked for", device=function.address)
        return NoIommu("there is no IOMMU and unsafe_noiommu was given: the device can reach all memory")
    if kind is IommuKind.IOMMUFD:
        return Iommufd()
    if kind is IommuKind.TYPE1:
        return Type1()
    obstacle = iommufd_obstacle(function)
    if obstacle is None:
        return Iommufd("the kernel has iommufd and a character device for the function")
    return Type1(f"not iommufd: {obstacle.what}")


def parse(text: IommuKind | str) -> IommuKind:
    """``auto``, ``iommufd`` or ``type1``."""
    try:
        return IommuKind(text)
    except ValueError:
        raise UsageError(f"no IOMMU back end is called {text!r}", cause="auto, iommufd or type1") from None


def iommufd_obstacle(function: PciDevice) -> VfiodpaError | None:
    """What keeps the function from being used through iommufd; ``None``: nothing."""
    try:
        os.close(open_node(NODE, function.address, missing=""))
    except VfiodpaError as error:
        return error
    return cdev_obstacle(function)
