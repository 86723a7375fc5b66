"""Counters of the workers, read where C writes them.

One writer each (the queue's worker); 64-bit loads, so that a reader sees whole numbers. The layouts
are twins of the structs in csrc/nic.h (a test compares sizes and offsets).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .._native import ffi
from ..layout import Layout, u64


class QueueStats(Layout, size=104, ref="csrc/nic.h, struct vdp_queue_stats"):
    """One virtqueue. Frames and bytes are counted where the ring is served."""

    packets = u64
    bytes = u64
    dropped = u64
    kicks = u64
    calls = u64
    calls_suppressed = u64
    indirect = u64
    errors = u64
    page_kicks = u64
    bad_headers = u64
    filtered = u64
    mended = u64
    too_long = u64


class WorkerStats(Layout, size=48, ref="csrc/worker.h, struct vdp_worker_stats"):
    """The worker thread; with more ``sleeps`` than ``wakes`` it sleeps now.

    ``busy_cycles``: TSC cycles of polls that found packets.
    """

    packets = u64
    polls = u64
    empty_polls = u64
    sleeps = u64
    wakes = u64
    busy_cycles = u64


def view(pointer: Any, layout: type[Layout]) -> npt.NDArray[np.void]:
    """One live record at a C pointer, without a copy. It dies with the NIC: read it only while that is open."""
    return np.frombuffer(ffi.buffer(pointer, layout.size), dtype=layout.dtype)


def as_dict(pointer: Any, layout: type[Layout]) -> dict[str, int]:
    """The counters by name, as they are now."""
    record = view(pointer, layout)[0]
    return {field.name: int(record[field.name]) for field in layout.fields}
