"""Mutants of frames and their headers (5.1.6): variants of the C data path, and features that it wrongly takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..._native import lib
from ...spec.features import Feature
from .mutant import Mutant, around

if TYPE_CHECKING:
    from ..virtio_net import VirtioNet

F = Feature
SEGMENTS = F.NET_GUEST_TSO4 | F.NET_GUEST_TSO6 | F.NET_GUEST_UFO | F.NET_GUEST_USO4 | F.NET_GUEST_USO6


def _believes(features: Feature, given: Feature, without: Feature) -> Callable[[VirtioNet], None]:
    """The data path takes ``features`` as negotiated where ``given`` are, and ``without`` are not."""

    def patch(nic: VirtioNet) -> None:
        def set_features(real: Callable[[Feature], None], negotiated: Feature) -> None:
            real(negotiated | features if negotiated & given and not negotiated & without else negotiated)

        around(nic.engine, "set_features", set_features)

    return patch


def _any_length(nic: VirtioNet) -> None:
    around(nic.engine, "set_mtu", lambda _real, _mtu: None)


# fmt: off
MUTANTS: tuple[Mutant, ...] = (
    Mutant("N-CFG-5", "frames of any length come through", patch=_any_length),
    Mutant("N-CFG-6", "frames of more than 1000 bytes do not leave", native=lib.VDP_MUTANT_SHORT_MTU),

    Mutant("N-TX-1", "frames with unknown flags are lost", native=lib.VDP_MUTANT_MINDS_FLAGS),
    Mutant("N-TX-2", "csum_start is used without NEEDS_CSUM", native=lib.VDP_MUTANT_SUMS_UNASKED),
    Mutant("N-TX-4", "frames with outer_nh_offset 0 are lost", native=lib.VDP_MUTANT_OUTER_ZERO),
    Mutant("N-TX-7", "frames to be cut with a hdr_len that is not theirs are lost",
           native=lib.VDP_MUTANT_MINDS_HDR_LEN),
    Mutant("N-TX-8", "frames with both tunnel bits leave", native=lib.VDP_MUTANT_BOTH_TUNNELS),
    Mutant("N-TX-9", "frames with a tunnel's offsets and no tunnel are lost", native=lib.VDP_MUTANT_MINDS_OFFSETS),
    Mutant("N-TX-10", "a tunnel without a checksum or segments leaves", native=lib.VDP_MUTANT_HALF_TUNNEL),
    Mutant("N-TX-11", "UDP_TUNNEL_CSUM without a tunnel is ignored", native=lib.VDP_MUTANT_SUM_ALONE),
    Mutant("N-TX-12", "frames with a wrong checksum are lost", native=lib.VDP_MUTANT_MINDS_SUMS),

    Mutant("N-RXB-1", "num_buffers is 1 whatever a frame takes", native=lib.VDP_MUTANT_COUNT_ONE),
    Mutant("N-RXB-2", "frames are spread over buffers without MRG_RXBUF",
           patch=_believes(F.NET_MRG_RXBUF, F.VERSION_1, F.NET_MRG_RXBUF)),
    Mutant("N-RX-1", "num_buffers is 0 without MRG_RXBUF", native=lib.VDP_MUTANT_COUNT_ZERO),
    Mutant("N-RX-2", "num_buffers is 1 whatever a frame takes", native=lib.VDP_MUTANT_COUNT_ONE),
    Mutant("N-RX-3", "the first of several buffers has room left", ("N-RX-2",), native=lib.VDP_MUTANT_UNFILLED),
    Mutant("N-RX-4", "the first of several buffers comes before the others", native=lib.VDP_MUTANT_APART),
    Mutant("N-RX-5", "DATA_VALID without GUEST_CSUM", native=lib.VDP_MUTANT_VALID_UNASKED),
    Mutant("N-RX-6", "checksums that it completes are wrong", native=lib.VDP_MUTANT_LEAVES_SUMS),
    Mutant("N-RX-7", "who takes segments of TCP over IPv6 gets those of IPv4",
           patch=_believes(F.NET_GUEST_TSO4, F.NET_GUEST_TSO6, F.NET_GUEST_TSO4)),
    Mutant("N-RX-8", "who takes segments of TCP gets fragments of UDP",
           patch=_believes(F.NET_GUEST_UFO, F.NET_GUEST_TSO4, F.NET_GUEST_UFO)),
    Mutant("N-RX-9", "who takes segments of TCP over IPv4 gets those of IPv6",
           patch=_believes(F.NET_GUEST_TSO6, F.NET_GUEST_TSO4, F.NET_GUEST_TSO6)),
    Mutant("N-RX-10", "who takes segments of TCP gets those of UDP",
           patch=_believes(F.NET_GUEST_USO4 | F.NET_GUEST_USO6, F.NET_GUEST_TSO4, F.NET_GUEST_USO4)),
    Mutant("N-RX-11", "segments are said to be in a tunnel", native=lib.VDP_MUTANT_TUNNEL),
    Mutant("N-RX-12", "UDP_TUNNEL_CSUM is always set", native=lib.VDP_MUTANT_TUNNEL_SUM),
    Mutant("N-RX-13", "who takes segments of TCP gets those with ECN",
           patch=_believes(F.NET_GUEST_ECN, F.NET_GUEST_TSO4, F.NET_GUEST_ECN)),
    Mutant("N-RX-14", "segments with ECN do not say so", native=lib.VDP_MUTANT_NO_ECN),
    Mutant("N-RX-16", "outer_nh_offset is 14 for whatever comes", native=lib.VDP_MUTANT_OUTER_ANY),
    Mutant("N-RX-18", "NEEDS_CSUM for whatever comes", native=lib.VDP_MUTANT_UNSEEN_SUM),
    Mutant("N-RX-19", "the checksum field is 0 with NEEDS_CSUM", native=lib.VDP_MUTANT_NO_PSEUDO),
    Mutant("N-RX-20", "csum_start is two bytes too far", native=lib.VDP_MUTANT_SUM_START),
    Mutant("N-RX-21", "segments in a tunnel come as any others", native=lib.VDP_MUTANT_TUNNEL_UNASKED),
    Mutant("N-RX-22", "inner_nh_offset is 0", native=lib.VDP_MUTANT_NO_INNER),
    Mutant("N-RX-23", "who takes segments in tunnels gets those with an outer checksum to do", ("N-RX-12",),
           patch=_believes(F.NET_GUEST_UDP_TUNNEL_GSO_CSUM, F.NET_GUEST_UDP_TUNNEL_GSO,
                           F.NET_GUEST_UDP_TUNNEL_GSO_CSUM)),
    Mutant("N-RX-24", "who takes partial checksums gets segments",
           patch=_believes(F.NET_GUEST_TSO4 | F.NET_GUEST_TSO6, F.NET_GUEST_CSUM, SEGMENTS)),
    Mutant("N-RX-25", "gso_size is 0", native=lib.VDP_MUTANT_NO_SIZE),
    Mutant("N-RX-26", "one coalesced segment too many", native=lib.VDP_MUTANT_MISCOUNTS),
    Mutant("N-RX-27", "RSC_INFO is always set", native=lib.VDP_MUTANT_COALESCED),
    Mutant("N-RX-28", "hdr_len is 0", native=lib.VDP_MUTANT_NO_HDR_LEN),
    Mutant("N-RX-30", "DATA_VALID for whatever comes", native=lib.VDP_MUTANT_VALID_UNSEEN),
    Mutant("N-RX-31", "segments in a tunnel have DATA_VALID", native=lib.VDP_MUTANT_VALID_TUNNEL),
    Mutant("N-RX-33", "the outer checksum is 0 with UDP_TUNNEL_CSUM", native=lib.VDP_MUTANT_OUTER_CLEARED),
    Mutant("N-RX-34", "the outer checksum is not finished without UDP_TUNNEL_CSUM",
           native=lib.VDP_MUTANT_OUTER_OPEN),
    Mutant("X-7", "a frame's first bytes are an offset", native=lib.VDP_MUTANT_OUTER_BEYOND),
    Mutant("X-9", "frames take turns between the pairs", ("X-10",), native=lib.VDP_MUTANT_ROUND_ROBIN),
)
# fmt: on
