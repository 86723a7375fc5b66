"""What the header of a received frame may say, by what was negotiated (N-RX from 5 on, U-8).

Ref: virtio 1.3, 5.1.6.4.1 and 5.1.6.5.8
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..spec.features import Feature
from ..spec.virtio_net import Ack, CtrlClass, GsoBit, GsoType, GuestOffloadsCommand, HdrFlag
from ..validate.bench import RX, Bench
from ..validate.check import check
from ..validate.control import Control
from ..validate.frames import SUM_AT, TCP, TCP_LENGTH, flow_frame, fresh_mark, pseudo_sum, spoiled, sum_ok
from ..validate.offloads import (
    ECN,
    SEGMENT,
    U4,
    U6,
    V4,
    V6,
    Stimulus,
    finished,
    needs_offloads,
    unfinished_checksums,
    unfinished_segments,
    unfinished_tunnels,
)
from ..validate.traffic import LONGEST, Got, Receiver, own_mac
from ..validate.verdict import NotApplicable

F = Feature
CSUM = int(F.NET_GUEST_CSUM)
SEGMENTS = int(
    F.NET_GUEST_TSO4 | F.NET_GUEST_TSO6 | F.NET_GUEST_ECN | F.NET_GUEST_UFO | F.NET_GUEST_USO4 | F.NET_GUEST_USO6
)
ALL = CSUM | SEGMENTS
TUNNEL = int(GsoBit.UDP_TUNNEL_IPV4 | GsoBit.UDP_TUNNEL_IPV6)
FLOWS = (V4, V6, U4, U6)


def _stimuli(bench: Bench) -> list[Stimulus]:
    """All that this wire can carry."""
    if not bench.wire.carries_offloads:
        return finished()
    return [
        *finished(),
        *unfinished_checksums(),
        *unfinished_segments(*FLOWS),
        *unfinished_segments(V4, V6, ecn=True),
        *unfinished_segments(U4, gso=GsoType.UDP),
    ]


def came(bench: Bench, features: int, stimuli: Sequence[Stimulus]) -> Iterator[tuple[Stimulus, Got]]:
    """Bring the device up with features and send these; what came, frame by frame (or segment by segment)."""
    bench.start(features)
    yield from _through(bench, _receiver(bench), stimuli)


def _tunnels(bench: Bench) -> list[Stimulus]:
    """Segments in tunnels, where this wire can carry them."""
    if not bench.wire.carries_tunnels:
        return []
    return [*unfinished_tunnels(), *unfinished_tunnels(summed=True)]


def _receiver(bench: Bench) -> Receiver:
    return Receiver(bench, chain=(LONGEST,), count=8)  # what a driver without MRG_RXBUF has to offer


def _through(bench: Bench, receiver: Receiver, stimuli: Sequence[Stimulus]) -> Iterator[tuple[Stimulus, Got]]:
    mac = own_mac(bench)
    for one in stimuli:
        seen: list[Got] = []
        if receiver.passes(mac + one.frame[len(mac) :], one.marks[-1], one.header) is None:
            bench.note(f"{one.name}: did not come")  # a device may drop what its driver does not take
        for mark in one.marks:
            got = receiver.find(mark)
            if got and got not in seen:
                seen.append(got)
                yield one, got


def gso_of(got: Got) -> int:
    """``gso_type`` of a frame that came."""
    return int(got.header.gso_type)


def _never(bench: Bench, without: int, gso: int, name: str) -> None:
    """With all that is offered but ``without``, no frame has this gso_type."""
    for one, got in came(bench, ALL & ~int(without), _stimuli(bench)):
        bench.must(gso_of(got) & ~ECN != gso, f"{one.name}: gso_type {gso_of(got):#x}, but {name} was not negotiated")


@check("N-RX-5")
def no_flags(bench: Bench) -> None:
    """Without GUEST_CSUM, the flags of a frame are 0."""
    for one, got in came(bench, 0, _stimuli(bench)):
        bench.must(not int(got.header.flags), f"{one.name}: flags {int(got.header.flags):#x} without GUEST_CSUM")


@check("N-RX-6")
def checksums_are_complete(bench: Bench) -> None:
    """Without GUEST_CSUM, frames whose checksum was left open come with a whole one."""
    needs_offloads(bench)
    for one, got in came(bench, 0, unfinished_checksums()):
        bench.must(sum_ok(got.frame, one.flow), f"{one.name}: it came with a wrong checksum")


@check("N-RX-7")
def no_tcpv4_segments(bench: Bench) -> None:
    """Without GUEST_TSO4, no frame has gso_type TCPV4."""
    _never(bench, int(F.NET_GUEST_TSO4), GsoType.TCPV4, "GUEST_TSO4")


@check("N-RX-8")
def no_udp_fragments(bench: Bench) -> None:
    """Without GUEST_UFO, no frame has gso_type UDP."""
    _never(bench, int(F.NET_GUEST_UFO), GsoType.UDP, "GUEST_UFO")


@check("N-RX-9")
def no_tcpv6_segments(bench: Bench) -> None:
    """Without GUEST_TSO6, no frame has gso_type TCPV6."""
    _never(bench, int(F.NET_GUEST_TSO6), GsoType.TCPV6, "GUEST_TSO6")


@check("N-RX-10")
def no_udp_segments(bench: Bench) -> None:
    """Without GUEST_USO4 and GUEST_USO6, no frame has gso_type UDP_L4."""
    _never(bench, int(F.NET_GUEST_USO4 | F.NET_GUEST_USO6), GsoType.UDP_L4, "neither GUEST_USO4 nor GUEST_USO6")


@check("N-RX-11")
def no_tunnels(bench: Bench) -> None:
    """Without GUEST_UDP_TUNNEL_GSO, no gso_type has a tunnel bit."""
    for one, got in came(bench, ALL, _stimuli(bench) + _tunnels(bench)):
        bench.must(not gso_of(got) & TUNNEL, f"{one.name}: gso_type {gso_of(got):#x} speaks of a tunnel")


@check("N-RX-12")
def no_tunnel_checksums(bench: Bench) -> None:
    """Without GUEST_UDP_TUNNEL_GSO_CSUM, the flag UDP_TUNNEL_CSUM is clear."""
    for one, got in came(bench, ALL | int(F.NET_GUEST_UDP_TUNNEL_GSO), _stimuli(bench) + _tunnels(bench)):
        flags = int(got.header.flags)
        bench.must(not flags & HdrFlag.UDP_TUNNEL_CSUM, f"{one.name}: flags {flags:#x} speak of a tunnel")


@check("N-RX-13")
def no_segments_with_ecn(bench: Bench) -> None:
    """Without GUEST_ECN, TCP segments with ECN do not come in one frame."""
    needs_offloads(bench)
    bench.needs(F.NET_GUEST_TSO4)
    for one, got in came(bench, ALL & ~int(F.NET_GUEST_ECN), unfinished_segments(V4, V6, ecn=True)):
        bench.must(not gso_of(got), f"{one.name}: gso_type {gso_of(got):#x} without GUEST_ECN")


@check("N-RX-14")
def ecn_is_said(bench: Bench) -> None:
    """With GUEST_ECN, TCP segments with ECN that come in one frame say so."""
    needs_offloads(bench)
    for one, got in segments(bench, unfinished_segments(V4, V6, ecn=True)):
        bench.must(gso_of(got) & ECN, f"{one.name}: gso_type {gso_of(got):#x} says nothing of ECN")


def segments(bench: Bench, stimuli: Sequence[Stimulus], features: int = ALL) -> list[tuple[Stimulus, Got]]:
    """Frames that came to be segmented; raises ``NotApplicable`` when none does."""
    found = [(one, got) for one, got in came(bench, features, stimuli) if gso_of(got) & ~ECN]
    if not found:
        raise NotApplicable("no frame comes that is to be segmented")
    return found


def _spoiled() -> list[Stimulus]:
    found = []
    for flow in FLOWS:
        mark = fresh_mark()
        name = f"a wrong checksum, protocol {flow.protocol} over IPv{6 if flow.ipv6 else 4}"
        found.append(Stimulus(name, flow, spoiled(flow_frame(flow, mark), flow), (mark,)))
    return found


@check("N-RX-18")
def wrong_checksums_are_not_covered(bench: Bench) -> None:
    """With GUEST_CSUM, NEEDS_CSUM is not set for a frame that came with a wrong checksum."""
    for one, got in came(bench, CSUM, _spoiled()):
        flags = int(got.header.flags)
        bench.must(not flags & HdrFlag.NEEDS_CSUM, f"{one.name}: flags {flags:#x}, as if only the sum were missing")


def _to_complete(bench: Bench) -> list[tuple[Stimulus, Got]]:
    """Frames that came with NEEDS_CSUM; raises ``NotApplicable`` when none does."""
    needs_offloads(bench)
    partial = came(bench, CSUM, unfinished_checksums())
    found = [(one, got) for one, got in partial if int(got.header.flags) & HdrFlag.NEEDS_CSUM]
    if not found:
        raise NotApplicable("the device completes checksums itself")
    return found


@check("N-RX-19")
def pseudo_sum_is_there(bench: Bench) -> None:
    """With NEEDS_CSUM, the checksum field has the sum of the pseudo header."""
    for one, got in _to_complete(bench):
        at = one.flow.transport + SUM_AT[one.flow.protocol]
        found = int.from_bytes(got.frame[at : at + 2], "big")
        right = pseudo_sum(one.flow, len(got.frame) - one.flow.transport)
        bench.must(found == right, f"{one.name}: the field has {found:#06x}, the pseudo header sums up to {right:#06x}")


@check("N-RX-20")
def where_the_sum_belongs(bench: Bench) -> None:
    """With NEEDS_CSUM, csum_start and csum_offset are where the sum begins and belongs."""
    for one, got in _to_complete(bench):
        found = (int(got.header.csum_start), int(got.header.csum_offset))
        right = (one.flow.transport, SUM_AT[one.flow.protocol])
        bench.must(found == right, f"{one.name}: csum_start and csum_offset are {found}, they have to be {right}")


@check("N-RX-24")
def no_segments_at_all(bench: Bench) -> None:
    """Without any of GUEST_TSO4, TSO6, UFO, USO4 and USO6, gso_type is NONE."""
    for one, got in came(bench, CSUM, _stimuli(bench)):
        bench.must(not gso_of(got), f"{one.name}: gso_type {gso_of(got):#x}, but no segments were negotiated")


@check("N-RX-25")
def segments_have_a_size(bench: Bench) -> None:
    """A frame to be segmented has NEEDS_CSUM and a gso_size."""
    needs_offloads(bench)
    for one, got in segments(bench, unfinished_segments(*FLOWS)):
        flags, size = int(got.header.flags), int(got.header.gso_size)
        bench.must(flags & HdrFlag.NEEDS_CSUM, f"{one.name}: gso_type {gso_of(got):#x} without NEEDS_CSUM")
        bench.must(0 < size <= SEGMENT, f"{one.name}: gso_size {size}, it was sent with {SEGMENT}")


@check("N-RX-26")
def coalesced_segments_are_counted(bench: Bench) -> None:
    """With RSC_EXT, a frame of TCP segments says so, and how many it was made of."""
    needs_offloads(bench)
    for one, got in segments(bench, unfinished_segments(V4, V6), ALL | int(F.NET_RSC_EXT)):
        flags, size = int(got.header.flags), int(got.header.gso_size)
        bench.must(flags & HdrFlag.RSC_INFO, f"{one.name}: flags {flags:#x} say nothing of coalesced segments")
        right = -(-(len(got.frame) - one.flow.transport - TCP_LENGTH) // (size or SEGMENT))
        found = (int(got.header.csum_start), int(got.header.csum_offset))
        what = "coalesced segments and duplicated ACKs (csum_start, csum_offset)"
        bench.must(found == (right, 0), f"{one.name}: {what} are {found}, they have to be {(right, 0)}")


@check("N-RX-27")
def no_coalesced_segments(bench: Bench) -> None:
    """Without RSC_EXT, the flag RSC_INFO is clear."""
    for one, got in came(bench, ALL, _stimuli(bench)):
        flags = int(got.header.flags)
        bench.must(not flags & HdrFlag.RSC_INFO, f"{one.name}: flags {flags:#x} speak of coalesced segments")


@check("N-RX-28")
def headers_have_a_length(bench: Bench) -> None:
    """A frame to be segmented has a hdr_len of at least all its headers."""
    needs_offloads(bench)
    for one, got in segments(bench, unfinished_segments(*FLOWS)):
        right = one.flow.transport + (20 if one.flow.protocol == TCP else 8)
        length = int(got.header.hdr_len)
        bench.must(length >= right, f"{one.name}: hdr_len {length}, the headers have {right} bytes")


@check("N-RX-30")
def validity_is_not_guessed(bench: Bench) -> None:
    """With GUEST_CSUM, DATA_VALID is not set for a frame with a wrong checksum."""
    for one, got in came(bench, CSUM, _spoiled()):
        flags = int(got.header.flags)
        bench.must(not flags & HdrFlag.DATA_VALID, f"{one.name}: flags {flags:#x}")


@check("U-8", wire=True)
def offloads_can_be_taken_back(bench: Bench) -> None:
    """CTRL_GUEST_OFFLOADS_SET holds from the next frame on; bits that were not negotiated are refused."""
    control = Control.start(bench, int(F.NET_CTRL_GUEST_OFFLOADS) | CSUM)
    receiver = _receiver(bench)
    bench.device.bell(RX)
    for bit in (F.NET_GUEST_TSO4, F.NET_GUEST_UFO, F.NET_MRG_RXBUF):
        data = (int(bit) | CSUM).to_bytes(8, "little")
        answer = control.ask(CtrlClass.GUEST_OFFLOADS, GuestOffloadsCommand.SET, data)
        bench.must(answer.ack == Ack.ERR, f"{bit.name} was not negotiated: {answer}")
    for offloads in (0, CSUM, 0) if bench.device.features & CSUM else (0,):
        control.guest_offloads(offloads)
        stimuli = unfinished_checksums() if bench.wire.carries_offloads else finished()
        for one, got in _through(bench, receiver, stimuli):
            flags = int(got.header.flags)
            bench.must(offloads or not flags, f"{one.name}: flags {flags:#x} with all offloads taken back")
            whole = flags & HdrFlag.NEEDS_CSUM or sum_ok(got.frame, one.flow)
            bench.must(whole, f"{one.name}: neither a whole checksum nor NEEDS_CSUM")
