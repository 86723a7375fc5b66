"""The capabilities of the device under test as they stand, usable or not.

Unlike ``drivers.transport`` this refuses nothing: what is wrong is for the checks to say.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import DeviceError
from ..pci.capabilities import capabilities, read_layout
from ..pci.function import PciFunction
from ..registers import SubWindow
from ..spec.features import Feature
from ..spec.pci import CONFIG_SIZE, CapHeader, CapId, Command, ConfigHeader, MsixCap
from ..spec.virtio_pci import CfgType, CommonCfg, NotifyCap, VirtioPciCap
from .device import read_features
from .verdict import Deviation, NotApplicable


@dataclass(frozen=True, slots=True)
class Virtio:
    """A vendor capability at ``at``; ``head`` shows what a short one does not have as zero."""

    at: int
    head: VirtioPciCap

    def __str__(self) -> str:
        kind = self.head.cfg_type
        name = CfgType(kind).name if kind in CfgType.__members__.values() else f"type {kind}"
        return f"{name} capability at {self.at:#x}"


def walk(function: PciFunction) -> list[tuple[int, int]]:
    """(offset, id) of all capabilities; raises ``Deviation`` for a list that does not end well."""
    try:
        return list(capabilities(function.config))
    except DeviceError as error:
        raise Deviation(error.what) from error


def virtio_capabilities(function: PciFunction) -> list[Virtio]:
    """Virtio's own capabilities, in list order."""
    return [Virtio(at, _head(function, at)) for at, kind in walk(function) if kind == CapId.VENDOR]


def of_type(function: PciFunction, kind: CfgType) -> list[Virtio]:
    """Those of one type."""
    return [one for one in virtio_capabilities(function) if one.head.cfg_type == kind]


def _head(function: PciFunction, at: int) -> VirtioPciCap:
    size = min(VirtioPciCap.size, CONFIG_SIZE - at)
    raw = bytes(function.config.read(at + i, 8) for i in range(size))
    return VirtioPciCap.unpack(raw.ljust(VirtioPciCap.size, b"\0"))


def multiplier_of(function: PciFunction, cap: Virtio) -> int:
    """``notify_off_multiplier`` of a notification capability."""
    return int(read_layout(function.config, cap.at, NotifyCap).notify_off_multiplier)


def msix_of(function: PciFunction) -> MsixCap:
    """The MSI-X capability; raises ``NotApplicable``."""
    for at, kind in walk(function):
        if kind == CapId.MSIX:
            return read_layout(function.config, at, MsixCap)
    raise NotApplicable("the device has no MSI-X capability")


def bar_length(function: PciFunction, index: int) -> int:
    """Bytes of a BAR; 0 where there is none."""
    try:
        return int(function.bar(index).length)
    except DeviceError:
        return 0


def next_after(function: PciFunction, at: int) -> int:
    """Where the next structure of the capability list begins, in order of offsets."""
    return min((other for other, _ in walk(function) if other > at), default=CONFIG_SIZE)


def links(function: PciFunction, at: int) -> CapHeader:
    """Id and link of a capability."""
    return read_layout(function.config, at, CapHeader)


def offered(function: PciFunction) -> Feature:
    """Features, for which a common configuration is all that it takes; raises ``NotApplicable``."""
    ConfigHeader(function.config).command |= Command.MEMORY
    for cap in of_type(function, CfgType.COMMON):
        head = cap.head
        if head.offset % 4 == 0 and head.offset + head.length <= bar_length(function, head.bar):
            return read_features(CommonCfg(SubWindow(function.bar(head.bar), head.offset, head.length)))
    raise NotApplicable("there is no common configuration that could be read")
