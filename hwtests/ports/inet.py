"""IPv4 packets with UDP and TCP, made and checked without anything of vfiodpa's."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

TCP, UDP = 6, 17
_ETHERNET, _IP = 14, 20
_PORTS = (40000, 40001)
ADDRESSES = ("198.18.0.1", "198.18.0.2")


def ones_sum(data: bytes) -> int:
    """RFC 1071; 0xffff where a correct checksum is in the data."""
    words = struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total: int = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def frame(protocol: int, payload: bytes, sequence: int = 0) -> bytes:
    """An Ethernet frame, its checksums complete."""
    if protocol == TCP:
        flags = 5 << 12 | 0x18  # header of five words; PSH, ACK
        segment = struct.pack(">HHIIHHHH", *_PORTS, sequence, 1, flags, 1024, 0, 0) + payload
    else:
        segment = struct.pack(">HHHH", *_PORTS, 8 + len(payload), 0) + payload
    at = 16 if protocol == TCP else 6
    checksum = 0xFFFF - ones_sum(_pseudo(protocol, len(segment)) + segment)
    segment = segment[:at] + struct.pack(">H", checksum or 0xFFFF) + segment[at + 2 :]
    addresses = b"".join(socket.inet_aton(one) for one in ADDRESSES)
    ip = struct.pack(">BBHHHBBH", 0x45, 0, _IP + len(segment), 7, 0x4000, 64, protocol, 0) + addresses
    ip = ip[:10] + struct.pack(">H", 0xFFFF - ones_sum(ip)) + ip[12:]
    return bytes.fromhex("020000000002 020000000001 0800") + ip + segment


def _pseudo(protocol: int, length: int) -> bytes:
    addresses = b"".join(socket.inet_aton(one) for one in ADDRESSES)
    return addresses + struct.pack(">BBH", 0, protocol, length)


@dataclass(frozen=True, slots=True)
class Packet:
    """What ``frame`` made, or what became of it. ``good``: the IPv4 header's checksum, TCP's or UDP's is right."""

    protocol: int
    sequence: int
    payload: bytes
    ip_good: bool
    good: bool


def parse(data: bytes) -> Packet | None:
    """A frame, if it is of ours."""
    ip = data[_ETHERNET : _ETHERNET + _IP]
    if data[12:14] != b"\x08\x00" or ip[0] != 0x45 or ip[9] not in (TCP, UDP):
        return None
    segment = data[_ETHERNET + _IP : _ETHERNET + int.from_bytes(ip[2:4], "big")]
    header = 20 if ip[9] == TCP else 8
    sequence = int.from_bytes(segment[4:8], "big") if ip[9] == TCP else 0
    good = ones_sum(ip[12:20] + struct.pack(">BBH", 0, ip[9], len(segment)) + segment) == 0xFFFF
    return Packet(ip[9], sequence, segment[header:], ones_sum(ip) == 0xFFFF, good)
