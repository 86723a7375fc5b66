"""A Linux guest on ``soft:tap=``: it talks to this host through a network namespace of our own."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hwtests.peers.backend import VfiodpaServer
from hwtests.peers.conftest import boot_files, directory, need_program  # noqa: F401 - fixtures
from hwtests.peers.iperf import measure, servers
from hwtests.peers.linux_guest import LinuxGuest
from hwtests.peers.testpmd import two_cpus
from hwtests.ports.namespace import ip, quiet
from hwtests.rig.qmp import Qmp
from tests.settle import settles

pytestmark = pytest.mark.timeout(400)

HOST, GUEST, PORT = "198.18.0.1", "198.18.0.2", 5001
MEBIBYTES = 8
IPERF_S = 2
MOVED = 1 << 20  # bytes of a connection: an emulated guest is slow
FEW = 8  # frames: a connection's beginning
LATE = 256  # entries of a ring
CSUM, TSO4, ANNOUNCE = 0, 11, 21  # feature bits
PAIRS = 2
ETH_P_ARP = 0x0806


@pytest.fixture
def server(network: None, directory: Path) -> Iterator[VfiodpaServer]:  # noqa: F811 - the fixture
    device = f"soft:tap=vm0,queues={PAIRS}"
    one = VfiodpaServer(directory / "vhost.sock", directory / "serve.log", cpu=two_cpus()[0], device=device)
    try:
        quiet("vm0")
        ip(f"addr add {HOST}/24 dev vm0")
        yield one
        if one.program.running:
            one.stop()
    finally:
        if one.program.running:
            one.program.kill()


@pytest.fixture(autouse=True)
def _tools(need_program: Callable[[str, str], None]) -> None:  # noqa: F811
    for program in ("iperf3", "ethtool"):
        need_program(program, program)


@pytest.fixture
def guest(server: VfiodpaServer, boot_files: tuple[Path, Path]) -> Iterator[LinuxGuest]:  # noqa: F811
    with LinuxGuest(server.socket, server.socket.with_name("qemu.log"), *boot_files, pairs=PAIRS) as one:
        link = one.ask("up")
        assert link["carrier"] == 1
        assert [link["features"][bit] for bit in (CSUM, TSO4, ANNOUNCE)] == ["1", "1", "1"]
        assert one.ask(f"address {GUEST}/24")
        yield one
        one.poweroff()


def receive_all(listener: socket.socket, found: list[str]) -> None:
    connection, _ = listener.accept()
    digest = hashlib.sha256()
    with connection:
        while data := connection.recv(1 << 20):
            digest.update(data)
    found.append(digest.hexdigest())


def from_guest(guest: LinuxGuest) -> tuple[str, str]:
    """Digests: what the guest sent, what came."""
    found: list[str] = []
    with socket.create_server((HOST, PORT)) as listener:
        listener.settimeout(60)
        thread = threading.Thread(target=receive_all, args=(listener, found))
        thread.start()
        sent = guest.ask(f"send {HOST} {PORT} {MEBIBYTES}")
        thread.join(60)
    return sent, found[0]


def to_guest(guest: LinuxGuest) -> tuple[str, str]:
    """The same the other way round."""
    data = os.urandom(MEBIBYTES << 20)
    guest.send(f"receive {PORT}")
    for _ in range(200):  # until it listens
        try:
            connection = socket.create_connection((GUEST, PORT), timeout=10)
            break
        except ConnectionRefusedError:
            threading.Event().wait(0.05)
    with connection:
        connection.sendall(data)
    return hashlib.sha256(data).hexdigest(), guest.answer()


def longest_sent(server: VfiodpaServer) -> float:
    """Bytes of a frame from the guest, on average: beyond the MTU only if it leaves segments to us."""
    ours = server.settled()
    return ours.bytes_from_guest / ours.from_guest


def broken_checksums() -> int:
    """TCP segments that this host refused, in our namespace."""
    counters = Path("/proc/thread-self/net/snmp").read_text()
    names, values = re.findall(r"^Tcp: (.*)$", counters, re.MULTILINE)
    return int(dict(zip(names.split(), values.split(), strict=True))["InCsumErrors"])


def moved(server: VfiodpaServer, kind: str) -> list[tuple[int, int]]:
    """Packets and bytes of the queues of a kind, by our own counters, once nothing moves any more."""
    server.settled()
    return [(queue["packets"], queue["bytes"]) for queue in server.report()["queues"] if queue["kind"] == kind]


def counted(guest: LinuxGuest, kind: str) -> list[int]:
    """The same by the guest's counters."""
    pattern = rf"^ *{kind}_queue_\d+_packets: (\d+)$"
    return [int(count) for count in re.findall(pattern, guest.run("ethtool -S eth0"), re.MULTILINE)]


