"""Register accesses in words: the register's declared name, and what its value means.

write common.device_status       0x0f    ACKNOWLEDGE DRIVER DRIVER_OK FEATURES_OK
read  common.queue_size          0x0100  queue 1
write notify+0x4                 0x0001  queue 1
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from ..drivers.transport import find_structures
from ..errors import DeviceError, VfiodpaError
from ..pci.capabilities import capabilities
from ..pci.function import PciFunction
from ..registers import AnyRegister, Register, RegisterArray, RegisterBlock
from ..spec.features import names
from ..spec.pci import CapId, ConfigHeader
from ..spec.virtio_net import NetConfig
from ..spec.virtio_pci import CfgType, CommonCfg, IsrCfg
from .trace import Access

BLOCKS: dict[CfgType, tuple[str, type[RegisterBlock] | None]] = {
    CfgType.COMMON: ("common", CommonCfg),
    CfgType.NOTIFY: ("notify", None),
    CfgType.ISR: ("isr", IsrCfg),
    CfgType.DEVICE: ("net", NetConfig),
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where a structure lies; ``block`` names its registers, if it has any."""

    space: str
    offset: int
    length: int
    name: str
    block: type[RegisterBlock] | None = None

    def holds(self, access: Access) -> bool:
        """Is the access in it?"""
        return access.space == self.space and self.offset <= access.offset < self.offset + self.length


@dataclass(slots=True)
class Decoder:
    """Knows where a device has its structures, and follows the selectors that the accesses write."""

    stretches: list[Stretch]
    _selected: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, function: PciFunction) -> Decoder:
        """From the capabilities; a device without usable ones has names for its configuration space only."""
        stretches = [Stretch("config", 0, ConfigHeader.size, "config", ConfigHeader), *_capabilities(function)]
        try:
            found = find_structures(function)
        except VfiodpaError:
            found = {}
        for kind, at in found.items():
            name, block = BLOCKS[kind]
            stretches.append(Stretch(f"bar{at.bar}", at.offset, at.length, name, block))
        return cls(stretches)

    def lines(self, accesses: Iterable[Access]) -> list[str]:
        """A line for each, oldest first."""
        self._selected.clear()
        return [self._line(run[0]) if len(run) == 1 else self._bytes(run) for run in _runs(accesses)]

    def _bytes(self, run: list[Access]) -> str:
        """A structure that was read byte by byte, as those of configuration space are."""
        name, _ = self._words(self._place(run[0]), run[0])
        return f"read  {name:<30} {' '.join(f'{one.value:02x}' for one in run)}"

    def _place(self, access: Access) -> Stretch | None:
        return next((one for one in self.stretches if one.holds(access)), None)

    def _line(self, access: Access) -> str:
        if access.space == "reset":
            return "reset of the function"
        name, meaning = self._words(self._place(access), access)
        times = f"({access.times} times)" if access.times > 1 else ""
        value = f"{access.value:#0{2 + access.width // 4}x}"
        line = f"{'write' if access.write else 'read':<5} {name:<30} {value:<10} {meaning} {times}"
        return line.rstrip()

    def _words(self, place: Stretch | None, access: Access) -> tuple[str, str]:
        """The register's name, and what the value means."""
        if place is None:
            return f"{access.space}+{access.offset:#x}", ""
        at = access.offset - place.offset
        register = place.block.lookup(at) if place.block else None
        if register is None:
            notified = f"queue {access.value & 0xFFFF}" if place.name == "notify" and access.write else ""
            return f"{place.name}+{at:#x}", notified
        inside = at - register.offset
        name = f"{place.name}.{register.name}" + _part(register, inside)
        if access.write and register.name.endswith("_select"):
            self._selected[register.name] = access.value
        return name, self._meaning(register, access.value) if not inside else ""

    def _meaning(self, register: AnyRegister, value: int) -> str:
        if register.name in ("device_feature", "driver_feature"):
            word = self._selected.get(f"{register.name}_select")
            return " ".join(names(value << 32 * word)) if word is not None and word < 4 else ""
        if (
            register.owner == CommonCfg.__name__
            and register.name.startswith("queue_")
            and register.name[-6:] != "select"
        ):
            queue = self._selected.get("queue_select")
            return f"queue {queue}" if queue is not None else ""
        return _flags(register, value)


def _runs(accesses: Iterable[Access]) -> list[list[Access]]:
    """Bytes of configuration space that were read one after another belong together."""
    runs: list[list[Access]] = []
    for access in accesses:
        last = runs[-1][-1] if runs else None
        if last is not None and _follows(last, access) and len(runs[-1]) < 32:
            runs[-1].append(access)
        else:
            runs.append([access])
    return runs


def _follows(last: Access, access: Access) -> bool:
    reads = not (last.write or access.write) and last.times == access.times == 1
    return (
        reads
        and last.space == access.space == "config"
        and last.width == access.width == 8
        and (access.offset == last.offset + 1)
    )


def _capabilities(function: PciFunction) -> list[Stretch]:
    """Where each capability begins, up to the next one."""
    try:
        found = sorted(capabilities(function.config))
    except DeviceError:
        return []
    ends = [at for at, _ in found[1:]] + [256]
    return [
        Stretch("config", at, end - at, f"config.{_capability(kind)}@{at:#x}")
        for (at, kind), end in zip(found, ends, strict=True)
    ]


def _capability(kind: int) -> str:
    return CapId(kind).name.lower() if kind in CapId.__members__.values() else f"cap{kind:#x}"


def _part(register: AnyRegister, inside: int) -> str:
    """Which part of a wide register or of an array."""
    if isinstance(register, RegisterArray):
        return f"[{inside // register.stride}]"
    return f"+{inside}" if inside else ""


def _flags(register: AnyRegister, value: int) -> str:
    if not isinstance(register, Register) or register.kind is int:
        return ""
    meant = register.kind(value)
    return (meant.name or "").replace("|", " ") if isinstance(meant, Enum) else ""
