"""Packed virtqueues: order, wrap, ids and event suppression (PKV, PDT-4, U-1, U-2, U-4). Ref: virtio 1.3, 2.8"""

from __future__ import annotations

import time

from ..spec.features import Feature
from ..spec.virtio_ring import PACKED_INDEX, DescFlag, PackedDesc
from ..validate.bench import HEADER, RX, TX, Bench
from ..validate.check import check
from ..validate.ring_work import (
    give_buffers,
    hear,
    inbound,
    never_fired,
    one_buffer,
    outbound,
    pieces,
    same,
)
from ..validate.rings import AVAIL_USED, Buf, PackedRing
from ..validate.watch import Watch

BURST = 8
SIZES = (1, 2, 3, 5, 7, 16, 100, 256)
TRIES = 16
SETTLE_S = 0.002
ENABLE, DISABLE, DESC = 0, 1, 2


@check("PKV-1")
def packed_descriptors_are_processed_in_ring_order(bench: Bench) -> None:
    """Frames leave in the order of the ring, and arrive in it."""
    bench.start(Feature.RING_PACKED, size=20)
    ring = bench.ring(TX)
    for lap in range(4):
        sent = [outbound(bench, BURST * lap + at) for at in range(BURST)]
        for frame in sent:
            ring.offer([one_buffer(bench, frame)], publish=False)
        ring.publish()
        bench.device.bell(TX)
        heard = hear(bench, BURST)
        bench.must(len(heard) == BURST, f"{len(heard)} of {BURST} frames were sent")
        order = [next((at for at, frame in enumerate(sent) if same(one, frame)), None) for one in heard]
        bench.must(order == list(range(BURST)), f"frames were sent in the order {order}")
        bench.wait(ring.used, "used descriptors")
    _arrive_in_order(bench)


def _arrive_in_order(bench: Bench) -> None:
    ring = bench.ring(RX)
    given = list(give_buffers(bench, ring, 2 * BURST).values())  # strangers' frames may come as well
    sent = [inbound(bench, number) for number in range(BURST)]
    for frame in sent:
        bench.wire.send(frame)
    bench.wait_used(ring, BURST)
    if not int(ring.get_desc(0).flags) & DescFlag.WRITE:
        bench.note("used descriptors of buffers that were written have no WRITE flag: their length is reserved (2.8.4)")

    def places() -> list[int]:
        got = [bench.memory.read(gpa + HEADER, len(sent[0])) for gpa in given]
        return [at for frame in sent for at, one in enumerate(got) if same(one, frame)]

    bench.wait(lambda: len(places()) == BURST, "frames of the peer")
    found = places()
    right = len(found) == BURST and found == sorted(found)
    bench.must(right, f"{BURST} frames, in the order in which they were sent, are in the buffers {found}")


@check("PKV-2")
def used_descriptors_follow_each_other(bench: Bench) -> None:
    """Used descriptors are written slot by slot, with no slot left out."""
    bench.start(Feature.RING_PACKED, size=12)
    ring = bench.ring(TX)
    for _ in range(20):
        slot, wrap = ring.used_slot, ring.used_wrap
        bench.send(ring)
        if bench.wait(ring.used, "a used descriptor", max(bench.silence, 0.5)):
            continue
        others = [at for at in range(ring.size) if at != slot and _is_used(ring, at, wrap ^ (at < slot))]
        where = f"slots {others} say that they are used" if others else "no slot says that it is used"
        bench.must(False, f"the next used descriptor belongs in slot {slot}, but {where}")


def _is_used(ring: PackedRing, slot: int, wrap: int) -> bool:
    return int(ring.get_desc(slot).flags) & AVAIL_USED == (AVAIL_USED if wrap else 0)


@check("PDT-4")
def used_descriptors_do_not_change(bench: Bench) -> None:
    """Once its USED bit has changed, a descriptor stays as it is."""
    bench.start(Feature.RING_PACKED, size=12)
    ring = bench.ring(TX)
    for _ in range(TRIES):
        at = ring.desc + ring.next_slot * PackedDesc.size
        with Watch(bench.memory, at + 14, [(at, PackedDesc.size)], mask=int(DescFlag.USED)) as seen:
            bench.send(ring)  # does not change the bit: in either lap it is as the last use left it (2.8.1)
        bench.wait_used(ring)
        time.sleep(SETTLE_S)
        later = bench.memory.read(at, PackedDesc.size)
        if seen.areas:
            bench.must(seen.areas[0] == later, f"a used descriptor {_shown(seen.areas[0])} became {_shown(later)}")


def _shown(raw: bytes) -> str:
    desc = PackedDesc.unpack(raw)
    return f"(id {desc.id:#x}, length {desc.len}, flags {int(desc.flags):#06x})"


