"""Frames of UDP flows, told apart by their ports: what a NIC with several queue pairs steers by.

A kernel peer that sends a frame back as it came makes it the same flow, and automatic receive steering
brings a flow to the pair that it was last sent from (virtio 1.3, 5.1.6.5.5).
"""

from __future__ import annotations

import time

from vfiodpa.guest.guest import Guest
from vfiodpa.memory import Gpa
from vfiodpa.spec.virtio_net import NetHdr, rx_queue, tx_queue

HEADER = NetHdr.size
BUFFER = 2048
PORT = 40000


def frame(flow: int, number: int) -> bytes:
    """An Ethernet frame with an IPv4/UDP packet of flow ``flow``; its payload says which it is."""
    payload = b"vfiodpa" + flow.to_bytes(2, "big") + number.to_bytes(4, "big") + bytes(range(64))
    udp = b"".join(n.to_bytes(2, "big") for n in (PORT + flow, 9, 8 + len(payload), 0)) + payload
    ip = bytearray.fromhex("45000000 0000 0000 40 11 0000 c0000201 c0000202")
    ip[2:4] = (len(ip) + len(udp)).to_bytes(2, "big")
    total = sum(int.from_bytes(ip[i : i + 2], "big") for i in range(0, len(ip), 2))
    total = (total & 0xFFFF) + (total >> 16)
    ip[10:12] = (0xFFFF - ((total & 0xFFFF) + (total >> 16))).to_bytes(2, "big")
    return bytes.fromhex("020000000002 020000000001 0800") + bytes(ip) + udp


class Pair:
    """One queue pair of a started guest, one frame at a time."""

    def __init__(self, guest: Guest, pair: int, buffers: int = 32) -> None:
        self.guest, self.pair = guest, pair
        self.rx, self.tx = guest.queues[rx_queue(pair)], guest.queues[tx_queue(pair)]
        self._out = guest.memory.alloc(BUFFER)
        self.seen: list[bytes] = []
        for _ in range(buffers):
            self._give(guest.memory.alloc(BUFFER))

    def _give(self, gpa: Gpa) -> None:
        self.rx.send(writable=[(gpa, BUFFER)], cookie=gpa)

    def send(self, data: bytes) -> None:
        """Put a frame on the wire."""
        self.guest.memory.write(self._out, bytes(HEADER) + data)
        self.tx.send(readable=[(self._out, HEADER + len(data))])
        self.tx.wait(10.0)

    def collect(self) -> list[bytes]:
        """All that arrived on this pair so far."""
        while used := self.rx.pop():
            self.seen.append(self.guest.memory.read(used.cookie + HEADER, used.length - HEADER))
            self._give(used.cookie)
        return self.seen


def wait_for(pairs: list[Pair], wanted: bytes, seconds: float = 10.0) -> int | None:
    """The number of the pair on which a frame arrives; ``None`` when it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for pair in pairs:
            if wanted in pair.collect():
                return pair.pair
        time.sleep(0.001)
    return None
