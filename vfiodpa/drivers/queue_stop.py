"""Stopping a single queue: by the vendor's means or by queue reset."""

from __future__ import annotations

from enum import Enum, auto

from ..errors import DeviceError, Unsupported
from ..pci.function import PciFunction
from ..spec.virtio_pci import NO_VECTOR, CommonCfg
from .waiting import wait_until


class StopBy(Enum):
    """How a device stops one queue."""

    ENABLE = auto()  # queue_enable = 0, a vendor's means
    RESET = auto()  # queue_reset (2.6.1)
    NOTHING = auto()


def halt(function: PciFunction, common: CommonCfg, queue: int, by: StopBy, seconds: float) -> None:
    """Stop the queue. Raises ``DeviceTimeout`` and ``Unsupported``."""
    what = f"the stop of queue {queue}"
    common.queue_select = queue
    if by is StopBy.ENABLE:
        common.queue_enable = 0
        wait_until(lambda: common.queue_enable == 0, seconds, what, function)
        common.queue_msix_vector = NO_VECTOR
    elif by is StopBy.RESET:
        common.queue_reset = 1
        wait_until(lambda: common.queue_reset == 0, seconds, what, function)
        if common.queue_enable:  # 2.6.1.1: both read 0
            raise DeviceError(f"queue {queue} is still enabled after its reset", device=function.name)
    else:
        raise Unsupported("a single queue cannot be stopped: the device has no RING_RESET", device=function.name)
