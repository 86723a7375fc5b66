"""What checks of the rings share: frames that can be told apart, and queues in awkward positions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..memory import Gpa
from ..pci.function import Perm
from ..spec.virtio_ring import PackedDesc, SplitDesc
from .bench import HEADER, MAC, PEER, Bench, Interrupt
from .rings import POISON, Buf, PackedRing, Ring, SplitRing

MARK = b"\x88\xb5vfiodpa-ring"
EVERYBODY = b"\xff" * 6
SHORTEST = 60  # of a frame without FCS: wires pad what is shorter
RX_BUFFER = 1536


def outbound(bench: Bench, number: int, size: int = 64) -> bytes:
    """A frame for the peer, ``size`` bytes, no two of them alike, nor like those of other checks."""
    return _frame(bench, PEER + MAC, number, size)


def inbound(bench: Bench, number: int, size: int = 64) -> bytes:
    """A frame for the device: to everybody, since nothing says which addresses it lets in."""
    return _frame(bench, EVERYBODY + PEER, number, size)


def _frame(bench: Bench, addresses: bytes, number: int, size: int) -> bytes:
    head = addresses + MARK + bench.mark + number.to_bytes(4, "big")
    body = bytes((number * 7 + at * 3) & 0xFF for at in range(max(size, SHORTEST) - len(head)))
    return head + body


def one_buffer(bench: Bench, frame: bytes) -> Buf:
    """A frame to transmit in one buffer, behind an empty virtio header."""
    data = bytes(HEADER) + frame
    return Buf(bench.alloc(len(data), data), len(data))


def pieces(bench: Bench, data: bytes, sizes: Iterable[int]) -> list[Buf]:
    """``data`` in buffers of these sizes, each somewhere else; the last one takes the rest."""
    chain, at = [], 0
    for size in sizes:
        chain.append(data[at : at + size])
        at += size
    chain = [part for part in [*chain, data[at:]] if part]
    return [Buf(bench.alloc(len(part), part), len(part)) for part in chain]


def hear(bench: Bench, count: int, timeout: float | None = None) -> list[bytes]:
    """Up to ``count`` of our frames from the wire, in their order; whatever else is on it is passed over."""
    found: list[bytes] = []
    while len(found) < count:
        heard = bench.wire.receive(bench.answer if timeout is None else timeout)
        if heard is None:
            break
        if is_ours(bench, heard.frame):
            found.append(heard.frame)
    return found


def is_ours(bench: Bench, frame: bytes) -> bool:
    """Is it one that this check sent? Others may be on the wire, too."""
    return frame[12:].startswith(MARK + bench.mark)


def same(heard: bytes, sent: bytes) -> bool:
    """Is it that frame? The wire may have padded it."""
    return heard[: len(sent)] == sent and not any(heard[max(len(sent), SHORTEST) :])


def give_buffers(bench: Bench, ring: Ring, count: int, size: int = RX_BUFFER) -> dict[int, Gpa]:
    """Poisoned receive buffers, made available at once; their addresses by id, in their order."""
    given = {}
    for _ in range(count):
        gpa = bench.alloc(size, bytes([POISON]) * size)
        given[ring.offer([Buf(gpa, size, writable=True)], publish=False)] = gpa
    ring.publish()
    bench.device.bell(ring.index)
    return given


def receive_one(
    bench: Bench, ring: Ring, sizes: Sequence[int], frame: bytes, perm: Perm = Perm.RW
) -> tuple[int, bytes]:
    """Have ``frame`` sent to a chain of poisoned buffers: the length told, and all that they hold then."""
    sent = False
    while True:
        parts = [bench.alloc(size, bytes([POISON]) * size, perm=perm) for size in sizes]
        chain = [Buf(gpa, size, writable=True) for gpa, size in zip(parts, sizes, strict=True)]
        bench.send(ring, *chain)
        if not sent:
            bench.wire.send(frame)
            sent = True
        told = bench.wait_used(ring)[0].length
        data = b"".join(bench.memory.read(buf.gpa, buf.length) for buf in chain)
        if is_ours(bench, data[HEADER:]):
            return told, data


def never_used(bench: Bench, ring: Ring, why: str) -> None:
    """Raise ``Deviation`` when the device gives a buffer back within a silence."""
    bench.must(not bench.wait(ring.used, why, bench.silence), why)


def never_fired(bench: Bench, interrupt: Interrupt, why: str) -> None:
    """Raise ``Deviation`` when the device interrupts within a silence."""
    bench.must(not interrupt.fired(bench.silence), why)


def table(bench: Bench, chain: Sequence[Buf], *, packed: bool, id: int = 0) -> Gpa:
    """An indirect table of these buffers; ``id`` is what a packed one's entries say (nothing: it is reserved)."""
    entries = []
    for at, buf in enumerate(chain):
        last = at == len(chain) - 1
        flags = buf.flags | (2 if buf.writable else 0)
        if packed:
            entries.append(PackedDesc(addr=buf.gpa, len=buf.length, id=id, flags=flags).pack())
        else:
            more = 0 if last else 1
            entries.append(
                SplitDesc(addr=buf.gpa, len=buf.length, flags=flags | more, next=0 if last else at + 1).pack()
            )
    data = b"".join(entries)
    return bench.alloc(len(data), data, align=16)


class Carousel:
    """One buffer in every slot of a split ring: its indices go round as fast as the device does.

    What it sends is lost at the other end, which is left clean; long frames, so that wires do not keep many.
    """

    def __init__(self, bench: Bench, ring: SplitRing, frame: bytes) -> None:
        buf = one_buffer(bench, frame)
        self.bench, self.ring = bench, ring
        for slot in range(ring.size):
            ring.put_desc(slot, SplitDesc(addr=buf.gpa, len=buf.length, flags=0, next=0))
            bench.memory.write(ring.driver + 4 + 2 * slot, slot.to_bytes(2, "little"))

    def turn(self, count: int) -> None:
        """Make ``count`` buffers available (no more than the ring has), and wait until they are used."""
        bench, ring = self.bench, self.ring
        ring.avail_idx = ring.avail_idx + count & 0xFFFF
        ring.publish()
        bench.device.bell(ring.index)
        what = f"queue {ring.index} did not use all of {count} buffers up to index {ring.avail_idx:#x}"
        bench.must(bench.wait(lambda: ring.used_idx == ring.avail_idx, what), what)
        ring.seen = ring.avail_idx

    def turn_to(self, index: int) -> None:
        """Go on until both indices are ``index``."""
        while distance := index - self.ring.avail_idx & 0xFFFF:
            self.turn(min(distance, self.ring.size))

    def stop(self) -> None:
        """Have the peer forget all that."""
        if self.bench.wire_peer is not None:
            self.bench.wire_peer.drain(0.005)


def lap_to(bench: Bench, ring: PackedRing, slot: int) -> None:
    """Send frames until the next slot is ``slot``."""
    while ring.next_slot != slot:
        bench.send(ring)
        bench.wait_used(ring)
