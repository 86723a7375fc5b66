"""UFO (VIRTIO_NET_HDR_GSO_UDP) to a driver that does not take it: IP fragments, put together again here."""

from __future__ import annotations

import struct
import time

import pytest

from tests.soft.soft_rig import Nic, Ring
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_net import GsoType, HdrFlag, NetHdr

UFO_FEATURES = Feature.VERSION_1 | Feature.NET_CSUM | Feature.NET_HOST_UFO
ETHERNET = 14
PAYLOAD = bytes(at * 7 & 0xFF for at in range(1601))


def total(data: bytes) -> int:
    """The Internet checksum's sum."""
    data += b"\0" * (len(data) % 2)
    value: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while value >> 16:
        value = (value & 0xFFFF) + (value >> 16)
    return value


def datagram(version: int, ident: int = 0) -> bytes:
    """A frame with UDP whose checksum is that of the pseudo header."""
    length = 8 + len(PAYLOAD)
    hosts = [bytes([host]) * (16 if version == 6 else 4) for host in (10, 11)]
    pseudo = total(b"".join(hosts) + struct.pack(">HH", 17, length))
    udp = struct.pack(">HHHH", 1000, 2000, length, pseudo) + PAYLOAD
    if version == 6:
        ip = struct.pack(">IHBB", 6 << 28, length, 17, 64) + b"".join(hosts)
        return b"\xff" * 6 + bytes(6) + b"\x86\xdd" + ip + udp
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, ident, 0x4000, 64, 17, 0) + b"".join(hosts)
    ip = ip[:10] + struct.pack(">H", total(ip) ^ 0xFFFF) + ip[12:]
    return b"\xff" * 6 + bytes(6) + b"\x08\x00" + ip + udp


def ufo_header(transport: int, size: int) -> NetHdr:
    """For fragments of so many bytes behind the IP header."""
    return NetHdr(flags=HdrFlag.NEEDS_CSUM, gso_type=GsoType.UDP, gso_size=size, csum_start=transport, csum_offset=6)


def echoed(frame: bytes, transport: int, size: int, count: int) -> list[bytes]:
    """What comes back of it, with the NIC's header taken off; ``count`` frames."""
    nic = Nic("soft")
    try:
        nic.bring_up(int(UFO_FEATURES))
        rx, tx = Ring(nic, 0), Ring(nic, 1)
        for _ in range(8):
            rx.offer(bytes(0x400), writable=True)
        tx.offer(ufo_header(transport, size).pack() + frame)
        nic.bell(0)
        nic.bell(1)
        assert rx.wait_used(count)
        time.sleep(0.01)
        assert rx.used == count
        lengths = [int.from_bytes(rx.get(0xA000 + 4 + 8 * at + 4, 4), "little") for at in range(count)]
        return [rx.buffer(at, length)[12:] for at, length in enumerate(lengths)]
    finally:
        nic.close()


def whole(parts: list[bytes], hosts: bytes) -> None:
    """The pieces make up the datagram, whose checksum is right."""
    udp = b"".join(parts)
    assert udp[8:] == PAYLOAD
    assert total(hosts + struct.pack(">HH", 17, len(udp)) + udp) == 0xFFFF


@pytest.mark.parametrize("ident", [0, 77])
@pytest.mark.parametrize("size", [800, 807])  # rounded down
def test_ipv4(ident: int, size: int) -> None:
    frames = echoed(datagram(4, ident), ETHERNET + 20, size, 3)
    headers = [struct.unpack(">BBHHHBBH8s", frame[ETHERNET : ETHERNET + 20]) for frame in frames]
    assert [head[4] for head in headers] == [0x2000, 0x2000 | 100, 200]
    assert [head[2] for head in headers] == [len(frame) - ETHERNET for frame in frames] == [820, 820, 29]
    assert len({head[3] for head in headers}) == 1
    assert headers[0][3] == ident or (not ident and headers[0][3])
    assert all(total(frame[ETHERNET : ETHERNET + 20]) == 0xFFFF for frame in frames)
    whole([frame[ETHERNET + 20 :] for frame in frames], headers[0][8])


def test_ipv6() -> None:
    frames = echoed(datagram(6), ETHERNET + 40, 800, 3)
    start = ETHERNET + 40
    fragments = [struct.unpack(">BBHI", frame[start : start + 8]) for frame in frames]
    assert [frame[ETHERNET + 6] for frame in frames] == [44] * 3
    assert [frame[ETHERNET + 4 : ETHERNET + 6] for frame in frames] == [
        struct.pack(">H", len(frame) - start) for frame in frames
    ]
    assert [(head[0], head[1], head[2]) for head in fragments] == [(17, 0, 1), (17, 0, 800 | 1), (17, 0, 1600)]
    assert len({head[3] for head in fragments}) == 1
    assert fragments[0][3]
    whole([frame[start + 8 :] for frame in frames], frames[0][ETHERNET + 8 : start])


@pytest.mark.parametrize("size", [7, 65500])
def test_sizes_that_make_no_fragments(size: int) -> None:
    """Below 8 bytes; or longer than IP can say."""
    nic = Nic("soft")
    nic.bring_up(int(UFO_FEATURES))
    rx, tx = Ring(nic, 0), Ring(nic, 1)
    rx.offer(bytes(0x400), writable=True)
    tx.offer(ufo_header(34, size).pack() + datagram(4))
    nic.bell(1)
    assert tx.wait_used(1)
    assert nic.f.queue_stats(0)["dropped"] + nic.f.queue_stats(0)["too_long"] == 1
    assert rx.used == 0
    nic.close()
