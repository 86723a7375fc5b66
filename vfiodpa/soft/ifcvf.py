"""The software NIC as Intel's FPGA NIC (IFCVF): stop by queue_enable, and the LM block in BAR 4.

Ref: vfiodpa/spec/ifcvf.py. It is strict where drivers went wrong: a queue stops some time after it was
told to, its state can be read only then, a device reset clears it, and a dirty log stays on over a reset.
"""

from __future__ import annotations

from typing import Protocol

from ..registers import Register
from ..spec.ifcvf import PAIR_STRIDE, Lm, LmByPair, LmByQueue
from . import rules
from .common import Behind, Common
from .options import LmLayout
from .state import CommonState, Queue

STOP_READS = 3  # of queue_enable, the last of which shows the queue stopped
LM_LENGTH = 0x1000


class IfcvfCommon(Common):
    """``CommonCfg`` where writing 0 to queue_enable stops a queue, which the specification forbids."""

    write_rules = rules.STOP_BY_ENABLE

    def __init__(self, device: str, state: CommonState, behind: Behind, *, strict: bool = True) -> None:
        super().__init__(device, state, behind, strict=strict)
        self._stopping: dict[int, int] = {}  # reads left, by queue

    def load(self, name: str, index: int) -> int:
        queue = self.state.queue
        if name == "queue_enable" and queue and queue.index in self._stopping:
            self._go_on_stopping(queue)
        return super().load(name, index)

    def reset(self) -> None:
        self._stopping.clear()
        super().reset()

    def stop_queue(self, queue: Queue) -> None:
        if queue.enabled:
            self._stopping.setdefault(queue.index, STOP_READS)

    def _go_on_stopping(self, queue: Queue) -> None:
        self._stopping[queue.index] -= 1
        if not self._stopping[queue.index]:
            del self._stopping[queue.index]
            self.behind.queue_off(queue)
            queue.enabled = False


class Wire(Protocol):
    """What the LM block needs of the data path (``Engine``)."""

    def position(self, queue: int) -> int: ...

    def set_active_pairs(self, pairs: int) -> None: ...

    def set_log(self, base: int, end: int) -> None: ...


class LmBlock:
    """BAR 4: a ``VendorBlock``, and a ``Window`` itself. Where no register is, it reads 0 and drops writes."""

    length = LM_LENGTH

    def __init__(self, device: str, pairs: int, layout: LmLayout, wire: Wire) -> None:
        self.device = device
        self.pairs = pairs
        self.wire = wire
        self.active_pairs = 1
        self.running = False
        self._by_pair = layout is LmLayout.PAIRS
        self._state = [0] * 2 * pairs
        self._enabled: set[int] = set()
        self._log: dict[int, int] = {}  # by offset
        self._queue_at = {self._place(queue): queue for queue in range(2 * pairs)}

    def _place(self, queue: int) -> int:
        if not self._by_pair:
            return LmByQueue.avail.element(queue).offset
        first = LmByPair.transmit_state if queue % 2 else LmByPair.receive_state
        return first.offset + queue // 2 * PAIR_STRIDE

    # From the virtio side

    def window(self) -> LmBlock:
        """The BAR."""
        return self

    def start_of(self, queue: int, _first: int) -> int:
        """Where the queue is to start; buffers are used in order, so both halves must say the same."""
        avail, used = self._state[queue] & 0xFFFF, self._state[queue] >> 16
        if self._by_pair and avail != used:
            raise rules.IFCVF.breach(
                self.device, f"state of queue {queue}", f"available {avail}, used {used} when it was enabled"
            )
        return avail

    def queue_on(self, queue: int) -> None:
        """The queue was enabled."""
        self._enabled.add(queue)

    def queue_off(self, queue: int) -> None:
        """The queue has stopped: its state can be read."""
        if queue in self._enabled:
            position = self.wire.position(queue)
            self._state[queue] = position | position << 16 if self._by_pair else position
            self._enabled.discard(queue)

    def reset(self) -> None:
        """Device reset: states are gone, the dirty log is not."""
        self._enabled.clear()
        self._state = [0] * len(self._state)
        self.active_pairs = 1

    def power_on(self) -> None:
        """Function level reset: the dirty log is off."""
        self._log.clear()
        self.wire.set_log(0, 0)

    # Registers

    def read(self, offset: int, width: int) -> int:
        self._check(offset, width, "read")
        if offset in self._queue_at:
            return self._state[self._queue_at[offset]] & (1 << width) - 1
        if self._is(LmByPair.active_pairs, offset):
            return self.active_pairs
        return self._log.get(offset, 0)

    def write(self, offset: int, width: int, value: int) -> None:
        self._check(offset, width, f"write of {value:#x}")
        if offset in self._queue_at:
            self._write_state(self._queue_at[offset], value)
        elif self._is(LmByPair.active_pairs, offset):
            self._write_pairs(value)
        elif offset in _LOG_OFFSETS:
            self._log[offset] = value
            if offset == Lm.log_control.offset:
                self._switch_log(bool(value))

    def _is(self, register: Register[int], offset: int) -> bool:
        return self._by_pair and offset == register.offset

    def _check(self, offset: int, width: int, did: str) -> None:
        start = offset & ~3
        known = start in self._queue_at or start in _LOG_OFFSETS or self._is(LmByPair.active_pairs, start)
        right = width == 32 or (width == 16 and not self._by_pair and start in self._queue_at)
        if known and (not right or offset != start):
            raise rules.IFCVF.breach(self.device, f"LM+{offset:#x}", f"{width}-bit {did}")

    def _write_state(self, queue: int, value: int) -> None:
        if queue in self._enabled:
            raise rules.IFCVF.breach(self.device, f"state of queue {queue}", "written while the queue is enabled")
        self._state[queue] = value if self._by_pair else value & 0xFFFF

    def _write_pairs(self, value: int) -> None:
        if not 1 <= value <= self.pairs:
            raise rules.IFCVF.breach(self.device, "active_pairs", f"{value} written, the device has 1 to {self.pairs}")
        self.wire.set_active_pairs(value)
        self.active_pairs = value

    def _switch_log(self, on: bool) -> None:
        low, high = Lm.log_base.offset, Lm.log_end.offset
        base, end = (self._log.get(at, 0) | self._log.get(at + 4, 0) << 32 for at in (low, high))
        if on and not base < end:
            raise rules.IFCVF.breach(self.device, "log_control", f"switched on for a log at {base:#x} to {end:#x}")
        self.wire.set_log(base if on else 0, end if on else 0)


_LOG_OFFSETS = {Lm.log_control.offset} | {
    register.offset + half for register in (Lm.log_base, Lm.log_end) for half in (0, 4)
}
