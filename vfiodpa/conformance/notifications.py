"""Used buffer notifications without EVENT_IDX (UNS-1 to UNS-3). Ref: virtio 1.3, 2.7.7.2"""

from __future__ import annotations

from ..validate.bench import TX, Bench
from ..validate.check import check


@check("UNS-3")
def a_used_buffer_is_notified(bench: Bench) -> None:
    """Without EVENT_IDX and with flags 0, a used entry is followed by an interrupt."""
    bench.start()
    for _ in range(3):
        bench.send(bench.ring(TX))
        bench.wait_used(bench.ring(TX))
        bench.must(bench.irq_of(TX).fired(), "a used entry was written, but no interrupt came")
