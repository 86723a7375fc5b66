"""Headers that tell of tunnels, or could: what the device makes of them (N-TX-4 and from 8 on, X-7).

Ref: virtio 1.4, 5.1.6 and 5.1.6.2.2
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from ..spec.features import Feature
from ..spec.virtio_net import GsoBit, GsoType, HdrFlag, NetHdr, NetHdrOuter, NetHdrTunnel
from ..validate.bench import MAC, PEER, Bench
from ..validate.check import check
from ..validate.frames import TCP, Flow, flow_frame, fresh_mark, plain
from ..validate.offloads import OUTER4, OUTER6, SEGMENT, U4, V4, V6, heard_payload, segmented, tunnelled
from ..validate.traffic import hear, transmit
from ..validate.verdict import NotApplicable, Refused
from .transmit import FLOWS, unchanged

F = Feature
SEGMENTS = F.NET_CSUM | F.NET_HOST_TSO4 | F.NET_HOST_TSO6 | F.NET_HOST_USO
TUNNELS = SEGMENTS | F.NET_HOST_UDP_TUNNEL_GSO | F.NET_HOST_UDP_TUNNEL_GSO_CSUM
Sent = tuple[str, bytes, tuple[bytes, ...], NetHdr]  # what it is, frame, marks, header
# Where headers could be, where none is, and beyond the frame.
OFFSETS = ((34, 62), (14, 34), (1, 0), (0, 1), (0xFFFF, 0xFFFF))
# Their first two bytes, as an offset: none, that of an IP header, beyond the frame.
ADDRESSES = (PEER, b"\x0e\x00\x00\x00\x00\x01", b"\xfe\xff\x00\x00\x00\x01", b"\x22\x00\x00\x00\x00\x01")


def _segments_leave(bench: Bench, header: NetHdrOuter, port: int) -> None:
    """A frame of TCP segments, with these offsets in its header, leaves with all it carries."""
    flow = Flow(port, 6000, 9, protocol=TCP)
    marks = [fresh_mark() for _ in range(3)]
    frame, right = segmented(flow, marks, to=PEER, source=MAC)
    transmit(bench, frame, NetHdrOuter(**{**header.values, **right.values}))
    seen = heard_payload(hear(bench, marks), flow)
    sent = frame[-len(marks) * SEGMENT :]
    what = f"with outer_th_offset {int(header.outer_th_offset)}, inner_nh_offset {int(header.inner_nh_offset)}"
    bench.must(seen == sent, f"{what} {len(seen)} of {len(sent)} bytes of segments came out as they went in")


@check("N-TX-4", features=F.NET_OUT_NET_HEADER)
def no_outer_header_is_told_of(bench: Bench) -> None:
    """With OUT_NET_HEADER, an outer_nh_offset of 0 is not used: frames leave all the same."""
    bench.start(F.NET_OUT_NET_HEADER | F.NET_CSUM | F.NET_HOST_TSO4)
    for flow in FLOWS:
        mark = fresh_mark()
        unchanged(bench, flow_frame(flow, mark, to=PEER, source=MAC), mark, NetHdrOuter(), "outer_nh_offset 0")
    if F.NET_HOST_TSO4 in bench.device.features:
        _segments_leave(bench, NetHdrOuter(), 5200)


@check("N-TX-9", features=F.NET_HOST_UDP_TUNNEL_GSO)
def no_tunnel_is_told_of(bench: Bench) -> None:
    """Without a tunnel bit, outer_th_offset and inner_nh_offset do nothing."""
    bench.start(TUNNELS)
    for at, (outer, inner) in enumerate(OFFSETS):
        header = NetHdrOuter(outer_th_offset=outer, inner_nh_offset=inner)
        for flow in FLOWS:
            mark = fresh_mark()
            frame = flow_frame(flow, mark, to=PEER, source=MAC)
            unchanged(bench, frame, mark, header, f"outer_th_offset {outer}, inner_nh_offset {inner}")
        _segments_leave(bench, header, 5300 + at)


@check("X-7", features=F.NET_OUT_NET_HEADER)
def no_field_behind_the_header(bench: Bench) -> None:
    """Without OUT_NET_HEADER, what lies where outer_nh_offset would be is the frame, and leaves as that."""
    bench.start(TUNNELS)
    for address in ADDRESSES:
        for flow in FLOWS:
            mark = fresh_mark()
            frame = flow_frame(flow, mark, to=address, source=MAC)
            unchanged(bench, frame, mark, NetHdr(), f"the address {address.hex(':')}")


def _in_tunnel(flow: Flow, outer: Flow = OUTER4) -> Sent:
    marks = tuple(fresh_mark() for _ in range(3))
    frame, header = tunnelled(flow, marks, outer, to=PEER, source=MAC)
    return "segments in a tunnel", frame, marks, header


def _with(sent: Sent, what: str, **fields: int) -> Sent:
    """The same with other fields of its header."""
    _, frame, marks, header = sent
    return what, frame, marks, NetHdrTunnel(**{**header.values, **fields})


def _accepted(bench: Bench, sent: Sent) -> bool:
    """Does it leave, or anything of it? A plain frame behind it tells that its turn has passed."""
    _, frame, marks, header = sent
    guide = fresh_mark()
    transmit(bench, frame, header)
    transmit(bench, plain(guide, to=PEER, source=MAC))
    end, passed, seen = time.monotonic() + bench.answer, 0.0, False
    while time.monotonic() < (passed or end):
        bench.look("waiting for frames on the wire")
        one = bench.wire.receive(0.002)
        if one is None:
            continue
        seen = seen or any(mark in one.frame for mark in marks)
        if guide in one.frame:
            passed = time.monotonic() + bench.silence / 4
    if not passed:
        raise Refused("not even a plain frame leaves")
    return seen


def _refuses(bench: Bench, wrong: Iterable[Sent]) -> None:
    """None of these leaves, though segments in a tunnel do where their header is right."""
    bench.start(TUNNELS)
    for right in (_in_tunnel(V4), _in_tunnel(V6, OUTER6), _in_tunnel(U4)):
        if not _accepted(bench, right):
            raise NotApplicable("segments in a tunnel do not leave at all: nothing can be told of wrong ones")
    for sent in wrong:
        bench.must(not _accepted(bench, sent), f"{sent[0]}: the frame left")


@check("N-TX-8")
def one_tunnel_at_most(bench: Bench) -> None:
    """A frame with both tunnel bits does not leave."""
    both = int(GsoBit.UDP_TUNNEL_IPV4 | GsoBit.UDP_TUNNEL_IPV6)
    kinds = {V4: GsoType.TCPV4, V6: GsoType.TCPV6, U4: GsoType.UDP_L4}
    _refuses(
        bench,
        [_with(_in_tunnel(flow), f"gso_type {both | kind:#x}", gso_type=both | kind) for flow, kind in kinds.items()],
    )


@check("N-TX-10")
def tunnels_are_of_segments(bench: Bench) -> None:
    """A frame with a tunnel bit does not leave without NEEDS_CSUM, with DATA_VALID, or without segments."""
    wrong = []
    for flow, tunnel in ((V4, GsoBit.UDP_TUNNEL_IPV4), (V6, GsoBit.UDP_TUNNEL_IPV6)):
        wrong.append(_with(_in_tunnel(flow), f"{tunnel.name} without NEEDS_CSUM", flags=0))
        flags = HdrFlag.NEEDS_CSUM | HdrFlag.DATA_VALID
        wrong.append(_with(_in_tunnel(flow), f"{tunnel.name} with DATA_VALID", flags=flags))
        wrong.append(_with(_in_tunnel(flow), f"{tunnel.name} with gso_type NONE", gso_type=int(tunnel)))
    _refuses(bench, wrong)


@check("N-TX-11")
def outer_checksums_are_of_tunnels(bench: Bench) -> None:
    """A frame with UDP_TUNNEL_CSUM and no tunnel bit does not leave."""
    wrong: list[Sent] = []
    for flow in FLOWS:
        mark = fresh_mark()
        frame = flow_frame(flow, mark, to=PEER, source=MAC)
        what = f"UDP_TUNNEL_CSUM without a tunnel, protocol {flow.protocol}"
        wrong.append((what, frame, (mark,), NetHdrTunnel(flags=HdrFlag.UDP_TUNNEL_CSUM)))
    marks = tuple(fresh_mark() for _ in range(3))
    frame, header = segmented(V4, marks, to=PEER, source=MAC)
    flags = HdrFlag.NEEDS_CSUM | HdrFlag.UDP_TUNNEL_CSUM
    wrong.append(("segments without a tunnel", frame, marks, NetHdrTunnel(**{**header.values, "flags": flags})))
    _refuses(bench, wrong)
