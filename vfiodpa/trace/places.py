"""What lies where in a recorded function: register blocks and capabilities, found in its configuration space."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from ..drivers.quirks import GENERIC, PciId
from ..drivers.registry import record_for
from ..errors import DeviceError
from ..layout import Layout
from ..pci.capabilities import capabilities, read_layout
from ..registers import RegisterBlock, Window
from ..spec.pci import CapHeader, CapId, ConfigHeader, ConfigHeaderLayout, ExpressCap, MsixCap, PmCap
from ..spec.virtio_net import NetConfig
from ..spec.virtio_pci import CfgType, CommonCfg, IsrCfg, NotifyCap, PciCfgCap, VendorDataCap, VirtioPciCap
from .file import Subject

BLOCKS: dict[int, tuple[str, type[RegisterBlock] | None]] = {
    CfgType.COMMON: ("common", CommonCfg),
    CfgType.ISR: ("isr", IsrCfg),
    CfgType.DEVICE: ("net", NetConfig),
    CfgType.NOTIFY: ("notify", None),
}
VIRTIO_CAPS: dict[int, type[Layout]] = {
    CfgType.NOTIFY: NotifyCap,
    CfgType.PCI: PciCfgCap,
    CfgType.VENDOR: VendorDataCap,
}
CAPS: dict[int, type[Layout]] = {CapId.POWER_MANAGEMENT: PmCap, CapId.PCI_EXPRESS: ExpressCap, CapId.MSIX: MsixCap}


@dataclass(frozen=True, slots=True)
class Image:
    """Configuration space as bytes (a ``Window``), and what is written to it."""

    data: bytearray

    @property
    def length(self) -> int:
        """Bytes."""
        return len(self.data)

    def read(self, offset: int, width: int) -> int:
        end = offset + width // 8
        if not 0 <= offset < end <= len(self.data):
            raise IndexError(f"{width}-bit access at {offset:#x} leaves {len(self.data):#x} bytes")
        return int.from_bytes(self.data[offset:end], "little")

    def write(self, offset: int, width: int, value: int) -> None:
        self.data[offset : offset + width // 8] = value.to_bytes(width // 8, "little")


@dataclass(frozen=True, slots=True)
class Place:
    """``length`` bytes from ``base`` of ``space``: a register block, a capability's layout, or (neither) doorbells."""

    space: str
    base: int
    length: int
    name: str
    block: type[RegisterBlock] | None = None
    layout: type[Layout] | None = None

    def holds(self, space: str, offset: int) -> bool:
        """Is the byte inside?"""
        return space == self.space and self.base <= offset < self.base + self.length


def places(subject: Subject) -> list[Place]:
    """Of a recorded function, the most telling first; a broken capability list ends them."""
    config = Image(bytearray(subject.config))
    found: list[Place] = []
    if config.length >= ConfigHeader.size:
        with contextlib.suppress(DeviceError, IndexError, ValueError):  # those before it are found
            found.extend(_capabilities(config))
        found.append(Place("config", 0, ConfigHeader.size, "pci", ConfigHeader, ConfigHeaderLayout))
        found.extend(_vendor(config, subject))
    return found


def _capabilities(config: Window) -> Iterator[Place]:
    seen: set[int] = set()
    for offset, kind in capabilities(config):
        if kind != CapId.VENDOR:
            layout = CAPS.get(kind, CapHeader)
            name = CapId(kind).name.lower() if kind in CapId.__members__.values() else f"cap_{kind:02x}"
            yield Place("config", offset, layout.size, f"{name}_cap", layout=layout)
            continue
        cap = read_layout(config, offset, VirtioPciCap)
        layout = VIRTIO_CAPS.get(cap.cfg_type, VirtioPciCap)
        name, block = BLOCKS.get(cap.cfg_type, ("", None))
        known = (
            CfgType(cap.cfg_type).name.lower() if cap.cfg_type in CfgType.__members__.values() else str(cap.cfg_type)
        )
        yield Place("config", offset, layout.size, f"{name or known}_cap", layout=layout)
        if name and cap.cfg_type not in seen:
            seen.add(cap.cfg_type)
            yield Place(f"bar{cap.bar}", cap.offset, cap.length, name, block)


def _vendor(config: Window, subject: Subject) -> Iterator[Place]:
    header = ConfigHeader(config)
    ids = PciId(header.vendor_id, header.device_id, header.subsystem_vendor_id, header.subsystem_id)
    for bar, (name, block) in (record_for(ids) or GENERIC).blocks.items():
        if bar in subject.bars:
            yield Place(f"bar{bar}", 0, min(block.size, subject.bars[bar]), name, block)
