"""Frames between the wire and the device's queues: who got which, where, and what its header says.

    receiver = Receiver(bench)
    receiver.passes(plain(mark), mark)           # Got(queue=0, ...) or None
    hear(bench, [mark])                          # what the wire peer heard

Frames are told by their marks (frames.py): a kernel at the other end has things to say of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..spec.features import Feature
from ..spec.virtio_net import NetHdr, NetHdrHash
from .bench import MAC, RX, TX, Bench
from .frames import fresh_mark, plain
from .rings import POISON, Buf, Ring, UsedBuf
from .verdict import Refused
from .wire import Heard

BUFFER = 2048
BEHIND_S = 0.05  # that a frame may come behind the one that was sent after it: by another queue
LONGEST = 65_600  # a buffer for whatever a driver may get that takes segmented frames (5.1.6.3.1)


@dataclass(frozen=True, slots=True)
class Got:
    """A received frame: its queue, its header, and how many bytes the device says it wrote into each buffer."""

    queue: int
    header: NetHdrHash
    frame: bytes
    lengths: tuple[int, ...]


@dataclass(slots=True)
class _Part:
    gpa: int
    room: int
    used: int


class Receiver:
    """Keeps receive queues filled with buffers, and takes out what comes.

    ``chain``: lengths of the descriptors of each buffer. ``count`` of buffers for each queue.
    """

    def __init__(
        self, bench: Bench, queues: Sequence[int] = (RX,), *, chain: Sequence[int] = (BUFFER,), count: int = 16
    ) -> None:
        self.bench = bench
        self.queues = tuple(queues)
        self.chain = tuple(chain)
        self.got: list[Got] = []
        self.header = NetHdrHash.size if Feature.NET_HASH_REPORT in bench.device.features else NetHdr.size
        self._merges = Feature.NET_MRG_RXBUF in bench.device.features
        self._posted: dict[tuple[int, int], int] = {}
        self._reset: set[int] = set()
        self._parts: dict[int, list[_Part]] = {queue: [] for queue in queues}
        for queue in queues:
            self.fill(queue, count)

    def fill(self, queue: int, count: int) -> None:
        """Offer so many buffers more."""
        self._reset.discard(queue)
        for _ in range(count):
            self._post(queue)
        self.ring(queue).publish()
        self.bench.device.bell(queue)

    def forget(self, queue: int) -> None:
        """The queue was reset: its buffers are the driver's again."""
        for key in [key for key in self._posted if key[0] == queue]:
            del self._posted[key]
        self._parts[queue].clear()
        self._reset.add(queue)

    def buffers(self) -> list[tuple[int, int]]:
        """Address and length of all that the device has."""
        return [(gpa, sum(self.chain)) for gpa in self._posted.values()]

    def offset(self, mark: bytes) -> int | None:
        """How far into a buffer that was not taken out yet a mark lies, if it does in one."""
        raws = [self.bench.memory.read(gpa, length) for gpa, length in self.buffers()]
        return next((raw.index(mark) for raw in raws if mark in raw), None)

    def ring(self, queue: int) -> Any:
        """The queue's ring."""
        return self.bench.ring(queue)

    def _post(self, queue: int, gpa: int = 0) -> None:
        room = sum(self.chain)
        gpa = gpa or self.bench.alloc(room)
        self.bench.memory.write(gpa, bytes([POISON]) * room)
        at, bufs = gpa, []
        for length in self.chain:
            bufs.append(Buf(at, length, writable=True))
            at += length
        self._posted[queue, self.ring(queue).offer(bufs, publish=False)] = gpa

    # What comes

    def look(self) -> list[Got]:
        """Take out what is there; returns all that came so far."""
        for queue in self.queues:
            if queue in self._reset:
                continue
            ring: Ring = self.ring(queue)
            fresh = ring.used()
            for one in fresh:
                self._take(queue, one)
            if fresh:
                ring.publish()
                self.bench.device.bell(queue)
        return self.got

    def _take(self, queue: int, used: UsedBuf) -> None:
        gpa = self._posted.pop((queue, used.id), None)
        if gpa is None:
            self.bench.must(False, f"queue {queue} gave back buffer {used.id}, which it did not have")
            return
        room = sum(self.chain)
        self.bench.must(used.length <= room, f"a buffer of {room} bytes was used with a length of {used.length}")
        parts = self._parts[queue]
        parts.append(_Part(gpa, room, used.length))
        if self._merges and len(parts) < int(self._header(parts[0]).num_buffers):
            return
        self.got.append(self._join(queue, parts))
        for part in parts:
            self._post(queue, part.gpa)
        parts.clear()

    def _header(self, part: _Part) -> NetHdrHash:
        raw = self.bench.memory.read(part.gpa, min(self.header, part.room))
        return NetHdrHash.unpack(raw.ljust(NetHdrHash.size, b"\0"))

    def _join(self, queue: int, parts: list[_Part]) -> Got:
        raw = b"".join(self.bench.memory.read(part.gpa, part.used) for part in parts)
        return Got(queue, self._header(parts[0]), raw[self.header :], tuple(part.used for part in parts))

    # What came of it

    def find(self, mark: bytes) -> Got | None:
        """The frame with a mark, if it came."""
        return next((one for one in self.look() if mark in one.frame), None)

    def all(self, mark: bytes) -> list[Got]:
        """All frames with a mark."""
        return [one for one in self.look() if mark in one.frame]

    def wait(self, mark: bytes, timeout: float | None = None) -> Got | None:
        """The same, and wait for it."""
        found: Got | None = self.bench.wait(lambda: self.find(mark), "a frame from the wire", timeout)
        return found

    def must_get(self, mark: bytes, what: str) -> Got:
        """The same; raises ``Deviation`` when it does not come."""
        found = self.wait(mark)
        self.bench.must(found, f"{what} was sent on the wire, but was not received within {self.bench.answer:g} s")
        if found is None:
            raise Refused(what)
        return found

    def passes(
        self, frame: bytes, mark: bytes, header: NetHdr | None = None, *, guide: tuple[bytes, bytes] | None = None
    ) -> Got | None:
        """Send a frame, and after it one that surely comes (``guide``: with its mark); did the first one come?

        Raises ``Refused`` when the second one does not come: then nothing can be said of the first.
        """
        bench = self.bench
        if guide is None:
            sure = fresh_mark()
            guide = plain(sure, to=own_mac(bench)), sure
        bench.wire.send(frame, header)
        bench.wire.send(guide[0])
        if self.wait(guide[1]) is None:
            raise Refused("not even a plain frame to its own address comes through to the driver")
        return self.wait(mark, min(bench.silence, BEHIND_S))