@check("U-1", deadline=60.0)
def packed_rings_of_any_size_go_round(bench: Bench) -> None:
    """Packed rings of any size, not only powers of two, work for several laps."""
    bench.negotiate(Feature.RING_PACKED)
    largest = bench.device.max_size(TX)
    for size in (size for size in SIZES if size <= largest):
        bench.start(Feature.RING_PACKED, size=size)
        ring = bench.ring(TX)
        frame = bench.frame()
        for lap in range(3):
            count = 1 + (lap + size // 2) % size  # of a burst, so that laps end at different places
            _burst(bench, ring, [frame] * count, f"ring of {size}, lap {lap}")
            _burst(bench, ring, [frame] * (size - count), f"ring of {size}, rest of lap {lap}")
    if bench.wire_peer is not None:
        bench.wire_peer.drain(0.005)


def _burst(bench: Bench, ring: PackedRing, bufs: list[Buf], what: str) -> None:
    if not bufs:
        return
    sent = [ring.offer([buf], publish=False) for buf in bufs]
    ring.publish()
    bench.device.bell(ring.index)
    used = [one.id for one in bench.wait_used(ring, len(sent))]
    bench.must(sorted(used) == sorted(sent), f"{what}: buffers {sent} were made available, {used} were used")


@check("U-2")
def packed_event_suppression_is_followed(bench: Bench) -> None:
    """ENABLE notifies, DISABLE does not, DESC does at its descriptor; the device's own structure makes sense."""
    bench.start(Feature.RING_PACKED | Feature.EVENT_IDX, size=8)
    ring, interrupt = bench.ring(TX), bench.irq_of(TX)
    ring.set_event(0, ENABLE)
    for _ in range(3):
        bench.send(ring)
        bench.wait_used(ring)
        bench.must(interrupt.fired(), "the driver's events are ENABLE, but no interrupt came")
    ring.set_event(0, DISABLE)
    for _ in range(3):
        bench.send(ring)
        bench.wait_used(ring)
    never_fired(bench, interrupt, "the driver's events are DISABLE, but an interrupt came")
    for ahead in (0, 1, 3, 5, 7, 2, 4, 6):
        _at_descriptor(bench, ahead)
    _device_event(bench, ring, (ENABLE, DISABLE, DESC))
    bench.start(Feature.RING_PACKED, size=8)
    for _ in range(10):
        bench.send(bench.ring(TX))
        bench.wait_used(bench.ring(TX))
        _device_event(bench, bench.ring(TX), (ENABLE, DISABLE))


def _at_descriptor(bench: Bench, ahead: int) -> None:
    """DESC, so many descriptors further: the interrupt comes with that one, and not before."""
    ring, interrupt = bench.ring(TX), bench.irq_of(TX)
    slot = ring.used_slot + ahead
    wrap = ring.used_wrap ^ (slot >= ring.size)
    event = slot % ring.size | wrap << 15
    ring.set_event(event, DESC)
    for turn in range(ahead + 1):
        if interrupt.fired(0):  # one too many is no rule broken: drivers put up with it
            bench.note(f"events at {event:#06x}: an interrupt came {ahead + 1 - turn} descriptors early")
        bench.send(ring)
        bench.wait_used(ring)
    bench.must(interrupt.fired(), f"events at {event:#06x}: that descriptor was used, but no interrupt came")


def _device_event(bench: Bench, ring: PackedRing, legal: tuple[int, ...]) -> None:
    off_wrap, flags = ring.device_event
    bench.must(flags in legal, f"the device's event flags are {flags:#x}")
    where = off_wrap & PACKED_INDEX
    bench.must(flags != DESC or where < ring.size, f"the device wants to hear of slot {where} of {ring.size}")


@check("U-4", wire=False)
def packed_chains_are_skipped_whole(bench: Bench) -> None:
    """A used chain takes as many slots as it was made of, and is named by its id."""
    bench.start(Feature.RING_PACKED, size=11)
    ring = bench.ring(TX)
    for number in range(24):
        count = 1 + number % 5
        data = bytes(HEADER) + outbound(bench, number)
        chain = pieces(bench, data, (len(data) // count,) * (count - 1))
        slot = ring.next_slot
        sent = ring.offer(chain, publish=False)
        skipped = [(at, ring.get_desc(at)) for at in ((slot + more) % ring.size for more in range(1, count))]
        ring.publish()
        bench.device.bell(TX)
        used = bench.wait_used(ring)
        bench.must(used[0].id == sent, f"chain of {count} in slot {slot}: used as {used[0].id}, not {sent}")
        for at, desc in skipped:
            left = ring.get_desc(at).pack() == desc.pack()
            bench.must(left, f"chain of {count} in slot {slot}: slot {at}, which is to be skipped, was written")
