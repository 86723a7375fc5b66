"""How mutants get in between: a method of one NIC's, its configuration space, its capabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...layout import Layout
from ...registers import Window
from ...spec.pci import CapHeader, CapId, ConfigHeaderLayout
from ...spec.virtio_pci import CfgType, VirtioPciCap

_NEXT = CapHeader.offset_of("cap_next")
_FIRST = ConfigHeaderLayout.offset_of("capabilities")
_ROOM = 0xB0  # behind the capabilities of the NIC (layout_pci.py)


def replace(owner: Any, method: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Let ``owner`` have ``make(its method)`` in place of a method. Others of its class keep theirs."""
    setattr(owner, method, make(getattr(owner, method)))


@dataclass(frozen=True, slots=True)
class Around:
    """Configuration space with something done to each access; what a twist does not give is asked of ``inner``."""

    inner: Window
    on_read: Callable[[Window, int, int], int] = lambda inner, offset, width: inner.read(offset, width)
    on_write: Callable[[Window, int, int, int], None] = lambda inner, offset, width, value: inner.write(
        offset, width, value
    )
    extra: bytes = b""  # extended configuration space

    @property
    def length(self) -> int:
        """Bytes of the window."""
        return self.inner.length + len(self.extra)

    def read(self, offset: int, width: int) -> int:
        if offset < self.inner.length:
            return self.on_read(self.inner, offset, width)
        at = offset - self.inner.length
        return int.from_bytes(self.extra[at : at + width // 8], "little")

    def write(self, offset: int, width: int, value: int) -> None:
        if offset < self.inner.length:
            self.on_write(self.inner, offset, width, value)


def find(config: bytes | bytearray, kind: CfgType) -> int:
    """Offset of the first virtio capability of a type."""
    at = config[_FIRST]
    while at:
        if config[at] == CapId.VENDOR and config[at + VirtioPciCap.offset_of("cfg_type")] == kind:
            return at
        at = config[at + _NEXT]
    raise LookupError(f"there is no {kind.name} capability")


def find_id(config: bytes | bytearray, kind: CapId) -> int:
    """Offset of the first capability with an id."""
    at = config[_FIRST]
    while at and config[at] != kind:
        at = config[at + _NEXT]
    return at


def put(config: bytearray, at: int, field: str, value: int, layout: type[Layout] = VirtioPciCap) -> None:
    """Set a field of the capability at ``at``."""
    before = layout.unpack(bytes(config[at : at + layout.size]))
    config[at : at + layout.size] = layout(**{**before.values, field: value}).pack()


def edit(kind: CfgType, field: str, value: int, layout: type[Layout] = VirtioPciCap) -> Callable[[bytearray], None]:
    """A change of one field of one virtio capability (``Mutant.config``)."""
    return lambda config: put(config, find(config, kind), field, value, layout)


def edit_header(field: str, value: int, size: int = 2) -> Callable[[bytearray], None]:
    """A change of one field of the header."""
    at = ConfigHeaderLayout.offset_of(field)

    def change(config: bytearray) -> None:
        config[at : at + size] = value.to_bytes(size, "little")

    return change


def add(config: bytearray, *caps: bytes, first: bool = False) -> None:
    """Add capabilities behind all others (or as the ``first`` of the list), without their links."""
    at, last = _ROOM, config[_FIRST]
    while config[last + _NEXT]:
        last = config[last + _NEXT]
    for cap in caps:
        config[at : at + len(cap)] = cap
        if first:
            config[at + _NEXT], config[_FIRST] = config[_FIRST], at
        else:
            config[at + _NEXT], config[last + _NEXT] = 0, at
            last = at
        at += -(-len(cap) // 4) * 4
