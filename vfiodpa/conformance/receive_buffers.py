"""How a received frame lies in the driver's buffers (N-RXB, N-RX-1 to N-RX-4), and how long it may be (N-CFG-5).

Ref: virtio 1.3, 5.1.6.3.2, 5.1.6.4.1 and 5.1.4.2
"""

from __future__ import annotations

from dataclasses import dataclass

from ..spec.features import Feature
from ..spec.virtio_net import NetHdr
from ..validate.bench import RX, Bench
from ..validate.check import check
from ..validate.frames import ETHERNET, Flow, fresh_mark, packet, plain
from ..validate.rings import Buf, Ring, UsedBuf
from ..validate.traffic import BEHIND_S, Receiver, own_mac
from ..validate.verdict import Refused

ROOM = 256  # bytes of a small buffer
SIZES = (60, 200, ROOM - NetHdr.size, ROOM, 600, 1000, 1514)
ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Laid:
    """A frame as it lies in buffers: what the header in the first one says, and how much of each was used."""

    num_buffers: int
    lengths: tuple[int, ...]


class SmallBuffers:
    """A receive queue full of small buffers, whose used entries are looked at one by one."""

    def __init__(self, bench: Bench, extra: int, count: int = 128) -> None:
        bench.start(extra)
        self.bench = bench
        self.ring: Ring = bench.ring(RX)
        self.at: dict[int, int] = {}
        for _ in range(min(count, self.ring.size)):
            gpa = bench.alloc(ROOM)
            self.at[self.ring.offer([Buf(gpa, ROOM, writable=True)], publish=False)] = gpa
        self.ring.publish()
        bench.device.bell(RX)
        self.used: list[UsedBuf] = []

    def send(self, size: int) -> tuple[bytes, bytes]:
        """Put a frame on the wire; returns it and its mark."""
        mark = fresh_mark()
        frame = plain(mark, size, to=own_mac(self.bench))
        self.bench.wire.send(frame)
        return frame, mark

    def laid(self, size: int) -> Laid:
        """How a frame of that size lies, found by its mark and its length; raises ``Deviation`` if it does not come."""
        frame, mark = self.send(size)

        def found() -> Laid | None:
            self.used.extend(self.ring.used())
            return self._find(mark, NetHdr.size + len(frame))

        laid: Laid | None = self.bench.wait(found, "a frame from the wire")
        self.bench.must(laid, f"a frame of {size} bytes was not received whole within {self.bench.answer:g} s")
        return laid or Laid(0, ())

    def _find(self, mark: bytes, whole: int) -> Laid | None:
        for first, one in enumerate(self.used):
            raw = self.bench.memory.read(self.at[one.id], min(one.length, ROOM))
            if mark not in raw:
                continue
            lengths: list[int] = []
            for part in self.used[first:]:
                lengths.append(part.length)
                if sum(lengths) >= whole:
                    return Laid(int(NetHdr.unpack(raw).num_buffers), tuple(lengths))
        return None


@check("N-RXB-1")
def buffers_are_counted(bench: Bench) -> None:
    """num_buffers is how many buffers a frame takes, whatever its size."""
    small = SmallBuffers(bench, int(Feature.NET_MRG_RXBUF))
    sizes = SIZES if bench.device.features & Feature.NET_MRG_RXBUF else SIZES[:3]
    for size in sizes:
        laid = small.laid(size)
        right = len(laid.lengths)
        bench.must(
            laid.num_buffers == right,
            f"a frame of {size} bytes took {right} buffers, num_buffers is {laid.num_buffers}",
        )


@check("N-RXB-2")
def one_buffer_for_a_frame(bench: Bench) -> None:
    """Without MRG_RXBUF a frame takes one buffer, of however many descriptors, or is dropped."""
    bench.start()
    receiver = Receiver(bench, chain=(64, 64, ROOM - 128), count=32)
    for size in (60, 100, ROOM - NetHdr.size):
        mark = fresh_mark()
        frame = plain(mark, size, to=own_mac(bench))
        bench.wire.send(frame)
        got = receiver.must_get(mark, f"a frame of {size} bytes")
        bench.must(got.frame == frame, f"a frame of {size} bytes came as {len(got.frame)} in one buffer of {ROOM}")
    _too_long(bench, receiver)