def check_files(guest: LinuxGuest, server: VfiodpaServer) -> None:
    sent, came = from_guest(guest)
    assert sent == came
    assert longest_sent(server) > 1514
    sent, came = to_guest(guest)
    assert sent == came


def check_settings(guest: LinuxGuest) -> None:
    """What the guest's driver made of our features."""
    features = dict(re.findall(r"^\s*([\w-]+): (on|off)", guest.run("ethtool -k eth0"), re.MULTILINE))
    wanted = ("rx-checksumming", "tx-checksumming", "tcp-segmentation-offload", "tx-tcp-segmentation", "scatter-gather")
    assert {name: features.get(name) for name in wanted} == dict.fromkeys(wanted, "on")
    channels = re.findall(r"^Combined:\s+(\d+)", guest.run("ethtool -l eth0"), re.MULTILINE)
    assert channels == [str(PAIRS), str(PAIRS)]  # at most, now


def check_iperf(guest: LinuxGuest, server: VfiodpaServer, *, reverse: bool) -> None:
    """A connection from each CPU: both pairs carry frames, and both sides count the same on each."""
    kind = "rx" if reverse else "tx"
    before = moved(server, kind), counted(guest, kind)
    flows = measure(guest, HOST, IPERF_S, reverse=reverse)
    queues = list(zip(moved(server, kind), before[0], strict=True))
    ours = [now[0] - then[0] for now, then in queues]
    carried = [now[1] - then[1] for now, then in queues]
    theirs = [now - then for now, then in zip(counted(guest, kind), before[1], strict=True)]
    assert [flow.bytes > MOVED for flow in flows] == [True] * PAIRS
    # Each CPU sends by a pair of its own, though the guest's kernel now and then moves a connection to another. Where
    # the host's frames go follows where the guest answers from: with one interrupt for all, mostly from one CPU.
    assert min(ours) > FEW, ours
    assert reverse or min(carried) > MOVED, carried
    assert sum(carried) >= sum(flow.bytes for flow in flows)
    # What was sent is counted in the guest when its buffer comes back: some may be late.
    assert all(abs(a - b) <= LATE for a, b in zip(ours, theirs, strict=True)), (ours, theirs)


def check_announcement(guest: LinuxGuest) -> None:
    """QEMU asks its guest to announce itself, as after a migration: it tells its address to the network."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP)) as wire:
        wire.bind(("vm0", ETH_P_ARP))
        wire.settimeout(10)
        with Qmp.connect(guest.monitor) as qmp:
            qmp.execute("announce-self", initial=50, max=500, rounds=3, step=100)  # ms
        addresses = socket.inet_aton(GUEST)
        while True:  # raises TimeoutError
            arp = wire.recv(2000)[14:]
            if (arp[14:18], arp[24:28]) == (addresses, addresses):
                return


def check_link_follows_the_server(guest: LinuxGuest, server: VfiodpaServer) -> None:
    """vhost-user's only word for a link that is down."""
    server.stop()
    assert settles(lambda: guest.run("busybox cat /sys/class/net/eth0/carrier").strip() == "0", 10)


def test_files_iperf_and_ethtool(guest: LinuxGuest, server: VfiodpaServer) -> None:
    """One boot for all of it: that is what takes the time."""
    assert guest.ask(f"ping {HOST} 3") == 3
    check_settings(guest)
    check_files(guest, server)
    with servers(HOST, server.socket.parent, PAIRS):
        check_iperf(guest, server, reverse=False)
        check_iperf(guest, server, reverse=True)
    assert broken_checksums() == 0
    assert [queue for queue in server.report()["queues"] if queue["errors"] or queue["bad_headers"]] == []
    check_announcement(guest)
    check_link_follows_the_server(guest, server)
