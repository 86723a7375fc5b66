"""Configuration space of the software NIC: header, capabilities, BAR sizing.

Ref: PCI 3.0, chapter 6; virtio 1.3, sections 4.1.2 (ids) and 4.1.4 (capabilities).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..layout import Layout
from ..registers import SubWindow, Window
from ..spec.pci import (
    CAPABILITIES_START,
    CONFIG_SIZE,
    MSIX_ENABLE,
    BarFlag,
    CapHeader,
    Command,
    ConfigHeaderLayout,
    MsixCap,
    Status,
)
from ..spec.virtio_pci import DEVICE_TYPE_NET, MODERN_ID_BASE, VENDOR_ID, PciCfgCap
from . import rules

_COMMAND_BITS = Command.MEMORY | Command.BUS_MASTER | Command.INTX_DISABLE
_COMMAND = ConfigHeaderLayout.offset_of("command")
_STATUS = ConfigHeaderLayout.offset_of("status")
_BARS = ConfigHeaderLayout.offset_of("bars")
_LINE = ConfigHeaderLayout.offset_of("interrupt_line")


NO_FLAGS = BarFlag(0)


@dataclass(frozen=True, slots=True)
class Bar:
    """A memory BAR: ``size`` in bytes, a power of two; a 64-bit one also takes the next index."""

    index: int
    size: int
    address: int
    flags: BarFlag = NO_FLAGS


class Host(Protocol):
    """What configuration space asks of the function around it."""

    name: str

    def command_changed(self, before: Command, now: Command) -> None: ...

    def interrupt_pending(self) -> bool: ...

    def msix_enabled(self) -> bool: ...

    def bar_window(self, index: int) -> Window:
        """A BAR whatever the command register says; raises ``DeviceError`` when there is none."""


class ConfigSpace:
    """256 bytes of registers (a ``Window``). Writes to bits that are not writable are dropped (PCI 3.0, 6.1)."""

    length = CONFIG_SIZE

    def __init__(self, host: Host, ids: tuple[int, int], bars: tuple[Bar, ...], caps: tuple[Layout, ...]) -> None:
        """``ids``: subsystem vendor and device. ``caps``: in list order, without their links."""
        self._host = host
        self._bytes = bytearray(CONFIG_SIZE)
        self._writable = bytearray(CONFIG_SIZE)
        self._window = 0
        self._live = [_STATUS]  # bytes that change by themselves; behind it that of MSI-X Enable
        header = ConfigHeaderLayout(
            vendor_id=VENDOR_ID,
            device_id=MODERN_ID_BASE + DEVICE_TYPE_NET,
            status=Status.CAPABILITIES,
            revision_id=1,  # non-transitional (4.1.2.1)
            class_code=(0x00, 0x00, 0x02),  # Ethernet controller
            subsystem_vendor_id=ids[0],
            subsystem_id=ids[1],
            capabilities=CAPABILITIES_START,
        )
        self._bytes[: header.size] = header.pack()
        self._allow(_COMMAND, int(_COMMAND_BITS).to_bytes(2, "little"))
        self._allow(_LINE, b"\xff")
        for bar in bars:
            self._place_bar(bar)
        self._place_capabilities(caps)
        self._initial = bytes(self._bytes)

    def edit(self, change: Callable[[bytearray], None]) -> None:
        """Let a mutant change what is there from power-on."""
        change(self._bytes)
        self._initial = bytes(self._bytes)

    def _allow(self, offset: int, mask: bytes) -> None:
        self._writable[offset : offset + len(mask)] = mask

    def _place_bar(self, bar: Bar) -> None:
        """Address bits below the size read as zero: that is how a BAR is sized (6.2.5.1)."""
        width = 8 if bar.flags & BarFlag.MEM_64 else 4
        offset = _BARS + 4 * bar.index
        mask = -bar.size & (1 << 8 * width) - 1
        self._allow(offset, mask.to_bytes(width, "little"))
        self._bytes[offset : offset + width] = (bar.address | bar.flags).to_bytes(width, "little")

    def _place_capabilities(self, caps: tuple[Layout, ...]) -> None:
        offset = CAPABILITIES_START
        for cap in caps:
            end = offset + -(-cap.size // 4) * 4
            last = cap is caps[-1]
            self._bytes[offset : offset + cap.size] = cap.pack()
            self._bytes[offset + CapHeader.offset_of("cap_next")] = 0 if last else end
            self._remember(offset, cap)
            offset = end

    def _remember(self, offset: int, cap: Layout) -> None:
        if isinstance(cap, MsixCap):
            self._live.append(offset + MsixCap.offset_of("control") + 1)
        if isinstance(cap, PciCfgCap):
            self._window = offset
            self._allow(offset + PciCfgCap.offset_of("bar"), b"\xff")
            self._allow(offset + PciCfgCap.offset_of("offset"), b"\xff" * 8)  # and length
            self._allow(offset + PciCfgCap.offset_of("pci_cfg_data"), b"\xff" * 4)

    @property
    def command(self) -> Command:
        """The command register."""
        return Command(int.from_bytes(self._bytes[_COMMAND : _COMMAND + 2], "little"))

    def reset(self) -> None:
        """Everything as at power-on."""
        before = self.command
        self._bytes[:] = self._initial
        self._host.command_changed(before, self.command)

    def read(self, offset: int, width: int) -> int:
        size = self._check(offset, width)
        if any(offset <= at < offset + size for at in self._live):
            self._refresh()
        if self._touches_data(offset, size):
            self._window_read()
        return int.from_bytes(self._bytes[offset : offset + size], "little")

    def write(self, offset: int, width: int, value: int) -> None:
        size = self._check(offset, width)
        before = self.command
        for i, new in enumerate(value.to_bytes(size, "little")):
            mask = self._writable[offset + i]
            self._bytes[offset + i] = self._bytes[offset + i] & ~mask | new & mask
        if self.command != before:
            self._host.command_changed(before, self.command)
        if self._touches_data(offset, size):
            self._window_write()

    def _check(self, offset: int, width: int) -> int:
        size = width // 8
        if width not in (8, 16, 32) or offset % size:
            raise rules.PCI_ACCESS.breach(self._host.name, f"config+{offset:#x}", f"{width}-bit access")
        if not 0 <= offset <= CONFIG_SIZE - size:
            raise IndexError(f"configuration space has {CONFIG_SIZE:#x} bytes, no {offset:#x}")
        return size

    def _refresh(self) -> None:
        """Bits that show what goes on elsewhere: Interrupt Status and MSI-X Enable."""
        pending = Status.INTERRUPT if self._host.interrupt_pending() else Status(0)
        self._bytes[_STATUS : _STATUS + 2] = int(Status.CAPABILITIES | pending).to_bytes(2, "little")
        for high in self._live[1:]:
            enable = MSIX_ENABLE >> 8 if self._host.msix_enabled() else 0
            self._bytes[high] = self._bytes[high] & ~(MSIX_ENABLE >> 8) | enable

    # The configuration access window (virtio 1.3, 4.1.4.9)

    def _touches_data(self, offset: int, size: int) -> bool:
        data = self._window + PciCfgCap.offset_of("pci_cfg_data")
        return bool(self._window) and offset < data + 4 and data < offset + size

    def _window_target(self) -> tuple[SubWindow | None, int]:
        """Where the window points, and the width of its access; ``None`` before it was programmed."""
        cap = PciCfgCap.unpack(self._bytes[self._window : self._window + PciCfgCap.size])
        if not cap.length:
            return None, 0
        if cap.length not in (1, 2, 4) or cap.offset % cap.length:
            did = f"accessed with cap.length {cap.length}, cap.offset {cap.offset:#x}"
            raise rules.CFG_WINDOW.breach(self._host.name, "PciCfgCap.pci_cfg_data", did)
        return SubWindow(self._host.bar_window(cap.bar), cap.offset, cap.length), 8 * cap.length

    def _window_read(self) -> None:
        target, width = self._window_target()
        if target:
            data = self._window + PciCfgCap.offset_of("pci_cfg_data")
            self._bytes[data : data + width // 8] = target.read(0, width).to_bytes(width // 8, "little")

    def _window_write(self) -> None:
        target, width = self._window_target()
        if target:
            data = self._window + PciCfgCap.offset_of("pci_cfg_data")
            target.write(0, width, int.from_bytes(self._bytes[data : data + width // 8], "little"))
