"""Traffic whose every frame is accounted for: csrc/traffic.h with a Python face.

with Traffic(guest, Plan(sizes=(64, 1518))) as traffic:
    time.sleep(5)
    print(traffic.stats().total.received)
print(traffic.verdict)
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Self

import numpy as np

from .._native import ffi, lib
from ..errors import StateError, UsageError, check
from ..readable import readable
from ..spec.features import Feature, names
from ..spec.virtio_net import NetHdr, NetHdrHash, rx_queue, tx_queue
from .guest import Guest
from .queue import FAULT_TEXT, DriverQueue, Fault

HEADER = NetHdr.size  # struct virtio_net_hdr with VERSION_1
MERGEABLE_BUFFER = 2048
POLL_FOREVER = 0xFFFF_FFFF


class Mode(IntEnum):
    """What is done with frames (``enum vdp_traffic_mode``)."""

    ECHO = 0  # send, and expect each frame back on the same pair
    RECEIVE = 1  # check the numbers of frames from a ``generate`` port
    TRANSMIT = 2  # send only


class Offload(IntEnum):
    """What the device is asked to do with each frame (``enum vdp_traffic_offload``)."""

    PLAIN = 0
    CSUM = 1  # complete the checksum of the TCP segment that holds it
    TSO = 2  # and part several frames in one


NEEDS = {
    Offload.PLAIN: Feature(0),
    Offload.CSUM: Feature.NET_CSUM,
    Offload.TSO: Feature.NET_CSUM | Feature.NET_HOST_TSO4,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send and how.

    ``sizes``: bytes of a frame without virtio header and FCS, 60 to 65535; several are taken in
    turn. ``pairs`` 0: all. ``window``: frames in flight per pair; 0: as many as the receive ring
    holds. ``count``: frames per pair, 0: until stopped. ``poll_us``: how long to poll without a
    frame before sleeping. ``segments``: descriptors per buffer; from 2 on the first one holds
    the header alone. ``receive_buffer``: bytes, 0: what suits. ``stall``: seconds after which unanswered
    frames no longer fill the window. ``drain``: seconds to wait for answers at the end. ``offload``: frames
    travel in TCP over IPv4, ``together`` in one for TSO; they count one by one.
    """

    sizes: int | Sequence[int] = 64
    mode: Mode = Mode.ECHO
    pairs: int = 0
    window: int = 0
    burst: int = 32
    count: int = 0
    poll_us: int = 50
    segments: int = 1
    receive_buffer: int = 0
    stall: float = 0.5
    drain: float = 1.0
    cpu: int = -1
    offload: Offload = Offload.PLAIN
    together: int = 1
    dst: bytes = b"\x02\x00\x00\x00\x00\x02"
    src: bytes = b"\x02\x00\x00\x00\x00\x01"

    @property
    def longest(self) -> int:
        """Bytes of the longest frame, without virtio header."""
        return self.envelope + self.together * max(self.size_list)

    @property
    def envelope(self) -> int:
        """Bytes around frames whose checksum the device is to complete."""
        return int(lib.VDP_ENVELOPE) if self.offload else 0

    @property
    def size_list(self) -> list[int]:
        """``sizes`` as a list."""
        return [self.sizes] if isinstance(self.sizes, int) else list(self.sizes)


@dataclass(frozen=True, slots=True)
class PairStats:
    """Counters of one pair, in the order of ``struct vdp_traffic_stats``, which explains them."""

    sent: int = 0
    sent_bytes: int = 0
    transmitted: int = 0
    received: int = 0
    received_bytes: int = 0
    distinct: int = 0
    duplicated: int = 0
    reordered: int = 0
    corrupt: int = 0
    foreign: int = 0
    missing: int = 0
    written_off: int = 0
    kicks: int = 0
    calls: int = 0
    fault: int = 0
    fault_detail: int = 0
    offloaded: int = 0
    hashed: int = 0

    @property
    def outstanding(self) -> int:
        """Sent and not back."""
        return self.sent - self.distinct

    @property
    def fault_text(self) -> str:
        """How the device broke the ring; empty when it did not."""
        return FAULT_TEXT[Fault(self.fault)].format(self.fault_detail) if self.fault else ""


