"""Frames that the NIC makes: sizes that take turns, flows that differ."""

from __future__ import annotations

from collections.abc import Callable

from tests.soft.soft_rig import Nic, Ring


def received(nic: Nic, count: int, length: int = 900) -> list[bytes]:
    nic.bring_up()
    ring = Ring(nic, 0)
    for _ in range(count):
        ring.offer(bytes(12 + length), writable=True)
    nic.bell(0)
    assert ring.wait_used(count)
    used = [int.from_bytes(ring.get(0xA000 + 4 + 8 * i + 4, 4), "little") for i in range(count)]
    return [ring.buffer(i, used[i])[12:] for i in range(count)]


def checksum(header: bytes) -> int:
    total = sum(int.from_bytes(header[i : i + 2]) for i in range(0, len(header), 2))
    return (total & 0xFFFF) + (total >> 16)


def test_sizes_take_turns(make_nic: Callable[[str], Nic]) -> None:
    frames = received(make_nic("soft:port=generate,sizes=60+300+61"), 8)
    assert [len(frame) for frame in frames] == [60, 300, 61, 60, 300, 61, 60, 300]


def test_flows_differ_in_addresses_and_ports(make_nic: Callable[[str], Nic]) -> None:
    frames = received(make_nic("soft:port=generate,flows=3,frame=80"), 8)
    flows = [frame[26:38] for frame in frames]
    assert len(set(flows)) == 3
    assert flows[:3] == flows[3:6]
    assert all(frame[12:15] == b"\x08\x00\x45" and frame[23] == 17 for frame in frames)
    assert [int.from_bytes(frame[42:50]) for frame in frames] == list(range(8))  # behind the UDP header


def test_headers_of_flows_are_right(make_nic: Callable[[str], Nic]) -> None:
    for frame in received(make_nic("soft:port=generate,flows=65536,sizes=60+301"), 8):
        assert checksum(frame[14:34]) == 0xFFFF
        assert int.from_bytes(frame[16:18]) == len(frame) - 14
        assert int.from_bytes(frame[38:40]) == len(frame) - 34


def test_without_flows_they_are_not_ip(make_nic: Callable[[str], Nic]) -> None:
    frames = received(make_nic("soft:port=generate"), 4)
    assert {frame[12:14] for frame in frames} == {b"\x88\xb5"}
    assert [int.from_bytes(frame[14:22]) for frame in frames] == [0, 1, 2, 3]
