"""Starting a single queue: where it may start, and the registers that say so.

Ref: virtio 1.3, 4.1.5.1.3 (virtqueue configuration).
"""

from __future__ import annotations

from ..errors import DeviceError, Unsupported
from ..spec.features import Feature
from ..spec.virtio_pci import CommonCfg
from .device import QueueSetup, QueueState
from .interrupts import Interrupts


def check_first(queue: int, state: QueueState, negotiated: Feature, device: str) -> None:
    """For a device that takes no position: raise ``Unsupported`` for any but the one that a reset leaves."""
    first = QueueState.first(negotiated)
    if state != first:
        packed = negotiated & Feature.RING_PACKED
        raise Unsupported(
            f"queue {queue} cannot start at {state.avail}: a virtio device starts at {first.avail} after a reset",
            device=device,
            cause="packed positions are not kept" if packed else "the device has no ring-state registers",
        )


def set_up(common: CommonCfg, queue: int, setup: QueueSetup, irqs: Interrupts, device: str) -> None:
    """Everything but queue_enable, which comes last (4.1.4.3.2). Raises ``DeviceError``."""
    common.queue_select = queue  # step 1
    if not common.queue_size:  # step 2
        raise DeviceError(f"queue {queue} is no longer there: its size reads 0", device=device)
    common.queue_size = setup.size  # step 3
    irqs.map(common, queue)  # step 5
    common.queue_desc = setup.desc
    common.queue_driver = setup.driver
    common.queue_device = setup.device
