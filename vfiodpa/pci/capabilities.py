"""Walk of the capability lists in configuration space."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from ..errors import DeviceError
from ..layout import Layout
from ..registers import Window
from ..spec.pci import (
    CAPABILITIES_START,
    CONFIG_SIZE,
    MAX_CAPABILITIES,
    MAX_EXTENDED_CAPABILITIES,
    CapHeader,
    ConfigHeader,
    ExtCapHeader,
    Status,
)

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


def extended_capabilities(config: Window) -> Iterator[tuple[int, int]]:
    """Yield (offset, extended capability id) in list order; none where only 256 bytes are presented.

    Raises ``DeviceError`` for a list that loops or leaves the extended space. Ref: PCIe 5.0, 7.6.3.
    """
    offset = CONFIG_SIZE
    for _ in range(MAX_EXTENDED_CAPABILITIES):
        if config.length < offset + ExtCapHeader.size:
            return
        cap = read_layout(config, offset, ExtCapHeader)
        if cap.header in (0, 0xFFFF_FFFF):  # none at all (7.6.3), or plain PCI behind a bridge
            return
        yield offset, cap.cap_id
        offset = cap.following
        if not offset:
            return
        if offset < CONFIG_SIZE:
            raise DeviceError(f"extended capability pointer {offset:#x} leaves the extended space")
    raise DeviceError("the extended capability list loops")


def read_layout(config: Window, offset: int, kind: type[L]) -> L:
    """Read a structure from configuration space, byte by byte (it may be unaligned at its end)."""
    return kind.unpack(bytes(config.read(offset + i, 8) for i in range(kind.size)))
