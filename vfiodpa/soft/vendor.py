"""Vendor registers of the software NIC: queue positions, active pairs, announcements.

Ref: docs/reference/software-nic.md. ``ring_state[q]`` reads the position that queue ``q`` reached: live
while it is enabled, and after a queue reset or device reset until it is enabled again. What is written
there (queue disabled) is where the queue starts; a reset forgets what was written, so that a driver
that knows nothing of this register starts where the specification wants (2.6.1.1). A position is what
``QueueState`` says: of a packed queue with the wrap counter in bit 15.
"""

from __future__ import annotations

import errno
import logging
import time
from typing import Protocol

from ..errors import DriverBreach, errno_name
from ..registers import RegisterBlock
from ..spec.softnic import MAGIC, VendorCfg
from . import rules
from .access import StrictWindow

log = logging.getLogger(__name__)

_INJECT_TRIES = 50  # of a millisecond each, while another frame is under way


class Wire(Protocol):
    """What the registers need of the data path (``Engine``)."""

    def position(self, queue: int) -> int: ...

    def set_active_pairs(self, pairs: int) -> None: ...

    def inject(self, pair: int, frame: bytes) -> int: ...


class Vendor:
    """``VendorCfg`` of the software NIC (a ``Model``)."""

    block: type[RegisterBlock] = VendorCfg
    read_only = rules.VENDOR

    def __init__(self, device: str, pairs: int, wire: Wire) -> None:
        self.device = device
        self.pairs = pairs
        self.wire = wire
        self.active_pairs = pairs
        self.running = False
        self._mac_low = 0
        self._reached = [0] * 2 * pairs
        self._start: dict[int, int] = {}
        self._enabled: set[int] = set()

    # From the virtio side

    def window(self) -> StrictWindow:
        """Its BAR."""
        return StrictWindow(self.device, self, self.block.size)

    def queue_on(self, queue: int) -> None:
        """The queue was enabled; from here on its position is live."""
        self._enabled.add(queue)
        self._start.pop(queue, None)

    def start_of(self, queue: int, first: int) -> int:
        """Where the queue is to start."""
        return self._start.get(queue, first)

    def queue_off(self, queue: int) -> None:
        """The queue is about to be disabled: keep what it reached."""
        if queue in self._enabled:
            self._reached[queue] = self.wire.position(queue)
            self._enabled.discard(queue)
        self._start.pop(queue, None)

    def reset(self) -> None:
        """The device is about to be reset: positions stay readable, everything written is forgotten."""
        for queue in list(self._enabled):
            self.queue_off(queue)
        self._start.clear()
        self.active_pairs = self.pairs
        self._mac_low = 0

    def power_on(self) -> None:
        """Nothing more is left by a device reset that matters."""

    # Registers

    def load(self, name: str, index: int) -> int:
        if name == "ring_state":
            return self._load_state(index)
        return {"magic": MAGIC, "active_pairs": self.active_pairs}.get(name, 0)

    def store(self, name: str, index: int, value: int) -> None:
        if name == "ring_state":
            self._store_state(index, value)
        elif name == "active_pairs":
            self._store_pairs(value)
        elif name == "announce_mac_low":
            self._mac_low = value
        else:
            self._announce(self._mac_low.to_bytes(4, "little") + value.to_bytes(2, "little"))

    def _load_state(self, queue: int) -> int:
        if queue in self._enabled:
            return self.wire.position(queue)
        return self._start.get(queue, self._reached[queue]) if queue < len(self._reached) else 0

    def _store_state(self, queue: int, value: int) -> None:
        if queue >= len(self._reached) or queue in self._enabled:
            did = "there is no such queue" if queue >= len(self._reached) else "written while the queue is enabled"
            raise self._breach(f"ring_state[{queue}]", did)
        self._start[queue] = value

    def _store_pairs(self, value: int) -> None:
        if not 1 <= value <= self.pairs:
            raise self._breach("active_pairs", f"{value} written, the device has 1 to {self.pairs}")
        self.wire.set_active_pairs(value)
        self.active_pairs = value

    def _announce(self, mac: bytes) -> None:
        if not self.running:
            raise self._breach("announce_mac_high", "written before DRIVER_OK")
        rc = -errno.EAGAIN
        for _ in range(_INJECT_TRIES):
            rc = self.wire.inject(0, rarp(mac))
            if rc != -errno.EAGAIN:
                break
            time.sleep(0.001)
        if rc < 0:
            log.warning("%s: the RARP for %s was not sent: %s", self.device, mac.hex(":"), errno_name(rc))

    def _breach(self, register: str, did: str) -> DriverBreach:
        return rules.VENDOR.breach(self.device, f"VendorCfg.{register}", did)


def rarp(mac: bytes) -> bytes:
    """A broadcast RARP request for ``mac`` as a 60-byte frame (RFC 903), what vhost-user's SEND_RARP asks for."""
    fixed = bytes.fromhex("0001 0800 06 04 0003")  # Ethernet, IPv4, address lengths, request reverse
    frame = b"\xff" * 6 + mac + b"\x80\x35" + fixed + mac + bytes(4) + mac + bytes(4)
    return frame.ljust(60, b"\0")
