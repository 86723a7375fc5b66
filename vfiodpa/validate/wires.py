"""A second software NIC as the wire peer."""

from __future__ import annotations

import time

from ..errors import DeviceError
from ..soft.function import SoftFunction
from ..spec.features import Feature, closed
from ..spec.virtio_net import GsoType, NetHdr, header_of
from .bench import TX, drop_memory, make_memory
from .device import Device
from .rings import Buf, SplitRing
from .wire import Heard, Wire

OFFLOADS = (
    Feature.NET_CSUM
    | Feature.NET_GUEST_CSUM
    | Feature.NET_GUEST_TSO4
    | Feature.NET_GUEST_TSO6
    | Feature.NET_GUEST_ECN
    | Feature.NET_GUEST_USO4
    | Feature.NET_GUEST_USO6
    | Feature.NET_HOST_TSO4
    | Feature.NET_HOST_TSO6
    | Feature.NET_HOST_ECN
    | Feature.NET_HOST_USO
    | Feature.NET_HOST_UFO
    | Feature.NET_HOST_UDP_TUNNEL_GSO
    | Feature.NET_HOST_UDP_TUNNEL_GSO_CSUM
    | Feature.NET_GUEST_UDP_TUNNEL_GSO
    | Feature.NET_GUEST_UDP_TUNNEL_GSO_CSUM
)
BUFFER = 66_000  # the longest frame and its header
BUFFERS = 32
ANSWER_S = 2.0


class SoftWire(Wire):
    """A second software NIC on the same ``link=``, driven by hand. Takes ``function`` over."""

    carries_offloads = True
    carries_tunnels = True

    def __init__(self, function: SoftFunction) -> None:
        self.function = function
        self.name = f"{function.name} (software NIC on the same link)"
        self.memory, _, _ = make_memory(function)
        self.device = Device(function)
        self._closed = False
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    @classmethod
    def on(cls, link: str, pairs: int = 1) -> SoftWire:
        """The other end of ``soft:link=NAME,queues=PAIRS``. Raises ``DeviceError`` when nobody is there."""
        wire = cls(SoftFunction(f"soft:link={link},queues={pairs}"))
        try:
            wait_for_link(wire.function)
        except BaseException:
            wire.close()
            raise
        return wire

    def _start(self) -> None:
        wanted = int(OFFLOADS | Feature.VERSION_1 | Feature.ACCESS_PLATFORM) & int(self.device.offered)
        self._header = header_of(self.device.negotiate(closed(wanted)))
        pairs = self.function.options.queues
        self._tx = SplitRing(self.memory, TX, 256)
        self.device.enable(TX, self._tx)
        # What the other end sends on a pair comes in on the same one: all are listened to.
        self._rx = [SplitRing(self.memory, 2 * pair, 256) for pair in range(pairs)]
        self._slots: dict[tuple[int, int], int] = {}
        for ring in self._rx:
            self.device.enable(ring.index, ring)
            for _ in range(BUFFERS // pairs):
                self._offer(ring, self.memory.alloc(BUFFER, 64))
        self._out = self.memory.alloc(BUFFER, 64)
        self.device.go()
        for ring in self._rx:
            self.device.bell(ring.index)

    def _offer(self, ring: SplitRing, gpa: int) -> None:
        self._slots[ring.index, ring.offer([Buf(gpa, BUFFER, writable=True)])] = gpa

    def send(self, frame: bytes, header: NetHdr | None = None) -> None:
        size = self._header.size
        data = (header or NetHdr(gso_type=GsoType.NONE)).pack()[:size].ljust(size, b"\0") + frame
        self.memory.write(self._out, data)
        self._tx.offer([Buf(self._out, len(data))])
        self.device.bell(TX)
        end = time.monotonic() + ANSWER_S
        while not self._tx.used():
            if time.monotonic() > end:
                raise DeviceError("the wire peer does not send", device=self.name)

    def receive(self, timeout: float = 1.0) -> Heard | None:
        end = time.monotonic() + timeout
        while True:
            late = time.monotonic() >= end  # before the last look: the time may have passed without us
            for ring in self._rx:
                if ring.used_idx != ring.seen:
                    return self._take(ring)
            if late:
                return None
            time.sleep(0.0002)

    def _take(self, ring: SplitRing) -> Heard:
        one = ring.used_elem(ring.seen)
        ring.seen = ring.seen + 1 & 0xFFFF
        gpa = self._slots.pop((ring.index, one.id))
        raw = self.memory.read(gpa, one.length)
        self._offer(ring, gpa)
        self.device.bell(ring.index)
        size = self._header.size
        return Heard(raw[size:], self._header.unpack(raw[:size]))

    def set_link(self, up: bool) -> None:
        """Down: this end pulls its plug. What is on its way is lost."""
        self.function.pull_wire(out=not up)
        if up:
            wait_for_link(self.function)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.device.reset()
        drop_memory(self.function, self.memory)
        self.function.close()


def wait_for_link(function: SoftFunction, timeout: float = ANSWER_S) -> None:
    """Until somebody is at the other end: what is sent before is lost. Raises ``DeviceError``."""
    end = time.monotonic() + timeout
    while trouble := function.wire_trouble():
        if time.monotonic() > end:
            raise DeviceError(trouble, device=function.name)
        time.sleep(0.001)
