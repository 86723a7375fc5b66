"""Queue pairs: how many can be used, and how the device is told to use several.

By the vendor's register where its record has one, else by the control queue (virtio 1.3, 5.1.6.5.5), else
not at all: then there is one pair.
"""

from __future__ import annotations

import logging
from enum import Enum, IntEnum

from ..errors import IommuError, Unsupported
from ..pci.function import IovaRange, PciFunction
from ..spec.features import Feature
from ..spec.virtio_net import CtrlClass, MqCommand, VqPairs
from ..spec.virtio_pci import CommonCfg
from .control_queue import ControlQueue
from .queue import Queue
from .queue_layout import QueueLayout
from .vendor import Vendor

log = logging.getLogger(__name__)


def with_control(function: PciFunction, layout: QueueLayout, seconds: float) -> tuple[QueueLayout, ControlQueue | None]:
    """The control queue where it switches pairs; without a place for its memory there is one pair."""
    if layout.control is None:
        return layout, None
    try:
        return layout, ControlQueue(function, seconds)
    except IommuError as error:
        log.warning("%s: one queue pair: %s", function.name, error)
        return layout.single, None


class Switch(Enum):
    """What the number of active pairs is set by."""

    REGISTER = "the vendor's register"
    CONTROL_QUEUE = "the control queue"
    NONE = "nothing"


class Pairs:
    """The pairs of one device."""

    def __init__(self, vendor: Vendor, control: ControlQueue | None = None) -> None:
        self._vendor = vendor
        self._control = control
        self._active = 1  # as the device knows it
        self._wanted = 1  # of a device that does not run yet
        self._running = False

    @property
    def switch(self) -> Switch:
        """What the number of active pairs is set by."""
        if self._vendor.quirks.active_pairs:
            return Switch.REGISTER
        return Switch.CONTROL_QUEUE if self._control else Switch.NONE

    def forget(self) -> None:
        """The device was reset: one pair (5.1.6.5.5), as far as the specification goes."""
        self._active = self._wanted = 1
        self._running = False
        if self._control:
            self._control.forget()

    @property
    def reserved(self) -> tuple[IovaRange, ...]:
        """I/O addresses that no guest's memory can have."""
        return (self._control.memory.range,) if self._control else ()

    def begin(self, common: CommonCfg, control: Queue | None, features: Feature) -> None:
        """Features are negotiated: one pair until more are asked for. ``control``: the control queue's registers."""
        if self.switch is Switch.REGISTER:
            self._vendor.set_active_pairs(1)
        elif self._control and control and features & Feature.NET_MQ:
            self._control.program(common, control, features)

    def go(self) -> None:
        """DRIVER_OK is set: commands can be sent (3.1.1, 5.1.5)."""
        self._running = True
        if self._wanted != self._active:
            self.set(self._wanted)

    def set(self, pairs: int) -> None:
        """Spread received frames over this many; with a control queue, once the device runs."""
        if self.switch is Switch.REGISTER:
            self._vendor.set_active_pairs(pairs)
        elif self._control and self._control.ready:
            self._wanted = pairs
            if self._running and pairs != self._active:
                self._send(self._control, pairs)
        elif pairs != 1:
            raise Unsupported(
                "several active queue pairs need a vendor's register or a control queue",
                device=self._vendor.function.name,
                cause="MQ was not negotiated" if self._control else "the device offers neither",
            )

    def command(self, kind: IntEnum, command: IntEnum, data: bytes, room: int) -> bytes:
        """See ``ControlQueue.send``; raises ``Unsupported`` where there is none."""
        if not self._control or not self._control.ready:
            cause = "MQ was not negotiated" if self._control else f"pairs are switched by {self.switch.value}"
            raise Unsupported("no control queue of ours", device=self._vendor.function.name, cause=cause)
        return self._control.send(kind, command, data, room)

    def close(self) -> None:
        """Free the control queue; the device must be at rest."""
        if self._control:
            self._control.close()

    def _send(self, control: ControlQueue, pairs: int) -> None:
        control.send(CtrlClass.MQ, MqCommand.VQ_PAIRS_SET, VqPairs(virtqueue_pairs=pairs).pack())
        self._active = pairs
