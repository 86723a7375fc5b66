"""Reset (RST), and other ways to stop a device (U-14). Ref: virtio 1.3, 2.4"""

from __future__ import annotations

from ..errors import Unsupported
from ..spec.pci import Command, ConfigHeader
from ..spec.virtio_pci import DeviceStatus
from ..validate.bench import PEER, RX, TX, Bench
from ..validate.check import check
from ..validate.rings import POISON, Buf

S = DeviceStatus
BUFFER = 2048
LOOKS = 3


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
    """Without Bus Master the device is silent; after that, and after a function level reset, it can be set up anew."""
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
    try:
        bench.reset_function()
    except Unsupported as error:
        bench.note(f"function level reset not tried: {error}")
        return
    _works(bench, "a function level reset")


def _works(bench: Bench, after: str) -> None:
    bench.start()
    bench.send(bench.ring(TX))
    bench.must(
        bench.wait(bench.ring(TX).used, f"a used buffer after {after}"), f"the device does not work after {after}"
    )
