"""The common configuration structure (P-COM, P-LAY). Ref: virtio 1.3, 4.1.4.3.1"""

from __future__ import annotations

from ..spec.features import Feature
from ..spec.virtio_pci import CfgType
from ..validate.bench import RX, TX, Bench
from ..validate.check import check
from ..validate.device import WORDS
from ..validate.link import HOOK_S, link_down
from ..validate.structures import of_type

PAST = (0, 1, 7, 100)  # queues behind the last one
FAR_WORDS = (4, 5, 0x1F, 0x20, 0x8000_0000, 0xFFFF_FFFF)  # selects behind the last defined feature bit
ADDRESSES = ("queue_desc", "queue_driver", "queue_device")
LOW, HIGH = 0x1234_5000, 0x0000_7ABC


@check("P-COM-1")
def alignment_of_common_configuration(bench: Bench) -> None:
    """The common configuration structure lies at a multiple of 4."""
    for cap in of_type(bench.function, CfgType.COMMON):
        bench.must(cap.head.offset % 4 == 0, f"{cap}: its structure is at {cap.head.offset:#x}")


@check("P-COM-2")
def there_is_a_common_configuration(bench: Bench) -> None:
    """There is a common configuration structure."""
    bench.must(of_type(bench.function, CfgType.COMMON), "there is no COMMON capability")


@check("P-COM-3")
def features_of_any_select(bench: Bench) -> None:
    """``device_feature`` shows the word that was selected, in any order, and nothing behind the last feature."""
    bench.device.to_driver()
    common = bench.device.common

    def word(select: int) -> int:
        common.device_feature_select = select
        common.driver_feature_select = select ^ 1  # the driver's is another one
        return int(common.device_feature)

    words = [word(select) for select in range(WORDS)]
    for select in (1, 0, 3, 0, 2, 1):
        seen = word(select)
        bench.must(seen == words[select], f"select {select} showed {words[select]:#x}, and now {seen:#x}")
    for select in FAR_WORDS:
        seen = word(select)
        bench.must(seen == 0, f"select {select:#x} shows {seen:#x}: no feature is that far")


@check("P-COM-4")
def driver_features_read_back(bench: Bench) -> None:
    """``driver_feature`` reads back what was written of the offered bits, for any select and in any order."""
    device = bench.device
    device.to_driver()
    common, offered = device.common, int(device.offered)
    for pattern in (0xFFFF_FFFF, 0x5555_5555, 0xAAAA_AAAA, 0):
        want = [offered >> 32 * word & pattern for word in range(WORDS)]
        for word in (1, 0, 3, 2):
            common.driver_feature_select = word
            common.driver_feature = want[word]
        for word in (0, 2, 1, 3, 0):
            common.driver_feature_select = word
            seen = int(common.driver_feature)
            valid = seen & offered >> 32 * word
            bench.must(valid == want[word], f"word {word} reads {seen:#x} after {want[word]:#x} was written")


@check("P-COM-6", hook="link", features=Feature.NET_STATUS, deadline=HOOK_S)
def the_generation_follows_changes(bench: Bench) -> None:
    """Once a configuration field has changed and was read, ``config_generation`` is another one."""
    bench.start()
    device = bench.device
    status, before = int(device.net.status), int(device.common.config_generation)
    with link_down(bench):
        now = int(device.common.config_generation)
        what = f"status went from {status} to {int(device.net.status)}"
        bench.must(now != before, f"{what}, but config_generation is {now} as before")


@check("P-COM-7")
def writing_0_resets(bench: Bench) -> None:
    """0 written to ``device_status`` amid traffic resets: it reads 0 in the end, and fresh rings work from 0 on."""
    bench.start()
    for _ in range(3):
        bench.send(bench.ring(TX))
    bench.wait_used(bench.ring(TX), 3)
    for _ in range(8):
        bench.ring(TX).offer([bench.frame()])
    bench.device.bell(TX)
    took = bench.device.reset()
    bench.note(f"the reset took {took * 1000:.3f} ms")
    bench.start()
    bench.send(bench.ring(TX))
    bench.wait_used(bench.ring(TX), timeout=1.0)


@check("P-COM-8")
def no_queue_is_enabled_after_a_reset(bench: Bench) -> None:
    """``queue_enable`` of every queue reads 0 after a reset."""
    bench.negotiate()
    for queue in (RX, TX):
        bench.add_queue(queue)
    bench.device.reset()
    common = bench.device.common
    for queue in range(int(common.num_queues)):
        common.queue_select = queue
        bench.must(common.queue_enable == 0, f"queue_enable of queue {queue} reads {common.queue_enable} after a reset")


@check("P-COM-14")
def size_of_a_queue_that_is_not_there(bench: Bench) -> None:
    """``queue_size`` reads 0 past the last queue (administration queues come behind it)."""
    bench.negotiate()
    common = bench.device.common
    queues = end = int(common.num_queues)
    if bench.device.offered & Feature.ADMIN_VQ:
        end = max(end, int(common.admin_queue_index + common.admin_queue_num))
    for queue in [*(end + past for past in PAST if end + past < 0xFFFF), 0xFFFF]:
        size = bench.device.max_size(queue)
        bench.must(size == 0, f"queue {queue} is not there (num_queues is {queues}), but its queue_size reads {size}")


@check("P-COM-15")
def sizes_of_split_queues(bench: Bench) -> None:
    """Without RING_PACKED every ``queue_size`` is 0 or a power of two."""
    bench.device.negotiate(int(bench.usual() & ~Feature.RING_PACKED))
    for queue in range(int(bench.device.common.num_queues)):
        size = bench.device.max_size(queue)
        bench.must(size & size - 1 == 0, f"queue_size of queue {queue} is {size}")


@check("P-COM-16")
def admin_queues_lie_behind_the_others(bench: Bench) -> None:
    """With ADMIN_VQ, ``admin_queue_index`` is no lower than ``num_queues``."""
    bench.negotiate(Feature.ADMIN_VQ)
    common = bench.device.common
    index, queues = int(common.admin_queue_index), int(common.num_queues)
    bench.must(index >= queues, f"admin_queue_index is {index}, num_queues {queues}")


@check("P-COM-17")
def admin_queues_end_below_0x10000(bench: Bench) -> None:
    """With ADMIN_VQ, the last administration queue's index has 16 bits."""
    bench.negotiate(Feature.ADMIN_VQ)
    common = bench.device.common
    index, count = int(common.admin_queue_index), int(common.admin_queue_num)
    bench.must(count <= 0x10000 - index, f"admin_queue_num is {count}, from queue {index} on")


@check("P-LAY-1")
def halves_of_64_bit_fields(bench: Bench) -> None:
    """The two halves of a 64-bit field are written and read on their own, in either order."""
    bench.negotiate()
    common = bench.device.common
    common.queue_select = TX
    for name in ADDRESSES:
        at = getattr(type(common), name).offset
        window = common.window_for(getattr(type(common), name))
        want = [0, 0]
        for half, value in ((0, LOW), (1, HIGH), (0, LOW + 0x1000), (1, 0), (1, HIGH), (0, 0), (1, 0)):
            want[half] = value
            window.write(at + 4 * half, 32, value)
            seen = [window.read(at + 4 * one, 32) for one in (1, 0)][::-1]
            bench.must(
                seen == want,
                f"{name} reads {seen[1]:#x}:{seen[0]:08x}, its halves were set to {want[1]:#x}:{want[0]:08x}",
            )
