"""May a guest write to the page with a queue's doorbell? Only when nothing else is in it.

Ref: virtio 1.3, 4.1.4.4 (notification structure). The guest's driver computed the address from its own virtual
device, so all that may differ here is the page: the doorbell must lie at its start and take what the guest stores,
the queue's number in 16 bits (4.1.5.2).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import Unsupported
from ..memory import PAGE_SIZE
from ..pci.function import PciFunction
from .queue import Queue
from .transport import Structure

GUEST_WIDTH = 16  # bits of a guest's store without NOTIFICATION_DATA, which is never offered to guests


def check_page_of_its_own(queue: Queue, queues: Sequence[Queue], notify: Structure, device: str) -> None:
    """Raise ``Unsupported`` with the reason why the queue's page cannot be a guest's."""
    bell = queue.doorbell
    why = ""
    if bell.width != GUEST_WIDTH:
        why = f"the device takes {bell.width}-bit doorbells, guests store {GUEST_WIDTH} bits"
    elif bell.value != queue.index:
        why = f"the device takes doorbells of {bell.value:#x}, guests store the queue's number {queue.index}"
    elif any(other.index != queue.index and _page(other) == _page(queue) for other in queues if other.size_max):
        why = "queues share a doorbell page"
    elif bell.offset % PAGE_SIZE:
        why = f"the doorbell lies at {bell.offset:#x}, not at the start of a page of {PAGE_SIZE} bytes"
    elif bell.offset + PAGE_SIZE > notify.offset + notify.length:
        why = "registers may follow the doorbell in its page"
    if why:
        raise Unsupported(why, device=device)


def can_tell_doorbells(function: PciFunction, queues: Sequence[Queue], notify: Structure) -> bool:
    """May the device say what doorbells carry (NOTIF_CONFIG_DATA)? Not where guests can be given their pages."""
    first = queues[0]
    try:
        check_page_of_its_own(first, queues, notify, function.name)
        function.doorbell_page(first.doorbell.bar, first.doorbell.offset)
    except Unsupported:
        return True
    return False


def _page(queue: Queue) -> tuple[int, int]:
    return queue.doorbell.bar, queue.doorbell.offset // PAGE_SIZE
