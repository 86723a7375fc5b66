"""Frames to send through a NIC: each with a mark of its own, so that it is known again wherever it comes out.

    frame = udp(Flow(source_port=7), mark=fresh_mark())

Addresses are those of RFC 2544 and RFC 5180, for benchmarks. Checksums are right unless a check breaks them.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass

from .bench import MAC, PEER

ETHERNET = 14
IPV4_LENGTH, IPV6_LENGTH, TCP_LENGTH, UDP_LENGTH = 20, 40, 20, 8
TCP, UDP, OTHER = 6, 17, 253  # 253: for experiments (RFC 3692)
IPV4, IPV6, VLAN, EXPERIMENT = b"\x08\x00", b"\x86\xdd", b"\x81\x00", b"\x88\xb5"
MARK = 8  # bytes
SUM_AT = {TCP: 16, UDP: 6}  # of the checksum, in the transport header
ACK, PSH_ACK, CWR_ACK = 0x10, 0x18, 0x90
BROADCAST = b"\xff" * 6

_marks = itertools.count(int.from_bytes(b"\xc0\x9f\0\0\0\0\0\0", "big"))


def fresh_mark() -> bytes:
    """Eight bytes that no other frame of this run has."""
    return next(_marks).to_bytes(MARK, "big")


@dataclass(frozen=True, slots=True)
class Flow:
    """Whose frames they are; ``host`` and ports choose a flow."""

    source_port: int = 1024
    destination_port: int = 2048
    host: int = 1
    ipv6: bool = False
    protocol: int = UDP

    @property
    def addresses(self) -> bytes:
        """Source, then destination."""
        if self.ipv6:
            source = bytes.fromhex("200100020000000000000000") + self.host.to_bytes(4, "big")
            return source + bytes.fromhex("20010002000100000000000000000001")
        return bytes([198, 18, 0, self.host, 198, 19, 0, 1])

    @property
    def ports(self) -> bytes:
        """Source, then destination."""
        return struct.pack(">HH", self.source_port, self.destination_port)

    @property
    def transport(self) -> int:
        """Where the transport header begins in a frame."""
        return ETHERNET + (IPV6_LENGTH if self.ipv6 else IPV4_LENGTH)

    def back(self) -> Flow:
        """The same with ports swapped; addresses stay what they are (``reply``)."""
        return Flow(self.destination_port, self.source_port, self.host, self.ipv6, self.protocol)


def plain(mark: bytes, size: int = 60, *, to: bytes = MAC, source: bytes = PEER, vlan: int | None = None) -> bytes:
    """A frame of an ethertype that nobody parses; ``size`` bytes in all."""
    tag = b"" if vlan is None else VLAN + vlan.to_bytes(2, "big")
    return (to + source + tag + EXPERIMENT + mark).ljust(size, b"\x5a")


def checksum(data: bytes, start: int = 0) -> int:
    """The Internet checksum (RFC 1071), complemented."""
    if len(data) % 2:
        data += b"\0"
    total: int = start + sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def pseudo_sum(flow: Flow, length: int) -> int:
    """What goes into the checksum field for the device to complete: the pseudo header's sum, not complemented."""
    return ~checksum(flow.addresses + struct.pack(">II", length, flow.protocol)) & 0xFFFF


def network(flow: Flow, length: int, *, fragment: int = 0x4000) -> bytes:
    """The IP header in front of ``length`` bytes; ``fragment``: flags and offset of IPv4, by default DF."""
    if flow.ipv6:
        return struct.pack(">IHBB", 6 << 28, length, flow.protocol, 64) + flow.addresses
    head = struct.pack(">BBHHHBBH", 0x45, 0, IPV4_LENGTH + length, 0, fragment, 64, flow.protocol, 0) + flow.addresses
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:]


def packet(
    flow: Flow,
    payload: bytes,
    *,
    to: bytes = MAC,
    source: bytes = PEER,
    sequence: int = 0,
    tcp_flags: int = ACK,
    fragment: int = 0x4000,
    partial: bool = False,
) -> bytes:
    """A whole frame with the flow's headers. ``partial``: of the checksum only the pseudo header's part is there."""
    if flow.protocol == TCP:
        transport = flow.ports + struct.pack(">IIBBHHH", sequence, 1, 0x50, tcp_flags, 8192, 0, 0)
    elif flow.protocol == UDP:
        transport = flow.ports + struct.pack(">HH", UDP_LENGTH + len(payload), 0)
    else:
        transport = b""
    body = bytearray(transport + payload)
    if flow.protocol in SUM_AT:
        at = SUM_AT[flow.protocol]
        start = pseudo_sum(flow, len(body))
        value = start if partial else checksum(bytes(body), start) or 0xFFFF
        body[at : at + 2] = value.to_bytes(2, "big")
    kind = IPV6 if flow.ipv6 else IPV4
    return to + source + kind + network(flow, len(body), fragment=fragment) + bytes(body)


def flow_frame(flow: Flow, mark: bytes, size: int = 100, *, to: bytes = MAC, source: bytes = PEER) -> bytes:
    """A marked frame of a flow, with a right checksum."""
    headers = flow.transport + {TCP: TCP_LENGTH, UDP: UDP_LENGTH}.get(flow.protocol, 0)
    return packet(flow, mark.ljust(size - headers, b"\x5a"), to=to, source=source)


def reply(flow: Flow, mark: bytes) -> bytes:
    """What the NIC's side sends in a flow: addresses and ports the other way round, a right checksum."""
    frame = bytearray(flow_frame(flow, mark, to=PEER, source=MAC))
    half = len(flow.addresses) // 2
    at = flow.transport - 2 * half
    frame[at : at + 2 * half] = flow.addresses[half:] + flow.addresses[:half]
    if flow.protocol in SUM_AT:  # sums do not tell source from destination: the checksums stay right
        frame[flow.transport : flow.transport + 4] = flow.ports[2:] + flow.ports[:2]
    return bytes(frame)


def sum_ok(frame: bytes, flow: Flow) -> bool:
    """Is the frame's transport checksum right?"""
    body = frame[flow.transport :]
    return checksum(body, pseudo_sum(flow, len(body))) in (0, 0xFFFF)


def spoiled(frame: bytes, flow: Flow) -> bytes:
    """The frame with a wrong transport checksum."""
    at = flow.transport + SUM_AT[flow.protocol]
    return frame[:at] + (int.from_bytes(frame[at : at + 2], "big") ^ 0x5555).to_bytes(2, "big") + frame[at + 2 :]
