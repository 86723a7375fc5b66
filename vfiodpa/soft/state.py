"""What the common configuration holds: plain state, no behaviour of its own.

Ref: virtio 1.3, section 4.1.4.3.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..spec.features import Feature
from ..spec.virtio_pci import NO_VECTOR, DeviceStatus

NO_STATUS = DeviceStatus(0)
NOTIF_CONFIG = 0x4000  # queue_notif_config_data is that and the queue: never a queue of ours, so that mistakes show
FEATURE_WORDS = 4  # bits 0 to 127
ADDRESSES = ("queue_desc", "queue_driver", "queue_device")


def _all_halves() -> set[tuple[str, int]]:
    return {(name, half) for name in ADDRESSES for half in (0, 1)}


@dataclass(slots=True)
class Queue:
    """One virtqueue as the registers show it. Addresses are the device's (IOVA)."""

    index: int
    max_size: int
    size: int = 0
    vector: int = NO_VECTOR
    enabled: bool = False
    desc: int = 0
    driver: int = 0
    device: int = 0
    unwritten: set[tuple[str, int]] = field(default_factory=_all_halves)  # address halves never written
    reset_unread: bool = False  # queue_reset was not read since it was written

    def __post_init__(self) -> None:
        self.size = self.max_size

    def clear(self) -> None:
        """Everything at its default (2.6.1.1)."""
        self.size, self.vector, self.enabled = self.max_size, NO_VECTOR, False
        self.desc = self.driver = self.device = 0
        self.unwritten = _all_halves()
        self.reset_unread = False


@dataclass(slots=True)
class CommonState:
    """The state behind ``CommonCfg``."""

    offered: Feature
    queues: list[Queue]
    vectors: int
    admin: int = 0  # of the queues, at their end: administration queues, which num_queues does not count
    status: DeviceStatus = NO_STATUS
    driver_words: list[int] = field(default_factory=lambda: [0] * FEATURE_WORDS)
    device_select: int = 0
    driver_select: int = 0
    queue_select: int = 0
    config_vector: int = NO_VECTOR
    reset_unread: bool = False  # device_status was not read as 0 since the reset
    features_ok_read: bool = False  # device_status was read since FEATURES_OK was set
    refusal: str = ""  # why FEATURES_OK was refused

    @property
    def queue(self) -> Queue | None:
        """The selected queue; ``None`` when there is no such queue."""
        return self.queues[self.queue_select] if self.queue_select < len(self.queues) else None

    @property
    def admin_index(self) -> int:
        """Where administration queues would begin (4.1.4.3)."""
        return len(self.queues) - self.admin

    @property
    def driver_features(self) -> Feature:
        """What the driver wrote."""
        return Feature(sum(word << 32 * i for i, word in enumerate(self.driver_words)))

    @property
    def packed(self) -> bool:
        """Are the rings packed?"""
        return Feature.RING_PACKED in self.driver_features

    def notification(self, queue: int) -> int:
        """What names a queue in its doorbell: NOTIF_CONFIG_DATA makes it another number (4.1.5.2)."""
        return NOTIF_CONFIG | queue if Feature.NOTIF_CONFIG_DATA in self.driver_features else queue

    def clear(self) -> None:
        """Device reset (2.4)."""
        for queue in self.queues:
            queue.clear()
        self.status = NO_STATUS
        self.driver_words = [0] * FEATURE_WORDS
        self.device_select = self.driver_select = self.queue_select = 0
        self.config_vector = NO_VECTOR
        self.features_ok_read = False
        self.refusal = ""
