"""One guest: negotiation, memory, device status, and the order in which it all ends.

Ref: vhost-user, "Communication" and "Front-end message types".
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

from ...errors import ProtocolViolation, StateError, Unsupported, VfiodpaError
from ...pci.function import SharedPage
from ...spec.features import Feature, names
from ...spec.vhost_user import (
    HOST_NOTIFIERS,
    MAX_MEM_SLOTS,
    U64,
    Empty,
    MemTableHeader,
    Protocol,
    Request,
    SingleRegion,
)
from ...spec.virtio_pci import DeviceStatus
from ..frontend import Backend, Frontend
from ..loop import Loop
from .channel import BackendChannel
from .connection import DEADLINE, Connection
from .dispatch import Dispatcher, Handler, Negotiated
from .memory import Change, MemoryTable
from .message import Message, Tap, decode_table, no_tap
from .offer import FRONT_END, offered_features, offered_protocol
from .vrings import Vrings

log = logging.getLogger(__name__)

MTU_RANGE = range(68, 65536)  # IPv4's smallest, a 16-bit field's largest


class Session(Frontend):
    """A connected front end. Attaches to the back end when made, detaches when closed."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        name: str,
        backend: Backend,
        on_closed: Callable[[], None],
        deadline: float = DEADLINE,
        tap: Tap = no_tap,
    ) -> None:
        """Takes the socket over. Raises ``StateError`` when the back end has another guest."""
        self.name = name
        self._tap = tap
        self._backend = backend
        self._on_closed = on_closed
        self._negotiated = Negotiated()
        self._status = DeviceStatus(0)
        self._driver_ok = False
        self._closed = False
        self._loop, self._deadline = loop, deadline
        self._channel: BackendChannel | None = None
        self._memory = MemoryTable(backend)
        self._rings = Vrings(name, backend, self._memory)
        self._dispatcher = Dispatcher(name, self._handlers(), self._negotiated)
        try:
            backend.attach(self)
        except BaseException:
            sock.close()
            raise
        self._connection = Connection(loop, sock, self._message, self._lost, deadline)
        log.info("%s: guest attached (%s)", name, self._connection.peer)

    @property
    def peer_gone(self) -> bool:
        """Has the front end closed its end of the socket?"""
        return self._connection.peer_gone

    def close(self) -> None:
        """Let go of the guest; harmless when already closed. The order is DESIGN section 1's."""
        if self._closed:
            return
        self._closed = True
        try:
            self._backend.detach()
        finally:
            self._memory.close()
            self._rings.close()
            if self._channel is not None:
                self._channel.close()
            self._connection.close()
            log.info("%s: guest detached", self.name)
            self._on_closed()

    def _lost(self, error: VfiodpaError | None) -> None:
        if error is not None:
            log.warning("%s: connection closed: %s", self.name, error)
        self.close()

    def _message(self, message: Message) -> None:
        self._tap("<-", message.header.pack() + message.payload, len(message.fds))
        answer = self._dispatcher.answer(message)
        if answer:
            self._tap("->", answer, 0)
            self._connection.send(answer)

    # What the core tells us

    def queue_error(self, queue: int, reason: str) -> None:
        """The error fd is all that the protocol has for it."""
        log.debug("%s: queue %d stopped: %s", self.name, queue, reason)
        self._rings[queue].signal_error()

    def device_failed(self, reason: str) -> None:
        """NEEDS_RESET shows in GET_STATUS until the guest resets the device (virtio 1.3, 2.1.2)."""
        log.debug("%s: device failed: %s", self.name, reason)
        self._status |= DeviceStatus.NEEDS_RESET
        self._rings.signal_errors()

    def config_changed(self) -> None:
        """A network front end owns the configuration space: CONFIG is never negotiated, so nobody is told."""
        log.debug("%s: configuration changed; the front end keeps its own", self.name)

    def share_doorbell(self, queue: int, page: SharedPage, answer: Callable[[str], None]) -> None:
        """A host notifier, in the protocol's words."""
        missing = int(HOST_NOTIFIERS) & ~int(self._negotiated.protocol)
        if missing:
            raise Unsupported(f"the front end did not negotiate {Protocol(missing).name}")
        if self._channel is None or self._channel.closed:
            raise Unsupported("the front end has no channel open for back-end requests")
        acknowledged = Protocol.REPLY_ACK in self._negotiated.protocol
        self._channel.share_doorbell(queue, page, answer, acknowledged=acknowledged)

    def withdraw_doorbell(self, queue: int) -> None:
        """Also removes a notifier that was not acknowledged yet."""
        if self._channel is not None:
            self._channel.withdraw_doorbell(queue)

    # Handlers

    def _handlers(self) -> dict[Request, Handler]:
        rings = self._rings
        backend = self._backend
        return {
            Request.GET_FEATURES: lambda _body, _message: U64(value=int(offered_features(backend.features))),
            Request.SET_FEATURES: lambda body, _message: self._set_features(Feature(body.value)),
            Request.SET_OWNER: lambda _body, _message: None,
            Request.RESET_OWNER: lambda _body, _message: self._reset_rings(),
            Request.SET_MEM_TABLE: self._set_mem_table,
            Request.SET_VRING_NUM: lambda body, _message: rings.set_num(body),
            Request.SET_VRING_ADDR: lambda body, _message: rings.set_addr(body),
            Request.SET_VRING_BASE: lambda body, _message: rings.set_base(body),
            Request.GET_VRING_BASE: lambda body, _message: rings.get_base(body),
            Request.SET_VRING_KICK: self._set_vring_kick,
            Request.SET_VRING_CALL: rings.set_call,
            Request.SET_VRING_ERR: rings.set_err,
            Request.GET_PROTOCOL_FEATURES: lambda _body, _message: U64(value=int(offered_protocol(backend))),
            Request.SET_PROTOCOL_FEATURES: lambda body, _message: self._set_protocol_features(Protocol(body.value)),
            Request.GET_QUEUE_NUM: lambda _body, _message: U64(value=backend.queue_pairs),
            Request.SET_VRING_ENABLE: lambda body, _message: rings.set_enable(body),
            Request.SEND_RARP: lambda _body, message: backend.announce(message.payload[:6]),
            Request.NET_SET_MTU: lambda body, _message: self._set_mtu(body.value),
            Request.SET_BACKEND_REQ_FD: self._set_channel,
            Request.RESET_DEVICE: lambda _body, _message: self._reset_device(),
            Request.GET_MAX_MEM_SLOTS: lambda _body, _message: U64(value=MAX_MEM_SLOTS),
            Request.ADD_MEM_REG: self._add_mem_reg,
            Request.REM_MEM_REG: lambda body, _message: self._change_memory(self._memory.plan_remove(body)),
            Request.SET_STATUS: lambda body, _message: self._set_status(body.value),
            Request.GET_STATUS: lambda _body, _message: U64(value=int(self._status)),
        }

    # Negotiation

    def _set_features(self, features: Feature) -> None:
        unknown = int(features) & ~int(offered_features(self._backend.features))
        if unknown:
            raise ProtocolViolation("features that were not offered: " + ", ".join(names(unknown)))
        # Front ends with several queue pairs repeat it for each pair while the first one already runs.
        if self._rings.running and features != self._negotiated.features:
            raise StateError("features cannot change while a queue runs")
        if features != self._negotiated.features:
            self._backend.set_features(Feature(int(features) & ~int(FRONT_END)))
        self._negotiated.features = features
        self._rings.features = features
        self._rings.enable_at_start = Feature.VHOST_PROTOCOL_FEATURES not in features
        log.debug("%s: features %s", self.name, " ".join(names(features)))

    def _set_protocol_features(self, protocol: Protocol) -> None:
        # As plain integers: an IntFlag's complement has no bits above the highest that it knows.
        unknown = int(protocol) & ~int(offered_protocol(self._backend))
        if unknown:
            raise ProtocolViolation(f"protocol features that were not offered: {unknown:#x}")
        if self._rings.running and protocol != self._negotiated.protocol:
            raise StateError("protocol features cannot change while a queue runs")
        self._negotiated.protocol = protocol
        log.debug("%s: protocol features %r", self.name, protocol)

    def _set_channel(self, _body: Empty, message: Message) -> None:
        """SET_BACKEND_REQ_FD: a new one replaces the old, on which nothing is answered any more."""
        channel = BackendChannel(self._loop, message.fds[0], self.name, self._deadline, self._tap)
        message.take_fd()
        if self._channel is not None:
            self._channel.close()
        self._channel = channel

    def _set_mtu(self, mtu: int) -> None:
        if mtu not in MTU_RANGE:
            raise ProtocolViolation(f"{mtu} is no MTU")
        self._backend.set_mtu(mtu)

    # Memory

    def _set_mem_table(self, _body: MemTableHeader, message: Message) -> None:
        regions = decode_table(message)
        self._change_memory(self._memory.plan_replace(regions, message.take_fds()))

    def _add_mem_reg(self, body: SingleRegion, message: Message) -> None:
        self._change_memory(self._memory.plan_add(body, message.take_fd()))

    def _change_memory(self, change: Change) -> None:
        try:
            self._memory.apply(change, self._rings.halt_in)
        finally:
            lost = self._rings.resume()
            if lost:
                self._status |= DeviceStatus.NEEDS_RESET
                log.warning("%s: stopped after a change of memory: %s", self.name, lost)

    # Start and reset

    def _set_vring_kick(self, body: U64, message: Message) -> None:
        # Without STATUS nobody says when the driver is ready: a started ring means that it is.
        if Protocol.STATUS not in self._negotiated.protocol:
            self._set_driver_ok(True)
        self._rings.set_kick(body, message)

    def _set_driver_ok(self, driver_ok: bool) -> None:
        if driver_ok != self._driver_ok:
            self._backend.set_driver_ok(driver_ok)
            self._driver_ok = driver_ok

    def _set_status(self, value: int) -> None:
        """SET_STATUS: the guest's view of the device status (virtio 1.3, 2.1)."""
        if value > 0xFF:
            raise ProtocolViolation(f"{value:#x} is no device status")
        status = DeviceStatus(value) & ~DeviceStatus.NEEDS_RESET
        if not status:
            return self._reset_device()
        ready = DeviceStatus.DRIVER_OK in status
        if self._negotiated.features is None:
            if ready:
                raise StateError("DRIVER_OK comes before SET_FEATURES")
            status &= ~DeviceStatus.FEATURES_OK  # reads back clear: not accepted (3.1.1 step 6)
        self._set_driver_ok(ready)
        self._status = status | self._status & DeviceStatus.NEEDS_RESET
        return None

    def _reset_device(self) -> None:
        """RESET_DEVICE, or status 0: negotiation starts again; memory and fds stay."""
        self._reset_rings()
        self._negotiated.features = None
        self._status = DeviceStatus(0)

    def _reset_rings(self) -> None:
        """RESET_OWNER (deprecated) means no more than this: the connection's state stays."""
        self._rings.reset()
        self._driver_ok = False
