"""Device status (STS, U-10). Ref: virtio 1.3, 2.1"""

from __future__ import annotations

from collections.abc import Callable

from ..spec.features import Feature
from ..spec.virtio_pci import DeviceStatus, IsrStatus
from ..validate.bench import MIN_SILENCE_S, RX, TX, Bench
from ..validate.check import check
from ..validate.rings import Buf, SplitRing
from ..validate.verdict import NotApplicable

S = DeviceStatus
STEPS = (S.ACKNOWLEDGE, S.DRIVER, S.FEATURES_OK, S.DRIVER_OK, S.FAILED)
GIVE_UP_S = 1.0


@check("STS-1", rude=True)
def nothing_happens_before_driver_ok(bench: Bench) -> None:
    """Before DRIVER_OK no buffer is used and nothing is notified, doorbells or not; after it the ring is served."""
    bench.negotiate()
    for queue in (RX, TX):
        bench.add_queue(queue)
    rx, tx = bench.ring(RX), bench.ring(TX)
    rx.offer([Buf(bench.alloc(2048), 2048, writable=True)], publish=False)
    tx.offer([bench.frame()], publish=False)
    bench.knock("a buffer was used before DRIVER_OK", rx, tx, used_only=True)
    if bench.function.vectors:
        bench.must(not bench.irq_of(TX).fired(MIN_SILENCE_S), "an interrupt came before DRIVER_OK")
    bench.device.go()
    bench.device.bell(TX)
    bench.wait_used(tx)


# Each leaves a split ring in a state that no driver leaves it in (2.7.5.1, 2.7.13).


def _bad_head(ring: SplitRing) -> None:
    ring.put_head(ring.size)
    ring.publish()


def _jump(ring: SplitRing) -> None:
    ring.avail_idx = ring.avail_idx + ring.size + 1 & 0xFFFF
    ring.publish()


def _provoke(bench: Bench, harm: Callable[[SplitRing], None]) -> bool:
    """Start, with the configuration's vector if there is one, and do harm; does the device ask for a reset?"""
    bench.device.negotiate(int(bench.usual() & ~Feature.RING_PACKED))
    for queue in (RX, TX):
        bench.add_queue(queue)
    if bench.function.vectors:
        bench.device.common.config_msix_vector = 0
        bench.interrupt(0)
    bench.device.go()
    bench.send(bench.ring(TX))
    bench.wait_used(bench.ring(TX))
    if bench.function.vectors:
        bench.interrupt(0).fired(0)
    harm(bench.ring(TX))
    bench.device.bell(TX)
    return bool(bench.wait(lambda: bench.device.status & S.NEEDS_RESET, "DEVICE_NEEDS_RESET", GIVE_UP_S))


def _goes_on(bench: Bench) -> bool:
    ring = bench.ring(TX)
    before = ring.used_idx
    bench.send(ring)
    return bool(bench.wait(lambda: ring.used_idx != before, "a used buffer", GIVE_UP_S))


@check("STS-2", rude=True)
def needs_reset_is_shown(bench: Bench) -> None:
    """Where a broken ring stops the device until a reset, DEVICE_NEEDS_RESET is set."""
    stopped = False
    for what, harm in (("a head outside the table", _bad_head), ("an index too far on", _jump)):
        if _provoke(bench, harm):
            stopped = True
        else:
            bench.must(_goes_on(bench), f"{what} stopped the device, but DEVICE_NEEDS_RESET is not set")
            bench.note(f"{what} does not stop the device")
    if not stopped:
        raise NotApplicable("broken rings did not stop the device")


@check("STS-3", rude=True)
def needs_reset_is_notified(bench: Bench) -> None:
    """When DEVICE_NEEDS_RESET is set while DRIVER_OK is, a configuration change is notified."""
    if not _provoke(bench, _bad_head):
        raise NotApplicable("a broken ring did not make the device ask for a reset")
    if bench.function.vectors:
        bench.must(
            bench.interrupt(0).fired(GIVE_UP_S), "DEVICE_NEEDS_RESET is set, but no configuration change was notified"
        )
    else:
        seen = IsrStatus(bench.device.isr.isr)
        bench.must(seen & IsrStatus.CONFIG, f"DEVICE_NEEDS_RESET is set, but the ISR reads {int(seen):#x}")


@check("U-10")
def status_shows_what_was_written(bench: Bench) -> None:
    """``device_status`` shows each bit that the driver set, FAILED included, and none of the device's own."""
    device = bench.device
    bench.negotiate()
    features = int(device.features)
    device.reset()
    written = S(0)
    for step in STEPS:
        if step == S.FEATURES_OK:
            device.to_driver()
            device.accept(features)
            device.features = Feature(features)
            for queue in (RX, TX):
                bench.add_queue(queue)
        written |= step
        device.common.device_status = written
        seen = int(device.common.device_status)
        bench.must(
            seen & ~int(S.NEEDS_RESET) == written, f"device_status reads {seen:#x}, {int(written):#x} was written"
        )
