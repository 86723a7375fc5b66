"""Hot-plug: functions that come, go, and change their driver, as the kernel says it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import pyudev

from ..errors import Unsupported

SUBSYSTEM = "pci"


@dataclass(frozen=True, slots=True)
class HotplugEvent:
    """``action``: add, remove, bind, unbind or change. ``driver`` as far as the event tells it."""

    action: str
    address: str
    ids: str  # 1af4:1041, lower case
    class_code: int
    driver: str

    @classmethod
    def of(cls, device: Any) -> Self:
        """From udev's device: its properties are those of the event, not of sysfs now."""
        words = device.properties
        return cls(
            action=device.action or "",
            address=device.sys_name,
            ids=str(words.get("PCI_ID", "")).lower(),
            class_code=int(words.get("PCI_CLASS", "0") or "0", 16),
            driver=words.get("DRIVER", ""),
        )


class Hotplug:
    """A subscription: events queue up from the moment it is made. ``fileno`` serves select and friends."""

    def __init__(self, monitor: Any = None) -> None:
        """The kernel's own events, which come without udevd too; ``monitor`` stands in for them.

        Raises ``Unsupported`` where libudev is not installed.
        """
        self._monitor = monitor or _kernel_monitor()
        self._monitor.filter_by(SUBSYSTEM)
        self._monitor.start()

    def fileno(self) -> int:
        """Readable when an event waits."""
        number: int = self._monitor.fileno()
        return number

    def poll(self, timeout: float | None = None) -> HotplugEvent | None:
        """The next event; ``None`` when none came for ``timeout`` seconds (``None``: wait for ever)."""
        device = self._monitor.poll(timeout)
        return HotplugEvent.of(device) if device is not None else None

    def __iter__(self) -> Iterator[HotplugEvent]:
        """Events for ever."""
        while True:
            event = self.poll()
            if event is not None:
                yield event


def _kernel_monitor() -> Any:
    try:
        return pyudev.Monitor.from_netlink(pyudev.Context(), source="kernel")
    except ImportError as error:
        raise Unsupported("cannot watch PCI functions", cause=str(error), remedy="apt-get install libudev1") from error
