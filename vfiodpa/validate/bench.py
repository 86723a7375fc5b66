"""What a check works on: the device, memory that it can reach, interrupts, the wire, and a clock.

def check_something(bench: Bench) -> None:
    bench.start(Feature.VERSION_1)
    ring = bench.ring(TX)
    ring.offer([bench.frame()])
    bench.device.bell(TX)
    used = bench.wait_used(ring)
    bench.must(used[0].length == 0, f"the device says it wrote {used[0].length} bytes")
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ..drivers.transport import check_present
from ..errors import DeviceGone, VfiodpaError
from ..guest.memory import GuestMemory, GuestRegion
from ..memory import Gpa, Iova
from ..pci.function import PciFunction, Perm
from ..spec.features import Feature, closed
from ..spec.virtio_pci import NO_VECTOR
from ..trace.traced import TracedFunction
from .device import Device
from .dump import dump_memory
from .hooks import NO_HOOKS, Hooks, no_hook
from .rings import Buf, PackedRing, Ring, SplitRing, UsedBuf, make_ring
from .verdict import Deviation, NotApplicable, Overdue, Suspicion
from .wire import Wire

RX, TX = 0, 1
HEADER = 12  # bytes of struct virtio_net_hdr
SIZE = 256  # entries; QEMU before 9.0 writes used entries that straddle pages wrongly behind an IOMMU
ANSWER_S = 2.0
MIN_SILENCE_S = 0.02
REGION = 8 << 20
BASE = Gpa(0x1000_0000)
CONTROL = Feature.NET_CTRL_VQ
# What rings and headers look like is the check's to say.
PLAIN = Feature.VERSION_1 | Feature.ACCESS_PLATFORM | Feature.ORDER_PLATFORM
MAC = b"\x02\x00\x00\x00\x00\x02"
PEER = b"\x02\x00\x00\x00\x00\x01"


@dataclass(slots=True)
class Interrupt:
    """A vector's eventfd."""

    vector: int
    fd: int
    answer: float = ANSWER_S
    told: Callable[[int, int], None] = lambda _vector, _count: None  # for recordings

    def fired(self, timeout: float | None = None) -> int:
        """How often it was signalled since the last look; waits for the first. 0: not within ``timeout``."""
        wait = self.answer if timeout is None else timeout
        count = os.eventfd_read(self.fd) if select.select([self.fd], [], [], wait)[0] else 0
        if count:
            self.told(self.vector, count)
        return count


