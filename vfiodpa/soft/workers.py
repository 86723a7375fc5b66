"""Threads that several software NICs share: ``soft:workers=shared``, or a ``WorkerPool`` of one's own.

A NIC is given to the thread that has the fewest. Threads start when they are first wanted and end with
the last NIC that they serve, so there is nothing to close.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from .._native import ffi, lib
from ..errors import UsageError, check

MAX_CPU = 4095


@dataclass(slots=True, eq=False)
class Worker:
    """One thread of a pool. ``native``: its ``struct vdp_worker *``."""

    native: Any
    cpu: int
    nics: int = 0


class WorkerPool:
    """Up to ``threads`` threads, pinned to ``cpus`` in turn. Any thread may use it."""

    def __init__(self, threads: int | None = None, cpus: Sequence[int] = ()) -> None:
        """``threads``: by default one for each CPU in ``cpus``, or for each that this process may run on."""
        self.threads = threads or len(cpus) or len(os.sched_getaffinity(0))
        self._cpus = tuple(cpus)
        self._workers: list[Worker] = []
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"<WorkerPool of {self.threads}, serving {sum(worker.nics for worker in self._workers)} NICs>"

    def take(self) -> Worker:
        """A thread for one NIC more. Raises ``VfiodpaError`` when none can be started."""
        with self._lock:
            if len(self._workers) < self.threads:
                self._workers.append(self._start())
            worker = min(self._workers, key=lambda one: one.nics)
            worker.nics += 1
            return worker

    def give_back(self, worker: Worker) -> None:
        """The NIC is gone."""
        with self._lock:
            worker.nics -= 1
            if worker.nics == 0:
                self._workers.remove(worker)
                lib.vdp_worker_fini(worker.native)

    def _start(self) -> Worker:
        used = {worker.cpu for worker in self._workers}
        free = [cpu for cpu in self._cpus if cpu not in used]
        cpu = next(iter([*free, *self._cpus]), -1)
        box = ffi.new("struct vdp_worker **")
        check_start(lib.vdp_worker_init(box, cpu), cpu)
        return Worker(box[0], cpu)


def check_start(rc: int, cpu: int, device: str = "") -> None:
    """Was a thread started, on ``cpu`` if that is not -1? Raises ``UsageError`` for one that is not there."""
    what = "cannot start a worker" + (f" on CPU {cpu}" if cpu >= 0 else "")
    if rc == -errno.EINVAL and cpu >= 0:
        may = os.sched_getaffinity(0)
        raise UsageError(what, device=device, cause=f"EINVAL: this process has CPUs {min(may)} to {max(may)}")
    check(rc, what, device=device)


def parse_cpus(text: str, *, between: str = ",") -> tuple[int, ...]:
    """``2,3-5`` is (2, 3, 4, 5), in the order given. Raises ``UsageError``."""
    cpus: list[int] = []
    for part in text.split(between):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise UsageError(f"{text!r} is no list of CPUs", remedy=f"for example 2{between}3-5")
        cpus += range(int(first), min(int(last or first), MAX_CPU + 1) + 1)
    if not cpus or max(cpus) > MAX_CPU or len(set(cpus)) < len(cpus):
        raise UsageError(f"{text!r} is no list of CPUs", cause=f"each CPU once, 0 to {MAX_CPU}")
    return tuple(cpus)


SHARED = WorkerPool()  # of this process
