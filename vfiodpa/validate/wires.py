"""Wire peers: another software NIC, or a network interface of the kernel."""

from __future__ import annotations

import time

from ..errors import DeviceError
from ..pci.function import PciFunction
from ..soft.function import SoftFunction
from ..spec.features import Feature, closed
from ..spec.virtio_net import GsoType, NetHdr
from .bench import RX, TX, drop_memory, make_memory
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
)
BUFFER = 66_000  # the longest frame and its header
BUFFERS = 32
ANSWER_S = 2.0


class SoftWire(Wire):
    """A second software NIC on the same ``link=``, driven by hand. Takes ``function`` over."""

    carries_offloads = True

    def __init__(self, function: PciFunction) -> None:
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
    def on(cls, link: str) -> SoftWire:
        """The other end of ``soft:link=NAME``."""
        return cls(SoftFunction(f"soft:link={link}"))

    def _start(self) -> None:
        wanted = int(OFFLOADS | Feature.VERSION_1 | Feature.ACCESS_PLATFORM) & int(self.device.offered)
        self.device.negotiate(closed(wanted))
        self._rx, self._tx = (SplitRing(self.memory, queue, 256) for queue in (RX, TX))
        self.device.enable(RX, self._rx)
        self.device.enable(TX, self._tx)
        self._slots = {}
        for _ in range(BUFFERS):
            gpa = self.memory.alloc(BUFFER, 64)
            self._slots[self._rx.offer([Buf(gpa, BUFFER, writable=True)])] = gpa
        self._out = self.memory.alloc(BUFFER, 64)
        self.device.go()
        self.device.bell(RX)

    def send(self, frame: bytes, header: NetHdr | None = None) -> None:
        data = (header or NetHdr(gso_type=GsoType.NONE)).pack() + frame
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
            now = self._rx.used_idx
            if now != self._rx.seen:
                return self._take()
            if time.monotonic() >= end:
                return None
            time.sleep(0.0002)

    def _take(self) -> Heard:
        one = self._rx.used_elem(self._rx.seen)
        self._rx.seen = self._rx.seen + 1 & 0xFFFF
        gpa = self._slots.pop(one.id)
        raw = self.memory.read(gpa, one.length)
        self._slots[self._rx.offer([Buf(gpa, BUFFER, writable=True)])] = gpa
        self.device.bell(RX)
        return Heard(raw[NetHdr.size :], NetHdr.unpack(raw[: NetHdr.size]))

    def set_link(self, up: bool) -> None:
        """Down: this end's driver is gone. Up: it is back, with fresh rings."""
        self.device.reset()
        for region in self.memory.regions:
            region.taken.clear()
        if up:
            self._start()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self.device.reset()
        drop_memory(self.function, self.memory)
        self.function.close()
