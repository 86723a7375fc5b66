from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guest.fake_backend import FakeBackend
from vfiodpa.errors import FeaturesRefused, StateError, Unsupported, UsageError
from vfiodpa.guest.channel import Channel, PeerClosed, PeerTimeout, RequestRefused
from vfiodpa.guest.memory import GuestMemory
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.memory import PAGE_SIZE
from vfiodpa.spec.features import Feature
from vfiodpa.spec.vhost_user import U64, BackendRequest, Protocol, Request, VringAddr, VringState
from vfiodpa.spec.virtio_pci import DeviceStatus

SIZE = 1024 * PAGE_SIZE


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[FakeBackend]:
    with FakeBackend(tmp_path / "s") as backend:
        yield backend


@pytest.fixture
def guest(backend: FakeBackend) -> Iterator[VhostUserGuest]:
    with VhostUserGuest(backend.path, memory=GuestMemory(SIZE), timeout=2) as guest:
        yield guest


def test_opening(backend: FakeBackend, guest: VhostUserGuest) -> None:
    assert backend.names() == [
        "SET_OWNER",
        "GET_FEATURES",
        "GET_PROTOCOL_FEATURES",
        "SET_PROTOCOL_FEATURES",
        "GET_QUEUE_NUM",
        "GET_MAX_MEM_SLOTS",
    ]
    assert (guest.queue_pairs, guest.memory_slots) == (4, 32)
    assert guest.offered == backend.offered


def test_start(backend: FakeBackend, guest: VhostUserGuest) -> None:
    opening = len(backend.heard)
    guest.start(size=128)
    vring = ["NUM", "BASE", "ADDR", "KICK", "CALL", "ERR"]
    assert backend.names()[opening:] == [
        "SET_FEATURES",
        "SET_STATUS",
        "GET_STATUS",
        "ADD_MEM_REG",
        *[f"SET_VRING_{part}" for part in vring * 2],
        "SET_VRING_ENABLE",
        "SET_VRING_ENABLE",
        "SET_STATUS",
    ]
    assert backend.payloads(Request.SET_FEATURES, U64) == [U64(value=backend.offered | Feature.VHOST_PROTOCOL_FEATURES)]
    assert backend.status & DeviceStatus.DRIVER_OK
    assert backend.payloads(Request.SET_VRING_NUM, VringState)[1] == VringState(index=1, num=128)
    assert guest.negotiated == backend.offered


def test_ring_addresses_are_the_front_ends(backend: FakeBackend, guest: VhostUserGuest) -> None:
    guest.start()
    address = backend.payloads(Request.SET_VRING_ADDR, VringAddr)[1]
    queue = guest.queues[1]
    assert isinstance(address, VringAddr)
    assert address.desc == int(guest.memory.uaddr(queue.desc)) != int(queue.desc)
    assert address.used == guest.memory.uaddr(queue.device)


def test_every_queue_is_kicked_once(backend: FakeBackend, guest: VhostUserGuest) -> None:
    guest.start(pairs=2)
    kicks = [message.fds[0] for message in backend.heard if message.request == Request.SET_VRING_KICK]
    assert [os.eventfd_read(fd) for fd in kicks] == [1] * 4


def test_call_reaches_the_queue(backend: FakeBackend, guest: VhostUserGuest) -> None:
    guest.start()
    call = [message.fds[0] for message in backend.heard if message.request == Request.SET_VRING_CALL][1]
    os.eventfd_write(call, 3)
    assert os.eventfd_read(guest.queues[1].call_fd) == 3


def test_stop_returns_positions(backend: FakeBackend, guest: VhostUserGuest) -> None:
    guest.start()
    backend.positions = {0: 7, 1: 65000}
    mark = len(backend.heard)
    assert guest.stop() == [7, 65000]
    assert backend.names()[mark:] == ["SET_VRING_ENABLE"] * 2 + ["GET_VRING_BASE"] * 2 + ["SET_STATUS"]
    assert backend.status == 0


def test_restart_frees_the_old_rings(backend: FakeBackend, guest: VhostUserGuest) -> None:
    guest.start(pairs=4, size=256)
    taken = len(guest.memory.regions[0].taken)
    for _ in range(5):
        guest.stop()
        guest.start(pairs=4, size=256)
    assert len(guest.memory.regions[0].taken) == taken
    assert len(backend.regions()) == 1  # told once


def test_start_at_a_position(backend: FakeBackend, guest: VhostUserGuest) -> None:
    guest.start(base=65530)
    assert backend.payloads(Request.SET_VRING_BASE, VringState)[0] == VringState(index=0, num=65530)
    assert guest.memory.load16(guest.queues[0].avail_idx_gpa) == 65530