@dataclass(slots=True)
class Bench:
    """One check's. Built anew for each, on a function that stays open; ``close`` gives back what the check took."""

    function: PciFunction
    memory: GuestMemory
    read_only: GuestRegion
    write_only: GuestRegion
    wire_peer: Wire | None = None
    latency: float = 0.0  # of doorbell to used buffer, as measured; 0: not yet
    answer: float = ANSWER_S  # seconds after which no answer comes any more
    packed: bool = False  # which layout ``start`` takes where the check does not say
    deadline: float = 0.0  # monotonic
    notes: list[str] = field(default_factory=list)
    mark: bytes = field(default_factory=lambda: os.urandom(4))  # of its frames: wires keep those of others a while
    hooks: Hooks = NO_HOOKS
    registers_only: bool = False  # a recording: nothing answers a doorbell
    _device: Device | None = None
    _irqs: dict[int, Interrupt] = field(default_factory=dict)

    @property
    def device(self) -> Device:
        """The device, found when it is asked for first: checks of the capabilities alone do without.

        Raises ``NotApplicable`` when its structures cannot be found: other clauses are about that.
        """
        if self._device is None:
            try:
                self._device = Device(self.function, self.look, registers_only=self.registers_only)
            except DeviceGone:
                raise
            except VfiodpaError as error:
                check_present(self.function)
                raise NotApplicable(f"the device cannot be driven: {error}") from error
        return self._device

    @property
    def touched(self) -> bool:
        """Did the check have to do with the device itself?"""
        return self._device is not None

    def reset_function(self) -> None:
        """Function level reset; raises ``Unsupported``. Interrupts are gone, the device is to be set up anew."""
        self._drop_interrupts()
        self.function.reset()
        self._device = None

    # Verdicts

    def must(self, right: object, seen: str) -> None:
        """Raise ``Deviation`` unless ``right``: ``seen`` says what the device did, and what it had to do."""
        if not right:
            raise Deviation(seen)

    def should(self, right: object, seen: str) -> None:
        """Raise ``Suspicion`` unless ``right``: a warning at most."""
        if not right:
            raise Suspicion(seen)

    def needs(self, *features: Feature) -> None:
        """Raise ``NotApplicable`` unless the device offers all of these."""
        offered = self.device.offered if features else 0
        for feature in features:
            if feature & ~offered:
                raise NotApplicable(f"the device does not offer {feature.name}")

    def note(self, text: str) -> None:
        """Something worth keeping whatever the verdict: it goes into the report."""
        self.notes.append(text)

    def show(self, what: str, gpa: int, length: int) -> None:
        """Note a hexdump of memory, such as a buffer that the device wrote."""
        self.note(f"{what}:\n{dump_memory(self.memory, gpa, length)}")

    # Time

    def look(self, what: str) -> None:
        """Raise ``Overdue`` when the check's time is up."""
        if self.deadline and time.monotonic() > self.deadline:
            raise Overdue(f"time is up: {what}")

    def wait(self, true: Callable[[], Any], what: str, timeout: float | None = None) -> Any:
        """Poll until ``true`` returns something true, and return that; after ``timeout`` return what it said last."""
        end = time.monotonic() + (self.answer if timeout is None else timeout)
        while not (result := true()):
            self.look(what)
            if time.monotonic() >= end:
                return true()  # the time may have passed without us: the last look comes after it
            time.sleep(0.0002)
        return result

    @property
    def silence(self) -> float:
        """Seconds that count as never: a thousand times what an answer takes, at least 20 ms."""
        return min(max(1000 * self.latency, MIN_SILENCE_S), 0.2)

    def still(self, seen: Callable[[], object], what: str, before: object = None) -> None:
        """Raise ``Deviation`` when ``seen`` changes within a silence; ``before``: from what, unless from now on."""
        before = seen() if before is None else before
        end = time.monotonic() + self.silence
        over = False
        while not over:
            self.look(what)
            over = time.monotonic() >= end  # the last look comes after it: the time may have passed without us
            self.must(seen() == before, what)
            time.sleep(0.0005)

    # Memory

    def alloc(self, size: int, data: bytes = b"", *, perm: Perm = Perm.RW, align: int = 64) -> Gpa:
        """Memory for buffers, given back after the check; ``perm``: what the device may do with it."""
        region = {Perm.READ: self.read_only, Perm.WRITE: self.write_only}.get(perm, self.memory.regions[0])
        gpa = self.memory.alloc(size, align, region=region)
        self.memory.write(gpa, data.ljust(size, b"\0"))
        return gpa

    def frame(self, payload: bytes = bytes(46), *, header: bytes = bytes(HEADER), perm: Perm = Perm.RW) -> Buf:
        """A frame to transmit, virtio header and all, in one buffer."""
        data = header + PEER + MAC + b"\x88\xb5" + payload
        return Buf(self.alloc(len(data), data, perm=perm), len(data))

    # Bringing up

    @property
    def pairs(self) -> int:
        """Queue pairs of the device."""
        if not self.device.offered & (Feature.NET_MQ | Feature.NET_RSS):
            return 1
        return int(self.device.net.max_virtqueue_pairs)

    @property
    def control_queue(self) -> int:
        """Index of the control queue (5.1.2): behind all pairs where MQ was negotiated, else 2."""
        multi = self.device.features & (Feature.NET_MQ | Feature.NET_RSS)
        return 2 * self.pairs if multi else 2

    def usual(self, extra: int = 0) -> Feature:
        """What checks negotiate: plain rings and frames, what the platform needs, and ``extra`` if offered."""
        wanted = int(PLAIN) | int(extra) | (int(Feature.RING_PACKED) if self.packed else 0)
        return closed(wanted & int(self.device.offered))

    def negotiate(self, extra: int = 0) -> Feature:
        """To FEATURES_OK with ``usual(extra)``."""
        return self.device.negotiate(int(self.usual(extra)))

    def start(self, extra: int = 0, queues: tuple[int, ...] = (RX, TX), size: int = SIZE) -> None:
        """A running device with ``queues`` enabled, each with a vector of its own where there are enough."""
        self.negotiate(extra)
        for queue in queues:
            self.add_queue(queue, size)
        self.device.go()

    def add_queue(
        self, queue: int, size: int = SIZE, *, vector: int | None = None, read_only: bool = False
    ) -> SplitRing | PackedRing:
        """Enable a queue with a fresh ring; its vector is its index plus one, as far as there are vectors."""
        packed = bool(self.device.features & Feature.RING_PACKED)
        largest = self.device.max_size(queue)
        self.must(largest, f"queue_size of queue {queue} reads 0: it is not there")
        region = self.read_only if read_only else None
        ring = make_ring(packed, self.memory, queue, min(size, largest), region)
        if vector is None:
            vector = min(queue + 1, self.function.vectors - 1) if self.function.vectors else NO_VECTOR
        if vector != NO_VECTOR:
            self.interrupt(vector)
        self.device.enable(queue, ring, vector)
        return ring

    def ring(self, queue: int) -> Any:
        """The ring of an enabled queue."""
        return self.device.rings[queue]

    def interrupt(self, vector: int) -> Interrupt:
        """The eventfd of a vector, attached."""
        if vector not in self._irqs:
            fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._irqs[vector] = Interrupt(vector, fd, self.answer)
            if isinstance(self.function, TracedFunction):
                self._irqs[vector].told = self.function.interrupt
            self.function.set_irq(vector, fd)
        return self._irqs[vector]

    def irq_of(self, queue: int) -> Interrupt:
        """The interrupt that ``add_queue`` gave to a queue."""
        return self.interrupt(min(queue + 1, self.function.vectors - 1))

    # Traffic

    def knock(self, what: str, *rings: Ring, used_only: bool = False) -> None:
        """Publish what was offered, ring the doorbells, and raise ``Deviation`` when the device touches a ring.

        ``used_only``: it may say what doorbells it wants.
        """
        view = Ring.used_part if used_only else Ring.whole
        before = [view(ring, ring.untouched()) for ring in rings]
        for ring in rings:
            ring.publish()
        for ring in rings:
            self.device.bell(ring.index)
        self.still(lambda: [view(ring, ring.image()) for ring in rings], what, before)

    def send(self, ring: Ring, *chain: Buf) -> int:
        """Make a chain available (a plain frame, if nothing is said) and ring the doorbell; returns its id."""
        made = ring.offer(chain or [self.frame()])
        self.device.bell(ring.index)
        return made

    def wait_used(self, ring: Ring, count: int = 1, timeout: float | None = None) -> list[UsedBuf]:
        """Wait for ``count`` used buffers; raises ``Deviation`` when they do not come."""
        found: list[UsedBuf] = []

        def enough() -> bool:
            found.extend(ring.used())
            return len(found) >= count

        timeout = self.answer if timeout is None else timeout
        what = f"queue {ring.index} used {{}} of {count} buffers within {timeout:g} s"
        self.must(self.wait(enough, what.format("fewer than all"), timeout), what.format(len(found)))
        return found

    @property
    def wire(self) -> Wire:
        """The other end of the wire; raises ``NotApplicable`` where there is none."""
        if self.wire_peer is None:
            raise NotApplicable("nobody is at the other end of the wire (--wire)")
        return self.wire_peer

    # Events from outside; a check that wants one says so with ``hook=``

    def set_link(self, up: bool) -> None:
        """Carrier on or off."""
        (self.hooks.link or _nobody("link"))(up)

    def set_mtu(self, mtu: int) -> None:
        """Give the device another MTU, from outside."""
        (self.hooks.mtu or _nobody("mtu"))(mtu)

    def ask_to_announce(self) -> None:
        """Have the device ask its driver for gratuitous packets."""
        (self.hooks.announce or _nobody("announce"))()

    def make_it_fail(self) -> None:
        """Have the device fail (NEEDS_RESET)."""
        (self.hooks.fault or _nobody("fault"))()

    def make_it_busy(self) -> None:
        """Have the device answer its next administration command with EAGAIN or ENOMEM."""
        (self.hooks.busy or _nobody("busy"))()

    def close(self) -> None:
        """Give back what the check took. The device is reset by whoever runs checks, before this."""
        self._drop_interrupts()
        for region in self.memory.regions:
            region.taken.clear()

    def _drop_interrupts(self) -> None:
        for interrupt in self._irqs.values():
            self.function.set_irq(interrupt.vector, None)
            os.close(interrupt.fd)
        self._irqs.clear()


def _nobody(event: str) -> NoReturn:
    raise NotApplicable(no_hook(event))


def make_memory(function: PciFunction) -> tuple[GuestMemory, GuestRegion, GuestRegion]:
    """Memory for benches, mapped: all of it, a region that the device can only read, one it can only write.

    The caller unmaps (``drop_memory``) before it closes the function.
    """
    memory = GuestMemory(REGION, REGION // 2, REGION // 2, base=BASE)
    try:
        for region, perm in zip(memory.regions, (Perm.RW, Perm.READ, Perm.WRITE), strict=True):
            function.dma.map(Iova(region.gpa), region.mapping, 0, region.length, perm)
    except BaseException:
        memory.close()
        raise
    return memory, memory.regions[1], memory.regions[2]


def drop_memory(function: PciFunction, memory: GuestMemory) -> None:
    """Unmap and close what ``make_memory`` made."""
    for region in memory.regions:
        function.dma.unmap(Iova(region.gpa), region.length)
    memory.close()
