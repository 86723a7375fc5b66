"""Segments in UDP tunnels that are received, and where their headers are said to be (N-RX-16, 21 to 23, 31 to 34).

Ref: virtio 1.4, 5.1.6.4.1
"""

from __future__ import annotations

from ..spec.features import Feature
from ..spec.virtio_net import GsoBit, HdrFlag
from ..validate.bench import Bench
from ..validate.check import check
from ..validate.frames import ETHERNET, SUM_AT, UDP, UDP_LENGTH, Flow, fresh_mark, plain, pseudo_sum, sum_ok
from ..validate.offloads import Stimulus, finished, inner_frame, needs_tunnels, unfinished_tunnels
from ..validate.traffic import Got, own_mac
from ..validate.verdict import NotApplicable
from .receive_headers import ALL, TUNNEL, came, gso_of

F = Feature
GUEST = ALL | int(F.NET_GUEST_UDP_TUNNEL_GSO)
SUMMED = GUEST | int(F.NET_GUEST_UDP_TUNNEL_GSO_CSUM)


def _in_tunnels(bench: Bench, features: int, stimuli: list[Stimulus]) -> list[tuple[Stimulus, Flow, Got]]:
    """What came to be segmented in a tunnel, and the tunnel's flow; raises ``NotApplicable`` when nothing did."""
    needs_tunnels(bench)
    found = [(one, one.outer, got) for one, got in came(bench, features, stimuli) if one.outer and gso_of(got)]
    if not found:
        raise NotApplicable("no frame comes that is to be segmented in a tunnel")
    return found


def _outer_sum(outer: Flow, got: Got) -> int:
    at = outer.transport + SUM_AT[UDP]
    return int.from_bytes(got.frame[at : at + 2], "big")


def _is_left(got: Got, transport: int) -> bool:
    """Is it a frame by itself, and its checksum at ``transport`` the driver's to complete?"""
    return not gso_of(got) and bool(_flags(got) & HdrFlag.NEEDS_CSUM) and int(got.header.csum_start) == transport


def _outer_is_done(bench: Bench, what: str, outer: Flow, got: Got) -> None:
    """The outer checksum is not there, or whole; of a frame that is not to be cut NEEDS_CSUM may speak of it."""
    done = not _outer_sum(outer, got) or sum_ok(got.frame, outer) or _is_left(got, outer.transport)
    bench.must(done, f"{what}: the outer checksum is {_outer_sum(outer, got):#06x}, neither 0 nor right")


def _flags(got: Got) -> int:
    return int(got.header.flags)


@check("N-RX-16", features=F.NET_OUT_NET_HEADER)
def outer_headers_are_not_made_up(bench: Bench) -> None:
    """outer_nh_offset is that of the frame's IP header, or 0; without OUT_NET_HEADER there is no such field."""
    mac = own_mac(bench)
    mark = fresh_mark()
    no_network = Stimulus("a frame without IP", Flow(), plain(mark, to=mac), (mark,))
    for one, got in came(bench, ALL | int(F.NET_OUT_NET_HEADER), [*finished(), no_network]):
        offset, right = int(got.header.outer_nh_offset), (0,) if one is no_network else (0, ETHERNET)
        bench.must(
            offset in right, f"{one.name}: outer_nh_offset is {offset}, it has to be {' or '.join(map(str, right))}"
        )
    for one, got in came(bench, GUEST, [*finished(), no_network]):
        begin = mac + one.frame[len(mac) : ETHERNET]
        bench.must(got.frame[:ETHERNET] == begin, f"{one.name}: it begins with {got.frame[:ETHERNET].hex(' ')}")


@check("N-RX-21")
def no_segments_in_tunnels(bench: Bench) -> None:
    """Without GUEST_UDP_TUNNEL_GSO, segments in a UDP tunnel come one by one, or not at all."""
    needs_tunnels(bench)
    for one, got in came(bench, ALL, [*unfinished_tunnels(), *unfinished_tunnels(summed=True)]):
        count = sum(mark in got.frame for mark in one.marks)
        bench.must(not gso_of(got) and count == 1, f"{one.name}: {count} in one frame, gso_type {gso_of(got):#x}")
        flow, begin = one.flow, inner_frame(one.outer or one.flow)
        done = sum_ok(got.frame[begin:], flow) or _is_left(got, begin + flow.transport)
        bench.must(done, f"{one.name}: one came with a wrong inner checksum")
        _outer_is_done(bench, one.name, one.outer or one.flow, got)


