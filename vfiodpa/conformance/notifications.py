"""Used buffer notifications: when a split queue interrupts (UNS). Ref: virtio 1.3, 2.7.7.2"""

from __future__ import annotations

from ..spec.features import Feature
from ..validate.bench import SIZE, TX, Bench
from ..validate.check import check
from ..validate.ring_work import Carousel, never_fired, outbound

EVENTS = (0xFFFF, 0, 1, 0x8000, 12345)
BASES = (0, 1, 2, SIZE - 1, SIZE, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0)


def _start(bench: Bench, extra: int = 0) -> None:
    bench.packed = False
    bench.start(extra)


@check("UNS-1")
def used_event_is_ignored(bench: Bench) -> None:
    """Without EVENT_IDX, whatever lies where used_event would be, a used entry is followed by an interrupt."""
    _start(bench)
    ring = bench.ring(TX)
    for event in EVENTS:
        ring.set_used_event(event)
        bench.send(ring)
        bench.wait_used(ring)
        bench.must(bench.irq_of(TX).fired(), f"used_event would be {event:#x}: no interrupt came")


@check("UNS-2")
def the_flag_suppresses_notifications(bench: Bench) -> None:
    """Without EVENT_IDX and with flags 1, used entries are not followed by interrupts."""
    _start(bench)
    ring = bench.ring(TX)
    ring.interrupts(False)
    for _ in range(3):
        bench.send(ring)
        bench.wait_used(ring)
    never_fired(bench, bench.irq_of(TX), "the available ring's flags are 1, but an interrupt came")


@check("UNS-3")
def a_used_buffer_is_notified(bench: Bench) -> None:
    """Without EVENT_IDX and with flags 0, a used entry is followed by an interrupt."""
    _start(bench)
    for _ in range(3):
        bench.send(bench.ring(TX))
        bench.wait_used(bench.ring(TX))
        bench.must(bench.irq_of(TX).fired(), "a used entry was written, but no interrupt came")


@check("UNS-4")
def the_flag_is_ignored_with_event_idx(bench: Bench) -> None:
    """With EVENT_IDX, flags 1 suppresses nothing."""
    _start(bench, Feature.EVENT_IDX)
    ring = bench.ring(TX)
    ring.interrupts(False)
    for index in range(3):
        ring.set_used_event(index)
        bench.send(ring)
        bench.wait_used(ring)
        fired = bench.irq_of(TX).fired()
        bench.must(fired, f"used index {index} is used_event, flags are 1: no interrupt came")


@check("UNS-5", deadline=60.0)
def reaching_used_event_is_notified(bench: Bench) -> None:
    """With EVENT_IDX, using the entry at used_event is followed by an interrupt, also where the index wraps."""
    _start(bench, Feature.EVENT_IDX)
    ring, interrupt = bench.ring(TX), bench.irq_of(TX)
    carousel = Carousel(bench, ring, outbound(bench, 0, 1514))
    for base in BASES:
        ring.set_used_event(base)
        carousel.turn_to(base)
        interrupt.fired(0)
        carousel.turn(1)
        bench.must(interrupt.fired(), f"the entry at used_event {base:#x} was used, but no interrupt came")
    for ahead in range(4):  # somewhere in a batch
        event = ring.used_idx + ahead & 0xFFFF
        ring.set_used_event(event)
        interrupt.fired(0)
        carousel.turn(4)
        bench.must(interrupt.fired(), f"four entries were used, the one at used_event {event:#x} too: no interrupt")
    carousel.stop()


@check("UNS-6")
def other_entries_are_not_notified(bench: Bench) -> None:
    """With EVENT_IDX, of ten used entries only the one at used_event is followed by an interrupt."""
    _start(bench, Feature.EVENT_IDX)
    ring, interrupt = bench.ring(TX), bench.irq_of(TX)
    carousel = Carousel(bench, ring, outbound(bench, 0, 1514))
    for ahead in (0, 5, 9):
        ring.set_used_event(ring.used_idx + ahead)
        for _ in range(10):
            carousel.turn(1)
        bench.wait(lambda: False, "late interrupts", bench.silence)
        fired = interrupt.fired(0)
        bench.must(fired <= 1, f"{fired} interrupts came for ten used entries, one of them at used_event")
