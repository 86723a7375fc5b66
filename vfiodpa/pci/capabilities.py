"""Walk of the capability list in configuration space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from ..errors import DeviceError
from ..layout import Layout
from ..registers import Window
from ..spec.pci import CAPABILITIES_START, MAX_CAPABILITIES, CapHeader, ConfigHeader, Status

L = TypeVar("L", bound=Layout)


def capabilities(config: Window) -> Iterator[tuple[int, int]]:
    """Yield (offset, capability id) in list order; raises ``DeviceError`` for a list that loops.

    Ref: PCI 3.0, 6.7.
    """
    header = ConfigHeader(config)
    if not header.status & Status.CAPABILITIES:
        return
    offset = header.capabilities & 0xFC
    for _ in range(MAX_CAPABILITIES):
        if not offset:
            return
        if offset < CAPABILITIES_START:
            raise DeviceError(f"capability pointer {offset:#x} points into the header")
        cap = read_layout(config, offset, CapHeader)
        yield offset, cap.cap_id
        offset = cap.cap_next & 0xFC
    if offset:
        raise DeviceError("the capability list loops")


def read_layout(config: Window, offset: int, kind: type[L]) -> L:
    """Read a structure from configuration space, byte by byte (it may be unaligned at its end)."""
    return kind.unpack(bytes(config.read(offset + i, 8) for i in range(kind.size)))
