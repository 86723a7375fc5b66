"""The registers of queue reset (P-COM-9 to P-COM-13). Ref: virtio 1.3, 4.1.4.3.1"""

from __future__ import annotations

import time

from ..spec.features import Feature
from ..validate.bench import RX, TX, Bench
from ..validate.check import check

RESET = Feature.RING_RESET
BATCH = 64
SETTLE_S = 0.1


def _reset(bench: Bench, queue: int) -> int:
    """Reset a queue and wait; how often ``queue_reset`` read 1. Raises ``Deviation`` when it does not end."""
    common = bench.device.common
    common.queue_select = queue
    common.queue_reset = 1
    busy = 0

    def done() -> bool:
        nonlocal busy
        ongoing = int(common.queue_reset)
        busy += ongoing
        return not ongoing

    bench.must(bench.wait(done, "the end of a queue reset"), f"queue_reset of queue {queue} still reads 1")
    return busy


@check("P-COM-9", features=RESET)
def no_queue_is_being_reset_after_a_reset(bench: Bench) -> None:
    """``queue_reset`` of every queue reads 0 after a device reset, even one that cuts a queue reset short."""
    bench.start(RESET)
    common = bench.device.common
    common.queue_select = TX
    common.queue_reset = 1
    bench.device.reset()
    for queue in range(int(common.num_queues)):
        common.queue_select = queue
        bench.must(common.queue_reset == 0, f"queue_reset of queue {queue} reads {common.queue_reset} after a reset")


@check("P-COM-10", features=RESET)
def an_enabled_queue_is_not_being_reset(bench: Bench) -> None:
    """``queue_reset`` reads 0 once the queue is enabled, for the first time and again."""
    bench.start(RESET)
    common = bench.device.common
    for queue in (RX, TX):
        common.queue_select = queue
        bench.must(common.queue_reset == 0, f"queue_reset of queue {queue}, which is enabled, is {common.queue_reset}")
    _reset(bench, TX)
    bench.add_queue(TX)
    bench.must(common.queue_reset == 0, f"queue_reset is {common.queue_reset} after the queue was enabled again")


@check("P-COM-11", features=RESET, rude=True)
def writing_1_resets_the_queue(bench: Bench) -> None:
    """After 1 was written to ``queue_reset`` and it is done, the device leaves the old ring alone."""
    bench.start(RESET)
    ring = bench.ring(TX)
    bench.send(ring)
    bench.wait_used(ring)
    _reset(bench, TX)
    time.sleep(SETTLE_S)  # that it may be late is P-COM-12
    ring.offer([bench.frame()], publish=False)
    bench.knock("the device uses a queue that was reset", ring)


@check("P-COM-12", features=RESET, rude=True)
def the_end_of_a_queue_reset(bench: Bench) -> None:
    """``queue_reset`` reads 1 as long as the device works on the queue: after it read 0 nothing moves."""
    bench.start(RESET)
    ring = bench.ring(TX)
    for _ in range(BATCH):
        ring.offer([bench.frame()], publish=False)
    ring.publish()
    bench.device.bell(TX)
    more = bench.frame()
    busy = _reset(bench, TX)
    ring.offer([more], publish=False)
    bench.knock("queue_reset reads 0, and the device goes on with the ring", ring)
    bench.note(f"queue_reset read 1 {busy} times")


@check("P-COM-13", features=RESET)
def a_queue_that_was_reset_is_not_enabled(bench: Bench) -> None:
    """Once ``queue_reset`` reads 0, ``queue_enable`` does, too."""
    bench.start(RESET)
    for queue in (TX, RX):
        _reset(bench, queue)
        enabled = int(bench.device.common.queue_enable)
        bench.must(enabled == 0, f"queue {queue} was reset, but its queue_enable reads {enabled}")
