"""Our own vhost-user front end: a guest for any vhost-user back end, ours or somebody else's.

    with VhostUserGuest("/tmp/nic.sock") as guest:
        guest.start(pairs=1)
        guest.queues[1].send(readable=[(gpa, 72)])

``start`` does what QEMU does at vhost_dev_start; the single steps are methods too, and ``channel``
sends anything else. Ref: QEMU docs/interop/vhost-user.rst.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import Counter
from dataclasses import dataclass

from .._native import ffi, lib
from ..errors import FeaturesRefused, UsageError, VfiodpaError, check
from ..memory import Gpa
from ..pci.function import Doorbell
from ..spec.features import NONE, Feature
from ..spec.vhost_user import (
    HOST_NOTIFIERS,
    TABLE_SLOTS,
    TRANSPORT_BITS,
    U64,
    VRING_INDEX_MASK,
    VRING_NO_FD,
    BackendRequest,
    HeaderFlag,
    Protocol,
    Request,
    VringAddr,
    VringArea,
    VringState,
)
from ..spec.virtio_pci import DeviceStatus
from ..spec.virtio_ring import packed_base
from .channel import DEFAULT_TIMEOUT, Channel, FrontendChannel, Message, PeerTimeout
from .guest import Guest
from .memory import GuestMemory, GuestRegion
from .page_bell import PageBell
from .queue import DriverQueue
from .told_memory import ToldMemory

log = logging.getLogger(__name__)

WANTED = (
    Protocol.MQ
    | Protocol.REPLY_ACK
    | Protocol.MTU
    | Protocol.RARP
    | Protocol.BACKEND_REQ
    | Protocol.CONFIGURE_MEM_SLOTS
    | Protocol.STATUS
    | Protocol.RESET_DEVICE
)
_READY = DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER | DeviceStatus.FEATURES_OK


@dataclass(slots=True)
class _Wires:
    """A queue's eventfds; owned."""

    kick: int
    call: int
    err: int

    @classmethod
    def make(cls) -> _Wires:
        return cls(*(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(3)))

    def close(self) -> None:
        for fd in (self.kick, self.call, self.err):
            os.close(fd)


