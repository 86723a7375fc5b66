"""IN_ORDER (RFB-5). Ref: virtio 1.3, 2.7.9 and 2.8.7

A device may tell of a batch by one used entry, that of its last buffer: the slots of the others are left as they
are. So an entry names the buffer whose turn it is, or a later one whose predecessors are not written at all.
"""

from __future__ import annotations

from ..spec.features import Feature
from ..validate.bench import HEADER, RX, TX, Bench
from ..validate.check import check
from ..validate.ring_work import give_buffers, inbound, is_ours, one_buffer, outbound, same
from ..validate.rings import AVAIL_USED, POISON, PackedRing, SplitRing
from ..validate.verdict import Deviation

BURST = 8
LAPS = 7  # of bursts: the ring wraps, also inside of one
SIZE = 20  # of a packed ring; a split one takes the power of two below
POISONED = int.from_bytes(bytes([POISON]) * 4, "little")


@check("RFB-5", wire=False)
def buffers_are_used_in_order(bench: Bench) -> None:
    """With IN_ORDER, buffers are used in the order in which they were made available, one by one or in batches."""
    bench.start(Feature.IN_ORDER, size=SIZE if bench.packed else 16)
    ring = bench.ring(TX)
    bufs = [one_buffer(bench, outbound(bench, at)) for at in range(BURST)]
    for _ in range(LAPS):
        _poison(bench, ring)
        order = [ring.offer([buf], publish=False) for buf in bufs]
        ring.publish()
        bench.device.bell(TX)
        while order:
            order = order[_take(bench, ring, order) :]
    if bench.wire_peer is not None:
        _receive(bench)


def _receive(bench: Bench) -> None:
    ring = bench.ring(RX)
    _poison(bench, ring)
    given = give_buffers(bench, ring, 2 * BURST)  # strangers' frames may come as well
    sent = [inbound(bench, number) for number in range(BURST)]
    for frame in sent:
        bench.wire.send(frame)
    order = list(given)
    while sent:
        done = _take(bench, ring, order)
        for id in order[:done]:
            got = bench.memory.read(given[id] + HEADER, len(inbound(bench, 0)))
            if is_ours(bench, got):
                bench.must(sent and same(got, sent.pop(0)), f"buffer {id} has not the frame whose turn it was")
        order = order[done:]


def _poison(bench: Bench, ring: SplitRing | PackedRing) -> None:
    if isinstance(ring, SplitRing):
        bench.memory.write(ring.device + 4, bytes([POISON]) * 8 * ring.size)


def _take(bench: Bench, ring: SplitRing | PackedRing, order: list[int]) -> int:
    """The next used entry, of one buffer or of a batch: how many of ``order`` it stands for."""
    what = f"{len(order)} buffers were not used"
    bench.must(bench.wait(lambda: _entry(ring, 0) is not None, what), what)
    found = _entry(ring, 0)
    if found not in order:
        raise Deviation(f"the next used entry is of buffer {found}, but it is the turn of {order[0]}")
    batch = order.index(found) + 1
    for ahead in range(1, batch):
        other = _entry(ring, ahead)
        what = f"used entries are of buffer {found} and then of {other}, made available in the order {order}"
        bench.must(other is None, what)
    _skip(ring, batch)
    return batch


def _entry(ring: SplitRing | PackedRing, ahead: int) -> int | None:
    """Id of the used entry so many slots further, or ``None`` when nothing was written there."""
    if isinstance(ring, SplitRing):
        if not 0 <= ahead < (ring.used_idx - ring.seen & 0xFFFF):
            return None
        id = ring.used_elem(ring.seen + ahead).id
        return None if id == POISONED else id
    slot, wrap = ring.used_slot + ahead, ring.used_wrap
    desc = ring.get_desc(slot % ring.size)
    wrap ^= slot >= ring.size
    return int(desc.id) if int(desc.flags) & AVAIL_USED == (AVAIL_USED if wrap else 0) else None


def _skip(ring: SplitRing | PackedRing, count: int) -> None:
    if isinstance(ring, SplitRing):
        ring.seen = ring.seen + count & 0xFFFF
        return
    ring.used_wrap ^= ring.used_slot + count >= ring.size
    ring.used_slot = (ring.used_slot + count) % ring.size
