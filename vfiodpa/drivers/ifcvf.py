"""Intel's FPGA virtio NICs (IFCVF): ring states, queue stop, active pairs and dirty log of the LM block.

Their network queues use buffers in order, so a queue goes on from its *used* index: what was taken and
not used is worked on again. Reading the state needs a queue that has really stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from ..errors import DeviceError
from ..pci.function import IovaRange, PciFunction
from ..registers import Window
from ..spec.features import Feature
from ..spec.ifcvf import (
    C5000X_SUBSYSTEM_ID,
    LM_BAR,
    MAX_PAIRS,
    N3000_SUBSYSTEM_ID,
    PAIR_STRIDE,
    SUBSYSTEM_VENDOR_ID,
    Lm,
    LmByPair,
    LmByQueue,
    LogControl,
)
from ..spec.virtio_pci import DEVICE_TYPE_NET, MODERN_ID_BASE, TRANSITIONAL_NET, VENDOR_ID
from .device import QueueState
from .quirks import PciId, Quirks, RingState, VendorRegister
from .transport import CheckedWindow

log = logging.getLogger(__name__)


def _pair_state(queue: int) -> VendorRegister:
    first = LmByPair.transmit_state if queue % 2 else LmByPair.receive_state
    return VendorRegister(LM_BAR, first.offset + queue // 2 * PAIR_STRIDE, first.width)


def _queue_state(queue: int) -> VendorRegister:
    return VendorRegister.of(LM_BAR, LmByQueue.avail.element(queue))


BY_PAIR = RingState(
    _pair_state,
    encode=lambda state: state.avail | state.avail << 16,
    decode=lambda value: QueueState(value >> 16),
)
# Only the available index can be read there. The used one is in the guest's memory: the core looks there.
BY_QUEUE = RingState(_queue_state, decode=lambda _value: None)


def log_dirty(function: PciFunction, where: IovaRange | None) -> None:
    """Log to ``where``, or stop. The range must be in place before logging is on."""
    lm = Lm(CheckedWindow(function.bar(LM_BAR), function))
    lm.log_control = LogControl.OFF
    if where is None:
        return
    lm.log_base = where.first
    lm.log_end = where.last + 1
    lm.log_control = LogControl.ON
    if lm.log_control != LogControl.ON:
        raise DeviceError(
            "the dirty log does not start", device=function.name, cause="its control register reads back off"
        )


def adapt(quirks: Quirks, function: PciFunction) -> Quirks:
    """Find out by write and read-back which layout of the states this device has, if any.

    Both layouts agree on the first pair. A device that seems to have both keeps plain memory there;
    two of the three drivers known go by pairs, so it does.
    """
    plain = replace(quirks, ring_state=None, active_pairs=None, dirty_log=None, blocks={})
    try:
        lm = CheckedWindow(function.bar(LM_BAR), function)
    except DeviceError as error:
        log.info("%s: no positions and one queue pair: %s", function.name, error.what)
        return plain
    if not _keeps(lm, _pair_state, 0, 1):
        log.warning("%s: the ring-state registers do not keep what is written: not used", function.name)
        return plain
    if _keeps(lm, _pair_state, 0, 1, 2, 3):
        return quirks
    if _keeps(lm, _queue_state, 3):  # not 2: that is where the other layout has active_pairs
        return replace(quirks, ring_state=BY_QUEUE, active_pairs=None, blocks={LM_BAR: ("lm", LmByQueue)})
    return replace(quirks, max_pairs=1)


def _keeps(lm: Window, where: Callable[[int], VendorRegister], *queues: int) -> bool:
    """Does each queue's register keep a value of its own? (No queue is enabled yet.) They are 0 afterwards."""
    marks = {where(queue): 0x5A01 + queue for queue in queues}
    if any(at.offset + at.width // 8 > lm.length for at in marks):
        return False
    for at, mark in marks.items():
        lm.write(at.offset, at.width, mark)
    kept = [lm.read(at.offset, at.width) == mark for at, mark in marks.items()]
    for at in marks:
        lm.write(at.offset, at.width, 0)
    return all(kept)


IFCVF = Quirks(
    "ifcvf",
    ids=(
        PciId(VENDOR_ID, MODERN_ID_BASE + DEVICE_TYPE_NET, SUBSYSTEM_VENDOR_ID, N3000_SUBSYSTEM_ID),
        PciId(VENDOR_ID, TRANSITIONAL_NET, SUBSYSTEM_VENDOR_ID, C5000X_SUBSYSTEM_ID),
    ),
    ring_state=BY_PAIR,
    active_pairs=VendorRegister.of(LM_BAR, LmByPair.active_pairs),
    dirty_log=log_dirty,
    stop_by_enable=True,
    max_pairs=MAX_PAIRS,
    hidden=Feature.NET_CTRL_VQ,  # nobody has driven it
    feature_words=2,
    blocks={LM_BAR: ("lm", LmByPair)},
    adapt=adapt,
)