def _too_long(bench: Bench, receiver: Receiver) -> None:
    """A frame that fits no buffer does not come, and the one behind it lies where a buffer begins."""
    mark, behind = fresh_mark(), fresh_mark()
    follower = plain(behind, to=own_mac(bench))
    bench.wire.send(plain(mark, 3 * ROOM, to=own_mac(bench)))
    bench.wire.send(follower)
    at = bench.wait(lambda: receiver.offset(behind), "the frame behind it")
    right = NetHdr.size + follower.index(behind)
    what = f"behind a frame of {3 * ROOM} bytes, without MRG_RXBUF and with buffers of {ROOM},"
    if at is None:
        raise Refused(f"{what} a plain frame to the device's own address does not come")
    bench.must(at == right, f"{what} a frame lies {at - right} bytes into the buffer that it comes in")
    receiver.must_get(behind, "the frame behind it")
    long = receiver.wait(mark, min(bench.silence, BEHIND_S))
    bench.must(long is None, f"a frame of {3 * ROOM} bytes was begun in a buffer of {ROOM}, without MRG_RXBUF")


@check("N-RX-1")
def one_buffer_says_one(bench: Bench) -> None:
    """Without MRG_RXBUF, num_buffers is 1."""
    small = SmallBuffers(bench, 0)
    for size in SIZES[:3]:
        laid = small.laid(size)
        bench.must(laid.num_buffers == 1, f"without MRG_RXBUF num_buffers is {laid.num_buffers}")


@check("N-RX-2")
def merged_buffers_are_counted(bench: Bench) -> None:
    """With MRG_RXBUF, num_buffers is how many buffers a frame spans."""
    small = SmallBuffers(bench, int(Feature.NET_MRG_RXBUF))
    for size in SIZES[3:]:
        laid = small.laid(size)
        right = len(laid.lengths)
        bench.must(
            laid.num_buffers == right,
            f"a frame of {size} bytes spans {right} buffers, num_buffers is {laid.num_buffers}",
        )


@check("N-RX-3")
def merged_buffers_are_full(bench: Bench) -> None:
    """With MRG_RXBUF, all buffers of a frame but the last are full."""
    small = SmallBuffers(bench, int(Feature.NET_MRG_RXBUF))
    for size in SIZES[3:]:
        laid = small.laid(size)
        full = all(length == ROOM for length in laid.lengths[:-1])
        bench.must(full, f"a frame of {size} bytes used {laid.lengths} of buffers of {ROOM}")


@check("N-RX-4", deadline=20.0)
def merged_buffers_come_together(bench: Bench) -> None:
    """With MRG_RXBUF, a driver that sees the first buffer of a frame sees all of them."""
    small = SmallBuffers(bench, int(Feature.NET_MRG_RXBUF))
    for _ in range(ROUNDS):
        small.send(1000)
        found: list[UsedBuf] = []
        while not found:
            bench.look("a frame from the wire")
            found = small.ring.used()
        first = NetHdr.unpack(bench.memory.read(small.at[found[0].id], NetHdr.size))
        there = len(found)
        bench.must(there >= int(first.num_buffers), f"{there} buffers are used, of a frame with {first.num_buffers}")
        bench.wait(lambda: False, "the rest of it", 0.0005)
        small.ring.used()


@check("N-CFG-5")
def longer_than_the_mtu(bench: Bench) -> None:
    """With MTU negotiated, packets that are longer and not segmented do not come through."""
    bench.start(Feature.NET_MTU)
    mtu = int(bench.device.net.mtu)
    receiver = Receiver(bench, chain=(mtu + 256,))
    flow, mac = Flow(7100, 8100, 9), own_mac(bench)
    for length, comes in ((mtu, True), (mtu + 32, False)):
        mark = fresh_mark()
        frame = packet(flow, mark.ljust(length - 28, b"\x5a"), to=mac)
        got = receiver.passes(frame, mark)
        bench.must(
            bool(got) is comes,
            f"MTU {mtu}: a frame of {ETHERNET} + {length} bytes {'did not come' if comes else 'came'} through",
        )
