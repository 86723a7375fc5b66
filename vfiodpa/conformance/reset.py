"""Reset (RST), and other ways to stop a device (U-14). Ref: virtio 1.3, 2.4; PCI Express 4.0, 5.3.1.4"""

from __future__ import annotations

from ..errors import Unsupported
from ..pci.capabilities import capabilities
from ..spec.pci import CapId, Command, ConfigHeader, PmCap, PmState
from ..spec.virtio_pci import DeviceStatus
from ..validate.bench import PEER, RX, TX, Bench
from ..validate.check import check
from ..validate.rings import POISON, Buf

S = DeviceStatus
BUFFER = 2048
LOOKS = 3
POWER_S = 0.01  # to and from D3hot (5.9)


@check("RST-1")
def a_reset_ends_with_status_0(bench: Bench) -> None:
    """After a reset ``device_status`` reads 0: from every step of initialisation, FAILED and amid traffic included."""
    took = []
    for failed in (S(0), S.FAILED):
        for step in range(4):
            _step(bench, step)
            if failed:
                bench.device.common.device_status = bench.device.status | failed
            took.append(bench.device.reset())
            for _ in range(LOOKS):
                status = int(bench.device.common.device_status)
                bench.must(status == 0, f"after a reset device_status reads 0, and then {status:#x}")
    bench.note(f"resets took {min(took) * 1000:.3f} to {max(took) * 1000:.3f} ms")


def _step(bench: Bench, step: int) -> None:
    if step == 0:
        bench.device.common.device_status = S.ACKNOWLEDGE
    elif step == 1:
        bench.device.to_driver()
    elif step == 2:
        bench.negotiate()
    else:
        bench.start()
        for _ in range(16):
            bench.ring(TX).offer([bench.frame()])
        bench.device.bell(TX)


@check("RST-2", rude=True)
def a_device_that_was_reset_is_silent(bench: Bench) -> None:
    """Once ``device_status`` reads 0 no ring and no buffer is touched, and nothing is notified."""
    bench.start()
    rx, tx = bench.ring(RX), bench.ring(TX)
    bench.send(tx)
    bench.wait_used(tx)
    buffers = [bench.alloc(BUFFER, bytes([POISON]) * BUFFER) for _ in range(4)]
    bench.device.reset()
    for vector in range(bench.function.vectors and 2):
        bench.interrupt(vector).fired(0)
    for buffer in buffers:
        rx.offer([Buf(buffer, BUFFER, writable=True)], publish=False)
    tx.offer([bench.frame()], publish=False)
    bench.knock("the device was reset, and touched a ring", rx, tx)
    if bench.wire_peer:
        before = rx.image()
        bench.wire_peer.send(b"\xff" * 6 + PEER + b"\x88\xb5" + bytes(46))
        bench.still(rx.image, "the device was reset, and received a frame", before)
    for buffer in buffers:
        data = bench.memory.read(buffer, BUFFER)
        bench.must(data == bytes([POISON]) * BUFFER, "the device was reset, and wrote to a buffer")
    for vector in range(bench.function.vectors and 2):
        bench.must(not bench.interrupt(vector).fired(0), f"the device was reset, and vector {vector} fired")


@check("U-14", rude=True)
def other_ways_to_stop(bench: Bench) -> None:
    """Without Bus Master and in D3hot the device is silent; then, and after a function reset, it can be set up anew."""
    bench.start()
    header = ConfigHeader(bench.function.config)
    tx = bench.ring(TX)
    bench.send(tx)
    bench.wait_used(tx)
    header.command = header.command & ~Command.BUS_MASTER
    tx.offer([bench.frame()], publish=False)
    try:
        bench.knock("Bus Master is off, and the device wrote to a ring", tx)
    finally:
        header.command = header.command | Command.BUS_MASTER
    _works(bench, "Bus Master was off and on")
    _sleep(bench)
    try:
        bench.reset_function()
    except Unsupported as error:
        bench.note(f"function level reset not tried: {error}")
        return
    _works(bench, "a function level reset")


def _sleep(bench: Bench) -> None:
    """D3hot: it is sent a frame, and makes no request (5.3.1.4.1). Its BARs are out of reach until it is in D0."""
    config = bench.function.config
    found = [at for at, kind in capabilities(config) if kind == CapId.POWER_MANAGEMENT]
    if not found:
        bench.note("D3hot not tried: the function has no power management capability")
        return
    bench.start()
    rx, control = bench.ring(RX), found[0] + PmCap.offset_of("control")
    for _ in range(4):
        rx.offer([Buf(bench.alloc(BUFFER), BUFFER, writable=True)])
    bench.device.bell(RX)
    awake = config.read(control, 16)
    config.write(control, 16, awake & ~3 | PmState.D3_HOT)
    try:
        bench.wait(lambda: False, "the way to D3hot", POWER_S)
        bench.must(config.read(control, 16) & 3 == PmState.D3_HOT, "it does not go to D3hot when told to")
        if bench.wire_peer:
            before = rx.image()
            bench.wire_peer.send(b"\xff" * 6 + PEER + b"\x88\xb5" + bytes(46))
            bench.still(rx.image, "the device is in D3hot, and received a frame", before)
        else:
            bench.note("nobody sent a frame to the device in D3hot")
    finally:
        config.write(control, 16, awake)
        bench.wait(lambda: False, "the way to D0", POWER_S)
    _works(bench, "D3hot")


def _works(bench: Bench, after: str) -> None:
    bench.start()
    bench.send(bench.ring(TX))
    bench.must(
        bench.wait(bench.ring(TX).used, f"a used buffer after {after}"), f"the device does not work after {after}"
    )
