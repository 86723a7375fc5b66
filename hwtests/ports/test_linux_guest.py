"""A Linux guest on ``soft:tap=``: it talks to this host through a network namespace of our own."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwtests.peers.backend import VfiodpaServer
from hwtests.peers.conftest import boot_files, directory  # noqa: F401 - fixtures
from hwtests.peers.linux_guest import LinuxGuest
from hwtests.peers.testpmd import two_cpus
from hwtests.ports.namespace import ip, quiet

pytestmark = pytest.mark.timeout(400)

HOST, GUEST, PORT = "198.18.0.1", "198.18.0.2", 5001
MEBIBYTES = 8
CSUM, TSO4 = 0, 11  # what the guest leaves to us


@pytest.fixture(params=[1, 2], ids=["one pair", "two pairs"])
def pairs(request: pytest.FixtureRequest) -> int:
    value: int = request.param
    return value


@pytest.fixture
def server(network: None, directory: Path, pairs: int) -> Iterator[VfiodpaServer]:  # noqa: F811 - the fixture
    device = f"soft:tap=vm0,queues={pairs}"
    one = VfiodpaServer(directory / "vhost.sock", directory / "serve.log", cpu=two_cpus()[0], device=device)
    try:
        quiet("vm0")
        ip(f"addr add {HOST}/24 dev vm0")
        yield one
        one.stop()
    finally:
        if one.program.running:
            one.program.kill()


@pytest.fixture
def guest(server: VfiodpaServer, boot_files: tuple[Path, Path], pairs: int) -> Iterator[LinuxGuest]:  # noqa: F811
    with LinuxGuest(server.socket, server.socket.with_name("qemu.log"), *boot_files, pairs=pairs) as one:
        link = one.ask("up")
        assert link["carrier"] == 1
        assert (link["features"][CSUM], link["features"][TSO4]) == ("1", "1")
        assert one.ask(f"address {GUEST}/24")
        yield one
        one.poweroff()


def receive_all(listener: socket.socket, found: list[str]) -> None:
    connection, _ = listener.accept()
    digest = hashlib.md5()
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
    return hashlib.md5(data).hexdigest(), guest.answer()


def longest_sent(server: VfiodpaServer) -> float:
    """Bytes of a frame from the guest, on average: beyond the MTU only if it leaves segments to us."""
    ours = server.settled()
    return ours.bytes_from_guest / ours.from_guest


def broken_checksums() -> int:
    """TCP segments that this host refused, in our namespace."""
    counters = Path("/proc/thread-self/net/snmp").read_text()
    names, values = re.findall(r"^Tcp: (.*)$", counters, re.MULTILINE)
    return int(dict(zip(names.split(), values.split(), strict=True))["InCsumErrors"])


def test_ping_and_files_both_ways(guest: LinuxGuest, server: VfiodpaServer, pairs: int) -> None:
    """One boot for all of it: that is what takes the time."""
    assert guest.ask(f"ping {HOST} 5") == 5
    assert guest.ask("queues") == pairs
    for _ in range(3 * pairs):  # each connection is another flow
        sent, came = from_guest(guest)
        assert sent == came
    assert longest_sent(server) > 1514
    sent, came = to_guest(guest)
    assert sent == came
    assert broken_checksums() == 0
    report = server.report()
    assert [queue for queue in report["queues"] if queue["errors"]] == []
    transmit = [queue["packets"] for queue in report["queues"] if queue["kind"] == "tx"]
    assert all(packets > 0 for packets in transmit)
