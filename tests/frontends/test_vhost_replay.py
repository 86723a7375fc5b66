"""What real front ends said, recorded and said again.

The recordings were made against this back end; fds and addresses in them are stand-ins or as recorded.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.frontends.fakes import FEATURES, FakeBackend, Peer, open_fds
from vfiodpa.frontends.loop import Loop
from vfiodpa.frontends.vhost_user.server import Server
from vfiodpa.spec.features import Feature
from vfiodpa.spec.vhost_user import RULES, MemRegion, MemTableHeader, Request, SingleRegion

F = Feature
RECORDINGS = Path(__file__).parent / "recordings"
OFFERED = FEATURES | F.NET_MQ | F.IN_ORDER | F.NET_CSUM | F.NET_GUEST_CSUM | F.NET_HOST_TSO4


@dataclass(frozen=True)
class Line:
    request: Request
    ack: bool
    fds: int
    payload: bytes


def recording(name: str) -> list[Line]:
    lines = [line.split() for line in (RECORDINGS / f"{name}.txt").read_text().splitlines() if line[0] != "#"]
    return [Line(Request[name], ack == "a", int(fds), bytes.fromhex(data.strip("-"))) for name, ack, fds, data in lines]


def fds_for(line: Line, peer: Peer, memory: dict[int, int]) -> list[int]:
    """The same memory for the same address, an eventfd or a socket for the others."""
    if line.request is Request.SET_BACKEND_REQ_FD:
        peer.fds += [end.detach() for end in socket.socketpair()]
        return peer.fds[-1:]
    if line.request is Request.ADD_MEM_REG:
        regions: list[MemRegion | SingleRegion] = [SingleRegion.unpack(line.payload)]
    elif line.request is Request.SET_MEM_TABLE:
        data = line.payload[MemTableHeader.size :]
        regions = [MemRegion.unpack(data[at:]) for at in range(0, len(data), MemRegion.size)]
    else:
        return [peer.eventfd() for _ in range(line.fds)]
    for one in regions:
        if one.uaddr not in memory:
            memory[one.uaddr] = peer.memfd(one.mmap_offset + one.length)
    return [memory[one.uaddr] for one in regions]


def play(peer: Peer, lines: list[Line]) -> None:
    memory: dict[int, int] = {}
    for line in lines:
        fds = fds_for(line, peer, memory)
        if RULES[line.request].reply:
            peer.ask(line.request, line.payload, fds)
        elif line.ack:
            assert peer.acked(line.request, line.payload, fds), line
        else:
            peer.send(line.request, line.payload, fds)
        assert peer.alive, line


@pytest.fixture
def backend() -> FakeBackend:
    backend = FakeBackend()
    backend.features = OFFERED
    return backend


ALL = ["qemu-7.2-one-pair", "qemu-7.2-two-pairs", "dpdk-22.11-one-pair", "dpdk-22.11-two-pairs"]


@pytest.mark.parametrize("name", ALL)
def test_everything_is_accepted(peer: Peer, backend: FakeBackend, name: str) -> None:
    play(peer, recording(name))
    queues = 4 if name.endswith("two-pairs") else 2
    assert {queue for (queue,) in backend.of("start_queue")} == set(range(queues))
    assert backend.of("set_driver_ok")[0] == (True,)


@pytest.mark.parametrize("name", ALL)
def test_guest_killed_at_any_point_leaves_nothing(loop: Loop, server: Server, backend: FakeBackend, name: str) -> None:
    lines = recording(name)
    before = open_fds()
    for end in range(0, len(lines), 7):
        peer = Peer(loop, server.path)
        play(peer, lines[:end])
        peer.close()
        assert open_fds() == before
        assert backend.names()[-1] == "detach"
        assert not server.connected


def test_qemu_repeats_memory_for_each_pair_and_it_is_mapped_once(peer: Peer, backend: FakeBackend) -> None:
    lines = recording("qemu-7.2-two-pairs")
    assert [line.request for line in lines].count(Request.ADD_MEM_REG) == 2
    play(peer, lines)
    assert len(backend.of("add_region")) == 1


def test_dpdk_restarts_three_times(loop: Loop, server: Server) -> None:
    for _ in range(3):
        peer = Peer(loop, server.path)
        play(peer, recording("dpdk-22.11-one-pair"))
        peer.close()
