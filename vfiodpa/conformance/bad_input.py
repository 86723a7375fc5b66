"""Rings that no driver may make (U-13): what the device does is its own affair, as long as it comes back.

It must not touch memory that it was not given, and a reset must bring it back to work.
"""

from __future__ import annotations

from collections.abc import Callable

from ..memory import Gpa
from ..spec.features import Feature
from ..spec.virtio_pci import DeviceStatus
from ..spec.virtio_ring import DescFlag, SplitDesc
from ..validate.bench import HEADER, RX, TX, Bench
from ..validate.check import check
from ..validate.ring_work import inbound, outbound
from ..validate.rings import POISON, Buf, SplitRing
from ..validate.runner import prove_traffic

NOWHERE = 0x7000_0000_0000  # mapped by nobody
GUARD = 2048  # bytes
SHORT = 40  # a receive buffer that no frame fits into

F = DescFlag
Case = Callable[[Bench, SplitRing, Gpa], None]


def _desc(ring: SplitRing, slot: int, addr: int, length: int, flags: int = 0, next: int = 0) -> None:
    ring.put_desc(slot, SplitDesc(addr=addr, len=length, flags=flags, next=next))


def _unmapped(_bench: Bench, ring: SplitRing, _good: Gpa) -> None:
    _desc(ring, 0, NOWHERE, 76)
    ring.put_head(0)


def _next_out_of_range(_bench: Bench, ring: SplitRing, good: Gpa) -> None:
    _desc(ring, 0, good, HEADER, int(F.NEXT), ring.size + 7)
    ring.put_head(0)


def _head_out_of_range(_bench: Bench, ring: SplitRing, _good: Gpa) -> None:
    ring.put_head(0xFFFF)


def _loop(_bench: Bench, ring: SplitRing, good: Gpa) -> None:
    _desc(ring, 0, good, HEADER, int(F.NEXT), 1)
    _desc(ring, 1, good, 64, int(F.NEXT), 0)
    ring.put_head(0)


def _nothing(_bench: Bench, ring: SplitRing, good: Gpa) -> None:
    _desc(ring, 0, good, 0)
    ring.put_head(0)


def _everything(_bench: Bench, ring: SplitRing, good: Gpa) -> None:
    _desc(ring, 0, good, 0xFFFF_FFFF)
    ring.put_head(0)


def _jump(_bench: Bench, ring: SplitRing, good: Gpa) -> None:
    for slot in range(ring.size):
        _desc(ring, slot, good, 76)
    ring.avail_idx = ring.avail_idx + ring.size + 100 & 0xFFFF


def _nested(bench: Bench, ring: SplitRing, good: Gpa) -> None:
    inner = bench.alloc(16, SplitDesc(addr=good, len=76, flags=0, next=0).pack(), align=16)
    outer = bench.alloc(16, SplitDesc(addr=inner, len=16, flags=int(F.INDIRECT), next=0).pack(), align=16)
    _desc(ring, 0, outer, 16, int(F.INDIRECT))
    ring.put_head(0)


def _odd_table(bench: Bench, ring: SplitRing, good: Gpa) -> None:
    table = bench.alloc(32, SplitDesc(addr=good, len=76, flags=0, next=0).pack() * 2, align=16)
    _desc(ring, 0, table, 24, int(F.INDIRECT))
    ring.put_head(0)


def _writable(_bench: Bench, ring: SplitRing, good: Gpa) -> None:
    _desc(ring, 0, good, 76, int(F.WRITE))
    ring.put_head(0)


PLAIN: dict[str, Case] = {
    "a buffer that is not mapped": _unmapped,
    "next beyond the table": _next_out_of_range,
    "a head beyond the table": _head_out_of_range,
    "a loop": _loop,
    "a buffer of no bytes": _nothing,
    "a buffer of 2^32 - 1 bytes": _everything,
    "an available index that jumps": _jump,
    "a writable buffer to send": _writable,
}
INDIRECT: dict[str, Case] = {
    "an indirect table in an indirect table": _nested,
    "an indirect table of one and a half entries": _odd_table,
}


@check("U-13", rude=True, wire=False, deadline=60.0)
def bad_rings_are_survived(bench: Bench) -> None:
    """Bad descriptors and indices do not make the device touch other memory, and a reset mends it."""
    bench.packed = False
    offered = bench.device.offered
    cases = PLAIN | (INDIRECT if offered & Feature.INDIRECT_DESC else {})
    for name, case in cases.items():
        bench.start(Feature.INDIRECT_DESC if case in INDIRECT.values() else 0, size=16)
        data = bytes(HEADER) + outbound(bench, 0)
        good = bench.alloc(len(data), data)
        guard = _guard(bench)
        ring = bench.ring(TX)
        case(bench, ring, good)
        ring.publish()
        bench.device.bell(TX)
        _outcome(bench, ring, name)
        _check_guard(bench, guard, name)
        same = bench.memory.read(good, len(data)) == data
        bench.must(same, f"{name}: a readable buffer was written")
    if bench.wire_peer is not None:
        _short_buffer(bench)
    bench.function.dma.faults()


def _outcome(bench: Bench, ring: SplitRing, name: str) -> None:
    """Note what the device did, and see that it comes back."""

    def broken() -> bool:
        return bool(bench.device.status & DeviceStatus.NEEDS_RESET)

    bench.wait(lambda: broken() or ring.used_idx, "a reaction, or none", bench.silence)
    says = "says NEEDS_RESET" if broken() else "uses it" if ring.used_idx else "says nothing"
    bench.note(f"{name}: the device {says}")
    bench.device.reset()
    prove_traffic(bench)


def _guard(bench: Bench) -> Gpa:
    return bench.alloc(GUARD, bytes([POISON]) * GUARD)


def _check_guard(bench: Bench, guard: Gpa, name: str, skip: int = 0) -> None:
    whole = bench.memory.read(guard + skip, GUARD - skip) == bytes([POISON]) * (GUARD - skip)
    bench.must(whole, f"{name}: memory that is no buffer was written")


def _short_buffer(bench: Bench) -> None:
    """A frame does not fit: the device drops it, or asks for a reset, and writes nothing behind the buffer."""
    name = f"a receive buffer of {SHORT} bytes"
    bench.start(size=16)
    guard = _guard(bench)
    ring = bench.ring(RX)
    bench.send(ring, Buf(guard, SHORT, writable=True))
    bench.wire.send(inbound(bench, 0, 300))
    bench.wait(ring.used, "a reaction, or none", bench.silence)
    _check_guard(bench, guard, name, skip=SHORT)
    bench.device.reset()
    prove_traffic(bench)
