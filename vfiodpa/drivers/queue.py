"""What a device says of a queue, and whether it can take a set-up."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..spec.virtio_ring import PACKED_ALIGN, SPLIT_ALIGN, split_size_ok
from .device import DoorbellAddress, QueueSetup


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue after a reset; ``size_max`` in entries, 0 when it is not there."""

    index: int
    size_max: int
    doorbell: DoorbellAddress

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