def test_memory_table(tmp_path: Path) -> None:
    with (
        FakeBackend(tmp_path / "s", protocol=Protocol.REPLY_ACK) as backend,
        VhostUserGuest(backend.path, memory=GuestMemory(SIZE, SIZE)) as guest,
    ):
        guest.start()
        assert backend.names().count("SET_MEM_TABLE") == 1
        assert backend.regions() == [(region.gpa, SIZE) for region in guest.memory.regions]
        table = next(message for message in backend.heard if message.request == Request.SET_MEM_TABLE)
        assert len(table.fds) == 2


def test_memory_comes_and_goes(backend: FakeBackend, guest: VhostUserGuest) -> None:
    guest.start()
    region = guest.add_region(SIZE)
    assert backend.regions()[-1] == (region.gpa, SIZE)
    guest.remove_region(region)
    assert backend.names()[-1] == "REM_MEM_REG"
    assert region not in guest.memory.regions


def test_refused_memory_is_given_back(backend: FakeBackend, guest: VhostUserGuest) -> None:
    guest.start()
    backend.refuse.add(Request.ADD_MEM_REG)
    with pytest.raises(RequestRefused, match="ADD_MEM_REG"):
        guest.add_region(SIZE)
    assert len(guest.memory.regions) == 1


def test_old_back_end(tmp_path: Path) -> None:
    """Neither protocol features nor acknowledgements."""
    with FakeBackend(tmp_path / "s", protocol=None) as backend, VhostUserGuest(backend.path) as guest:
        guest.start()
        assert guest.stop() == [0, 0]
        assert "SET_VRING_ENABLE" not in backend.names()
        with pytest.raises(StateError, match="CONFIGURE_MEM_SLOTS"):
            guest.remove_region(guest.memory.regions[0])
        with pytest.raises(UsageError, match="2 queue pairs"):
            guest.start(pairs=2)


def test_features_that_are_not_offered(guest: VhostUserGuest) -> None:
    with pytest.raises(FeaturesRefused, match="NET_MAC is not offered"):
        guest.start(Feature.VERSION_1 | Feature.NET_MAC)


def test_features_we_lack(tmp_path: Path) -> None:
    offered = Feature.VERSION_1 | Feature.NOTIFICATION_DATA
    with FakeBackend(tmp_path / "s", offered=offered) as backend, VhostUserGuest(backend.path) as guest:
        for features in (offered, Feature(0)):
            with pytest.raises(Unsupported):
                guest.start(features)
        guest.start()
        assert guest.negotiated == Feature.VERSION_1


def test_back_end_that_clears_features_ok(backend: FakeBackend, guest: VhostUserGuest) -> None:
    backend.mute.add(Request.SET_STATUS)
    guest.channel.acks = False
    with pytest.raises(FeaturesRefused):
        guest.start()


def test_stalled_back_end(backend: FakeBackend, guest: VhostUserGuest) -> None:
    guest.start()
    backend.mute.add(Request.GET_VRING_BASE)
    guest.channel.timeout = 0.05
    with pytest.raises(PeerTimeout, match="GET_VRING_BASE"):
        guest.stop()


def test_close_stops_first(backend: FakeBackend) -> None:
    with VhostUserGuest(backend.path) as guest:
        guest.start()
    assert backend.names()[-3:] == ["GET_VRING_BASE", "GET_VRING_BASE", "SET_STATUS"]


def test_vanish_says_nothing(backend: FakeBackend) -> None:
    guest = VhostUserGuest(backend.path)
    guest.start()
    mark = len(backend.heard)
    guest.vanish()
    guest.close()
    backend.join()
    assert len(backend.heard) == mark


def test_back_end_that_dies(backend: FakeBackend, guest: VhostUserGuest) -> None:
    guest.start()
    backend.hang_up.add(Request.SET_VRING_ENABLE)
    with pytest.raises(PeerClosed):
        guest.stop()


def test_requests_of_the_back_end(tmp_path: Path) -> None:
    protocol = Protocol.REPLY_ACK | Protocol.BACKEND_REQ
    with FakeBackend(tmp_path / "s", protocol=protocol) as backend, VhostUserGuest(backend.path) as guest:
        assert guest.requests() == []
        handed = next(message for message in backend.heard if message.request == Request.SET_BACKEND_REQ_FD)
        with Channel(socket.socket(fileno=os.dup(handed.fds[0])), "back end", 2) as back:
            back.send(BackendRequest.CONFIG_CHANGE_MSG, need_reply=True)
            assert [message.request for message in guest.requests(2)] == [BackendRequest.CONFIG_CHANGE_MSG]
            assert back.recv().u64 == 0


def test_fds_are_given_back(backend: FakeBackend) -> None:
    guest = VhostUserGuest(backend.path)
    guest.start(pairs=3)
    theirs = len(backend.fds)
    before = len(list(Path("/proc/self/fd").iterdir()))
    guest.close()
    guest.close()
    ours = 1 + 1 + 3 * 6  # socket, memory, eventfds
    assert before - len(list(Path("/proc/self/fd").iterdir())) in (ours, ours + 1)  # the fake's socket closes too
    assert theirs == len(backend.fds)
