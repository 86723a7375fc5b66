"""The device under test, by the steps of initialisation: each is the check's to take, or to leave out.

    device.reset()
    device.negotiate(Feature.VERSION_1)
    device.enable(0, ring, vector=0)
    device.go()

Ref: virtio 1.3, 3.1.1 and 4.1.5.1.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..drivers.transport import Transport
from ..errors import DeviceTimeout
from ..pci.function import PciFunction
from ..registers import SubWindow
from ..spec.features import Feature
from ..spec.pci import Command, ConfigHeader
from ..spec.virtio_net import NetConfig
from ..spec.virtio_pci import NO_VECTOR, CommonCfg, DeviceStatus
from .rings import Ring
from .verdict import NotApplicable, Refused

S = DeviceStatus
WORDS = 4  # of 32 feature bits
RESET_S = 5.0


def read_features(common: CommonCfg) -> Feature:
    """All offered bits (4.1.4.3)."""
    words = 0
    for word in range(WORDS):
        common.device_feature_select = word
        words |= common.device_feature << 32 * word
    return Feature(words)


class Device:
    """Registers and steps. ``look`` is called on every wait: it raises when the check is overdue."""

    def __init__(
        self,
        function: PciFunction,
        look: Callable[[str], None] = lambda _what: None,
        *,
        registers_only: bool = False,
    ) -> None:
        self.function = function
        self._look = look
        self._registers_only = registers_only
        ConfigHeader(function.config).command = Command.MEMORY | Command.BUS_MASTER | Command.INTX_DISABLE
        self.transport = Transport.find(function)
        self.common = self.transport.common
        self.isr = self.transport.isr
        self.net = NetConfig(self.transport.net)
        self.features = Feature(0)  # as negotiated
        self.rings: dict[int, Ring] = {}  # as enabled

    # Steps

    def reset(self, timeout: float = RESET_S) -> float:
        """Write 0 and wait for it (2.4.2, 4.1.4.3.2); returns the seconds. Raises ``DeviceTimeout``."""
        begin = time.monotonic()
        self.common.device_status = 0
        while self.common.device_status:
            if time.monotonic() > begin + timeout:
                raise DeviceTimeout(
                    f"device_status is {int(self.common.device_status):#x} {timeout:g} s after a reset",
                    device=self.function.name,
                )
            time.sleep(0.0005)
        self.features = Feature(0)
        self.rings.clear()
        return time.monotonic() - begin

    def to_driver(self) -> None:
        """Reset, ACKNOWLEDGE, DRIVER (steps 1 to 3)."""
        self.reset()
        self.common.device_status = S.ACKNOWLEDGE
        self.common.device_status = S.ACKNOWLEDGE | S.DRIVER

    @property
    def offered(self) -> Feature:
        """All bits that the device offers."""
        return read_features(self.common)

    def accept(self, features: int) -> bool:
        """Write a feature set and FEATURES_OK; did the device keep it (steps 4 to 6)?"""
        for word in range(WORDS):
            self.common.driver_feature_select = word
            self.common.driver_feature = features >> 32 * word & 0xFFFF_FFFF
        self.common.device_status = S.ACKNOWLEDGE | S.DRIVER | S.FEATURES_OK
        return bool(self.common.device_status & S.FEATURES_OK)

    def negotiate(self, features: int) -> Feature:
        """From reset to FEATURES_OK; raises ``Refused`` when the device does not take the set."""
        self.to_driver()
        if not self.accept(features):
            raise Refused(f"the device did not take the features {features:#x}")
        self.features = Feature(features)
        return self.features

    def enable(self, queue: int, ring: Ring, vector: int = NO_VECTOR) -> None:
        """Set a queue up and enable it (4.1.5.1.3)."""
        common = self.common
        common.queue_select = queue
        common.queue_msix_vector = vector
        if vector != NO_VECTOR and common.queue_msix_vector != vector:
            raise Refused(f"queue {queue} cannot have vector {vector}")
        common.queue_size = ring.size
        common.queue_desc, common.queue_driver, common.queue_device = ring.desc, ring.driver, ring.device
        common.queue_enable = 1
        self.rings[queue] = ring

    def reset_queue(self, queue: int, timeout: float = RESET_S) -> None:
        """RING_RESET: write 1 and wait until it is done (2.6.1, 4.1.4.3.1). Raises ``DeviceTimeout``.

        The ring stays in ``rings``: it is the check's to use it, or not.
        """
        common = self.common
        common.queue_select = queue
        common.queue_reset = 1
        end = time.monotonic() + timeout
        while common.queue_reset or common.queue_enable:
            if time.monotonic() > end:
                what = f"queue_reset is {common.queue_reset}, queue_enable {common.queue_enable}"
                raise DeviceTimeout(f"queue {queue}: {what} {timeout:g} s after a reset", device=self.function.name)
            time.sleep(0.0002)

    def go(self) -> None:
        """DRIVER_OK (step 8)."""
        self.common.device_status = S.ACKNOWLEDGE | S.DRIVER | S.FEATURES_OK | S.DRIVER_OK

    @property
    def status(self) -> DeviceStatus:
        """``device_status``."""
        return DeviceStatus(self.common.device_status)

    # Queues

    def max_size(self, queue: int) -> int:
        """The largest size of a queue that is not enabled; 0 when it is not there."""
        self.common.queue_select = queue
        return int(self.common.queue_size)

    def bell(self, queue: int, value: int | None = None) -> None:
        """Ring a doorbell (4.1.5.2). ``value``: instead of what the features ask for."""
        if self._registers_only:
            raise NotApplicable("it rings a doorbell, and a recording answers reads of registers only")
        self.common.queue_select = queue
        offset = self.common.queue_notify_off * self.transport.notify_multiplier
        notify = self.transport.notify
        window = SubWindow(self.function.bar(notify.bar), notify.offset, notify.length)
        if Feature.NOTIFICATION_DATA in self.features:
            window.write(offset, 32, self.doorbell_data(queue) if value is None else value)
        else:
            window.write(offset, 16, self._told(queue) if value is None else value)

    def doorbell_data(self, queue: int) -> int:
        """NOTIFICATION_DATA: where the ring ends now (2.9)."""
        ring = self.rings[queue]
        next_at = getattr(ring, "avail_idx", None)
        if next_at is None:
            next_at = getattr(ring, "next_slot", 0) | getattr(ring, "wrap", 0) << 15
        return self._told(queue) | next_at << 16

    def _told(self, queue: int) -> int:
        """What names a queue in its doorbell (2.9)."""
        if Feature.NOTIF_CONFIG_DATA not in self.features:
            return queue
        self.common.queue_select = queue
        return int(self.common.queue_notif_config_data)
