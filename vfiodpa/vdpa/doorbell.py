"""Doorbells: from the guest's kick eventfd to the device's register, the best way that works.

Best first (DESIGN section 5): the kernel or the software NIC takes the eventfd itself (``ioeventfd``),
else a C thread relays it. The choice and its reason are shown to the user.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .._native import ffi, lib
from ..drivers.device import VdpaDevice
from ..errors import Unsupported, check

log = logging.getLogger(__name__)


class DoorbellMode(StrEnum):
    """How a queue's kicks reach the device."""

    IOEVENTFD = "ioeventfd"
    RELAY = "relay"


@dataclass(frozen=True, slots=True)
class DoorbellChoice:
    """The mode in use and why no better one is."""

    mode: DoorbellMode
    reason: str


def in_words(choices: Mapping[int, DoorbellChoice]) -> dict[str, str]:
    """For people: ``{'ioeventfd (why)': 'queues 0 1'}``."""
    groups: dict[str, list[str]] = {}
    for queue, choice in choices.items():
        groups.setdefault(f"{choice.mode} ({choice.reason})", []).append(str(queue))
    return {choice: f"queue{'s' * (len(queues) > 1)} {' '.join(queues)}" for choice, queues in groups.items()}


class Doorbells:
    """The doorbells of one device's running queues."""

    def __init__(self, device: VdpaDevice) -> None:
        self._device = device
        self._relay: Any = None
        self._choices: dict[int, DoorbellChoice] = {}

    @property
    def choices(self) -> dict[int, DoorbellChoice]:
        """The choice for each connected queue."""
        return dict(self._choices)

    def connect(self, queue: int, fd: int) -> DoorbellChoice:
        """Have each signal of eventfd ``fd`` ring the queue's doorbell. The caller keeps its fd."""
        self.disconnect(queue)
        at = self._device.doorbell_address(queue)
        try:
            self._device.function.ioeventfd(at.bar, at.offset, at.width, at.value, fd)
            choice = DoorbellChoice(DoorbellMode.IOEVENTFD, "the function takes the kick eventfd itself")
        except Unsupported as error:
            self._connect_relay(queue, fd)
            choice = DoorbellChoice(DoorbellMode.RELAY, f"no ioeventfd: {error.what}")
        self._choices[queue] = choice
        log.info("%s: queue %d: doorbell by %s (%s)", self._device.name, queue, choice.mode, choice.reason)
        return choice

    def disconnect(self, queue: int) -> None:
        """On return nobody listens to the queue's kick eventfd; harmless when not connected."""
        choice = self._choices.pop(queue, None)
        if choice is None:
            return
        if choice.mode is DoorbellMode.RELAY:
            lib.vdp_relay_del(self._relay, queue)
            return
        at = self._device.doorbell_address(queue)
        self._device.function.ioeventfd(at.bar, at.offset, at.width, at.value, None)

    def close(self) -> None:
        """Disconnect all and join the relay thread; harmless when already closed."""
        for queue in list(self._choices):
            self.disconnect(queue)
        if self._relay is not None:
            lib.vdp_relay_fini(self._relay)
            self._relay = None

    def _connect_relay(self, queue: int, fd: int) -> None:
        if self._relay is None:
            relay = ffi.new("struct vdp_relay **")
            check(lib.vdp_relay_init(relay), "cannot start the kick relay", device=self._device.name)
            self._relay = relay[0]
        bell = self._device.doorbell(queue)
        rc = lib.vdp_relay_add(self._relay, queue, fd, bell.native)
        check(rc, f"cannot relay the kicks of queue {queue}", device=self._device.name)
