"""Suspend and resume (SUSP). Ref: virtio 1.4, 3.5"""

from __future__ import annotations

import time

from ..spec.features import Feature
from ..spec.virtio_net import NetConfig
from ..spec.virtio_pci import DeviceStatus
from ..validate.bench import PEER, RX, TX, Bench, Interrupt
from ..validate.check import check
from ..validate.link import HOOK_S, await_link
from ..validate.rings import Buf, UsedBuf
from ..validate.verdict import Deviation, NotApplicable

S = DeviceStatus
RUNNING = S.ACKNOWLEDGE | S.DRIVER | S.FEATURES_OK | S.DRIVER_OK
FRAMES = 32
SETTLE_S = 0.1


def _ask(bench: Bench, status: DeviceStatus, done: DeviceStatus, gone: DeviceStatus) -> DeviceStatus:
    """Write, and wait for one bit to be there and another not to be, or for NEEDS_RESET; raises ``Deviation``."""
    bench.device.common.device_status = status

    def answered() -> bool:
        now = bench.device.status
        return bool(now & S.NEEDS_RESET or (now & done and not now & gone))

    what = f"{done.name} without {gone.name}, or DEVICE_NEEDS_RESET"
    bench.must(bench.wait(answered, what), f"device_status is {int(bench.device.status):#x}: no {what}")
    return bench.device.status


def _suspend(bench: Bench) -> None:
    """Raises ``NotApplicable`` when the device does not suspend: SUSP-6 is about that."""
    try:
        status = _ask(bench, RUNNING | S.SUSPEND, S.SUSPEND, S.DRIVER_OK)
    except Deviation as finding:
        raise NotApplicable(f"the device does not suspend: {finding}") from finding
    if status & S.NEEDS_RESET:
        raise NotApplicable("the device failed to suspend, and says so")


def _resume(bench: Bench) -> None:
    status = _ask(bench, bench.device.status | S.DRIVER_OK, S.DRIVER_OK, S.SUSPEND)
    if status & S.NEEDS_RESET:
        raise NotApplicable("the device failed to resume, and says so")


def _configuration(bench: Bench) -> bytes:
    mac = bytes(bench.device.net.mac[at] for at in range(6))
    return (
        mac + int(bench.device.net.status).to_bytes(2, "little") + bytes([int(bench.device.common.config_generation)])
    )


@check("SUSP-1", rude=True)
def suspend_before_driver_ok(bench: Bench) -> None:
    """SUSPEND written before DRIVER_OK is not taken, and initialisation goes on as if it had not been."""
    device = bench.device
    features = int(bench.usual(Feature.SUSPEND))
    device.reset()
    status = S(0)
    for step in (S.ACKNOWLEDGE, S.DRIVER, S.FEATURES_OK):
        if step == S.FEATURES_OK:
            device.accept(features)
            device.features = Feature(features)
        status |= step
        device.common.device_status = status
        device.common.device_status = status | S.SUSPEND
        seen = device.status
        bench.must(seen == status, f"device_status was {int(status):#x}, with SUSPEND written it is {int(seen):#x}")
    for queue in (RX, TX):
        bench.add_queue(queue)
    device.go()
    bench.send(bench.ring(TX))
    bench.wait_used(bench.ring(TX))


@check("SUSP-2", rude=True)
def writes_while_suspended(bench: Bench) -> None:
    """What is written to device configuration while the device is suspended is ignored."""
    bench.start(Feature.SUSPEND)
    _suspend(bench)
    before = _configuration(bench)
    window = bench.device.transport.net
    for at in range(6):
        window.write(NetConfig.mac.offset + at, 8, before[at] ^ 0x5A)
    after = _configuration(bench)
    bench.must(
        after[:6] == before[:6], f"mac was {before[:6].hex(':')}, written while suspended it is {after[:6].hex(':')}"
    )


