"""Runner: the device at work. Starts and stops it and its queues in the fixed order."""

from __future__ import annotations

import contextlib
import logging
import os
import select
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ..drivers.device import QueueSetup, QueueState, VdpaDevice
from ..errors import StateError, VfiodpaError
from ..frontends.frontend import Ring
from ..memory import Iova
from ..spec.features import Feature
from .doorbell import Doorbells
from .guest_map import GuestMap

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Slot:
    """What the guest said about one queue. fds are the front end's; ``base`` is where it continues."""

    ring: Ring | None = None
    base: QueueState | None = None  # None: never used
    kick: int | None = None
    call: int | None = None
    started: bool = False  # the protocol's two axes: started/stopped and enabled/disabled
    enabled: bool = False

    @property
    def wanted(self) -> bool:
        """Should the device work on it?"""
        return self.started and self.enabled and self.ring is not None


class Runner:
    """Programs queues, connects their notifications and takes both away again."""

    def __init__(self, device: VdpaDevice, memory: GuestMap, doorbells: Doorbells) -> None:
        self._device = device
        self._memory = memory
        self.slots: dict[int, Slot] = {}
        self.running: set[int] = set()
        self._active_pairs = 0  # as last told to the device; 0: nothing was
        self.doorbells = doorbells
        self._packed = False  # rings of the guest
        self.config_event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def start(self, features: Feature, queues: list[int]) -> None:
        """Features, interrupts, queues, DRIVER_OK, doorbells: virtio 1.3, 3.1.1."""
        self._device.negotiate(features)
        self._packed = Feature.RING_PACKED in features
        self._device.set_config_irq(self.config_event)
        self._active_pairs = 0
        for queue in queues:
            self._program(queue)
        self.set_active_pairs()
        self._device.start()
        for queue in queues:
            self.connect(queue)

    def start_more(self, queues: list[int]) -> None:
        """Queues that the guest starts or enables while others run; none: those enabled may still be others."""
        for queue in queues:
            self._program(queue)
        self.set_active_pairs()
        for queue in queues:
            self.connect(queue)

    def connect(self, queue: int) -> None:
        """Doorbell on, then kick once and call once: no notification is lost over a start."""
        slot = self.slots[queue]
        if slot.kick is None:
            self.doorbells.disconnect(queue)
        else:
            self.doorbells.connect(queue, slot.kick)
        self._device.kick(queue)
        signal(slot.call)

    def set_call(self, queue: int) -> None:
        """The call eventfd was exchanged; what happened meanwhile is signalled again."""
        self._device.set_queue_irq(queue, self.slots[queue].call)
        signal(self.slots[queue].call)

    def halt(self, queue: int) -> None:
        """Doorbell off, interrupt off, queue quiesced; its position is kept in the slot."""
        self.doorbells.disconnect(queue)
        self._device.set_queue_irq(queue, None)
        position = self._device.stop_queue(queue)
        self.running.discard(queue)
        self._keep(queue, position)

    def stop(self) -> None:
        """The same for all queues and the device. Never raises: each step is made, failures are logged."""
        for queue in sorted(self.running):
            self._quietly("doorbell", partial(self.doorbells.disconnect, queue))
        for queue in sorted(self.running):
            self._quietly("interrupt", partial(self._device.set_queue_irq, queue, None))
        self._quietly("interrupt", partial(self._device.set_config_irq, None))
        positions: dict[int, QueueState | None] = {}
        self._quietly("reset", lambda: positions.update(self._device.suspend()))
        for queue in self.running:
            self._keep(queue, positions.get(queue))
        self.running.clear()

    def close(self) -> None:
        """Give the eventfd and the relay back."""
        self.doorbells.close()
        os.close(self.config_event)

    def _program(self, queue: int) -> None:
        slot = self.slots[queue]
        if slot.ring is None:
            raise StateError(f"queue {queue} has no addresses", device=self._device.name)
        ring = slot.ring
        start = self._start_of(queue, ring, slot.base)
        setup = QueueSetup(ring.size, Iova(ring.desc), Iova(ring.driver), Iova(ring.device), start)
        self._device.start_queue(queue, setup)
        self.running.add(queue)
        self._device.set_queue_irq(queue, slot.call)

    def _start_of(self, queue: int, ring: Ring, base: QueueState | None) -> QueueState | None:
        """Where a queue begins: a split ring in use knows better than a front end that says 0.

        DPDK's virtio-user does, when it listens and another back end takes over its running rings.
        """
        if self._packed or (base and base.avail):
            return base
        known = self._memory.position(ring)
        if known is None or not known.avail:
            return base
        log.info("%s: queue %d: starts at %d, where its used ring stands", self._device.name, queue, known.avail)
        return known

    def set_active_pairs(self) -> None:
        """Received frames go to the enabled pairs, counted from the first one on."""
        if not self._device.negotiated & Feature.NET_MQ:
            return
        pairs = 0
        while {2 * pairs, 2 * pairs + 1} <= self.running and all(
            self.slots[queue].enabled for queue in (2 * pairs, 2 * pairs + 1)
        ):
            pairs += 1
        if max(pairs, 1) != self._active_pairs:
            self._device.set_active_pairs(max(pairs, 1))
            self._active_pairs = max(pairs, 1)

    def _keep(self, queue: int, position: QueueState | None) -> None:
        slot = self.slots[queue]
        if position is None and self._packed:
            position = QueueState.lost()
            log.info(
                "%s: queue %d: packed, and the device keeps no positions: it cannot go on from here, only anew",
                self._device.name,
                queue,
            )
        elif position is None and slot.ring is not None:
            position = self._memory.position(slot.ring)
        slot.base = position or slot.base

    def _quietly(self, what: str, step: Callable[[], object]) -> None:
        try:
            step()
        except VfiodpaError as error:
            log.warning("%s: %s failed while stopping: %s", self._device.name, what, error)


def signal(fd: int | None) -> None:
    """Write 1 to an eventfd of the guest's, unless its counter is full: then it is awake anyway.

    The guest shares the open file and can clear O_NONBLOCK, so ask before writing.
    """
    if fd is None:
        return
    room = select.poll()
    room.register(fd, select.POLLOUT)
    if room.poll(0):
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(fd, 1)


def drain(fd: int) -> None:
    """Take what an eventfd of ours has counted."""
    with contextlib.suppress(BlockingIOError):
        os.eventfd_read(fd)
