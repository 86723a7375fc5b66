"""What a device says of a queue, and whether it can take a set-up."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import DeviceError, UsageError
from ..spec.virtio_ring import PACKED_ALIGN, SPLIT_ALIGN, split_size_ok
from .device import DoorbellAddress, QueueSetup
from .transport import Transport


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue after a reset; ``size_max`` in entries, 0 when it is not there."""

    index: int
    size_max: int
    doorbell: DoorbellAddress

    @classmethod
    def read(cls, transport: Transport, queue: int, doorbell_width: int, device: str) -> Queue:
        """As the registers say. Raises ``DeviceError`` for a doorbell outside its structure."""
        transport.common.queue_select = queue
        size_max = transport.common.queue_size
        notify = transport.notify
        offset = transport.common.queue_notify_off * transport.notify_multiplier  # 4.1.4.4
        if size_max and offset + doorbell_width // 8 > notify.length:
            raise DeviceError(
                f"the doorbell of queue {queue} lies at {offset:#x}, outside the notify structure of "
                f"{notify.length:#x} bytes",
                device=device,
            )
        return cls(queue, size_max, DoorbellAddress(notify.bar, notify.offset + offset, doorbell_width, queue))

    def told(self, transport: Transport) -> Queue:
        """With NOTIF_CONFIG_DATA negotiated: its doorbell carries what the device says (4.1.5.2)."""
        transport.common.queue_select = self.index
        value = transport.common.queue_notif_config_data
        return replace(self, doorbell=replace(self.doorbell, value=value))

    def check(self, setup: QueueSetup, packed: bool, device: str) -> None:
        """Raise ``UsageError`` for a size or an alignment that no queue may have (2.7, 2.8)."""
        if not 0 < setup.size <= self.size_max or not (packed or split_size_ok(setup.size)):
            power = "" if packed else ", a power of two"
            raise UsageError(
                f"queue {self.index} cannot have {setup.size} entries: up to {self.size_max}{power}", device=device
            )
        parts = zip((setup.desc, setup.driver, setup.device), PACKED_ALIGN if packed else SPLIT_ALIGN, strict=True)
        if any(address % align for address, align in parts):
            raise UsageError(f"queue {self.index}: its ring is not aligned: {setup}", device=device)
