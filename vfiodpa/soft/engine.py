"""The data path behind the registers: the only file that calls ``lib.vdp_nic_*``.

Everything that C wants paused is done in ``paused()``, under the lock of the DMA domain: one control
thread at a time, whichever function or domain it comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import Any

from .._native import ffi, lib
from ..errors import StateError, Unsupported, check
from ..pci.function import SharedPage
from ..spec.features import Feature
from .doorbell_pages import PAGE, make_doorbell_pages
from .irq import NONE
from .options import SoftOptions
from .state import Queue
from .stats import QueueStats, WorkerStats, as_dict

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
    """One NIC of csrc/nic.h. Owns the worker; borrows the fds and the DMA map."""

    def __init__(self, name: str, options: SoftOptions, lock: RLock) -> None:
        self.name = name
        self.queues = 2 * options.queues
        self._lock = lock
        self._kicks: dict[int, int] = {}
        self._calls: dict[int, int] = {}
        self._config_call = NONE
        self.dma: Any = ffi.NULL  # struct vdp_dma *, the domain's
        conf = ffi.new("struct vdp_nic_conf *")
        conf.pairs, conf.port = options.queues, int(options.port)
        conf.poll_us, conf.cpu = options.poll_us, options.cpu
        conf.generate_size, conf.generate_pps = options.frame, options.pps
        conf.mac = list(options.mac)
        self._pages = make_doorbell_pages(self.queues) if options.notifier else None
        if self._pages:
            conf.pages, conf.page_stride, conf.pair_stride = ffi.cast("void *", self._pages.address), PAGE, 2 * PAGE
        box = ffi.new("struct vdp_nic **")
        try:
            check(lib.vdp_nic_init(box, conf), "cannot start the worker", device=name)
        except BaseException:
            self._close_pages()
            raise
        self._nic = box[0]
        lib.vdp_nic_resume(self._nic)  # it was born paused; without vdp_nic_run it does nothing

    def close(self) -> None:
        """Join the worker; harmless twice."""
        with self._lock:
            if self._nic is not None:
                lib.vdp_nic_fini(self._nic)
                self._nic = None
            self._close_pages()

    def _close_pages(self) -> None:
        if self._pages:
            self._pages.close()

    @property
    def native(self) -> Any:
        """The ``struct vdp_nic *``; raises ``StateError`` when closed."""
        if self._nic is None:
            raise StateError("the software NIC is closed", device=self.name)
        return self._nic

    @contextmanager
    def paused(self) -> Iterator[Any]:
        """The worker at rest. Raises ``DeviceTimeout`` when it does not come to rest, with nothing changed."""
        with self._lock:
            nic = self.native
            check(lib.vdp_nic_pause(nic, PAUSE_MS), "the worker does not come to rest", device=self.name)
            try:
                yield nic
            finally:
                lib.vdp_nic_resume(nic)

    # The device as a whole

    def set_dma(self, dma: Any) -> None:
        """Reach memory through a ``struct vdp_dma *``."""
        with self.paused() as nic:
            lib.vdp_nic_set_dma(nic, dma)
            self.dma = dma

    def refresh(self) -> None:
        """The DMA map changed: translate the rings again."""
        with self.paused() as nic:
            lib.vdp_nic_refresh(nic)

    def set_features(self, features: Feature) -> None:
        """Features in force."""
        with self.paused() as nic:
            lib.vdp_nic_set_features(nic, int(features) & _LOW_64)

    def run(self, on: bool) -> None:
        """Let the workers serve the queues, or not."""
        with self.paused() as nic:
            lib.vdp_nic_run(nic, on)

    def reset(self) -> None:
        """All queues off, no features, no error. Doorbell bindings are not the device's: they stay."""
        with self.paused() as nic:
            lib.vdp_nic_reset(nic)
            self._calls.clear()
            self._config_call = NONE
            for queue, fd in self._kicks.items():
                lib.vdp_nic_set_kick(nic, queue, fd)

    def set_active_pairs(self, pairs: int) -> None:
        """How many pairs received frames are spread over."""
        with self.paused() as nic:
            lib.vdp_nic_set_active_pairs(nic, pairs)

    def set_log(self, base: int, end: int) -> None:
        """Log the pages that are written to in a bitmap at these I/O addresses; ``end`` 0: no longer."""
        with self.paused() as nic:
            lib.vdp_nic_set_log(nic, base, end)

    def error(self) -> EngineError:
        """What stopped the data path; false when nothing did."""
        out = ffi.new("struct vdp_nic_error *")
        lib.vdp_nic_error(self.native, out)
        return EngineError(out.code, out.queue, out.detail)

    # Queues

    def enable(self, queue: Queue, last_avail: int) -> None:
        """Serve a queue from a position on. Rings that cannot be used become the NIC's error."""
        conf = ffi.new("struct vdp_queue_conf *")
        conf.desc, conf.driver, conf.device = queue.desc, queue.driver, queue.device
        conf.size, conf.last_avail = queue.size, last_avail
        with self.paused() as nic:
            rc = lib.vdp_nic_queue_enable(nic, queue.index, conf)
            check(rc, f"queue {queue.index} cannot be enabled", device=self.name)

    def disable(self, queue: int) -> None:
        """Queue reset."""
        with self.paused() as nic:
            lib.vdp_nic_queue_disable(nic, queue)

    def position(self, queue: int) -> int:
        """The next available entry that the device takes (``QueueState.avail``)."""
        with self.paused() as nic:
            return int(lib.vdp_nic_queue_avail(nic, queue))

    # Notifications

    def set_kick(self, queue: int, fd: int) -> None:
        """Watch an eventfd as the queue's doorbell; -1 takes it away."""
        with self.paused() as nic:
            check(lib.vdp_nic_set_kick(nic, queue, fd), f"queue {queue} cannot watch its kick fd", device=self.name)
            self._kicks[queue] = fd

    def set_calls(self, calls: dict[int, int], config: int) -> None:
        """Eventfds to signal for each queue and for the configuration; only changes reach the worker."""
        changed = {queue: fd for queue, fd in calls.items() if self._calls.get(queue, NONE) != fd}
        if not changed and config == self._config_call:
            return
        with self.paused() as nic:
            for queue, fd in changed.items():
                lib.vdp_nic_set_call(nic, queue, fd)
            lib.vdp_nic_set_config_call(nic, config)
            self._calls.update(changed)
            self._config_call = config

    def kick(self, queue: int) -> None:
        """Ring the queue's doorbell."""
        check(lib.vdp_nic_kick(self.native, queue), f"doorbell of queue {queue}", device=self.name)

    def doorbell_fd(self, queue: int) -> int:
        """An eventfd that does the same; the NIC owns it."""
        fd = lib.vdp_nic_doorbell_fd(self.native, queue)
        return check(fd, f"queue {queue} has no doorbell fd", device=self.name)

    def doorbell_page(self, queue: int) -> SharedPage:
        """The queue's doorbell page; the NIC owns the fd. Raises ``Unsupported`` unless ``notifier=on``."""
        if self._pages is None:
            cause = "the software NIC has them with notifier=on"
            raise Unsupported("no doorbell page to give away", device=self.name, cause=cause)
        return SharedPage(self._pages.fd, queue * PAGE, PAGE)

    def inject(self, pair: int, frame: bytes) -> int:
        """Put a frame on the wire as if a pair had sent it. Returns 0, or -EAGAIN when one is under way."""
        return int(lib.vdp_nic_inject(self.native, pair, frame, len(frame)))

    # Counters

    def queue_stats(self, queue: int) -> dict[str, int]:
        """Counters of a queue."""
        return as_dict(lib.vdp_nic_queue_stats(self.native, queue), QueueStats)

    def worker_stats(self) -> dict[str, int]:
        """Counters of the worker."""
        return as_dict(lib.vdp_nic_worker_stats(self.native), WorkerStats)
