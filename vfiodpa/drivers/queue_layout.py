"""Which queues a device has: pairs that can be used and, where pairs are switched by it, the control queue.

Ref: virtio 1.3, 5.1.2. The control queue comes behind all pairs once MQ is negotiated, else behind the
first one. QEMU shows the queues of what was negotiated last, so where a control queue switches pairs they
are read after FEATURES_OK.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ..errors import DeviceError
from ..spec.features import Feature
from ..spec.virtio_net import NetConfig, control_queue
from ..spec.virtio_pci import DeviceStatus
from . import feature_policy as policy
from .feature_words import write_features
from .queue import Queue
from .quirks import Quirks
from .transport import Transport

log = logging.getLogger(__name__)

F = Feature


@dataclass(frozen=True, slots=True)
class QueueLayout:
    """``queues`` of all pairs that can be used; ``control`` as with MQ, ``None``: it is not what switches pairs."""

    queues: tuple[Queue, ...]
    control: Queue | None = None

    @property
    def pairs(self) -> int:
        """How many pairs can be used."""
        return len(self.queues) // 2

    @property
    def all(self) -> tuple[Queue, ...]:
        """Those of the pairs, and ours."""
        return self.queues + ((self.control,) if self.control else ())

    def told(self, transport: Transport, features: Feature) -> QueueLayout:
        """As negotiated: with NOTIF_CONFIG_DATA, doorbells carry what the device says (``Queue.told``)."""
        if F.NOTIF_CONFIG_DATA not in features:
            return self
        queues = tuple(queue.told(transport) for queue in self.queues)
        return QueueLayout(queues, self.control.told(transport) if self.control else None)

    @property
    def single(self) -> QueueLayout:
        """The first pair alone."""
        return QueueLayout(self.queues[:2])


@dataclass(frozen=True, slots=True)
class Survey:
    """Reads the queues of a device that was reset and has seen DRIVER.

    It may set FEATURES_OK: then the device must be reset again afterwards.
    """

    device: str
    transport: Transport
    quirks: Quirks
    offered: Feature
    config: NetConfig

    def read(self) -> QueueLayout:
        """Raises ``DeviceError`` when there is no pair."""
        control = self._read_control()
        pairs = min(self.transport.common.num_queues // 2, self.quirks.max_pairs, self._most)
        if not pairs:
            cause = f"num_queues is {self.transport.common.num_queues}"
            raise DeviceError("the device has no queue pair", device=self.device, cause=cause)
        if not self.quirks.active_pairs and control is None:
            pairs = 1  # nobody could tell the device to use a second one
        queues = tuple(self._read_queue(queue) for queue in range(2 * pairs))
        return QueueLayout(queues, control if pairs > 1 else None)

    @property
    def _most(self) -> int:
        """max_virtqueue_pairs; what it says without MQ and RSS has no meaning."""
        if not self.offered & (F.NET_MQ | F.NET_RSS):
            return self.quirks.max_pairs
        return max(self.config.max_virtqueue_pairs, 1)

    def _read_queue(self, queue: int) -> Queue:
        return Queue.read(self.transport, queue, self.quirks.doorbell_width, self.device)

    def _read_control(self) -> Queue | None:
        """``None`` when pairs are switched by other means, or not at all."""
        if self.quirks.active_pairs or self.quirks.max_pairs == 1:
            return None
        if policy.without(policy.MULTIQUEUE, self.offered) or self._most == 1 or not self._negotiate():
            return None
        control = self._read_queue(control_queue(self._most, multiqueue=True))
        if not control.size_max:
            log.warning("%s: one queue pair: it offers MQ, but has no control queue", self.device)
        return control if control.size_max else None

    def _negotiate(self) -> bool:
        common = self.transport.common
        write_features(common, self.quirks.feature_words, policy.for_survey(self.offered))
        common.device_status |= DeviceStatus.FEATURES_OK
        if common.device_status & DeviceStatus.FEATURES_OK:
            return True
        log.warning("%s: one queue pair: it offers MQ and refuses it", self.device)
        return False
