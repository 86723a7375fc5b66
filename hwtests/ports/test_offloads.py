"""DPDK's virtio-user leaves checksums and segments to our NIC; who finishes them is the kernel, at the other end.

testpmd's checksum engine sends back what it receives. The NIC is on ``near``, an end of a veth pair that can do
neither checksums nor segments: what arrives at ``far`` the kernel made of our frames by their virtio headers.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pcapng
import pytest
from pcapng.blocks import EnhancedPacket

from hwtests.debian_kernel import run
from hwtests.peers.backend import VfiodpaServer
from hwtests.peers.conftest import directory, need_program  # noqa: F401 - fixtures
from hwtests.peers.testpmd import Testpmd, two_cpus, virtio_user
from hwtests.ports.inet import TCP, UDP, Packet, frame, parse
from hwtests.ports.namespace import ip, quiet

pytestmark = [pytest.mark.timeout(180), pytest.mark.filterwarnings("ignore:Field type should not be")]

ETH_P_ALL = 3
SEGMENT = 500
BACK = bytes.fromhex("020000000000")  # where testpmd sends what it forwards


@pytest.fixture(autouse=True)
def cable(network: None, need_program: Callable[[str, str], None]) -> None:  # noqa: F811 - the fixture
    need_program("dpdk-testpmd", "dpdk-dev")
    need_program("ethtool", "ethtool")
    ip("link add near type veth peer name far")
    run("ethtool", "-K", "near", "tx", "off", "tso", "off", "gso", "off")
    quiet("near")
    quiet("far")


@pytest.fixture
def capture(directory: Path) -> Path:  # noqa: F811 - the fixture
    return directory / "wire.pcapng"


@pytest.fixture
def server(directory: Path, capture: Path) -> Iterator[VfiodpaServer]:  # noqa: F811 - the fixture
    device = f"soft:packet=near,capture={capture}"
    one = VfiodpaServer(directory / "vhost.sock", directory / "serve.log", cpu=two_cpus()[0], device=device)
    try:
        yield one
        if one.program.running:
            one.stop()
    finally:
        if one.program.running:
            one.program.kill()


@pytest.fixture(params=[False, True], ids=["split", "packed"])
def guest(server: VfiodpaServer, request: pytest.FixtureRequest) -> Iterator[Testpmd]:
    log = server.socket.with_name("guest.log")
    with virtio_user(server.socket, log, cpu=two_cpus()[1], mergeable=True, packed=request.param) as one:
        one.leave_to_the_nic(SEGMENT)
        one.start(mode="csum")
        yield one


@pytest.fixture
def far() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as one:
        one.bind(("far", ETH_P_ALL))
        one.settimeout(10)
        yield one


def come_back(far: socket.socket, length: int) -> list[Packet]:
    """What the guest sent, until that many bytes of payload are there."""
    found: list[Packet] = []
    while sum(len(one.payload) for one in found) < length:
        data = far.recv(70000)
        packet = parse(data)
        if packet and data[:6] == BACK:
            found.append(packet)
    return found


def sent_by_the_guest(capture: Path) -> list[Packet]:
    """As it crossed the wire."""
    with capture.open("rb") as file:
        blocks = [block for block in pcapng.FileScanner(file) if isinstance(block, EnhancedPacket)]
    packets = [parse(one.packet_data) for one in blocks if one.options["epb_flags"].inout == "outbound"]
    return [packet for packet in packets if packet]


def test_checksums_and_segments(guest: Testpmd, server: VfiodpaServer, far: socket.socket, capture: Path) -> None:
    data = {UDP: os.urandom(701), TCP: os.urandom(1459)}
    for protocol, payload in data.items():
        far.send(frame(protocol, payload, sequence=1000))
        packets = come_back(far, len(payload))
        assert b"".join(one.payload for one in packets) == payload
        assert all(one.protocol == protocol and one.ip_good and one.good for one in packets)
        if protocol == TCP:
            assert [one.sequence for one in packets] == [1000, 1000 + SEGMENT, 1000 + 2 * SEGMENT]
    guest.quit()
    server.stop()
    report = [(one.protocol, len(one.payload), one.good) for one in sent_by_the_guest(capture)]
    assert report == [(UDP, 701, False), (TCP, 1459, False)]  # in one piece, their checksums unfinished
