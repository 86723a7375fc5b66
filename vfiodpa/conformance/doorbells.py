"""Available buffer notifications: how a split queue asks for them, what too many do, what they say (ANS, U-5, U-6).

Ref: virtio 1.3, 2.7.10, 2.9 and 4.1.5.2
"""

from __future__ import annotations

from ..spec.features import Feature
from ..spec.virtio_pci import DeviceStatus
from ..validate.bench import RX, TX, Bench
from ..validate.check import check
from ..validate.ring_work import never_used
from ..validate.rings import SplitRing

STORM = 200  # doorbells
TURNS = 60


def _flags(bench: Bench, extra: int = 0) -> set[int]:
    """All values of used flags that show in traffic and in rest."""
    bench.packed = False
    bench.start(extra)
    rings: list[SplitRing] = [bench.ring(RX), bench.ring(TX)]
    seen = {ring.used_flags for ring in rings}
    for turn in range(20):
        bench.send(rings[TX])
        while not rings[TX].used():
            seen |= {ring.used_flags for ring in rings}
            bench.look("a frame to be sent")
        bench.wait(lambda: False, "rest", bench.silence / 4 if turn % 5 == 4 else 0)
        seen |= {ring.used_flags for ring in rings}
    return seen


@check("ANS-1")
def used_flags_are_0_or_1(bench: Bench) -> None:
    """Without EVENT_IDX, the used ring's flags are 0 or 1."""
    seen = _flags(bench)
    bench.note("doorbells are suppressed at times (ANS-2)" if 1 in seen else "doorbells are never suppressed (ANS-2)")
    wrong = seen - {0, 1}
    bench.must(not wrong, f"the used ring's flags were {', '.join(f'{flags:#x}' for flags in wrong)}")


@check("ANS-3")
def used_flags_are_0_with_event_idx(bench: Bench) -> None:
    """With EVENT_IDX, the used ring's flags are 0."""
    wrong = _flags(bench, Feature.EVENT_IDX) - {0}
    bench.must(not wrong, f"the used ring's flags were {', '.join(f'{flags:#x}' for flags in wrong)}")


@check("ANS-4")
def doorbells_by_avail_event_are_enough(bench: Bench) -> None:
    """Doorbells rung only where avail_event asks for them keep a queue going."""
    bench.packed = False
    bench.start(Feature.EVENT_IDX)
    ring = bench.ring(TX)
    rung = 0
    for turn in range(TURNS):
        old = ring.avail_idx
        for _ in range(1 + turn % 3):
            ring.offer([bench.frame()], publish=False)
        ring.publish()
        event, new = ring.avail_event, ring.avail_idx
        if new - event - 1 & 0xFFFF < new - old & 0xFFFF:  # 2.7.10
            bench.device.bell(TX)
            rung += 1
        bench.wait_used(ring, 1 + turn % 3)
        if turn % 8 == 7:
            bench.wait(lambda: False, "rest", bench.silence / 4)
    bench.note(f"{rung} doorbells were asked for in {TURNS} turns")


def _still_works(bench: Bench, what: str) -> None:
    broken = bench.device.status & DeviceStatus.NEEDS_RESET
    bench.must(not broken, f"{what}: the device needs a reset")
    bench.send(bench.ring(TX))
    bench.wait_used(bench.ring(TX))


@check("ANS-5")
def spurious_doorbells_do_no_harm(bench: Bench) -> None:
    """Doorbells with nothing new behind them, one or many, of any queue, change nothing."""
    bench.start()
    ring = bench.ring(TX)
    for queue in (TX, RX):
        bench.device.bell(queue)
        _still_works(bench, f"a doorbell of queue {queue} with nothing new")
    for queue in (TX, RX):
        for _ in range(STORM):
            bench.device.bell(queue)
        never_used(bench, ring, "a buffer was used that was not made available")
        _still_works(bench, f"{STORM} doorbells of queue {queue} with nothing new")
    ring.offer([bench.frame()])
    early = bench.wait(ring.used, "a buffer without a doorbell", bench.silence)
    bench.note("buffers are " + ("seen without a doorbell" if early else "not seen without a doorbell") + " (X-13)")


@check("U-5")
def notification_data_is_a_hint(bench: Bench) -> None:
    """With NOTIFICATION_DATA, doorbells that tell of too little or too much do no harm."""
    bench.start(Feature.NOTIFICATION_DATA)
    ring = bench.ring(TX)
    for _ in range(3):
        bench.send(ring)
        bench.wait_used(ring)
    here = bench.device.doorbell_data(TX) >> 16
    for wrong in (here - 1, here - 3, here + 1, here + 100, here ^ 0x8000):
        bench.device.bell(TX, TX | (wrong & 0xFFFF) << 16)
        never_used(bench, ring, f"told of {wrong & 0xFFFF:#x}, the device used what was not made available")
        _still_works(bench, f"a doorbell that tells of {wrong & 0xFFFF:#x} at {here:#x}")
        here = bench.device.doorbell_data(TX) >> 16


@check("U-6")
def doorbells_carry_what_the_device_says(bench: Bench) -> None:
    """With NOTIF_CONFIG_DATA, doorbells of queue_notif_config_data are heeded, with NOTIFICATION_DATA and without."""
    for extra in (Feature(0), Feature.NOTIFICATION_DATA):
        bench.start(Feature.NOTIF_CONFIG_DATA | extra)
        common = bench.device.common
        for queue in (RX, TX):
            common.queue_select = queue
            bench.note(f"queue {queue}: {int(common.queue_notif_config_data):#x}")
        ring = bench.ring(TX)
        for _ in range(3):
            bench.wait(lambda: False, "rest", bench.silence / 4)  # who sleeps has only the doorbell to go by
            bench.send(ring)
            bench.wait_used(ring)
