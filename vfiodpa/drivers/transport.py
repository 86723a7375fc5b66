"""Where a virtio function keeps its structures.

Ref: virtio 1.3, 4.1.2 (discovery) and 4.1.4 (structures and their capabilities).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ..errors import DeviceError, DeviceGone, Unsupported
from ..pci.capabilities import capabilities, read_layout
from ..pci.function import PciFunction
from ..registers import SubWindow, Window
from ..spec.pci import CONFIG_SIZE, CapId, ConfigHeader
from ..spec.virtio_pci import COMMON_CFG_MIN, CfgType, CommonCfg, IsrCfg, NotifyCap, VirtioPciCap

log = logging.getLogger(__name__)

MAX_BAR = 5  # larger values are reserved (4.1.4)
MIN_LENGTH = {CfgType.COMMON: COMMON_CFG_MIN, CfgType.NOTIFY: 2, CfgType.ISR: 1, CfgType.DEVICE: 1}
ALIGNMENT = {CfgType.COMMON: 4, CfgType.NOTIFY: 2, CfgType.ISR: 1, CfgType.DEVICE: 4}


@dataclass(frozen=True, slots=True)
class CheckedWindow:
    """A window that does not believe all ones: a device that is gone answers every read with them."""

    inner: Window
    function: PciFunction

    @property
    def length(self) -> int:
        """Bytes of the window."""
        return self.inner.length

    def read(self, offset: int, width: int) -> int:
        """Read; raises ``DeviceGone`` when the whole function reads as all ones."""
        value = self.inner.read(offset, width)
        if value == (1 << width) - 1:
            check_present(self.function)
        return value

    def write(self, offset: int, width: int, value: int) -> None:
        """Write through."""
        self.inner.write(offset, width, value)


def check_present(function: PciFunction) -> None:
    """Raise ``DeviceGone`` when the vendor id reads as all ones (PCI 3.0, 6.2.1: no device has it)."""
    if ConfigHeader(function.config).vendor_id == 0xFFFF:
        raise DeviceGone(
            "the device is gone: all its registers read as ones",
            device=function.name,
            cause=function.diagnose() or "removed, powered down or failed",
        )


@dataclass(frozen=True, slots=True)
class Structure:
    """One virtio structure: byte ``offset`` and ``length`` in BAR ``bar``; ``cap`` is where it is described."""

    bar: int
    offset: int
    length: int
    cap: int


@dataclass(frozen=True, slots=True)
class Transport:
    """The virtio structures of a function; ``net`` is the device configuration, ``notify_multiplier`` in bytes."""

    common: CommonCfg
    isr: IsrCfg
    net: Window
    notify: Structure
    notify_multiplier: int

    @classmethod
    def find(cls, function: PciFunction) -> Transport:
        """Walk the capabilities. Raises ``DeviceError`` naming a structure that is missing."""
        found = find_structures(function)
        return cls(
            common=CommonCfg(_window(function, found[CfgType.COMMON])),
            isr=IsrCfg(_window(function, found[CfgType.ISR])),
            net=_window(function, found[CfgType.DEVICE]),
            notify=found[CfgType.NOTIFY],
            notify_multiplier=_multiplier(function, found[CfgType.NOTIFY].cap),
        )


def find_structures(function: PciFunction) -> dict[CfgType, Structure]:
    """The first usable structure of each type that a driver needs (4.1.4.1)."""
    found: dict[CfgType, Structure] = {}
    rejected: dict[CfgType, str] = {}
    for offset in _vendor_capabilities(function):
        cap = read_layout(function.config, offset, VirtioPciCap)
        if cap.cfg_type not in MIN_LENGTH or cap.cfg_type in found:
            continue
        kind = CfgType(cap.cfg_type)
        problem = _problem(function, kind, cap, offset)
        if problem:
            rejected[kind] = problem
            log.warning("%s: %s structure of capability %#x ignored: %s", function.name, kind.name, offset, problem)
        else:
            found[kind] = Structure(cap.bar, cap.offset, cap.length, offset)
    _check_complete(function, found, rejected)
    return found


def _vendor_capabilities(function: PciFunction) -> list[int]:
    """Offsets of vendor capabilities that are long enough to be virtio's."""
    try:
        walked = list(capabilities(function.config))
    except DeviceError as error:
        raise DeviceError(error.what, device=function.name) from error
    return [at for at, kind in walked if kind == CapId.VENDOR and at + VirtioPciCap.size <= CONFIG_SIZE]


def _problem(function: PciFunction, kind: CfgType, cap: VirtioPciCap, at: int) -> str:
    """Why a structure cannot be used; empty when it can."""
    if cap.bar > MAX_BAR:
        return f"BAR {cap.bar} is a reserved value"  # 4.1.4.1: must be ignored
    needed = NotifyCap.size if kind is CfgType.NOTIFY else VirtioPciCap.size
    if min(cap.cap_len, CONFIG_SIZE - at) < needed:
        return f"its capability has only {min(cap.cap_len, CONFIG_SIZE - at)} bytes"
    if cap.length < MIN_LENGTH[kind]:
        return f"it has {cap.length:#x} bytes, the specification says at least {MIN_LENGTH[kind]:#x}"
    if cap.offset % ALIGNMENT[kind]:
        return f"offset {cap.offset:#x} is not {ALIGNMENT[kind]}-byte aligned"
    try:
        room = function.bar(cap.bar).length
    except DeviceError as error:
        return str(error)
    if cap.offset + cap.length > room:
        return f"bytes {cap.offset:#x} to {cap.offset + cap.length:#x} leave BAR {cap.bar} of {room:#x} bytes"
    return ""


def _check_complete(function: PciFunction, found: dict[CfgType, Structure], rejected: dict[CfgType, str]) -> None:
    missing = [kind for kind in MIN_LENGTH if kind not in found]
    if not missing:
        return
    if not found and not rejected:
        raise Unsupported(
            "no virtio structure of virtio 1.0 or later",
            device=function.name,
            cause="a legacy device, or no virtio device at all",
        )
    names = ", ".join(kind.name for kind in missing)
    reasons = "; ".join(f"{kind.name}: {rejected[kind]}" for kind in missing if kind in rejected)
    raise DeviceError(f"no usable virtio structure {names}", device=function.name, cause=reasons)


def _window(function: PciFunction, where: Structure) -> Window:
    return SubWindow(CheckedWindow(function.bar(where.bar), function), where.offset, where.length)


def _multiplier(function: PciFunction, cap_offset: int) -> int:
    """Notify offset multiplier: 0, or even (4.1.4.4.1), so that every doorbell is aligned."""
    multiplier = read_layout(function.config, cap_offset, NotifyCap).notify_off_multiplier
    if multiplier % 2:
        raise DeviceError(f"notify_off_multiplier {multiplier:#x} is odd", device=function.name)
    return multiplier
