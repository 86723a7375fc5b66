"""Frames that checks are made of, and the hash they are steered by."""

from __future__ import annotations

import ipaddress

import pytest

from vfiodpa.spec.virtio_net import HashType
from vfiodpa.validate.frames import (
    ETHERNET,
    OTHER,
    TCP,
    UDP,
    Flow,
    checksum,
    flow_frame,
    fresh_mark,
    packet,
    plain,
    reply,
    spoiled,
    sum_ok,
)
from vfiodpa.validate.offloads import SEGMENT, V4, heard_payload, segmented
from vfiodpa.validate.toeplitz import KEY, flow_hash, toeplitz
from vfiodpa.validate.wire import Heard

FLOWS = [Flow(7, 8, 9, ipv6, protocol) for ipv6 in (False, True) for protocol in (TCP, UDP)]

# Microsoft, "Verifying the RSS hash calculation": destination, port, source, port, hash of addresses, with ports.
KNOWN = [
    ("161.142.100.80", 1766, "66.9.149.187", 2794, 0x323E8FC2, 0x51CCC178),
    ("65.69.140.83", 4739, "199.92.111.2", 14230, 0xD718262A, 0xC626B0EA),
    ("12.22.207.184", 38024, "24.19.198.95", 12898, 0xD2D0A5DE, 0x5C2B394A),
    ("209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xAFC7327F),
    ("202.188.127.2", 1303, "153.39.163.191", 44251, 0x5D1809C5, 0x10E828A2),
    ("3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2CC18CD5, 0x40207D3D),
    ("ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0F0C461C, 0xDDE51BBF),
    ("fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4B61E985, 0x02D1FEEF),
]


@pytest.mark.parametrize(("to", "to_port", "source", "source_port", "addresses", "ports"), KNOWN)
def test_known_hashes(to: str, to_port: int, source: str, source_port: int, addresses: int, ports: int) -> None:
    both = ipaddress.ip_address(source).packed + ipaddress.ip_address(to).packed
    assert toeplitz(KEY, both) == addresses
    assert toeplitz(KEY, both + source_port.to_bytes(2, "big") + to_port.to_bytes(2, "big")) == ports


def test_a_flow_has_the_hash_of_its_best_type() -> None:
    flow = Flow(1, 2, 3, protocol=TCP)
    with_ports = flow_hash(flow, int(HashType.IPV4 | HashType.TCPV4))
    assert with_ports == toeplitz(KEY, flow.addresses + flow.ports)
    assert flow_hash(flow, int(HashType.IPV4 | HashType.UDPV4)) == toeplitz(KEY, flow.addresses)
    assert flow_hash(flow, int(HashType.IPV6 | HashType.TCPV6)) is None


def test_no_mark_comes_twice() -> None:
    marks = [fresh_mark() for _ in range(1000)]
    assert len(set(marks)) == 1000
    assert marks[0] in plain(marks[0])


@pytest.mark.parametrize("flow", FLOWS)
def test_checksums_are_right_until_spoiled(flow: Flow) -> None:
    frame = flow_frame(flow, fresh_mark())
    assert len(frame) == 100
    assert sum_ok(frame, flow)
    assert not sum_ok(spoiled(frame, flow), flow)
    if not flow.ipv6:
        assert checksum(frame[ETHERNET : ETHERNET + 20]) == 0


@pytest.mark.parametrize("flow", FLOWS)
def test_a_partial_checksum_completes(flow: Flow) -> None:
    payload = fresh_mark()
    partial, whole = packet(flow, payload, partial=True), packet(flow, payload)
    at = flow.transport + (16 if flow.protocol == TCP else 6)
    assert checksum(partial[flow.transport :]).to_bytes(2, "big") == whole[at : at + 2]


@pytest.mark.parametrize("flow", FLOWS)
def test_a_reply_goes_back(flow: Flow) -> None:
    half = len(flow.addresses) // 2
    frame = reply(flow, fresh_mark())
    at = flow.transport - 2 * half
    assert frame[at : flow.transport] == flow.addresses[half:] + flow.addresses[:half]
    assert frame[flow.transport : flow.transport + 4] == flow.ports[2:] + flow.ports[:2]
    assert sum_ok(frame, flow)


def test_a_flow_without_ports() -> None:
    assert len(flow_frame(Flow(protocol=OTHER), fresh_mark())) == 100


def test_payload_of_segments_in_any_order() -> None:
    payload = b"a" * SEGMENT + b"b" * 100
    frames = [packet(V4, payload[at : at + SEGMENT], sequence=at) + b"pad" for at in (SEGMENT, 0)]
    assert heard_payload([Heard(frame) for frame in frames], V4) == payload


def test_a_frame_to_be_cut_has_all_its_marks() -> None:
    marks = [fresh_mark() for _ in range(3)]
    frame, header = segmented(V4, marks)
    assert all(mark in frame for mark in marks)
    assert (int(header.gso_size), int(header.hdr_len), int(header.csum_start)) == (SEGMENT, 54, 34)