def own_mac(bench: Bench) -> bytes:
    """The device's address; without one, any will do."""
    if not bench.device.offered & Feature.NET_MAC:
        return MAC
    return bytes(bench.device.net.mac[at] for at in range(6))


def hear(bench: Bench, marks: Sequence[bytes]) -> list[Heard]:
    """What the wire peer hears until each of the marks came once, of frames that have one."""
    missing, found = set(marks), []
    end = time.monotonic() + bench.answer
    while missing and time.monotonic() < end:
        bench.look("waiting for a frame on the wire")
        one = bench.wire.receive(0.05)
        if one is None:
            continue
        marked = {mark for mark in marks if mark in one.frame}
        if marked:
            found.append(one)
            missing -= marked
    return found


def transmit(bench: Bench, frame: bytes, header: NetHdr | None = None, queue: int = TX) -> None:
    """Send a frame from the driver's side, in one buffer, and have it given back."""
    bench.send(bench.ring(queue), send_buffer(bench, frame, header))
    bench.wait_used(bench.ring(queue))


def send_buffer(bench: Bench, frame: bytes, header: NetHdr | None = None) -> Buf:
    """A buffer of a frame with its virtio header."""
    size = NetHdrHash.size if Feature.NET_HASH_REPORT in bench.device.features else NetHdr.size
    data = (header.pack() if header else b"").ljust(size, b"\0") + frame
    return Buf(bench.alloc(len(data), data), len(data))