@dataclass(frozen=True, slots=True)
class Stats:
    """Counters of a running traffic. ``seconds`` since its start; ``sleeps`` of its thread."""

    mode: Mode
    seconds: float
    sleeps: int
    pairs: tuple[PairStats, ...]

    @property
    def total(self) -> PairStats:
        """Sums over the pairs (of faults: the first)."""
        counters = [f.name for f in fields(PairStats) if not f.name.startswith("fault")]
        sums = {name: sum(getattr(pair, name) for pair in self.pairs) for name in counters}
        bad = next((pair for pair in self.pairs if pair.fault), PairStats())
        return PairStats(**sums, fault=bad.fault, fault_detail=bad.fault_detail)


@dataclass(frozen=True, slots=True)
class Verdict(Stats):
    """What became of all frames, after the traffic was stopped."""

    @property
    def lost(self) -> int:
        """Frames that never arrived."""
        if self.mode is Mode.ECHO:
            return self.total.outstanding
        return self.total.missing

    @property
    def problems(self) -> list[str]:
        """What was wrong, for people; frames that are not ours are no problem."""
        total = self.total
        found = [f"{getattr(total, name)} {name}" for name in ("duplicated", "reordered", "corrupt")]
        found = [text for text in (f"{self.lost} lost", *found) if not text.startswith("0 ")]
        found += [f"pair {i}: {pair.fault_text}" for i, pair in enumerate(self.pairs) if pair.fault]
        moved = total.transmitted if self.mode is Mode.TRANSMIT else total.received
        return found if moved else [*found, "no frame came through"]

    @property
    def clean(self) -> bool:
        """Frames came through, and none was lost, repeated, reordered or damaged."""
        return not self.problems

    def __str__(self) -> str:
        total = self.total
        text = f"{total.sent} sent, {total.received} received in {self.seconds:.2f} s: "
        return text + ("clean" if self.clean else ", ".join(self.problems))


