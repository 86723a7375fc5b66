"""Frames, and one step of a driver: send one, receive one."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence

from tests.soft.soft_rig import Nic, Ring
from vfiodpa.spec.virtio_net import NetStatus

HDR = bytes(12)
BROADCAST, OURS = b"\xff" * 6, bytes.fromhex("020000000001")


def frame(fill: int, length: int = 60) -> bytes:
    return BROADCAST + OURS + b"\x88\xb5" + bytes([fill]) * (length - 14)


def flow_frame(port: int, version: int = 4, *, back: bool = False) -> bytes:
    """UDP between two hosts, from this port, or back to it."""
    ports = struct.pack(">HH", *((2000, port) if back else (port, 2000)))
    udp = ports + struct.pack(">HH", 26, 0) + bytes(18)
    hosts = [bytes(15 if version == 6 else 3) + bytes([host]) for host in ((2, 1) if back else (1, 2))]
    if version == 6:
        return BROADCAST + OURS + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, 26, 17, 64) + b"".join(hosts) + udp
    header = struct.pack(">BBHHHBBH", 0x45, 0, 46, 0, 0, 64, 17, 0) + b"".join(hosts)
    return BROADCAST + OURS + b"\x08\x00" + header + udp


def wait_sum(rings: Sequence[Ring], count: int, seconds: float = 5.0) -> list[int]:
    """What each ring received, once it is so many in all, or after a while."""
    end = time.monotonic() + seconds
    while sum(ring.used for ring in rings) < count and time.monotonic() < end:
        time.sleep(0.002)
    return [ring.used for ring in rings]


def send(nic: Nic, data: bytes, at: int = 0, pair: int = 0, header: bytes = HDR) -> None:
    """``at``: how many were sent before."""
    ring = Ring(nic, 2 * pair + 1)
    ring.avail = at
    ring.offer(header + data)
    nic.bell(2 * pair + 1)
    assert ring.wait_used(at + 1)


def offer(nic: Nic, count: int = 1, pair: int = 0, length: int = 1000) -> Ring:
    """Receive buffers."""
    ring = Ring(nic, 2 * pair)
    for _ in range(count):
        ring.offer(bytes(length), writable=True)
    nic.bell(2 * pair)
    return ring


def received(ring: Ring, at: int = 0) -> bytes:
    """The frame in a buffer, by the length that the device wrote."""
    end = time.monotonic() + 5
    while ring.used <= at and time.monotonic() < end:
        time.sleep(0.0005)
    assert ring.used > at
    used = int.from_bytes(ring.get(0xA000 + 4 + 8 * at + 4, 4), "little")
    return ring.buffer(at, used)[12:]


def wait_link(nic: Nic, up: bool, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while bool(nic.net.status & NetStatus.LINK_UP) != up and time.monotonic() < end:
        time.sleep(0.005)
    return bool(nic.net.status & NetStatus.LINK_UP) == up
