"""What a device may do with descriptors and buffers (SDT, PDT). Ref: virtio 1.3, 2.7.5.1 and 2.8.13.1

The IOMMU sees an access that is not allowed where the software NIC or a kernel tells of it; what is written is also
seen in memory.
"""

from __future__ import annotations

from ..pci.function import Perm
from ..spec.features import Feature
from ..spec.virtio_ring import DescFlag, PackedDesc
from ..validate.bench import HEADER, RX, TX, Bench
from ..validate.check import check
from ..validate.ring_work import RX_BUFFER, hear, inbound, lap_to, outbound, pieces, receive_one, same
from ..validate.rings import Buf

FRAMES = 8


def _no_faults(bench: Bench, what: str) -> None:
    faults = bench.function.dma.faults()
    bench.must(not faults, f"{what}: the IOMMU stopped {', '.join(map(str, faults[:3]))}")


def _leaves_readable(bench: Bench) -> None:
    """Frames of one buffer and of several, in memory that may be written and in memory that may not."""
    bench.function.dma.faults()
    ring = bench.ring(TX)
    for perm in (Perm.RW, Perm.READ):
        for number in range(FRAMES):
            data = bytes(HEADER) + outbound(bench, number, 200)
            sizes = (len(data),) if number % 2 else (HEADER, 50, len(data) - HEADER - 50)
            chain, parts, at = [], [], 0
            for size in sizes:
                parts.append(data[at : at + size])
                chain.append(Buf(bench.alloc(size, parts[-1], perm=perm), size))
                at += size
            bench.send(ring, *chain)
            bench.wait_used(ring)
            for buf, part in zip(chain, parts, strict=True):
                same_as_before = bench.memory.read(buf.gpa, buf.length) == part
                bench.must(same_as_before, f"a readable buffer at {buf.gpa:#x} was written")
    _no_faults(bench, "readable buffers")


@check("SDT-1")
def readable_buffers_are_not_written(bench: Bench) -> None:
    """What a frame is sent from stays as it is, and can lie where the device is not allowed to write."""
    bench.packed = False
    bench.start()
    _leaves_readable(bench)


@check("PDT-1")
def readable_packed_buffers_are_not_written(bench: Bench) -> None:
    """What a frame is sent from in a packed ring stays as it is, also where the device must not write."""
    bench.start(Feature.RING_PACKED)
    _leaves_readable(bench)


def _leaves_writable(bench: Bench) -> None:
    """Receive into memory that the device may only write."""
    bench.function.dma.faults()
    ring = bench.ring(RX)
    for number in range(FRAMES):
        frame = inbound(bench, number, 200)
        told, got = receive_one(bench, ring, [RX_BUFFER], frame, perm=Perm.WRITE)
        bench.must(same(got[HEADER:told], frame), "a frame did not arrive as it was sent")
    _no_faults(bench, "write-only buffers")


@check("SDT-2", wire=True)
def writable_buffers_are_not_read(bench: Bench) -> None:
    """Frames are received into memory that the device is not allowed to read."""
    bench.packed = False
    bench.start()
    _leaves_writable(bench)


@check("PDT-2", wire=True)
def writable_packed_buffers_are_not_read(bench: Bench) -> None:
    """With packed rings, frames are received into memory that the device is not allowed to read."""
    bench.start(Feature.RING_PACKED)
    _leaves_writable(bench)


@check("SDT-3")
def the_descriptor_table_is_not_written(bench: Bench) -> None:
    """The descriptor table stays as it is, and can lie where the device is not allowed to write."""
    bench.packed = False
    for read_only in (False, True):
        bench.function.dma.faults()
        bench.negotiate()
        bench.add_queue(RX)
        ring = bench.add_queue(TX, 16, read_only=read_only)
        bench.device.go()
        for number in range(20):
            data = bytes(HEADER) + outbound(bench, number)
            chain = pieces(bench, data, () if number % 2 else (HEADER, 30))
            ring.offer(chain, publish=False)
            before = bench.memory.read(ring.desc, 16 * ring.size)
            ring.publish()
            bench.device.bell(TX)
            bench.wait_used(ring)
            same_as_before = bench.memory.read(ring.desc, 16 * ring.size) == before
            bench.must(same_as_before, f"the descriptor table was written (frame {number})")
        _no_faults(bench, "descriptor table in read-only memory" if read_only else "descriptor table")


@check("PDT-3")
def descriptors_of_the_other_lap_wait(bench: Bench) -> None:
    """A descriptor whose AVAIL and USED bits are those of the other lap is not used, however the doorbell rings."""
    bench.start(Feature.RING_PACKED, size=4)
    ring = bench.ring(TX)
    for _ in range(3):  # both phases of the wrap counter, and the first again
        lap_to(bench, ring, ring.size // 2)
        _offer_wrongly(bench)
        lap_to(bench, ring, 0)
        _offer_wrongly(bench)


def _offer_wrongly(bench: Bench) -> None:
    ring = bench.ring(TX)
    wrong = DescFlag.USED if ring.wrap else DescFlag.AVAIL
    frame = outbound(bench, ring.next_slot)
    data = bytes(HEADER) + frame
    gpa = bench.alloc(len(data), data)
    desc = PackedDesc(addr=gpa, len=len(data), id=ring.next_slot, flags=int(wrong))
    ring.put_desc(ring.next_slot, desc)
    for _ in range(3):
        bench.device.bell(TX)
    what = f"slot {ring.next_slot}, wrap counter {ring.wrap}: a descriptor of the other lap was used"
    changed = bench.wait(lambda: ring.get_desc(ring.next_slot).pack() != desc.pack(), what, bench.silence)
    bench.must(not changed, what)
    if bench.wire_peer is not None:
        bench.must(not hear(bench, 1, 0.0), what + ": it was sent")
    bench.send(ring, Buf(gpa, len(data)))
    bench.wait_used(ring)
    if bench.wire_peer is not None:
        hear(bench, 1)
