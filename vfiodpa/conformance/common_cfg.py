"""The common configuration structure (P-COM). Ref: virtio 1.3, 4.1.4.3.1"""

from __future__ import annotations

from ..validate.bench import Bench
from ..validate.check import check

PAST = (0, 1, 7, 100)  # queues behind the last one


@check("P-COM-14")
def size_of_a_queue_that_is_not_there(bench: Bench) -> None:
    """``queue_size`` reads 0 past the last queue."""
    bench.negotiate()
    queues = int(bench.device.common.num_queues)
    for queue in [*(queues + past for past in PAST), 0xFFFF]:
        size = bench.device.max_size(queue)
        bench.must(size == 0, f"queue {queue} is not there (num_queues is {queues}), but its queue_size reads {size}")
