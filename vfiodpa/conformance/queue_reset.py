"""Virtqueue reset and re-enable (VQR, VQE, U-17). Ref: virtio 1.3, 2.6.1"""

from __future__ import annotations

from ..spec.features import Feature
from ..spec.virtio_pci import NO_VECTOR
from ..validate.bench import RX, TX, Bench
from ..validate.check import check
from ..validate.ring_work import give_buffers, inbound, never_fired, never_used
from ..validate.rings import POISON, SplitRing

BASE = 5  # buffers that a queue used before it is re-enabled where it was


def _some_traffic(bench: Bench, frames: int = 3) -> None:
    ring = bench.ring(TX)
    for _ in range(frames):
        bench.send(ring)
        bench.wait_used(ring)
    bench.irq_of(TX).fired(0)


@check("VQR-1")
def a_reset_queue_is_left_alone(bench: Bench) -> None:
    """After a queue reset, what is made available is not taken, whoever rings or sends; no notification comes."""
    bench.start(Feature.RING_RESET)
    _some_traffic(bench)
    given = give_buffers(bench, bench.ring(RX), 4)
    rings = {queue: bench.ring(queue) for queue in (RX, TX)}
    for queue in rings:
        bench.device.reset_queue(queue)
    bench.irq_of(TX).fired(bench.silence)  # what was under way
    early = {one.id for one in rings[RX].used()}
    for _ in range(3):
        rings[TX].offer([bench.frame()])
    bench.device.bell(TX)
    if bench.wire_peer is not None:
        bench.wire.send(inbound(bench, 1))
    never_used(bench, rings[TX], "a transmit queue that was reset used a buffer")
    never_used(bench, rings[RX], "a receive queue that was reset used a buffer")
    for gpa in [gpa for id, gpa in given.items() if id not in early]:
        untouched = bench.memory.read(gpa, 64) == bytes([POISON]) * 64
        bench.must(untouched, f"the buffer at {gpa:#x} of a queue that was reset was written")
    never_fired(bench, bench.irq_of(TX), "a queue that was reset sent a notification")


@check("VQR-2")
def a_queue_begins_anew(bench: Bench) -> None:
    """A queue that is enabled again starts at index 0, or slot 0 with wrap counter 1, wherever it was before."""
    bench.start(Feature.RING_RESET, size=8)
    for frames in (1, 5, 9):
        _some_traffic(bench, frames)
        bench.device.reset_queue(TX)
        ring = bench.add_queue(TX, 8)
        sent = bench.send(ring)
        used = bench.wait_used(ring)
        bench.must(used[0].id == sent, f"the first buffer after a queue reset is {used[0].id}, not {sent}")


@check("VQE-1")
def a_queue_takes_its_new_configuration(bench: Bench) -> None:
    """Enabled again with another size, other addresses and another vector, a queue goes by these."""
    bench.start(Feature.RING_RESET, size=16)
    _some_traffic(bench)
    vectors = bench.function.vectors
    for size in (4, 16, 2):
        bench.device.reset_queue(TX)
        vector = min(size % 3, vectors - 1) if vectors else NO_VECTOR
        ring = bench.add_queue(TX, size, vector=vector)
        interrupt = bench.interrupt(vector) if vectors else None
        for lap in range(2 * size + 1):
            if isinstance(ring, SplitRing):  # or an entry of the lap before would do
                bench.memory.write(ring.device + 4, bytes([POISON]) * 8 * size)
            sent = bench.send(ring)
            used = bench.wait_used(ring)
            bench.must(used[0].id == sent, f"size {size}, frame {lap}: used {used[0].id}, not {sent}")
        if interrupt:
            bench.must(interrupt.fired(), f"no interrupt came on vector {vector}, which the queue has now")


@check("U-17")
def a_queue_cannot_be_resumed(bench: Bench) -> None:
    """After RING_RESET a split queue that is enabled where it was begins at 0, or where the available ring is."""
    bench.packed = False
    bench.start(Feature.RING_RESET, size=16)
    ring = bench.ring(TX)
    _some_traffic(bench, BASE)
    bench.device.reset_queue(TX)
    entries = ring.device + 4
    bench.memory.write(entries, bytes([POISON]) * 8 * ring.size)
    bench.memory.store16(ring.device + 2, 0)
    bench.device.enable(TX, ring, min(TX + 1, bench.function.vectors - 1) if bench.function.vectors else NO_VECTOR)
    bench.device.bell(TX)
    bench.wait(lambda: ring.used_idx, "the queue may be silent", bench.silence)
    if ring.used_idx == 0:
        ring.seen = BASE
        bench.send(ring)
        went_on = bench.wait(lambda: ring.used_idx, "the queue may be silent", bench.silence)
        bench.note(f"enabled at available index {BASE}: " + ("goes on there" if went_on else "uses nothing"))
        return
    bench.wait(lambda: ring.used_idx == BASE, "the rest of the buffers")
    found = [ring.used_elem(slot).id for slot in range(BASE)]
    bench.must(
        ring.used_idx == BASE and all(id < ring.size for id in found),
        f"enabled with {BASE} buffers available, the queue wrote used index {ring.used_idx} and ids {_hex(found)}",
    )
    bench.note("enabled where it was, a queue begins at index 0 again: a base can only be given by other means")


def _hex(ids: list[int]) -> str:
    return ", ".join(f"{id:#x}" for id in ids)
