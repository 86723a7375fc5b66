"""QEMU's monitor, from the host or from inside the machine: unplug a NIC, take its link down.

    with Qmp.inside() as qmp:
        qmp.execute("device_del", id="nic1")
        qmp.wait_event("DEVICE_DELETED", device="nic1")

Inside it is a serial port; only one program may use it at a time.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
import tty
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hwtests.peers.program import ProgramError

INSIDE = Path("/dev/ttyS1")
ANSWER_S = 20.0


class Qmp:
    """A connection that takes commands. ``fd`` is a connected stream; it is closed with this object."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._bytes = b""
        self._events: list[dict[str, Any]] = []
        self._id = 0
        try:
            # The serial port may have echoed QEMU's greeting back: this byte ends whatever it is now reading.
            os.write(fd, b"\xff\n")
            # An earlier user of the port may have done it already: then this is refused, and all is well.
            self._answer("qmp_capabilities", {})
        except BaseException:
            self.close()
            raise

    @classmethod
    def inside(cls) -> Qmp:
        """The monitor of the machine that this runs in."""
        fd = os.open(INSIDE, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        tty.setraw(fd)
        return cls(fd)

    @classmethod
    def connect(cls, path: Path) -> Qmp:
        """The monitor at a Unix socket."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            return cls(connection.detach())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run one command; returns its result. Raises ProgramError when QEMU refuses it or is silent."""
        answer = self._answer(command, arguments)
        if "error" in answer:
            raise ProgramError(f"QEMU refuses {command} {arguments}: {answer['error']['desc']}")
        return answer["return"]

    def wait_event(self, name: str, timeout: float = ANSWER_S, **data: Any) -> dict[str, Any]:
        """The first event of that name whose data hold the given values. Raises ProgramError."""
        deadline = time.monotonic() + timeout
        while True:
            for event in self._events:
                if event["event"] == name and data.items() <= event.get("data", {}).items():
                    self._events.remove(event)
                    return event
            message = self._read(deadline, f"the event {name}")
            if "event" in message:
                self._events.append(message)

    def _answer(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        self._id += 1
        data = json.dumps({"execute": command, "arguments": arguments, "id": self._id}).encode() + b"\n"
        while data:
            data = data[os.write(self._fd, data) :]
        deadline = time.monotonic() + ANSWER_S
        while True:
            message = self._read(deadline, f"an answer to {command}")
            if message.get("id") == self._id:
                return message
            if "event" in message:
                self._events.append(message)

    def _read(self, deadline: float, what: str) -> dict[str, Any]:
        """The next message. A line that is none was cut: what QEMU sent before the serial port was opened."""
        while True:
            line, end, rest = self._bytes.partition(b"\n")
            if end:
                self._bytes = rest
                try:
                    message = json.loads(line)
                except ValueError:
                    continue
                if isinstance(message, dict):
                    return message
                continue
            if not select.select([self._fd], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise ProgramError(f"QEMU's monitor did not send {what} in time")
            new = os.read(self._fd, 4096)
            if not new:
                raise ProgramError("QEMU's monitor is closed")
            self._bytes += new


def qdev_id(qmp: Qmp, address: str) -> str:
    """A NIC's name in QEMU (``nic0``), by its PCI address in the machine."""
    bus, slot, function = (int(part, 16) for part in address.replace(".", ":").split(":")[1:])
    found: list[dict[str, Any]] = []
    for one in qmp.execute("query-pci"):
        for device in one["devices"]:
            found += [device, *device.get("pci_bridge", {}).get("devices", [])]
    place = (bus, slot, function)
    return str(next(d["qdev_id"] for d in found if (d["bus"], d["slot"], d["function"]) == place))
