"""What leaves the device (N-TX), and up to which length (N-CFG-6). Ref: virtio 1.3, 5.1.6.2.2 and 5.1.4.2"""

from __future__ import annotations

from ..spec.features import Feature
from ..spec.virtio_net import GsoType, HdrFlag, NetHdr
from ..validate.bench import MAC, PEER, TX, Bench
from ..validate.check import check
from ..validate.frames import ETHERNET, SUM_AT, TCP, UDP, Flow, flow_frame, fresh_mark, packet, spoiled
from ..validate.offloads import SEGMENT, heard_payload, segmented
from ..validate.traffic import hear, send_buffer, transmit

UNKNOWN_FLAGS = (0x10, 0x20, 0x40, 0x80, 0xF0)
FLOWS = tuple(Flow(3000, 4000, 9, ipv6, protocol) for ipv6 in (False, True) for protocol in (TCP, UDP))
OFFSETS = ((0xFFFF, 0xFFFF), (0, 0), (ETHERNET, 10), (60, 2))


def unchanged(bench: Bench, frame: bytes, mark: bytes, header: NetHdr, what: str) -> None:
    """Send, and have it arrive as it was."""
    transmit(bench, frame, header)
    heard = hear(bench, [mark])
    bench.must(heard, f"a frame with {what} did not leave")
    seen = heard[0]
    bench.must(seen.frame[: len(frame)] == frame, f"a frame with {what} left changed: {_difference(frame, seen.frame)}")
    asks = seen.header and (int(seen.header.flags) & HdrFlag.NEEDS_CSUM or int(seen.header.gso_type))
    bench.must(not asks, f"a frame with {what} left with offloads to be done: {seen.header}")


def _difference(sent: bytes, seen: bytes) -> str:
    at = next(
        (at for at, (one, two) in enumerate(zip(sent, seen, strict=False)) if one != two), min(len(sent), len(seen))
    )
    now, was = seen[at : at + 4].hex(" "), sent[at : at + 4].hex(" ")
    return f"{len(seen)} of {len(sent)} bytes, from byte {at} on {now} for {was}"


@check("N-TX-1")
def unknown_flags_are_ignored(bench: Bench) -> None:
    """A frame with header flags that nobody knows leaves as it is."""
    bench.start(Feature.NET_CSUM)
    for flags in UNKNOWN_FLAGS:
        mark = fresh_mark()
        frame = flow_frame(FLOWS[1], mark, to=PEER, source=MAC)
        unchanged(bench, frame, mark, NetHdr(flags=flags), f"flags {flags:#x}")


@check("N-TX-2")
def no_checksum_is_asked_for(bench: Bench) -> None:
    """Without NEEDS_CSUM, csum_start and csum_offset do nothing."""
    bench.start(Feature.NET_CSUM)
    for flow in FLOWS:
        right = (flow.transport, SUM_AT[flow.protocol])
        for start, offset in (right, *OFFSETS):
            mark = fresh_mark()
            frame = flow_frame(flow, mark, to=PEER, source=MAC)
            unchanged(bench, frame, mark, NetHdr(csum_start=start, csum_offset=offset), f"csum_start {start}")


@check("N-TX-7", features=Feature.NET_HOST_TSO4)
def length_of_the_headers_is_a_hint(bench: Bench) -> None:
    """A frame to be segmented leaves whole, whatever hdr_len says."""
    bench.start(Feature.NET_HOST_TSO4 | Feature.NET_CSUM)
    for at, length in enumerate((54, 0, 1, 53, 100, 0xFFFF)):
        flow = Flow(5000 + at, 6000, 9, protocol=TCP)
        marks = [fresh_mark() for _ in range(3)]
        frame, header = segmented(flow, marks, to=PEER, source=MAC)
        header.hdr_len = length
        transmit(bench, frame, header)
        seen = heard_payload(hear(bench, marks), flow)
        right = frame[-len(marks) * SEGMENT :]
        bench.must(seen == right, f"with hdr_len {length} {len(seen)} of {len(right)} bytes came out as they went in")


@check("N-TX-12")
def checksums_are_the_drivers(bench: Bench) -> None:
    """Without NEEDS_CSUM, a frame with a wrong checksum leaves as it is."""
    bench.start(Feature.NET_CSUM)
    for flow in FLOWS:
        mark = fresh_mark()
        frame = spoiled(flow_frame(flow, mark, to=PEER, source=MAC), flow)
        unchanged(bench, frame, mark, NetHdr(gso_type=GsoType.NONE), f"a wrong checksum, protocol {flow.protocol}")


@check("N-CFG-6")
def as_long_as_the_mtu_says(bench: Bench) -> None:
    """With MTU negotiated, packets up to that length leave in one piece, may they be fragmented or not."""
    bench.start(Feature.NET_MTU)
    mtu = int(bench.device.net.mtu)
    flow = Flow(7000, 8000, 9)
    ring = bench.ring(TX)
    for length in (mtu, mtu - 1, max(mtu // 2, 68)):
        for fragment in (0x4000, 0):
            mark = fresh_mark()
            payload = mark.ljust(length - 28, b"\x5a")
            frame = packet(flow, payload, to=PEER, source=MAC, fragment=fragment)
            bench.send(ring, send_buffer(bench, frame))
            bench.wait_used(ring)
            heard = hear(bench, [mark])
            what = f"a packet of {length} bytes{', DF set' if fragment else ''} (MTU {mtu})"
            bench.must(heard, f"{what} did not leave")
            bench.must(heard[0].frame == frame, f"{what} left changed: {_difference(frame, heard[0].frame)}")
