"""The capabilities of a function, decoded for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import DeviceError
from ..layout import Layout
from ..registers import Window
from ..spec.pci import (
    CONFIG_SIZE,
    MSIX_ENABLE,
    AcsCap,
    AcsFlag,
    AerCap,
    AerError,
    CapId,
    ExpressCap,
    ExtCapId,
    MsixCap,
    PmCap,
    PortType,
    SriovCap,
)
from .capabilities import capabilities, extended_capabilities, read_layout


@dataclass(frozen=True, slots=True)
class Capability:
    """One capability. ``detail`` is empty for kinds that are not decoded."""

    offset: int
    name: str
    detail: str


def capability_list(config: Window) -> tuple[list[Capability], str]:
    """What the lists hold, and what is wrong with them (empty: nothing).

    A broken list of a function that nobody opened is a finding, not a failure.
    """
    found: list[Capability] = []
    if config.length < CONFIG_SIZE:
        return found, f"only {config.length} bytes of configuration space can be read; capabilities need root"
    try:
        for offset, kind in capabilities(config):
            found.append(_decode(config, offset, kind, CapId, _STANDARD))
        for offset, kind in extended_capabilities(config):
            found.append(_decode(config, offset, kind, ExtCapId, _EXTENDED))
    except DeviceError as error:
        return found, error.what
    return found, ""


def _decode(config: Window, offset: int, kind: int, ids: Any, table: dict[int, Any]) -> Capability:
    name = ids(kind).name.lower() if kind in ids.__members__.values() else f"id {kind:#x}"
    layout, say = table.get(kind, (None, None))
    if layout is None or offset + layout.size > config.length:
        return Capability(offset, name, "")
    return Capability(offset, name, say(read_layout(config, offset, layout)))


def _power(cap: PmCap) -> str:
    return f"state {cap.state.name}"


def _msix(cap: MsixCap) -> str:
    state = "on" if cap.control & MSIX_ENABLE else "off"
    return f"{cap.vectors} vectors, {state}, table in BAR {cap.table & 7} at {cap.table & ~7:#x}"


def _express(cap: ExpressCap) -> str:
    kind = cap.port_type.name.lower().replace("_", " ") if isinstance(cap.port_type, PortType) else "unknown port"
    speed, lanes = cap.link
    link = f", {speed:g} GT/s x{lanes}" if speed else ""
    return f"{kind}{link}, function level reset {'yes' if cap.function_level_reset else 'no'}"


def _aer(cap: AerCap) -> str:
    return f"uncorrectable errors seen: {_flags(AerError(cap.uncorrectable_status))}"


def _acs(cap: AcsCap) -> str:
    return f"can {_flags(AcsFlag(cap.capability & 0x7F))}; enabled {_flags(AcsFlag(cap.control & 0x7F))}"


def _sriov(cap: SriovCap) -> str:
    return f"{cap.num_vfs} of {cap.total_vfs} virtual functions, their device id {cap.vf_device_id:04x}"


def _flags(value: AerError | AcsFlag) -> str:
    return " ".join(flag.name.lower() for flag in type(value) if flag in value and flag.name) or "none"


Table = dict[int, tuple[type[Layout], Callable[[Any], str]]]
_STANDARD: Table = {
    CapId.POWER_MANAGEMENT: (PmCap, _power),
    CapId.MSIX: (MsixCap, _msix),
    CapId.PCI_EXPRESS: (ExpressCap, _express),
}
_EXTENDED: Table = {
    ExtCapId.AER: (AerCap, _aer),
    ExtCapId.ACS: (AcsCap, _acs),
    ExtCapId.SRIOV: (SriovCap, _sriov),
}