@check("N-RX-22")
def tunnels_are_described(bench: Bench) -> None:
    """Segments in a tunnel come with the bit of the inner IP header, both offsets, and no outer checksum to do."""
    for one, outer, got in _in_tunnels(bench, GUEST, unfinished_tunnels()):
        right = GsoBit.UDP_TUNNEL_IPV6 if one.flow.ipv6 else GsoBit.UDP_TUNNEL_IPV4
        bench.must(gso_of(got) & TUNNEL == right, f"{one.name}: gso_type {gso_of(got):#x}, it has to have {right:#x}")
        th, nh = int(got.header.outer_th_offset), int(got.header.inner_nh_offset)
        # The text's example has outer_th_offset at the end of the outer UDP header.
        legal = (outer.transport, outer.transport + UDP_LENGTH)
        bench.must(th in legal, f"{one.name}: outer_th_offset is {th}, the outer UDP header is at {legal[0]}")
        inner = inner_frame(outer) + ETHERNET
        bench.must(nh == inner, f"{one.name}: inner_nh_offset is {nh}, the inner IP header is at {inner}")
        _outer_is_done(bench, one.name, outer, got)


@check("N-RX-23", features=F.NET_GUEST_UDP_TUNNEL_GSO)
def no_outer_checksums(bench: Bench) -> None:
    """Without GUEST_UDP_TUNNEL_GSO_CSUM, no segments come whose outer checksum is to be completed."""
    needs_tunnels(bench)
    for one, got in came(bench, GUEST, unfinished_tunnels(summed=True)):
        flags = _flags(got) if gso_of(got) else 0
        bench.must(not flags & HdrFlag.UDP_TUNNEL_CSUM, f"{one.name}: flags {flags:#x} ask for an outer checksum")
        _outer_is_done(bench, one.name, one.outer or one.flow, got)


@check("N-RX-31")
def tunnels_are_not_valid(bench: Bench) -> None:
    """Segments in a tunnel come without DATA_VALID."""
    for one, _, got in _in_tunnels(bench, SUMMED, [*unfinished_tunnels(), *unfinished_tunnels(summed=True)]):
        flags = _flags(got)
        bench.must(not flags & HdrFlag.DATA_VALID, f"{one.name}: flags {flags:#x}, gso_type {gso_of(got):#x}")


@check("N-RX-33")
def outer_pseudo_sum_is_there(bench: Bench) -> None:
    """With UDP_TUNNEL_CSUM, the outer checksum field has the sum of the pseudo header."""
    stimuli = unfinished_tunnels(summed=True)
    found = [one for one in _in_tunnels(bench, SUMMED, stimuli) if _flags(one[2]) & HdrFlag.UDP_TUNNEL_CSUM]
    if not found:
        raise NotApplicable("the device completes outer checksums itself")
    for one, outer, got in found:
        right = pseudo_sum(outer, len(got.frame) - outer.transport)
        field = _outer_sum(outer, got)
        bench.must(field == right, f"{one.name}: the field has {field:#06x}, the pseudo header sums up to {right:#06x}")


@check("N-RX-34", features=F.NET_GUEST_UDP_TUNNEL_GSO_CSUM)
def outer_checksums_are_finished(bench: Bench) -> None:
    """Without UDP_TUNNEL_CSUM, segments in a tunnel have no outer checksum, or a whole one."""
    stimuli = [*unfinished_tunnels(), *unfinished_tunnels(summed=True)]
    for one, outer, got in _in_tunnels(bench, SUMMED, stimuli):
        if not _flags(got) & HdrFlag.UDP_TUNNEL_CSUM:
            _outer_is_done(bench, one.name, outer, got)