class Traffic:
    """Drives queue pairs of a started guest from a C thread, from construction until ``stop``.

    Until then the queues are the thread's: using them by hand raises ``StateError``.
    """

    def __init__(self, guest: Guest, plan: Plan = Plan()) -> None:
        pairs = plan.pairs or len(guest.queues) // 2
        if not 0 < pairs <= len(guest.queues) // 2:
            raise UsageError(f"{pairs} pairs, the guest has {len(guest.queues) // 2}", remedy="guest.start(pairs=...)")
        self.guest = guest
        self.plan = plan
        self.mergeable = bool(guest.negotiated & Feature.NET_MRG_RXBUF)
        self.header = NetHdrHash.size if guest.negotiated & Feature.NET_HASH_REPORT else HEADER
        self._verdict: Verdict | None = None
        self._pairs = pairs
        self._keep: list[Any] = []
        self._native: Any = ffi.NULL
        self._queues: list[DriverQueue] = []
        conf = self._conf()
        native = ffi.new("struct vdp_traffic **")
        self._began = time.monotonic()
        check(lib.vdp_traffic_init(native, conf), "cannot start traffic", device=guest.name)
        self._native = native[0]
        for queue in self._queues:
            queue.stop_user = self.stop

    # Set-up

    def _conf(self) -> Any:
        plan, sizes = self.plan, self.plan.size_list
        if any(not lib.VDP_FRAME_MIN <= size <= lib.VDP_FRAME_MAX for size in sizes) or not sizes:
            raise UsageError(f"frame sizes {sizes}: each must be {lib.VDP_FRAME_MIN} to {lib.VDP_FRAME_MAX} bytes")
        if missing := NEEDS[plan.offload] & ~self.guest.negotiated:
            raise UsageError(f"{plan.offload.name} needs {', '.join(names(missing))}", device=self.guest.name)
        conf = ffi.new("struct vdp_traffic_conf *")
        conf.mode, conf.pairs, conf.mergeable = plan.mode, self._pairs, self.mergeable
        conf.header = self.header
        conf.burst, conf.count, conf.poll_us, conf.cpu = plan.burst, plan.count, plan.poll_us, plan.cpu
        conf.window = plan.window or self._window()
        conf.stall_ms, conf.drain_ms = round(plan.stall * 1000), round(plan.drain * 1000)
        conf.dst, conf.src = list(plan.dst), list(plan.src)
        conf.offload, conf.together = plan.offload, plan.together
        conf.size_count = len(sizes)
        conf.sizes = self._kept(ffi.new("uint32_t[]", sizes))
        conf.pair = self._kept(ffi.new("struct vdp_traffic_pair[]", self._pairs))
        for index in range(self._pairs):
            if plan.mode is not Mode.TRANSMIT:
                self._fill_ring(conf.pair[index].rx, rx_queue(index), self._receive_buffer)
            if plan.mode is not Mode.RECEIVE:
                self._fill_ring(conf.pair[index].tx, tx_queue(index), _round_up(self.header + plan.longest))
        return conf

    def _kept(self, thing: Any) -> Any:
        self._keep.append(thing)
        return thing

    @property
    def _receive_buffer(self) -> int:
        if self.plan.receive_buffer:
            return _round_up(self.plan.receive_buffer)
        return MERGEABLE_BUFFER if self.mergeable else _round_up(self.header + self.plan.longest)

    def _window(self) -> int:
        """Frames that fit the rings, so that a device which keeps up need not drop any."""
        whole = bool(self.guest.negotiated & Feature.NET_GUEST_TSO4)  # else frames sent together come back one by one
        together = self.plan.together if whole else 1
        length = self.plan.longest if whole else self.plan.envelope + max(self.plan.size_list)
        buffers = -(-(self.header + length) // self._receive_buffer)
        size = min(queue.size for queue in self.guest.queues)
        indirect = self.guest.queues[0].indirect
        fit = max(size // (1 if indirect else self.plan.segments) // buffers, 1) * together
        return max(fit, self.plan.together)

    def _fill_ring(self, ring: Any, index: int, stride: int) -> None:
        queue = self.guest.queues[index]
        if queue.stop_user:
            raise StateError(f"queue {index} is in use by a thread", remedy="stop the other traffic first")
        self._queues.append(queue)
        bell = self.guest.doorbell(index)
        self._keep.append(bell)
        ring.driver = queue.native
        ring.bell = bell.native[0]
        ring.call = self.guest.call_fd(index)
        ring.gpa = queue.pool(stride)
        ring.buffers = ffi.cast("uint8_t *", self.guest.memory.address(ring.gpa, queue.size * stride))
        ring.stride = stride
        ring.segments = self.plan.segments

    # Running

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = str(self._verdict) if self._verdict else f"running, {self.stats().total}"
        return f"<Traffic {self.guest.name}: {state}>"

    def stats(self) -> Stats:
        """Counters as they stand; after ``stop`` the last ones."""
        if self._verdict:
            return self._verdict
        return Stats(self.plan.mode, time.monotonic() - self._began, self._sleeps(), self._read())

    def _sleeps(self) -> int:
        return int(lib.vdp_traffic_sleeps(self._native))

    def _read(self) -> tuple[PairStats, ...]:
        return tuple(_pair_stats(lib.vdp_traffic_stats(self._native, i)) for i in range(self._pairs))

    def wait(self, timeout: float) -> bool:
        """Wait until each pair sent its ``count`` and has its answers (or failed); ``False`` after ``timeout`` s."""
        if self._verdict:
            return True
        return bool(readable([lib.vdp_traffic_done_fd(self._native)], timeout))

    def stop(self) -> Verdict:
        """Stop sending, wait for answers on their way, and end the thread."""
        if self._verdict:
            return self._verdict
        seconds = time.monotonic() - self._began
        lib.vdp_traffic_stop(self._native)
        self._verdict = Verdict(self.plan.mode, seconds, self._sleeps(), self._read())
        lib.vdp_traffic_fini(self._native)
        self._native = ffi.NULL
        for queue in self._queues:
            queue.stop_user = None
        return self._verdict

    @property
    def verdict(self) -> Verdict:
        """What ``stop`` found; raises ``StateError`` while running."""
        if self._verdict is None:
            raise StateError("the traffic still runs")
        return self._verdict


def _pair_stats(block: Any) -> PairStats:
    counters = np.frombuffer(ffi.buffer(block), dtype=np.uint64)
    return PairStats(*(int(value) for value in counters))


def _round_up(size: int) -> int:
    return -(-size // 64) * 64


def run(guest: Guest, plan: Plan = Plan(), *, seconds: float = 1.0) -> Verdict:
    """Traffic for ``seconds``, or until ``plan.count`` frames are done."""
    with Traffic(guest, plan) as traffic:
        traffic.wait(seconds)
    return traffic.verdict
