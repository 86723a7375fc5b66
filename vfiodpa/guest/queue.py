"""The driver's side of one virtqueue: csrc/driver.h with a Python face.

    queue.add(readable=[(gpa, 76)], cookie="ping")
    queue.publish()
    queue.kick()
    queue.wait(1.0)       # Used(cookie='ping', length=0)

Per-frame work belongs into C (csrc/traffic.h); this face is for single packets and for tests.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from .._native import ffi, lib
from ..errors import DeviceError, DeviceTimeout, LimitError, StateError, UsageError, check
from ..memory import PAGE_SIZE, Gpa
from ..readable import readable
from ..spec.features import NONE, Feature
from ..spec.virtio_ring import (
    MAX_QUEUE_SIZE,
    PACKED_ALIGN,
    PACKED_START,
    SPLIT_ALIGN,
    packed_sizes,
    size_ok,
    split_sizes,
)
from .memory import GuestMemory

log = logging.getLogger(__name__)

TABLE_LENGTH = 16  # entries of each indirect table
Buffer = tuple[int, int]  # guest physical address, bytes


class Fault(IntEnum):
    """How a device broke the ring (``enum vdp_driver_fault_code``)."""

    OK = 0
    USED_JUMP = 1
    BAD_ID = 2
    NOT_OUTSTANDING = 3
    BAD_LENGTH = 4
    MEMORY_GONE = 5
    OUT_OF_ORDER = 6


FAULT_TEXT = {
    Fault.USED_JUMP: "the used index moved by {}, past what was made available",
    Fault.BAD_ID: "the used ring names descriptor {}, which does not exist",
    Fault.NOT_OUTSTANDING: "the used ring names descriptor {}, which the device did not own",
    Fault.BAD_LENGTH: "the used ring says {} bytes, more than the buffer's writable part",
    Fault.MEMORY_GONE: "the guest's memory was cut off",
    Fault.OUT_OF_ORDER: "the used ring names descriptor {} before older ones, which IN_ORDER forbids",
}


@dataclass(frozen=True, slots=True)
class Used:
    """A chain that the device gave back: what was passed to ``add``, and how many bytes it wrote."""

    cookie: Any
    length: int


class DriverQueue:
    """A virtqueue in guest memory, seen from the driver (virtio 1.3, sections 2.7 and 2.8).

    It is packed when ``features`` say so, and takes batches with IN_ORDER. ``size`` in entries; ``desc``,
    ``driver`` and ``device`` are the guest physical addresses of descriptor table, available ring and used
    ring (packed: descriptor ring, driver and device event areas). ``start``: where it begins, by default
    where every queue does; packed positions have the wrap counter in bit 15. ``call_fd`` is signalled by the
    device (owned by the guest, as is ``ring_bell``).
    """

    def __init__(
        self,
        memory: GuestMemory,
        size: int = 256,
        features: Feature = NONE,
        *,
        index: int = 0,
        start: int | None = None,
        ring_bell: Callable[[], None] | None = None,
        call_fd: int = -1,
    ) -> None:
        self.packed = bool(features & Feature.RING_PACKED)
        if not size_ok(size, self.packed):
            power = "" if self.packed else " a power of two"
            raise UsageError(f"queue size {size} is not{power} up to {MAX_QUEUE_SIZE}")
        self.memory = memory
        self.size = size
        self.index = index
        self.ring_bell = ring_bell
        self.call_fd = call_fd
        self.event_idx = bool(features & Feature.EVENT_IDX)
        self.indirect = bool(features & Feature.INDIRECT_DESC)
        self.in_order = bool(features & Feature.IN_ORDER)
        self.stop_user: Callable[[], object] | None = None  # set while a C thread works on the queue
        self._areas: list[Gpa] = []
        self._pool: tuple[Gpa, int] | None = None  # buffers of a C thread: address, bytes each
        self._native: Any = ffi.NULL
        self._cookies: dict[int, Any] = {}
        try:
            self._make((PACKED_START if self.packed else 0) if start is None else start)
        except BaseException:
            self.close()
            raise

    def _make(self, start: int) -> None:
        sizes = packed_sizes(self.size) if self.packed else split_sizes(self.size)
        aligns = PACKED_ALIGN if self.packed else SPLIT_ALIGN
        self.desc, self.driver, self.device = (
            self._area(size, max(align, _page_fit(size))) for size, align in zip(sizes, aligns, strict=True)
        )
        conf = ffi.new("struct vdp_driver_conf *")
        conf.desc, conf.avail, conf.used = (
            self.memory.pointer(gpa, size)
            for gpa, size in zip((self.desc, self.driver, self.device), sizes, strict=True)
        )
        conf.size, conf.start = self.size, start
        if self.packed:
            conf.flags |= lib.VDP_DRIVER_PACKED
        if self.event_idx:
            conf.flags |= lib.VDP_DRIVER_EVENT_IDX
        if self.in_order:
            conf.flags |= lib.VDP_DRIVER_IN_ORDER
        if self.indirect:
            conf.flags |= lib.VDP_DRIVER_INDIRECT
            conf.table_len = TABLE_LENGTH
            conf.tables_gpa = self._area(self.size * TABLE_LENGTH * 16, 16)
            conf.tables = self.memory.pointer(conf.tables_gpa)
        native = ffi.new("struct vdp_driver **")
        check(lib.vdp_driver_init(native, conf), f"cannot set up queue {self.index}")
        self._native = native[0]

    def _area(self, size: int, align: int) -> Gpa:
        # A cache line of their own: the parts have different writers.
        self._areas.append(self.memory.alloc(size, max(align, 64)))
        return self._areas[-1]

    # What it is

    @property
    def native(self) -> Any:
        """``struct vdp_driver *`` for C threads; raises ``StateError`` once closed."""
        if self._native == ffi.NULL:
            raise StateError(f"queue {self.index} is closed")
        return self._native

    @property
    def state(self) -> Any:
        """``struct vdp_driver_state``: indices, free descriptors, chains on the way, fault."""
        state = ffi.new("struct vdp_driver_state *")
        lib.vdp_driver_state(self.native, state)
        return state

    @property
    def free(self) -> int:
        """Free descriptors."""
        return int(self.state.free)

    @property
    def outstanding(self) -> int:
        """Chains that the device owns."""
        return int(self.state.outstanding)

    @property
    def position(self) -> int:
        """Next used entry to take: how far device and driver came together.

        Split: free running, 16 bit. Packed: the descriptor, and the wrap counter in bit 15.
        """
        return int(self.state.used_idx)

    @property
    def avail_idx_gpa(self) -> Gpa:
        """Where the available index of a split ring lies (2.7.6)."""
        return Gpa(self.driver + 2)

    @property
    def used_idx_gpa(self) -> Gpa:
        """Where the used index of a split ring lies (2.7.8)."""
        return Gpa(self.device + 2)

    def __repr__(self) -> str:
        if self._native == ffi.NULL:
            return f"<DriverQueue {self.index} closed>"
        s = self.state
        text = f"<DriverQueue {self.index} size {self.size} desc {self.desc:#x} avail {self.driver:#x}"
        text += f" used {self.device:#x}: avail idx {s.avail_idx} used idx {s.used_idx} free {s.free}"
        text += f" added {s.added} outstanding {s.outstanding}"
        return text + (f" {Fault(s.fault).name} {s.fault_detail}>" if s.fault else ">")

    def pool(self, stride: int) -> Gpa:
        """Memory for one buffer of ``stride`` bytes per descriptor; the queue owns it.

        The device may still hold buffers of an earlier use; then only the same stride will do.
        """
        if self._cookies:
            raise StateError(f"queue {self.index}: the device holds buffers that were added by hand")
        if self._pool and self._pool[1] == stride:
            return self._pool[0]
        if self.outstanding:
            raise StateError(f"queue {self.index}: the device holds buffers of another size", remedy="guest.start()")
        if self._pool:
            self._areas.remove(self._pool[0])
            self.memory.free(self._pool[0])
            self._pool = None
        self._pool = (self._area(self.size * stride, 64), stride)
        return self._pool[0]

    def _check_idle(self) -> None:
        if self.stop_user:
            raise StateError(f"queue {self.index} is in use by a thread", remedy="stop the traffic first")

    def release(self) -> None:
        """Stop the thread that uses the queue, if there is one."""
        if self.stop_user:
            self.stop_user()

    # Moving buffers

    def add(self, readable: Iterable[Buffer] = (), writable: Iterable[Buffer] = (), cookie: Any = None) -> int:
        """Add a chain of ``(gpa, length)`` buffers; the device sees it after ``publish``.

        Returns the chain's head. Raises ``LimitError`` when too few descriptors are free.
        """
        self._check_idle()
        chain = [(gpa, size, 0) for gpa, size in readable] + [(gpa, size, 1) for gpa, size in writable]
        bufs = ffi.new("struct vdp_buf[]", chain)
        head = int(lib.vdp_driver_add(self.native, bufs, len(chain), 0))
        if head < 0 and chain:
            raise LimitError(f"queue {self.index}: {len(chain)} descriptors needed, {self.free} free")
        check(head, f"queue {self.index}: an empty chain")
        self._cookies[head] = cookie
        return head

    def publish(self) -> int:
        """Make the added chains available; returns how many."""
        return int(lib.vdp_driver_publish(self.native))

    def kick(self, *, force: bool = False) -> bool:
        """Notify the device if it wants to know (or ``force``); returns whether it was notified."""
        wanted = bool(lib.vdp_driver_must_kick(self.native))
        if not (wanted or force):
            return False
        if self.ring_bell is None:
            raise StateError(f"queue {self.index} has no doorbell: the guest is not started")
        self.ring_bell()
        return True

    def send(self, readable: Iterable[Buffer] = (), writable: Iterable[Buffer] = (), cookie: Any = None) -> int:
        """``add``, ``publish`` and ``kick`` in one."""
        head = self.add(readable, writable, cookie)
        self.publish()
        self.kick()
        return head

    def pop(self) -> Used | None:
        """Take one used chain; raises ``DeviceError`` when the device broke the ring's rules."""
        self._check_idle()
        used = ffi.new("struct vdp_used *")
        got = lib.vdp_driver_pop(self.native, used, 1)
        if got < 0:
            state = self.state
            text = FAULT_TEXT[Fault(state.fault)].format(state.fault_detail)
            raise DeviceError(f"queue {self.index}: {text}")
        return Used(self._cookies.pop(used.head, None), used.len) if got else None

    def pop_all(self) -> list[Used]:
        """Take all used chains."""
        return list(iter(self.pop, None))

    def wait(self, timeout: float = 5.0) -> Used:
        """Take one used chain, sleeping on the call eventfd; raises ``DeviceTimeout``.

        Asks for calls, so it also works for a queue that had them turned off.
        """
        end = time.monotonic() + timeout
        while True:
            lib.vdp_driver_want_calls(self.native, 0)
            used = self.pop()
            if used:
                return used
            left = end - time.monotonic()
            if left <= 0:
                raise DeviceTimeout(f"queue {self.index}: nothing used within {timeout:g} s", cause=repr(self))
            self._sleep(left)

    def _sleep(self, seconds: float) -> None:
        if self.call_fd < 0:
            time.sleep(min(seconds, 0.001))
        elif readable([self.call_fd], seconds):
            os.eventfd_read(self.call_fd)

    def calls(self, wanted: bool) -> None:
        """Ask the device to notify us of used chains, or not to."""
        if wanted:
            lib.vdp_driver_want_calls(self.native, 0)
        else:
            lib.vdp_driver_no_calls(self.native)

    def close(self) -> None:
        """Free the ring; the device must not use it any more. Harmless when already closed."""
        self.release()
        if self._native != ffi.NULL:
            lib.vdp_driver_fini(self._native)
            self._native = ffi.NULL
        while self._areas:
            self.memory.free(self._areas.pop())


def _page_fit(size: int) -> int:
    """The alignment that keeps ``size`` bytes inside one page, where they fit one.

    QEMU before 9.0 behind an IOMMU writes the part of a used entry that lies on the next page to a wrong address.
    """
    return int(min(1 << (size - 1).bit_length(), PAGE_SIZE))
