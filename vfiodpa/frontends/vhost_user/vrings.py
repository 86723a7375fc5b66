"""The ring messages: SET_VRING_*, GET_VRING_BASE and SET_VRING_ENABLE.

Ref: vhost-user, "Starting and stopping rings". A ring starts at SET_VRING_KICK and stops at
GET_VRING_BASE; while it runs only its fds and its enable state may change.
"""

from __future__ import annotations

import logging
import os

from ...drivers.device import QueueState
from ...errors import ProtocolViolation, Unsupported, VfiodpaError
from ...spec.features import NONE, Feature
from ...spec.vhost_user import U64, VRING_INDEX_MASK, VRING_NO_FD, VringAddr, VringState
from ...spec.virtio_ring import PACKED_INDEX
from ..frontend import Backend, Region
from .fds import check_eventfd, close_all
from .memory import MemoryTable
from .message import Malformed, Message
from .vring import Vring, check_size, translate

log = logging.getLogger(__name__)

MAX_BASE = 0xFFFF  # split rings: a 16-bit index; packed ones have the used position in the upper half


class Vrings:
    """All rings of one guest."""

    def __init__(self, name: str, backend: Backend, memory: MemoryTable) -> None:
        self._name = name
        self._backend = backend
        self._memory = memory
        self._rings = [Vring(index) for index in range(2 * backend.queue_pairs)]
        self._halted: list[Vring] = []
        self.features = NONE  # that the front end accepted
        self.enable_at_start = False  # without VHOST_PROTOCOL_FEATURES there is no SET_VRING_ENABLE

    def __getitem__(self, index: int) -> Vring:
        if index >= len(self._rings):
            raise ProtocolViolation(f"queue {index}: there are {len(self._rings)}")
        return self._rings[index]

    @property
    def running(self) -> bool:
        """Does any ring run?"""
        return any(ring.running for ring in self._rings)

    def reset(self) -> None:
        """Stop and forget all rings, but remember where they stopped: GET_VRING_BASE may still come."""
        for ring in self._rings:
            try:
                self._stop(ring)
            except VfiodpaError as error:  # the reset itself will stop it
                log.warning("%s: the position of queue %d is lost: %s", self._name, ring.index, error)
        self._backend.reset()
        for ring in self._rings:
            ring.forget()

    def close(self) -> None:
        """Close all fds."""
        for ring in self._rings:
            ring.close()

    def signal_errors(self) -> None:
        """The device failed: every queue is in error."""
        for ring in self._rings:
            ring.signal_error()

    # Description

    def set_num(self, body: VringState) -> None:
        """SET_VRING_NUM."""
        ring = self[body.index]
        ring.idle()
        check_size(body.num, self._packed)
        ring.size = body.num

    def set_addr(self, body: VringAddr) -> None:
        """SET_VRING_ADDR. Checked now, so that the front end learns at once, and again at the start."""
        ring = self[body.index]
        ring.idle()
        translate(body, ring.size, self._memory, self._packed)
        ring.addresses = body

    def set_base(self, body: VringState) -> None:
        """SET_VRING_BASE."""
        ring = self[body.index]
        ring.idle()
        avail, used = body.num & MAX_BASE, body.num >> 16
        if used and not self._packed:
            raise ProtocolViolation(f"a split ring's base is at most {MAX_BASE:#x}, got {body.num:#x}")
        if used and used != avail:  # DPDK's virtio-user leaves it 0
            raise Unsupported(
                f"queue {body.index} stands at {avail:#x} available, {used:#x} used: buffers are in flight",
                cause="the device uses buffers in order and keeps none over a stop",
            )
        ring.base = ring.position = avail

    # Start and stop

    def set_kick(self, body: U64, message: Message) -> None:
        """SET_VRING_KICK: starts the ring, or replaces the fd of a running one."""
        ring = self._ring_of(body)
        fd = _take_eventfd(body, message, "kick")
        try:
            if fd < 0:
                raise Unsupported(
                    f"queue {ring.index}: the front end wants its ring polled",
                    cause="the device is told of new buffers by a doorbell",
                    remedy="a kick eventfd",
                )
            if ring.running:
                self._backend.set_kick(ring.index, fd)
            else:
                self._start(ring, fd)
        except BaseException:
            close_all([fd])
            raise
        close_all([ring.kick])
        ring.kick = fd

    def _start(self, ring: Vring, kick: int) -> None:
        where = ring.translated(self._memory, self._packed)
        start = self._position(ring.base)
        if self._packed and start & PACKED_INDEX >= where.size:
            raise ProtocolViolation(f"queue {ring.index} of {where.size} entries cannot start at {start:#x}")
        self._backend.set_ring(ring.index, where)
        self._backend.set_base(ring.index, QueueState(start))
        if self.enable_at_start:
            self._backend.enable_queue(ring.index, True)
        # Again, because a core may drop it at a stop or reset, while front ends may send it only once.
        self._backend.set_call(ring.index, None if ring.call < 0 else ring.call)
        self._backend.set_kick(ring.index, kick)
        try:
            self._backend.start_queue(ring.index)
        except BaseException:
            self._backend.set_kick(ring.index, None)  # it is closed in a moment
            raise
        ring.ring = where

    def get_base(self, body: VringState) -> VringState:
        """GET_VRING_BASE: stops the ring and lets go of its kick and call fds."""
        ring = self[body.index]
        self._stop(ring)
        self._backend.set_kick(ring.index, None)
        self._backend.set_call(ring.index, None)
        close_all((ring.kick, ring.call))
        ring.kick = ring.call = -1
        position = self._position(ring.position)
        return VringState(index=ring.index, num=position | position << 16 if self._packed else position)

    @property
    def _packed(self) -> bool:
        return Feature.RING_PACKED in self.features

    def _position(self, of: int | None) -> int:
        return QueueState.first(self.features).avail if of is None else of

    def _stop(self, ring: Vring) -> None:
        if ring.running:
            ring.base = ring.position = self._backend.stop_queue(ring.index).avail
            ring.ring = None

    def set_enable(self, body: VringState) -> None:
        """SET_VRING_ENABLE."""
        ring = self[body.index]
        if body.num > 1:
            raise ProtocolViolation(f"queue {body.index}: enable is 0 or 1, got {body.num}")
        self._backend.enable_queue(ring.index, bool(body.num))

    # Notifications

    def set_call(self, body: U64, message: Message) -> None:
        """SET_VRING_CALL; without an fd the guest polls."""
        ring = self._ring_of(body)
        fd = _take_eventfd(body, message, "call")
        try:
            self._backend.set_call(ring.index, None if fd < 0 else fd)
        except BaseException:
            close_all([fd])
            raise
        close_all([ring.call])
        ring.call = fd

    def set_err(self, body: U64, message: Message) -> None:
        """SET_VRING_ERR."""
        ring = self._ring_of(body)
        fd = _take_eventfd(body, message, "error")
        close_all([ring.err])
        ring.err = fd

    def _ring_of(self, body: U64) -> Vring:
        if body.value & ~(VRING_INDEX_MASK | VRING_NO_FD):
            raise ProtocolViolation(f"unknown bits in {body.value:#x}: 0 to 7 are the queue, 8 is no-fd")
        return self[body.value & VRING_INDEX_MASK]

    # Memory under running rings

    def halt_in(self, regions: list[Region]) -> None:
        """Stop the rings that lie in regions about to go."""
        for ring in self._rings:
            if any(ring.lies_in(region) for region in regions):
                self._stop(ring)
                self._halted.append(ring)

    def resume(self) -> str:
        """Start the halted ones where they are now; returns why others stay stopped. Their error fd is signalled."""
        halted, self._halted = self._halted, []
        lost = []
        for ring in halted:
            try:
                self._start(ring, ring.kick)
            except VfiodpaError as error:
                lost.append(f"queue {ring.index}: {error}")
                ring.signal_error()
        return "; ".join(lost)


def _take_eventfd(body: U64, message: Message, what: str) -> int:
    """The message's eventfd, or -1 when bit 8 says that there is none."""
    expected = 0 if body.value & VRING_NO_FD else 1
    if len(message.fds) != expected:
        raise Malformed(f"{message.name}: {len(message.fds)} fds with {body.value:#x}, expected {expected}")
    fd = message.take_fd()
    if fd >= 0:
        try:
            check_eventfd(fd, what)
        except BaseException:
            os.close(fd)
            raise
    return fd