@check("SUSP-3", rude=True)
def a_suspended_device_is_silent(bench: Bench) -> None:
    """While suspended the device touches no ring, notifies nobody, and its configuration stays."""
    bench.start(Feature.SUSPEND)
    rx, tx = bench.ring(RX), bench.ring(TX)
    rx.offer([Buf(bench.alloc(2048), 2048, writable=True)])
    bench.device.bell(RX)
    _suspend(bench)
    time.sleep(SETTLE_S)  # that it may be late is SUSP-8
    if bench.function.vectors:
        bench.irq_of(TX).fired(0)
    before = _configuration(bench)
    tx.offer([bench.frame()], publish=False)
    bench.knock("the device is suspended, and touched a ring", tx, rx)
    if bench.wire_peer:
        image = rx.image()
        bench.wire_peer.send(b"\xff" * 6 + PEER + b"\x88\xb5" + bytes(46))
        bench.still(rx.image, "the device is suspended, and received a frame", image)
    if bench.function.vectors:
        bench.must(not bench.irq_of(TX).fired(0), "the device is suspended, and notified used buffers")
    bench.must(_configuration(bench) == before, "the device is suspended, and its configuration changed")


def _suspend_with_a_link_change(bench: Bench) -> Interrupt:
    """Suspend, take the link down, and return what configuration changes are notified by."""
    if not bench.function.vectors:
        raise NotApplicable("there is no vector to hear of a configuration change by")
    bench.negotiate(Feature.SUSPEND | Feature.NET_STATUS)
    bench.device.common.config_msix_vector = 0
    heard = bench.interrupt(0)
    bench.device.go()
    _suspend(bench)
    heard.fired(0)
    bench.set_link(up=False)
    return heard


@check("SUSP-4", hook="link", features=Feature.NET_STATUS, deadline=HOOK_S)
def changes_while_suspended(bench: Bench) -> None:
    """A configuration change while the device is suspended is not notified."""
    try:
        heard = _suspend_with_a_link_change(bench)
        bench.must(not heard.fired(bench.silence), "the device is suspended, and notified a configuration change")
    finally:
        bench.device.reset()
        bench.set_link(up=True)
    await_link(bench, up=True)


@check("SUSP-5", hook="link", features=Feature.NET_STATUS, deadline=HOOK_S)
def changes_are_notified_on_resume(bench: Bench) -> None:
    """A configuration change while the device was suspended is notified when it resumes."""
    try:
        heard = _suspend_with_a_link_change(bench)
        _resume(bench)
        bench.must(heard.fired(1.0), "the link changed while the device was suspended: on resume nothing was notified")
    finally:
        bench.device.reset()
        bench.set_link(up=True)
    await_link(bench, up=True)


@check("SUSP-6")
def suspending(bench: Bench) -> None:
    """SUSPEND written to a running device, idle or amid traffic: it suspends, or needs a reset."""
    for frames in (0, FRAMES):
        bench.start(Feature.SUSPEND)
        for _ in range(frames):
            bench.ring(TX).offer([bench.frame()])
        bench.device.bell(TX)
        status = _ask(bench, RUNNING | S.SUSPEND, S.SUSPEND, S.DRIVER_OK)
        bench.note(f"{frames} frames on their way: device_status {int(status):#x}")


@check("SUSP-7")
def resuming(bench: Bench) -> None:
    """DRIVER_OK written to a suspended device: it resumes where it was, or needs a reset."""
    bench.start(Feature.SUSPEND)
    ring = bench.ring(TX)
    sent: list[int] = []
    used: list[UsedBuf] = []
    for _ in range(3):
        sent += [ring.offer([bench.frame()]) for _ in range(4)]
        bench.device.bell(TX)
        _suspend(bench)
        _resume(bench)
        sent.append(ring.offer([bench.frame()]))
        bench.device.bell(TX)
        used += bench.wait_used(ring, len(sent) - len(used), timeout=1.0)
    bench.must(sorted(one.id for one in used) == sorted(sent), f"sent buffers {sent}, used {[one.id for one in used]}")


@check("SUSP-8", rude=True, wire=False)
def nothing_is_under_way_when_suspended(bench: Bench) -> None:
    """Once the status shows that the device is suspended, nothing of what it had begun is still to come."""
    bench.start(Feature.SUSPEND)
    ring = bench.ring(TX)
    for _ in range(FRAMES):
        ring.offer([bench.frame()])
    bench.device.bell(TX)
    more = bench.frame()
    _suspend(bench)
    ring.offer([more], publish=False)
    bench.knock("the device shows that it is suspended, and goes on with a ring", ring)
