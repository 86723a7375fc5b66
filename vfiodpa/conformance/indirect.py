"""Indirect descriptors (IND, U-3). Ref: virtio 1.3, 2.7.5.3 and 2.8.8"""

from __future__ import annotations

from ..spec.features import Feature
from ..spec.virtio_ring import DescFlag
from ..validate.bench import HEADER, TX, Bench
from ..validate.check import check
from ..validate.ring_work import hear, outbound, pieces, same, table
from ..validate.rings import Buf

ENTRIES = (1, 2, 3, 8)  # of a table


def _send(bench: Bench, sent: bytes, chain: list[Buf], direct: int, *, write: bool = False, id: int = 0) -> int:
    """Send a frame of which the first ``direct`` buffers are in the ring, and the others in a table."""
    ring = bench.ring(TX)
    gpa = table(bench, chain[direct:], packed=ring.packed, id=id)
    outer = Buf(gpa, 16 * len(chain[direct:]), writable=write, flags=int(DescFlag.INDIRECT))
    made = bench.send(ring, *chain[:direct], outer)
    used = bench.wait_used(ring)
    how = f"{direct} buffers and an indirect table of {len(chain) - direct}{' with WRITE' if write else ''}"
    bench.must(used[0].id == made, f"{how}: given back as buffer {used[0].id}, made available as {made}")
    heard = hear(bench, 1)
    bench.must(heard, f"{how}: the frame was not sent")
    bench.must(same(heard[0], sent), f"{how} at {gpa:#x}: what was sent is {heard[0].hex()}, and not {sent.hex()}")
    return made


def _frame(bench: Bench, number: int, count: int) -> tuple[bytes, list[Buf]]:
    """A frame in ``count`` buffers."""
    sent = outbound(bench, number, 120)
    data = bytes(HEADER) + sent
    return sent, pieces(bench, data, (len(data) // count,) * (count - 1))


@check("IND-1")
def write_of_an_indirect_descriptor_is_ignored(bench: Bench) -> None:
    """A descriptor that points to an indirect table may have WRITE set: that means nothing."""
    bench.packed = False
    bench.start(Feature.INDIRECT_DESC)
    for number, count in enumerate(ENTRIES):
        sent, chain = _frame(bench, number, count)
        _send(bench, sent, chain, 0, write=True)


@check("IND-2")
def an_indirect_table_ends_a_chain(bench: Bench) -> None:
    """A chain may be some descriptors, and then one that points to a table."""
    bench.packed = False
    bench.start(Feature.INDIRECT_DESC)
    for direct in range(4):
        for number, count in enumerate(ENTRIES):
            sent, chain = _frame(bench, 10 * direct + number, direct + count)
            _send(bench, sent, chain, direct)


@check("U-3")
def a_packed_indirect_table_is_one_buffer(bench: Bench) -> None:
    """A packed buffer may be one descriptor that points to a table; what counts is that descriptor's id."""
    bench.start(Feature.RING_PACKED | Feature.INDIRECT_DESC, size=8)
    for number in range(12):
        sent, chain = _frame(bench, number, ENTRIES[number % len(ENTRIES)])
        _send(bench, sent, chain, 0, id=0x7777)
