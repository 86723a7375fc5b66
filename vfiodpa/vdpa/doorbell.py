"""Doorbells: from the guest to the device's register, the best way that works.

Best first (DESIGN section 5): the guest stores to the device's page itself (a host notifier), else the
kernel or the software NIC takes its kick eventfd (``ioeventfd``), else a C thread relays it. The choice
and its reason are shown to the user.

The kick eventfd stays connected under a host notifier, for as long as the queue runs: the guest's side
installs and removes the page when it likes, and what it does meanwhile comes by the eventfd (decision 4).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

from .._native import ffi, lib
from ..drivers.device import VdpaDevice
from ..errors import Unsupported, VfiodpaError, check
from ..frontends.frontend import Frontend

log = logging.getLogger(__name__)


class DoorbellMode(StrEnum):
    """How a queue's kicks reach the device, best first."""

    NOTIFIER = "notifier"
    IOEVENTFD = "ioeventfd"
    RELAY = "relay"


@dataclass(frozen=True, slots=True)
class DoorbellChoice:
    """The mode in use and why no better one is."""

    mode: DoorbellMode
    reason: str


@dataclass(slots=True)
class _Bell:
    """One connected queue: how its eventfd is heard, and whether the guest needs it."""

    wire: DoorbellMode
    why: str  # why by that wire
    shared: bool = False  # the front end was given the page
    why_shared: str = ""  # why the guest does not ring by itself; empty: it does

    @property
    def choice(self) -> DoorbellChoice:
        if not self.why_shared:
            return DoorbellChoice(DoorbellMode.NOTIFIER, f"the guest rings the device itself, else by {self.wire}")
        return DoorbellChoice(self.wire, f"{self.why}; no host notifier: {self.why_shared}")


def in_words(choices: Mapping[int, DoorbellChoice]) -> dict[str, str]:
    """For people: ``{'ioeventfd (why)': 'queues 0 1'}``."""
    groups: dict[str, list[str]] = {}
    for queue, choice in choices.items():
        groups.setdefault(f"{choice.mode} ({choice.reason})", []).append(str(queue))
    return {choice: f"queue{'s' * (len(queues) > 1)} {' '.join(queues)}" for choice, queues in groups.items()}


def why_no_page(device: VdpaDevice, queue: int = 0) -> str:
    """Why no guest can be given the queue's doorbell page; empty when one can."""
    try:
        device.doorbell_page(queue)
    except Unsupported as error:
        return f"{error.what} ({error.cause})" if error.cause else error.what
    return ""


class Doorbells:
    """The doorbells of one device's running queues. ``frontend``: who has the guest, while one is there."""

    def __init__(self, device: VdpaDevice, best: DoorbellMode = DoorbellMode.NOTIFIER) -> None:
        """``best``: ways better than that are not used."""
        self._device = device
        self._best = best
        self._relay: Any = None
        self._bells: dict[int, _Bell] = {}
        self.frontend: Frontend | None = None

    @property
    def choices(self) -> dict[int, DoorbellChoice]:
        """The choice for each connected queue, as it stands: a guest may take the page later."""
        return {queue: bell.choice for queue, bell in self._bells.items()}

    @property
    def can_share(self) -> bool:
        """May guests be given pages?"""
        return self._best is DoorbellMode.NOTIFIER and not why_no_page(self._device)

    def connect(self, queue: int, fd: int) -> DoorbellChoice:
        """Have each signal of eventfd ``fd`` ring the queue's doorbell. The caller keeps its fd.

        Where it can be, the guest is also asked to ring by itself; the answer comes later.
        """
        self.disconnect(queue)
        bell = self._bells[queue] = self._wired(queue, fd)
        self._share(queue, bell)
        log.info("%s: queue %d: doorbell by %s (%s)", self._device.name, queue, bell.choice.mode, bell.choice.reason)
        return bell.choice

    def disconnect(self, queue: int) -> None:
        """On return nobody listens to the queue's kick eventfd; harmless when not connected."""
        bell = self._bells.pop(queue, None)
        if bell is None:
            return
        if bell.shared and self.frontend is not None:
            self.frontend.withdraw_doorbell(queue)
        if bell.wire is DoorbellMode.RELAY:
            lib.vdp_relay_del(self._relay, queue)
            return
        at = self._device.doorbell_address(queue)
        self._device.function.ioeventfd(at.bar, at.offset, at.width, at.value, None)

    def close(self) -> None:
        """Disconnect all and join the relay thread; harmless when already closed."""
        for queue in list(self._bells):
            self.disconnect(queue)
        if self._relay is not None:
            lib.vdp_relay_fini(self._relay)
            self._relay = None

    # The eventfd

    def _wired(self, queue: int, fd: int) -> _Bell:
        if self._best is DoorbellMode.RELAY:
            self._connect_relay(queue, fd)
            return _Bell(DoorbellMode.RELAY, "no better way is wanted")
        at = self._device.doorbell_address(queue)
        try:
            self._device.function.ioeventfd(at.bar, at.offset, at.width, at.value, fd)
        except Unsupported as error:
            self._connect_relay(queue, fd)
            return _Bell(DoorbellMode.RELAY, f"no ioeventfd: {error.what}")
        return _Bell(DoorbellMode.IOEVENTFD, "the function takes the kick eventfd itself")

    def _connect_relay(self, queue: int, fd: int) -> None:
        if self._relay is None:
            relay = ffi.new("struct vdp_relay **")
            check(lib.vdp_relay_init(relay), "cannot start the kick relay", device=self._device.name)
            self._relay = relay[0]
        bell = self._device.doorbell(queue)
        rc = lib.vdp_relay_add(self._relay, queue, fd, bell.native)
        check(rc, f"cannot relay the kicks of queue {queue}", device=self._device.name)

    # The page

    def _share(self, queue: int, bell: _Bell) -> None:
        bell.why_shared = self._why_not_shared(queue)
        if bell.why_shared or self.frontend is None:
            return
        try:
            self.frontend.share_doorbell(queue, self._device.doorbell_page(queue), partial(self._answered, queue, bell))
        except Unsupported as error:
            bell.why_shared = error.what
            return
        bell.shared = True
        bell.why_shared = "the front end has not answered yet"

    def _why_not_shared(self, queue: int) -> str:
        if self._best is not DoorbellMode.NOTIFIER:
            return "it is not wanted"
        if self.frontend is None:
            return "there is no front end to ask"
        return why_no_page(self._device, queue)

    def _answered(self, queue: int, bell: _Bell, why: str) -> None:
        """Out of the event loop: nothing may be raised."""
        if self._bells.get(queue) is not bell:
            return  # of an earlier start
        bell.why_shared, bell.shared = why, not why
        choice = bell.choice
        log.info("%s: queue %d: doorbell by %s (%s)", self._device.name, queue, choice.mode, choice.reason)
        try:
            self._device.kick(queue)  # in case one fell between the two ways
        except VfiodpaError as error:
            log.warning("%s: queue %d: %s", self._device.name, queue, error)
