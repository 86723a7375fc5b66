"""How a driver may set a queue up (U-11, U-12). Ref: virtio 1.3, 2.7 and 4.1.4.3"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..guest.memory import GuestMemory
from ..memory import PAGE_SIZE, Gpa, Iova
from ..spec.virtio_ring import packed_sizes, split_sizes
from ..validate.bench import RX, TX, Bench
from ..validate.check import check
from ..validate.rings import PackedRing, SplitRing, make_ring
from ..validate.verdict import NotApplicable

SMALL = 8
SIZE = 64
ROOM = 64 * PAGE_SIZE
ABOVE_4G = 0x1_0010_0000
# Descriptors at a multiple of 16; the driver's and the device's area at one of 2 and 4, packed 4 and 4.
SPLIT_SHIFT, PACKED_SHIFT = (0x110, 0x102, 0x104), (0x110, 0x104, 0x10C)


@check("U-11")
def a_smaller_queue(bench: Bench) -> None:
    """The driver can make a queue smaller: the size reads back, and the ring goes round at it."""
    bench.negotiate()
    largest = bench.device.max_size(TX)
    for size in dict.fromkeys((min(SMALL, largest), max(largest // 2, 1))):
        bench.negotiate()
        common = bench.device.common
        common.queue_select = TX
        common.queue_size = size
        seen = int(common.queue_size)
        bench.must(seen == size, f"queue_size reads {seen} after {size} was written ({largest} is the largest)")
        bench.add_queue(RX)
        bench.add_queue(TX, size)
        bench.device.go()
        for _ in range(2 * size + 1 if size <= SMALL else 3):
            bench.send(bench.ring(TX))
            bench.wait_used(bench.ring(TX))


@check("U-12")
def rings_anywhere(bench: Bench) -> None:
    """Rings work above 4 GiB, at the end of what the IOMMU translates, and at the least alignment."""
    tried = 0
    for base in _places(bench):
        with _memory_at(bench, base) as memory:
            _transmit_from(bench, memory, shifted=False)
            _transmit_from(bench, memory, shifted=True)
        bench.note(f"rings at {base:#x}")
        tried += 1
    if not tried:
        raise NotApplicable("no address above 4 GiB can be mapped")


def _places(bench: Bench) -> list[int]:
    """Above 4 GiB, and the last that can be mapped."""
    ranges = bench.function.dma.iova_ranges
    if bench.function.dma.kind == "noiommu":
        raise NotApplicable("without an IOMMU addresses cannot be chosen")
    last = max(one.last for one in ranges)
    wanted = (ABOVE_4G, (last + 1 - ROOM) & -PAGE_SIZE)
    return [base for base in wanted if any(one.holds(base, ROOM) for one in ranges)]


@contextmanager
def _memory_at(bench: Bench, base: int) -> Iterator[GuestMemory]:
    with GuestMemory(ROOM, base=Gpa(base)) as memory:
        region = memory.regions[0]
        bench.function.dma.map(Iova(base), region.mapping, 0, ROOM)
        try:
            yield memory
        finally:
            bench.device.reset()
            bench.function.dma.unmap(Iova(base), ROOM)


def _transmit_from(bench: Bench, memory: GuestMemory, *, shifted: bool) -> None:
    bench.negotiate()
    bench.add_queue(RX)
    packed = bench.packed
    size = min(SIZE, bench.device.max_size(TX))
    ring = make_ring(packed, memory, TX, size)
    if shifted:
        _shift(ring, memory)
    bench.device.enable(TX, ring)
    bench.device.go()
    frame = bench.frame()
    where = f"descriptors at {ring.desc:#x}, driver area {ring.driver:#x}, device area {ring.device:#x}"
    for _ in range(3):
        bench.send(ring, frame)
        bench.must(bench.wait(ring.used, "a used buffer", 1.0), f"no buffer is used with {where}")
    bench.device.reset()


def _shift(ring: SplitRing | PackedRing, memory: GuestMemory) -> None:
    """Off the beginnings of their pages, without crossing one: some emulators cannot."""
    shift = PACKED_SHIFT if ring.packed else SPLIT_SHIFT
    sizes = packed_sizes(ring.size) if ring.packed else split_sizes(ring.size)
    areas = [Gpa(area + by) for area, by in zip((ring.desc, ring.driver, ring.device), shift, strict=True)]
    for area, size in zip(areas, sizes, strict=True):
        memory.write(area, bytes(size))
    ring.desc, ring.driver, ring.device = areas
