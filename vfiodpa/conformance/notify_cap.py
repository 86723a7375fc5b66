"""Where the doorbells are (P-NTF). Ref: virtio 1.3, 4.1.4.4.1"""

from __future__ import annotations

from collections.abc import Iterator

from ..spec.features import Feature
from ..spec.virtio_pci import CfgType
from ..validate.bench import Bench
from ..validate.check import check
from ..validate.structures import Virtio, multiplier_of, of_type, offered
from ..validate.verdict import NotApplicable

DATA = Feature.NOTIFICATION_DATA
# What could change how many queues there are, and where their doorbells lie.
CONFIGURATIONS = (
    Feature(0),
    Feature.NET_CTRL_VQ,
    Feature.NET_CTRL_VQ | Feature.NET_MQ,
    Feature.NET_CTRL_VQ | Feature.NET_RSS,
    Feature.RING_PACKED,
    Feature.NOTIF_CONFIG_DATA,
)


LAST_QUEUE = 0xFFFF  # queue_select has 16 bits


def _caps(bench: Bench, *, data: bool) -> list[Virtio]:
    """All notification capabilities, of a device that offers NOTIFICATION_DATA or does not."""
    if bool(offered(bench.function) & DATA) != data:
        raise NotApplicable(f"the device {'does not offer' if data else 'offers'} NOTIFICATION_DATA")
    return of_type(bench.function, CfgType.NOTIFY)


def _offsets(bench: Bench) -> Iterator[tuple[int, int]]:
    """(queue, queue_notify_off) of all queues that are there, as negotiated; administration queues too."""
    common = bench.device.common
    admin = range(0)
    if bench.device.offered & Feature.ADMIN_VQ:
        admin = range(int(common.admin_queue_index), int(common.admin_queue_index) + int(common.admin_queue_num))
    for queue in [*range(int(common.num_queues)), *[one for one in admin if one <= LAST_QUEUE]]:
        common.queue_select = queue
        if common.queue_size:
            yield queue, int(common.queue_notify_off)


def _covers(bench: Bench, caps: list[Virtio], size: int, when: str = "") -> None:
    """Each queue's doorbell of ``size`` bytes lies inside each capability's structure."""
    for queue, offset in _offsets(bench):
        for cap in caps:
            needed = offset * multiplier_of(bench.function, cap) + size
            bench.must(
                cap.head.length >= needed,
                f"{cap} has {cap.head.length:#x} bytes, the doorbell of queue {queue} ends at {needed:#x}{when}",
            )


def _covers_all(bench: Bench, caps: list[Virtio], size: int) -> None:
    for cap in caps:
        bench.must(cap.head.length >= size, f"{cap} has {cap.head.length} bytes, a doorbell {size}")
    for features in CONFIGURATIONS:
        if not features & ~bench.device.offered:
            bench.negotiate(int(features))
            _covers(bench, caps, size, f" with {features.name or 'no feature'} negotiated")


@check("P-NTF-1")
def there_are_doorbells(bench: Bench) -> None:
    """There is a notification capability."""
    bench.must(of_type(bench.function, CfgType.NOTIFY), "there is no NOTIFY capability")


@check("P-NTF-2")
def alignment_of_doorbells(bench: Bench) -> None:
    """Without NOTIFICATION_DATA the structure lies at a multiple of 2."""
    for cap in _caps(bench, data=False):
        bench.must(cap.head.offset % 2 == 0, f"{cap}: its structure is at {cap.head.offset:#x}")


@check("P-NTF-3")
def multiplier_of_doorbells(bench: Bench) -> None:
    """Without NOTIFICATION_DATA the multiplier is 0 or an even power of two."""
    for cap in _caps(bench, data=False):
        value = multiplier_of(bench.function, cap)
        bench.must(value != 1 and value & value - 1 == 0, f"{cap}: notify_off_multiplier is {value:#x}")


@check("P-NTF-4")
def room_for_doorbells_in_every_configuration(bench: Bench) -> None:
    """Without NOTIFICATION_DATA the structure has room for all queues, whatever is negotiated."""
    _covers_all(bench, _caps(bench, data=False), 2)


@check("P-NTF-5")
def room_for_each_doorbell(bench: Bench) -> None:
    """Without NOTIFICATION_DATA the structure ends no earlier than each queue's doorbell."""
    caps = _caps(bench, data=False)
    bench.negotiate()
    _covers(bench, caps, 2)


@check("P-NTF-6")
def multiplier_of_wide_doorbells(bench: Bench) -> None:
    """With NOTIFICATION_DATA the multiplier is 0, or a power of two and a multiple of 4."""
    for cap in _caps(bench, data=True):
        value = multiplier_of(bench.function, cap)
        bench.must(value % 4 == 0 and value & value - 1 == 0, f"{cap}: notify_off_multiplier is {value:#x}")


@check("P-NTF-7")
def alignment_of_wide_doorbells(bench: Bench) -> None:
    """With NOTIFICATION_DATA the structure lies at a multiple of 4."""
    for cap in _caps(bench, data=True):
        bench.must(cap.head.offset % 4 == 0, f"{cap}: its structure is at {cap.head.offset:#x}")


@check("P-NTF-8")
def room_for_wide_doorbells_in_every_configuration(bench: Bench) -> None:
    """With NOTIFICATION_DATA the structure has room for all queues, whatever is negotiated."""
    _covers_all(bench, _caps(bench, data=True), 4)


@check("P-NTF-9")
def room_for_each_wide_doorbell(bench: Bench) -> None:
    """With NOTIFICATION_DATA the structure ends no earlier than each queue's doorbell."""
    caps = _caps(bench, data=True)
    bench.negotiate()
    _covers(bench, caps, 4)
