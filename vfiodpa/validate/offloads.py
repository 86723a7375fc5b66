"""Frames that leave work to be done: a checksum to complete, segments to cut, in tunnels too.

Ref: virtio 1.4, 5.1.6.2
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..spec.virtio_net import GsoBit, GsoType, HdrFlag, NetHdr, NetHdrTunnel
from .bench import MAC, PEER, Bench
from .frames import (
    ACK,
    CWR_ACK,
    ETHERNET,
    IPV4_LENGTH,
    SUM_AT,
    TCP,
    TCP_LENGTH,
    UDP,
    UDP_LENGTH,
    Flow,
    flow_frame,
    fresh_mark,
    packet,
)
from .verdict import NotApplicable
from .wire import Heard

SEGMENT = 600  # bytes of payload of each
ECN = int(GsoBit.ECN)
VXLAN_PORT = 4789
VXLAN = b"\x08\0\0\0" + b"\0\0\x07\0"
GSO = {
    (TCP, False): GsoType.TCPV4,
    (TCP, True): GsoType.TCPV6,
    (UDP, False): GsoType.UDP_L4,
    (UDP, True): GsoType.UDP_L4,
}
V4, V6 = Flow(5100, 6100, 7, protocol=TCP), Flow(5200, 6200, 7, True, TCP)
OUTER4, OUTER6 = Flow(50000, VXLAN_PORT, 7), Flow(50001, VXLAN_PORT, 7, True)
U4, U6 = Flow(5300, 6300, 7), Flow(5400, 6400, 7, True)


@dataclass(frozen=True, slots=True)
class Stimulus:
    """A frame for the wire: ``marks`` tell it, or each of its segments, again. Without ``header`` it is finished.

    ``outer``: the flow of the tunnel that ``flow`` is in.
    """

    name: str
    flow: Flow
    frame: bytes
    marks: tuple[bytes, ...]
    header: NetHdr | None = None
    outer: Flow | None = None


def needs_offloads(bench: Bench) -> None:
    """Raise ``NotApplicable`` where frames cross the wire finished."""
    if not bench.wire.carries_offloads:
        raise NotApplicable("frames cross this wire finished: nobody can leave work to the device")


def needs_tunnels(bench: Bench) -> None:
    """Raise ``NotApplicable`` where segments in tunnels cross the wire cut."""
    if not bench.wire.carries_tunnels:
        raise NotApplicable("segments in tunnels cross this wire cut: nobody can leave work to the device")


def partial(flow: Flow, mark: bytes) -> tuple[bytes, NetHdr]:
    """A frame whose checksum is to be completed."""
    header = NetHdr(
        flags=HdrFlag.NEEDS_CSUM,
        hdr_len=flow.transport + _length(flow),
        csum_start=flow.transport,
        csum_offset=SUM_AT[flow.protocol],
    )
    return packet(flow, mark.ljust(100, b"\x5a"), partial=True), header


def segmented(
    flow: Flow,
    marks: Sequence[bytes],
    *,
    to: bytes = MAC,
    source: bytes = PEER,
    ecn: bool = False,
    gso: int | None = None,
) -> tuple[bytes, NetHdr]:
    """A frame to be cut into as many segments as there are marks."""
    payload = b"".join(mark.ljust(SEGMENT, b"\x5a") for mark in marks)
    frame = packet(flow, payload, to=to, source=source, tcp_flags=CWR_ACK if ecn else ACK, partial=True)
    kind = int(GSO[flow.protocol, flow.ipv6] if gso is None else gso)
    header = NetHdr(
        flags=HdrFlag.NEEDS_CSUM,
        gso_type=kind | (ECN if ecn else 0),
        hdr_len=flow.transport + _length(flow),
        gso_size=SEGMENT,
        csum_start=flow.transport,
        csum_offset=SUM_AT[flow.protocol],
    )
    return frame, header


def inner_frame(outer: Flow) -> int:
    """Where the inner frame begins, in a VXLAN tunnel."""
    return outer.transport + UDP_LENGTH + len(VXLAN)


def tunnelled(
    flow: Flow,
    marks: Sequence[bytes],
    outer: Flow = OUTER4,
    *,
    to: bytes = MAC,
    source: bytes = PEER,
    summed: bool = False,
) -> tuple[bytes, NetHdrTunnel]:
    """The same in a VXLAN tunnel; ``summed``: the outer checksum, too, is to be completed, else there is none."""
    inside, inner = segmented(flow, marks)
    frame = bytearray(packet(outer, VXLAN + inside, to=to, source=source, partial=True))
    flags = HdrFlag.NEEDS_CSUM | (HdrFlag.UDP_TUNNEL_CSUM if summed else 0)
    if not summed:
        at = outer.transport + SUM_AT[UDP]
        frame[at : at + 2] = bytes(2)
    begin = inner_frame(outer)
    header = NetHdrTunnel(
        flags=flags,
        gso_type=inner.gso_type | (GsoBit.UDP_TUNNEL_IPV6 if flow.ipv6 else GsoBit.UDP_TUNNEL_IPV4),
        hdr_len=begin + inner.hdr_len,
        gso_size=inner.gso_size,
        csum_start=begin + inner.csum_start,
        csum_offset=inner.csum_offset,
        outer_th_offset=outer.transport,
        inner_nh_offset=begin + ETHERNET,
    )
    return bytes(frame), header


def _length(flow: Flow) -> int:
    return TCP_LENGTH if flow.protocol == TCP else UDP_LENGTH


def finished() -> list[Stimulus]:
    """Frames with nothing left to do: of each protocol, a stream of segments, and one in a tunnel."""
    found = []
    for flow in (V4, V6, U4, U6):
        mark = fresh_mark()
        found.append(
            Stimulus(f"protocol {flow.protocol} over IPv{_version(flow)}", flow, flow_frame(flow, mark), (mark,))
        )
    for at in range(4):
        mark = fresh_mark()
        frame = packet(V4, mark.ljust(SEGMENT, b"\x5a"), sequence=1 + at * SEGMENT)
        found.append(Stimulus("a TCP stream", V4, frame, (mark,)))
    mark = fresh_mark()
    found.append(Stimulus("VXLAN", OUTER4, packet(OUTER4, VXLAN + flow_frame(V4, mark)), (mark,)))
    return found


def unfinished_checksums() -> list[Stimulus]:
    """Frames of each protocol whose checksum is to be completed."""
    found = []
    for flow in (V4, V6, U4, U6):
        mark = fresh_mark()
        name = f"partial checksum, protocol {flow.protocol} over IPv{_version(flow)}"
        found.append(Stimulus(name, flow, *_marked(partial(flow, mark), mark)))
    return found


def unfinished_segments(*flows: Flow, ecn: bool = False, gso: int | None = None) -> list[Stimulus]:
    """A frame of each flow that is to be cut into three."""
    found = []
    for flow in flows:
        marks = tuple(fresh_mark() for _ in range(3))
        frame, header = segmented(flow, marks, ecn=ecn, gso=gso)
        name = f"segments, protocol {flow.protocol} over IPv{_version(flow)}{', ECN' if ecn else ''}"
        found.append(Stimulus(name, flow, frame, marks, header))
    return found


def unfinished_tunnels(*, summed: bool = False) -> list[Stimulus]:
    """Frames in tunnels that are to be cut into three: of each protocol, over IPv4 and IPv6."""
    found = []
    for outer in (OUTER4, OUTER6):
        for flow in (V4, V6, U4, U6):
            marks = tuple(fresh_mark() for _ in range(3))
            frame, header = tunnelled(flow, marks, outer, summed=summed)
            name = (
                f"segments, protocol {flow.protocol} over IPv{_version(flow)} in a tunnel over IPv{_version(outer)}"
                f"{' with a checksum' if summed else ''}"
            )
            found.append(Stimulus(name, flow, frame, marks, header, outer))
    return found


def _marked(made: tuple[bytes, NetHdr], mark: bytes) -> tuple[bytes, tuple[bytes, ...], NetHdr]:
    return made[0], (mark,), made[1]


def _version(flow: Flow) -> int:
    return 6 if flow.ipv6 else 4


def heard_payload(heard: Iterable[Heard], flow: Flow) -> bytes:
    """What a TCP flow's frames carried, in the order of sequence numbers: as one frame or as many."""
    parts: dict[int, bytes] = {}
    for one in heard:
        transport = one.frame[flow.transport :]
        if transport[:4] != flow.ports:
            continue
        length = int.from_bytes(one.frame[ETHERNET + 2 : ETHERNET + 4], "big") - IPV4_LENGTH  # without padding
        data = transport[(transport[12] >> 4) * 4 : length]
        parts[int.from_bytes(transport[4:8], "big")] = data
    return b"".join(parts[sequence] for sequence in sorted(parts))
