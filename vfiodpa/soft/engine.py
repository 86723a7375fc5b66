"""The data path behind the registers: the only file that calls ``lib.vdp_nic_*``.

A device has a lane for each of its workers: a ``struct vdp_nic`` with some of its pairs. Of N lanes, pair p
is in lane p % N and has number p // N there. Everything that C wants paused is done in ``paused()``, under the
lock of the DMA domain: one control thread at a time, whichever function or domain it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import Any

from .._native import ffi, lib
from ..errors import StateError, Unsupported, check
from ..pci.function import SharedPage
from ..spec.features import Feature
from .doorbell_pages import PAGE, make_doorbell_pages
from .irq import NONE
from .options import Port, SoftOptions
from .state import Queue
from .stats import QueueStats, WorkerStats, as_dict
from .wire import Wire
from .wire_link import Peer
from .workers import SHARED, Worker, WorkerPool, check_start

PAUSE_MS = 5000  # a worker polls for microseconds; this only ends a hang
_LOW_64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class EngineError:
    """The first error of the data path since the last reset (enum vdp_nic_error_code)."""

    code: int
    queue: int
    detail: int

    def __bool__(self) -> bool:
        return self.code != 0


class Engine:
    """The lanes of a device. Owns its workers, or borrows one of a pool; borrows the fds and the DMA map."""

    def __init__(
        self, name: str, options: SoftOptions, lock: RLock, pool: WorkerPool = SHARED, mutant: int = 0
    ) -> None:
        """``mutant``: ``enum vdp_mutant`` of csrc/mutant.h, 0 for a data path that does right."""
        self.name = name
        self._mutant = mutant
        self.queues = 2 * options.queues
        self._options = options
        self._lock = lock
        self._kicks: dict[int, int] = {}
        self._calls: dict[int, int] = {}
        self._config_call = NONE
        self._stopped = False  # all lanes, because of an error in one
        self._active = options.queues  # pairs
        self._receiving: set[int] = set()  # pairs whose receive queue is enabled
        self.dma: Any = ffi.NULL  # struct vdp_dma *, the domain's
        self._pages = make_doorbell_pages(self.queues) if options.notifier else None
        self._pool = pool
        self._worker: Worker | None = None
        self._lanes: list[Any] = []
        self._count = options.workers or 1
        self._wire: Wire | None = None
        self._capture: Any = ffi.NULL  # struct vdp_capture *
        try:
            self._wire = Wire(options, name)
            self._capture = self._start_capture(self._wire)
            self._worker = None if options.workers else pool.take()
            for number in range(self._count):
                self._lanes.append(self._start(number))
        except BaseException:
            self.close()
            raise
        for nic in self._lanes:  # born paused; without vdp_nic_run they do nothing
            lib.vdp_nic_resume(nic)

    def _start_capture(self, wire: Wire) -> Any:
        if wire.capture == NONE:
            return ffi.NULL
        box = ffi.new("struct vdp_capture **")
        lossless = self._options.port is Port.PCAP
        rc = lib.vdp_capture_init(box, wire.capture, wire.event, self._options.queues, lossless)
        check(rc, f"cannot capture to {self._options.captured}", device=self.name)
        return box[0]

    def _start(self, number: int) -> Any:
        options = self._options
        conf = ffi.new("struct vdp_nic_conf *")
        conf.pairs, conf.port = self._pairs_of(number, options.queues), int(options.port)
        conf.worker = self._worker.native if self._worker else ffi.NULL
        conf.poll_us, conf.cpu = options.poll_us, options.cpu_of(number)
        conf.first_pair, conf.pair_step = number, self._count
        conf.generate_size = max(options.sizes, default=options.frame)
        conf.generate_mix, conf.generate_sizes[0 : len(options.sizes)] = len(options.sizes), list(options.sizes)
        conf.generate_flows, conf.generate_pps = options.flows, options.pps
        conf.mac = list(options.mac)
        conf.capture, conf.event_fd = self._capture, self.wire.event
        ports = ffi.new("int32_t[]", self.wire.ports)  # C has read them when init returns
        conf.port_fds = ports if self.wire.ports else ffi.NULL
        if self._pages:
            conf.pages = ffi.cast("void *", self._pages.address + number * 2 * PAGE)
            conf.page_stride, conf.pair_stride = PAGE, 2 * PAGE * self._count
        conf.mutant = self._mutant
        box = ffi.new("struct vdp_nic **")
        check_start(lib.vdp_nic_init(box, conf), conf.cpu, self.name)
        return box[0]

    def _pairs_of(self, lane: int, pairs: int) -> int:
        """How many of the first pairs a lane has."""
        return (pairs + self._count - 1 - lane) // self._count

    def _lane(self, queue: int) -> tuple[Any, int]:
        """Where a queue is, and its number there."""
        pair, side = divmod(queue, 2)
        return self._opened[pair % self._count], 2 * (pair // self._count) + side

    def close(self) -> None:
        """Join the workers; harmless twice."""
        with self._lock:
            while self._lanes:
                lib.vdp_nic_fini(self._lanes.pop())
            if self._worker:
                self._pool.give_back(self._worker)
                self._worker = None
            lib.vdp_capture_fini(self._capture)
            self._capture = ffi.NULL
            if self._wire:
                self._wire.close()
            if self._pages:
                self._pages.close()

    @property
    def _opened(self) -> list[Any]:
        """A ``struct vdp_nic *`` for each lane; raises ``StateError`` when closed."""
        if not self._lanes:
            raise StateError("the software NIC is closed", device=self.name)
        return self._lanes

    @contextmanager
    def paused(self) -> Iterator[list[Any]]:
        """All lanes at rest. Raises ``DeviceTimeout`` when one does not come to rest, with nothing changed."""
        with self._lock, ExitStack() as stack:
            for nic in self._opened:
                check(lib.vdp_nic_pause(nic, PAUSE_MS), "the worker does not come to rest", device=self.name)
                stack.callback(self._resume, nic)
            yield self._opened

    @staticmethod
    def _resume(nic: Any) -> None:
        lib.vdp_nic_resume(nic)

    # The device as a whole

    def set_dma(self, dma: Any) -> None:
        """Reach memory through a ``struct vdp_dma *``."""
        with self.paused() as nics:
            for nic in nics:
                lib.vdp_nic_set_dma(nic, dma)
            self.dma = dma

    def refresh(self) -> None:
        """The DMA map changed: translate the rings again."""
        with self.paused() as nics:
            for nic in nics:
                lib.vdp_nic_refresh(nic)

    def set_features(self, features: Feature) -> None:
        """Features in force."""
        with self.paused() as nics:
            for nic in nics:
                lib.vdp_nic_set_features(nic, int(features) & _LOW_64, int(features) >> 64)

    def run(self, on: bool) -> None:
        """Let the workers serve the queues, or not."""
        with self.paused() as nics:
            for nic in nics:
                lib.vdp_nic_run(nic, on)

    def reset(self) -> None:
        """All queues off, no features, no error. Doorbell bindings are not the device's: they stay."""
        with self.paused() as nics:
            for nic in nics:
                lib.vdp_nic_reset(nic)
            self._calls.clear()
            self._config_call = NONE
            self._stopped = False
            for queue, fd in self._kicks.items():
                lib.vdp_nic_set_kick(*self._lane(queue), fd)
            self._receiving.clear()
            self.set_active_pairs(self.queues // 2)

    def set_active_pairs(self, pairs: int) -> None:
        """How many pairs received frames are spread over."""
        with self.paused() as nics:
            for number, nic in enumerate(nics):
                lib.vdp_nic_set_active_pairs(nic, self._pairs_of(number, pairs))
            self._active = pairs
            self._tell_the_wire()

    def _tell_the_wire(self) -> None:
        """Where frames from outside can be received; somewhere they must go also when nobody does."""
        pairs = [pair for pair in range(self._active) if pair in self._receiving]
        self.wire.receive_on(self._active, pairs or [0])

    def set_filter(self, conf: Any) -> None:
        """Which frames are for the driver: a ``struct vdp_filter *``."""
        with self.paused() as nics:
            for nic in nics:
                lib.vdp_nic_set_filter(nic, conf)

    def set_rss(self, conf: Any) -> None:
        """Hashes and steering: a ``struct vdp_rss *``."""
        with self.paused() as nics:
            for nic in nics:
                lib.vdp_nic_set_rss(nic, conf)

    def set_flow_rules(self, conf: Any) -> None:
        """The flow filter: a ``struct vdp_flow_rules *``."""
        with self.paused() as nics:
            for nic in nics:
                lib.vdp_nic_set_flow_rules(nic, conf)

    def set_guest_offloads(self, offloads: Feature) -> None:
        """``NET_GUEST_*`` that the driver takes, of those negotiated."""
        with self.paused() as nics:
            for nic in nics:
                lib.vdp_nic_set_guest_offloads(nic, int(offloads) & _LOW_64, int(offloads) >> 64)

    def set_mtu(self, mtu: int) -> None:
        """Drop longer frames from the wire; 0: none."""
        with self.paused() as nics:
            for nic in nics:
                lib.vdp_nic_set_mtu(nic, mtu)

    def set_log(self, base: int, end: int) -> None:
        """Log the pages that are written to in a bitmap at these I/O addresses; ``end`` 0: no longer."""
        with self.paused() as nics:
            for nic in nics:
                lib.vdp_nic_set_log(nic, base, end)

    def error(self) -> EngineError:
        """What stopped the data path; false when nothing did. The lanes without an error stop when it is asked for."""
        out = ffi.new("struct vdp_nic_error *")
        for number, nic in enumerate(self._opened):
            lib.vdp_nic_error(nic, out)
            if out.code:
                pair, side = divmod(out.queue, 2)
                self._stop_others()
                return EngineError(out.code, 2 * (pair * self._count + number) + side, out.detail)
        return EngineError(0, 0, 0)

    def _stop_others(self) -> None:
        if self._count > 1 and not self._stopped:
            self._stopped = True
            self.run(False)

    # Queues

    def enable(self, queue: Queue, last_avail: int) -> None:
        """Serve a queue from a position on. Rings that cannot be used become the NIC's error."""
        conf = ffi.new("struct vdp_queue_conf *")
        conf.desc, conf.driver, conf.device = queue.desc, queue.driver, queue.device
        conf.size, conf.last_avail = queue.size, last_avail
        with self.paused():
            rc = lib.vdp_nic_queue_enable(*self._lane(queue.index), conf)
            check(rc, f"queue {queue.index} cannot be enabled", device=self.name)
            self._set_receiving(queue.index, True)

    def disable(self, queue: int) -> None:
        """Queue reset."""
        with self.paused():
            lib.vdp_nic_queue_disable(*self._lane(queue))
            self._set_receiving(queue, False)

    def _set_receiving(self, queue: int, on: bool) -> None:
        pair, side = divmod(queue, 2)
        if side or on == (pair in self._receiving):
            return
        self._receiving ^= {pair}
        self._tell_the_wire()

    def position(self, queue: int) -> int:
        """The next available entry that the device takes (``QueueState.avail``)."""
        with self.paused():
            return int(lib.vdp_nic_queue_avail(*self._lane(queue)))

    # Notifications

    def set_moderation(self, queue: int, packets: int, usecs: int) -> None:
        """Notify of a queue after so many packets (0: however many) or microseconds (0: at once)."""
        with self.paused():
            nic, number = self._lane(queue)
            lib.vdp_nic_set_calm(nic, number, packets, usecs)

    def set_kick(self, queue: int, fd: int) -> None:
        """Watch an eventfd as the queue's doorbell; -1 takes it away."""
        with self.paused():
            check(
                lib.vdp_nic_set_kick(*self._lane(queue), fd),
                f"queue {queue} cannot watch its kick fd",
                device=self.name,
            )
            self._kicks[queue] = fd

    def set_calls(self, calls: dict[int, int], config: int) -> None:
        """Eventfds to signal for each queue and for the configuration; only changes reach the worker."""
        changed = {queue: fd for queue, fd in calls.items() if self._calls.get(queue, NONE) != fd}
        if not changed and config == self._config_call:
            return
        with self.paused() as nics:
            for queue, fd in changed.items():
                lib.vdp_nic_set_call(*self._lane(queue), fd)
            for nic in nics:
                lib.vdp_nic_set_config_call(nic, config)
            self._calls.update(changed)
            self._config_call = config

    def take_unheard(self) -> bool:
        """Was a notification wanted that had no eventfd, since this was asked last?"""
        return sum(bool(lib.vdp_nic_take_unheard(nic)) for nic in self._opened) > 0  # asks every lane

    def kick(self, queue: int) -> None:
        """Ring the queue's doorbell."""
        check(lib.vdp_nic_kick(*self._lane(queue)), f"doorbell of queue {queue}", device=self.name)

    def doorbell_fd(self, queue: int) -> int:
        """An eventfd that does the same; the NIC owns it."""
        fd = lib.vdp_nic_doorbell_fd(*self._lane(queue))
        return check(fd, f"queue {queue} has no doorbell fd", device=self.name)

    def doorbell_page(self, queue: int) -> SharedPage:
        """The queue's doorbell page; the NIC owns the fd. Raises ``Unsupported`` unless ``notifier=on``."""
        if self._pages is None:
            cause = "the software NIC has them with notifier=on"
            raise Unsupported("no doorbell page to give away", device=self.name, cause=cause)
        return SharedPage(self._pages.fd, queue * PAGE, PAGE)

    def inject(self, pair: int, frame: bytes) -> int:
        """Put a frame on the wire as if a pair had sent it. Returns 0, or -EAGAIN when one is under way."""
        nic, queue = self._lane(2 * pair)
        return int(lib.vdp_nic_inject(nic, queue // 2, frame, len(frame)))

    # The wire

    @property
    def wire(self) -> Wire:
        """What the port opened; raises ``StateError`` when closed."""
        if self._wire is None:
            raise StateError("the software NIC is closed", device=self.name)
        return self._wire

    def link_attach(self, peer: Peer) -> None:
        """The other side of the wire is there; its memory is used until ``link_detach``."""
        memory = ffi.cast("void *", peer.memory.address)
        with self.paused() as nics:
            for nic in nics:
                rc = lib.vdp_nic_link_attach(nic, memory, peer.side, peer.wake, peer.peer_wake)
                check(rc, "cannot watch the wire", device=self.name)

    def link_detach(self) -> None:
        """It left."""
        with self.paused() as nics:
            for nic in nics:
                lib.vdp_nic_link_detach(nic)

    def port_error(self) -> int:
        """errno that keeps the port from moving frames, 0 when it works."""
        return max(int(lib.vdp_nic_port_error(nic)) for nic in self._opened)

    def capture_error(self) -> int:
        """errno that ended the capture, or 0."""
        return int(lib.vdp_capture_error(self._capture)) if self._capture else 0

    def capture_lost(self) -> int | None:
        """Frames that are not in the capture; ``None`` without one."""
        if not self._capture:
            return None
        return sum(int(lib.vdp_capture_lost(self._capture, pair)) for pair in range(self._options.queues))

    # Counters

    def queue_stats(self, queue: int) -> dict[str, int]:
        """Counters of a queue."""
        return as_dict(lib.vdp_nic_queue_stats(*self._lane(queue)), QueueStats)

    def worker_stats(self) -> list[dict[str, int]]:
        """Counters of each worker; of a shared one they are those of all its NICs."""
        return [as_dict(lib.vdp_nic_worker_stats(nic), WorkerStats) for nic in self._opened]

    def pairs_of(self, worker: int) -> list[int]:
        """Which pairs a worker serves."""
        return list(range(worker, self.queues // 2, self._count))
