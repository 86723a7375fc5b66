"""A device that misbehaves, so that CI sees what a driver makes of it.

The register model stays as it is: a fault is a layer over the common configuration that changes single
accesses. It is there from the start (``soft:fault=no_reset``) or from a call of ``inject_fault`` on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from ..registers import Window
from ..spec.virtio_pci import NO_VECTOR, CommonCfg, DeviceStatus


class Fault(Enum):
    """What the device does wrong."""

    NO_RESET = "no_reset"  # writing 0 to device_status does nothing: the device goes on; nor does a function reset
    WEDGED = "wedged"  # the same until the function is reset, which mends it
    NO_FEATURES_OK = "no_features_ok"  # FEATURES_OK does not stay set
    STUCK_QUEUE = "stuck_queue"  # a queue that is stopped goes on and never says that it is done
    NO_VECTOR = "no_vector"  # every MSI-X vector is refused
    RESTLESS_CONFIG = "restless_config"  # the configuration generation moves at each look
    IRQ_FLOOD = "irq_flood"  # every vector is signalled, again and again
    ALL_ONES = "all_ones"  # the device is gone, and no event tells


_Twist = Callable[[int], int | None]  # of a value written; None: the write is lost

_READS: dict[tuple[Fault, int], Callable[[int], int]] = {
    (Fault.STUCK_QUEUE, CommonCfg.queue_reset.offset): lambda _value: 1,
    (Fault.NO_VECTOR, CommonCfg.config_msix_vector.offset): lambda _value: NO_VECTOR,
    (Fault.NO_VECTOR, CommonCfg.queue_msix_vector.offset): lambda _value: NO_VECTOR,
}
_WRITES: dict[tuple[Fault, int], _Twist] = {
    (Fault.NO_RESET, CommonCfg.device_status.offset): lambda value: value or None,
    (Fault.WEDGED, CommonCfg.device_status.offset): lambda value: value or None,
    (Fault.NO_FEATURES_OK, CommonCfg.device_status.offset): lambda value: value & ~DeviceStatus.FEATURES_OK,
    (Fault.STUCK_QUEUE, CommonCfg.queue_reset.offset): lambda _value: None,
    (Fault.STUCK_QUEUE, CommonCfg.queue_enable.offset): lambda value: value or None,
}


@dataclass(slots=True)
class FaultyCommon:
    """The common configuration (a ``Window``) as a device with ``fault`` shows it."""

    inner: Window
    fault: Fault | None = None
    generation: int = 0

    def function_reset(self) -> bool:
        """Does a reset of the function reach the device? Some faults end with it."""
        if self.fault is Fault.WEDGED:
            self.fault = None
        return self.fault is not Fault.NO_RESET

    @property
    def length(self) -> int:
        """Bytes of the window."""
        return self.inner.length

    def read(self, offset: int, width: int) -> int:
        value = self.inner.read(offset, width)
        if self.fault is None:
            return value
        if (self.fault, offset) == (Fault.RESTLESS_CONFIG, CommonCfg.config_generation.offset):
            self.generation = self.generation + 1 & 0xFF
            return self.generation
        twist = _READS.get((self.fault, offset))
        return twist(value) if twist else value

    def write(self, offset: int, width: int, value: int) -> None:
        twist = _WRITES.get((self.fault, offset)) if self.fault else None
        twisted = twist(value) if twist else value
        if twisted is not None:
            self.inner.write(offset, width, twisted)