class VhostUserGuest(Guest):
    """A vhost-user front end with our driver half behind it.

    ``listen``: the back end connects to us. ``protocol``: protocol features to negotiate where
    offered. ``notifiers``: let the back end give us its doorbell pages; they are taken by ``take_notifiers``.
    ``timeout`` in seconds bounds every wait. Owns its memory, sockets, eventfds and pages.

    ``rings`` counts how queues were kicked by hand: by ``page`` or by ``eventfd``. A traffic thread kicks as
    ``rings_by`` says when it starts.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        memory: GuestMemory | None = None,
        listen: bool = False,
        protocol: Protocol = WANTED,
        notifiers: bool = False,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self.name = str(path)
        self.queues: list[DriverQueue] = []
        self._wires: list[_Wires] = []
        self._pages: dict[int, PageBell] = {}
        self.rings = Counter[str]()
        self._negotiated = NONE
        self._running = False
        self.backend_requests: Channel | None = None
        self.channel = (FrontendChannel.accept if listen else FrontendChannel.connect)(path, timeout)
        self.memory = memory or GuestMemory()
        try:
            self._open(protocol | HOST_NOTIFIERS if notifiers else protocol)
        except BaseException:
            self.close()
            raise
        slots = bool(self.protocol & Protocol.CONFIGURE_MEM_SLOTS)
        self._told = ToldMemory(self.memory, self.channel, slots, self.name)

    def _open(self, wanted: Protocol) -> None:
        call, command = self.channel.call, self.channel.command
        command(Request.SET_OWNER)
        self._offered = Feature(call(Request.GET_FEATURES).u64)
        self.protocol = self.protocol_offered = Protocol(0)
        self.queue_pairs, self.memory_slots = 1, TABLE_SLOTS
        if not self._offered & Feature.VHOST_PROTOCOL_FEATURES:
            return
        self.protocol_offered = Protocol(call(Request.GET_PROTOCOL_FEATURES).u64)
        self.protocol = self.protocol_offered & wanted
        command(Request.SET_PROTOCOL_FEATURES, U64(value=self.protocol))
        self.channel.acks = bool(self.protocol & Protocol.REPLY_ACK)
        if self.protocol & Protocol.MQ:
            self.queue_pairs = call(Request.GET_QUEUE_NUM).u64  # pairs, not queues
        if self.protocol & Protocol.CONFIGURE_MEM_SLOTS:
            self.memory_slots = call(Request.GET_MAX_MEM_SLOTS).u64
        if self.protocol & Protocol.BACKEND_REQ:
            self._open_backend_requests()

    def _open_backend_requests(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.backend_requests = Channel(ours, f"{self.name} (back end requests)", self.channel.timeout)
            self.channel.command(Request.SET_BACKEND_REQ_FD, fds=[theirs.fileno()])

    def __repr__(self) -> str:
        return f"<VhostUserGuest {self.name}: {self.summary}>"

    # What was agreed

    @property
    def offered(self) -> Feature:
        return self._offered & ~TRANSPORT_BITS

    @property
    def negotiated(self) -> Feature:
        return self._negotiated

    def doorbell(self, queue: int) -> Doorbell:
        if queue in self._pages:
            return self._pages[queue].doorbell
        bell = ffi.new("struct vdp_doorbell *", {"kind": lib.VDP_DOORBELL_EVENTFD, "fd": self._wires[queue].kick})
        return Doorbell(bell, self)

    def rings_by(self, queue: int) -> str:
        """``page`` when the back end gave us the queue's doorbell page, else ``eventfd``."""
        return "page" if queue in self._pages else "eventfd"

    def call_fd(self, queue: int) -> int:
        return self._wires[queue].call

    def error_fd(self, queue: int) -> int:
        """Eventfd that the back end signals when it gives a queue up. Owned by the guest."""
        return self._wires[queue].err

    # Life cycle

    def start(
        self, features: Feature | None = None, pairs: int = 1, size: int = 256, *, base: int | None = None
    ) -> None:
        """See ``Guest.start``; ``base`` is where the rings begin (see ``DriverQueue.position``)."""
        chosen = self.choose(features)
        if not 0 < pairs <= self.queue_pairs:
            raise UsageError(f"{pairs} queue pairs, the back end has {self.queue_pairs}", device=self.name)
        self._drop_queues()
        self.set_features(chosen)
        self.send_memory()
        for index in range(2 * pairs):
            self._add_queue(index, size, base)
            self.start_queue(index)
        self._running = True
        for queue in self.queues:
            self.enable_queue(queue.index, True)
        if self.protocol & Protocol.STATUS:
            self.set_status(_READY | DeviceStatus.DRIVER_OK)
        for queue in self.queues:
            queue.kick(force=True)  # the back end may wait for one (2026 text: a front end should)

    def set_features(self, features: Feature) -> None:
        """Negotiate; with STATUS also checks FEATURES_OK (virtio 1.3, 3.1.1 steps 5 and 6)."""
        self.channel.command(Request.SET_FEATURES, U64(value=features | self._offered & _PROTOCOL_BIT))
        self._negotiated = features
        if not self.protocol & Protocol.STATUS:
            return
        self.set_status(_READY)
        if not self.channel.call(Request.GET_STATUS).u64 & DeviceStatus.FEATURES_OK:
            raise FeaturesRefused("the back end did not accept the features", device=self.name)

    def set_status(self, status: DeviceStatus) -> None:
        """Tell the driver's status; needs STATUS."""
        self.channel.command(Request.SET_STATUS, U64(value=status))

    def stop(self) -> list[int]:
        self._running = False  # also when it fails: close does not try again
        for queue in self.queues:
            queue.release()
            self.enable_queue(queue.index, False)
        positions = [self.stop_queue(queue.index) for queue in self.queues]
        if self.protocol & Protocol.STATUS:
            self.set_status(DeviceStatus(0))
        return positions

    def reset(self) -> None:
        """Reset the device, as a rebooting guest does; needs RESET_DEVICE."""
        self.channel.command(Request.RESET_DEVICE)

    def close(self) -> None:
        if self._running and not self.channel.closed:
            try:
                self.stop()
            except VfiodpaError as error:
                log.warning("%s", error)
        self.vanish()

    def vanish(self) -> None:
        """Disconnect without a word, as a guest that is killed, and free everything."""
        self._running = False
        for queue in self.queues:
            queue.release()
        self.channel.close()
        if self.backend_requests:
            self.backend_requests.close()
        self._drop_queues()
        self.memory.close()

    def _drop_queues(self) -> None:
        for index in list(self._pages):
            self._drop_page(index)
        while self.queues:
            self.queues.pop().close()
        while self._wires:
            self._wires.pop().close()

    # Queues

    def _add_queue(self, index: int, size: int, base: int | None) -> None:
        self._wires.append(_Wires.make())
        self.queues.append(
            DriverQueue(
                self.memory,
                size,
                self.negotiated,
                index=index,
                start=base,
                ring_bell=lambda: self._ring(index),
                call_fd=self.call_fd(index),
            )
        )

    def start_queue(self, index: int) -> None:
        """Tell the back end everything about a queue; it may start at the KICK message."""
        queue, wires = self.queues[index], self._wires[index]
        command = self.channel.command
        command(Request.SET_VRING_NUM, VringState(index=index, num=queue.size))
        base = packed_base(queue.position) if queue.packed else queue.position
        command(Request.SET_VRING_BASE, VringState(index=index, num=base))
        command(Request.SET_VRING_ADDR, self.ring_addresses(queue))
        command(Request.SET_VRING_KICK, U64(value=index), [wires.kick])
        command(Request.SET_VRING_CALL, U64(value=index), [wires.call])
        command(Request.SET_VRING_ERR, U64(value=index), [wires.err])

    def ring_addresses(self, queue: DriverQueue) -> VringAddr:
        """The SET_VRING_ADDR payload: front end's addresses."""
        desc, avail, used = (self.memory.uaddr(gpa) for gpa in (queue.desc, queue.driver, queue.device))
        return VringAddr(index=queue.index, desc=desc, avail=avail, used=used)

    def enable_queue(self, index: int, on: bool) -> None:
        """Let a queue carry frames, or not; without protocol features queues are enabled from the start."""
        if self._offered & Feature.VHOST_PROTOCOL_FEATURES:
            self.channel.command(Request.SET_VRING_ENABLE, VringState(index=index, num=int(on)))

    def stop_queue(self, index: int) -> int:
        """Stop a queue; returns its position: the next available entry it would have taken.

        Of a packed ring's base, which has the used position too, that is the lower half.
        """
        self._drop_page(index)  # the device may be another guest's soon
        reply = self.channel.call(Request.GET_VRING_BASE, VringState(index=index))
        return int(VringState.unpack(reply.payload).num & 0xFFFF)

    # Memory

    def send_memory(self) -> None:
        """Tell the back end all regions it does not have yet."""
        self._told.send()

    def send_table(self) -> None:
        """SET_MEM_TABLE with all regions, replacing what the back end had."""
        self._told.send_table()

    def add_region(self, size: int, gpa: Gpa | None = None) -> GuestRegion:
        """Hot-plug memory while queues run."""
        region = self.memory.add_region(size, gpa)
        try:
            self.send_memory()
        except VfiodpaError:
            self.memory.remove_region(region)
            raise
        return region

    def remove_region(self, region: GuestRegion) -> None:
        """Unplug memory; needs CONFIGURE_MEM_SLOTS."""
        self._told.remove(region)
        self.memory.remove_region(region)

    # What the back end says by itself

    def requests(self, timeout: float = 0.0) -> list[Message]:
        """Requests of the back end (BackendRequest), waiting ``timeout`` for the first; each is acknowledged.

        Doorbell pages are mapped, or refused. The fds of other messages belong to the caller.
        """
        messages: list[Message] = []
        if self.backend_requests is None:
            return messages
        while True:
            try:
                message = self.backend_requests.recv(0.0 if messages else timeout)
            except PeerTimeout:
                return messages
            messages.append(message)
            taken = message.request != BackendRequest.VRING_HOST_NOTIFIER_MSG or self._take_page(message)
            if message.flags & HeaderFlag.NEED_REPLY:
                self.backend_requests.reply(message, U64(value=not taken))

    def take_notifiers(self, timeout: float = 5.0) -> bool:
        """Take the back end's doorbell pages until each queue has one; ``False`` after ``timeout`` seconds."""
        end = time.monotonic() + timeout
        while len(self._pages) < len(self.queues):
            left = end - time.monotonic()
            if left <= 0 or self.backend_requests is None:
                return False
            self.requests(left)
        return True

    def _take_page(self, message: Message) -> bool:
        """A page, or the end of one; was it accepted?"""
        area = VringArea.unpack(message.payload)
        index = area.index & VRING_INDEX_MASK
        self._drop_page(index)
        if area.index & VRING_NO_FD:
            return True
        try:
            if index < len(self.queues):
                self._pages[index] = PageBell.of(index, area, message)
        except VfiodpaError as error:
            log.warning("%s: %s", self.name, error)
        finally:
            message.close_fds()
        return index in self._pages

    def _drop_page(self, index: int) -> None:
        if index in self._pages:
            self.queues[index].release()  # its thread may ring it
            self._pages.pop(index).close()

    def _ring(self, index: int) -> None:
        self.rings[self.rings_by(index)] += 1
        check(lib.vdp_doorbell_ring(self.doorbell(index).native), f"cannot kick queue {index}")


_PROTOCOL_BIT = Feature.VHOST_PROTOCOL_FEATURES
