"""What is written before the used index moves (USD). Ref: virtio 1.3, 2.7.8.2

A thread in C spins on the index and takes a snapshot the moment it moves (validate/watch.py): a race that refutes.
"""

from __future__ import annotations

import time

from ..spec.virtio_ring import UsedElem
from ..validate.bench import HEADER, RX, TX, Bench
from ..validate.check import check
from ..validate.ring_work import RX_BUFFER, inbound, is_ours, same
from ..validate.rings import POISON, Buf
from ..validate.watch import Watch

TRIES = 16
SETTLE_S = 0.002  # after which nothing may change any more
LENGTHS = (60, 64, 200, 1514)


def _start(bench: Bench) -> None:
    bench.packed = False
    bench.start()


@check("USD-1")
def the_length_comes_before_the_index(bench: Bench) -> None:
    """When the used index moves, the entry's id and length are there."""
    _start(bench)
    ring = bench.ring(TX)
    bench.memory.write(ring.device + 4, bytes([POISON]) * UsedElem.size * ring.size)
    for _ in range(TRIES):
        slot = ring.used_idx
        entry = ring.device + 4 + UsedElem.size * (slot % ring.size)
        with Watch(bench.memory, ring.device + 2, [(entry, UsedElem.size)]) as seen:
            bench.send(ring)
        bench.wait_used(ring)
        time.sleep(SETTLE_S)
        later = bench.memory.read(entry, UsedElem.size)
        if seen.areas:
            at_once = UsedElem.unpack(seen.areas[0])
            what = f"used index {slot}: the entry was id {at_once.id:#x}, length {at_once.len:#x} when the index moved"
            bench.must(seen.areas[0] == later, f"{what}, and changed later")


def _receive(bench: Bench, number: int, length: int) -> tuple[int, bytes, bytes]:
    """One frame into a poisoned buffer: the length told, the buffer as the index moved, and later."""
    ring = bench.ring(RX)
    while True:
        gpa = bench.alloc(RX_BUFFER, bytes([POISON ^ number & 0xFF]) * RX_BUFFER)
        with Watch(bench.memory, ring.device + 2, [(gpa, RX_BUFFER)]) as seen:
            bench.send(ring, Buf(gpa, RX_BUFFER, writable=True))
            bench.wire.send(inbound(bench, number, length))
        told = bench.wait_used(ring)[0].length
        time.sleep(SETTLE_S)
        later = bench.memory.read(gpa, RX_BUFFER)
        if is_ours(bench, later[HEADER:]):
            return told, seen.areas[0] if seen.areas else later, later


@check("USD-2")
def the_data_comes_before_the_index(bench: Bench) -> None:
    """When the used index moves, as many bytes as its entry tells of are written, from the buffer's first."""
    _start(bench)
    beyond = 0
    for number in range(TRIES // 2):
        sent = inbound(bench, number, LENGTHS[number % len(LENGTHS)])
        told, at_once, later = _receive(bench, number, len(sent))
        bench.must(told >= HEADER + len(sent), f"a frame of {len(sent)} bytes was received as {told - HEADER}")
        bench.must(told <= RX_BUFFER, f"{told} bytes are said to be in a buffer of {RX_BUFFER}")
        got = at_once[HEADER:told]
        bench.must(same(got, sent), f"the used index moved before a frame of {len(sent)} bytes was there")
        beyond = max(beyond, len(later[told:].rstrip(bytes([POISON ^ number]))))
    told_of = f"up to {beyond} bytes" if beyond else "nothing"
    bench.note(f"{told_of} behind the length is written (USD-3)")
