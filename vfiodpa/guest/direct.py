"""A guest without a hypervisor: our driver half on a device driven directly.

    with vfiodpa.open("soft") as nic, nic.guest() as guest:
        guest.start()
        guest.queues[1].send(readable=[(gpa, 72)])

Guest physical addresses are I/O virtual addresses (DESIGN, section 6).
"""

from __future__ import annotations

import logging
import os

from .._native import lib
from ..drivers.device import QueueSetup, VdpaDevice
from ..errors import UsageError, VfiodpaError, check
from ..memory import Gpa, Iova
from ..pci.function import Doorbell
from ..spec.features import TRANSPORT, Feature
from .guest import Guest
from .memory import GuestMemory, GuestRegion
from .queue import DriverQueue

log = logging.getLogger(__name__)


class DirectGuest(Guest):
    """Our driver half on a ``VdpaDevice``. Owns its memory and eventfds; the device stays its opener's."""

    def __init__(self, device: VdpaDevice, *, memory: GuestMemory | None = None) -> None:
        self.device = device
        self.name = device.name
        self.queues: list[DriverQueue] = []
        self._calls: list[int] = []
        self._mapped: list[GuestRegion] = []
        self._running = False
        self.memory = memory or GuestMemory()
        try:
            for region in self.memory.regions:
                self._map(region)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<DirectGuest {self.name}: {self.summary}>"

    @property
    def offered(self) -> Feature:
        return self.device.features

    @property
    def negotiated(self) -> Feature:
        return self.device.negotiated & ~TRANSPORT

    def doorbell(self, queue: int) -> Doorbell:
        return self.device.doorbell(queue)

    def call_fd(self, queue: int) -> int:
        return self._calls[queue]

    # Life cycle

    def start(self, features: Feature | None = None, pairs: int = 1, size: int = 256) -> None:
        chosen = self.choose(features)
        if not 0 < pairs <= self.device.queue_pairs:
            raise UsageError(f"{pairs} queue pairs, the device has {self.device.queue_pairs}", device=self.name)
        self._drop_queues()
        self.device.negotiate(chosen)
        for index in range(2 * pairs):
            self._start_queue(index, size)
        self._running = True
        self.device.start()
        if pairs > 1:
            self.device.set_active_pairs(pairs)
        for queue in self.queues:
            queue.kick(force=True)

    def _start_queue(self, index: int, size: int) -> None:
        """Interrupt first: the vector must be set before the queue is enabled (virtio 1.3, 4.1.5.1.3)."""
        bell = self.doorbell(index)
        self._calls.append(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        queue = DriverQueue(
            self.memory,
            size,
            self.negotiated,
            index=index,
            ring_bell=lambda: _ring(bell, index),
            call_fd=self._calls[index],
        )
        self.queues.append(queue)
        self.device.set_queue_irq(index, self._calls[index])
        desc, driver, device = (Iova(gpa) for gpa in (queue.desc, queue.driver, queue.device))
        self.device.start_queue(index, QueueSetup(size, desc, driver, device))

    def stop(self) -> list[int]:
        """See ``Guest.stop``; where the device cannot tell a position, it is how far the used ring came."""
        for queue in self.queues:
            queue.release()
        positions = self.device.suspend()
        for queue in self.queues:
            self.device.set_queue_irq(queue.index, None)
        self._running = False
        states = [(queue, positions.get(queue.index)) for queue in self.queues]
        return [state.avail if state else queue.position for queue, state in states]

    def close(self) -> None:
        for queue in self.queues:
            queue.release()
        if self._running:
            try:
                self.stop()
            except VfiodpaError as error:
                log.warning("%s: %s", self.name, error)
            self._running = False
        while self._mapped:
            self._unmap(self._mapped[-1])
        self._drop_queues()
        self.memory.close()

    def _drop_queues(self) -> None:
        while self.queues:
            self.queues.pop().close()
        while self._calls:
            os.close(self._calls.pop())

    # Memory

    def _map(self, region: GuestRegion) -> None:
        self.device.function.dma.map(Iova(region.gpa), region.mapping, 0, region.length)
        self._mapped.append(region)

    def _unmap(self, region: GuestRegion) -> None:
        self._mapped.remove(region)
        self.device.function.dma.unmap(Iova(region.gpa), region.length)

    def add_region(self, size: int, gpa: Gpa | None = None) -> GuestRegion:
        """More memory, also while queues run."""
        region = self.memory.add_region(size, gpa)
        try:
            self._map(region)
        except VfiodpaError:
            self.memory.remove_region(region)
            raise
        return region

    def remove_region(self, region: GuestRegion) -> None:
        """Take memory away; the device must not hold buffers in it."""
        self._unmap(region)
        self.memory.remove_region(region)


def _ring(bell: Doorbell, index: int) -> None:
    check(lib.vdp_doorbell_ring(bell.native), f"cannot ring queue {index}")
