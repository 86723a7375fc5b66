"""Device status, resets, device failure, and the order in which a session ends."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.frontends.fakes import FEATURES, FakeBackend, Peer, ring_at, settle
from vfiodpa.errors import DeviceError, DeviceTimeout
from vfiodpa.frontends.vhost_user import connection, memory, vrings
from vfiodpa.spec.features import Feature
from vfiodpa.spec.vhost_user import U64, Protocol, Request, VringState
from vfiodpa.spec.virtio_pci import DeviceStatus as S

R = Request
ACCEPTED = int(FEATURES | Feature.VHOST_PROTOCOL_FEATURES)


def set_status(peer: Peer, status: int) -> bool:
    return peer.acked(R.SET_STATUS, U64(value=status))


def test_status_reads_back(guest: Peer) -> None:
    for status in (S.ACKNOWLEDGE, S.ACKNOWLEDGE | S.DRIVER, S.ACKNOWLEDGE | S.DRIVER | S.FEATURES_OK):
        assert set_status(guest, status)
        assert guest.ask(R.GET_STATUS) == status


def test_features_ok_needs_features(peer: Peer) -> None:
    peer.send(R.SET_PROTOCOL_FEATURES, U64(value=int(Protocol.STATUS | Protocol.REPLY_ACK)))
    assert set_status(peer, S.ACKNOWLEDGE | S.DRIVER | S.FEATURES_OK)
    assert peer.ask(R.GET_STATUS) == S.ACKNOWLEDGE | S.DRIVER
    assert peer.acked(R.SET_FEATURES, U64(value=ACCEPTED))
    assert set_status(peer, S.ACKNOWLEDGE | S.DRIVER | S.FEATURES_OK)
    assert peer.ask(R.GET_STATUS) == S.ACKNOWLEDGE | S.DRIVER | S.FEATURES_OK


def test_driver_ok_reaches_the_core_once(guest: Peer, backend: FakeBackend) -> None:
    assert set_status(guest, 11)
    assert not backend.of("set_driver_ok")
    assert set_status(guest, 15)
    assert set_status(guest, 15)
    assert backend.of("set_driver_ok") == [(True,)]


def test_driver_ok_before_features_is_refused(peer: Peer) -> None:
    peer.send(R.SET_PROTOCOL_FEATURES, U64(value=int(Protocol.STATUS | Protocol.REPLY_ACK)))
    assert not set_status(peer, 7)


def test_driver_ok_that_the_core_refuses_is_not_kept(guest: Peer, backend: FakeBackend) -> None:
    assert set_status(guest, 11)
    backend.fail["set_driver_ok"] = DeviceError("no")
    assert not set_status(guest, 15)
    assert guest.ask(R.GET_STATUS) == 11
    assert set_status(guest, 15)


def test_driver_ok_taken_back(guest: Peer, backend: FakeBackend) -> None:
    assert set_status(guest, 15)
    assert set_status(guest, 15 - S.DRIVER_OK | S.FAILED)
    assert backend.of("set_driver_ok") == [(True,), (False,)]


def test_without_status_a_started_ring_means_driver_ok(peer: Peer, backend: FakeBackend) -> None:
    peer.negotiate(protocol=int(Protocol.REPLY_ACK | Protocol.CONFIGURE_MEM_SLOTS))
    peer.add_memory()
    peer.start(0)
    peer.start(1)
    assert backend.of("set_driver_ok") == [(True,)]


def test_with_status_a_started_ring_waits_for_driver_ok(guest: Peer, backend: FakeBackend) -> None:
    guest.start(0)
    assert not backend.of("set_driver_ok")


RESETS = {"SET_STATUS": U64(value=0).pack(), "RESET_DEVICE": b"", "RESET_OWNER": b""}


@pytest.mark.parametrize("how", RESETS)
def test_reset_stops_and_forgets_rings_and_keeps_memory(guest: Peer, backend: FakeBackend, how: str) -> None:
    guest.start(0)
    assert set_status(guest, 15)
    backend.calls.clear()
    assert guest.acked(Request[how], RESETS[how])
    assert backend.names() == ["stop_queue", "reset"]
    assert len(backend.regions) == 1
    assert guest.acked(R.SET_FEATURES, U64(value=ACCEPTED))
    assert not guest.acked(R.SET_VRING_KICK, U64(value=0), [guest.eventfd()])  # NUM and ADDR are forgotten
    guest.describe(0)
    assert guest.acked(R.SET_VRING_KICK, U64(value=0), [guest.eventfd()])


@pytest.mark.parametrize("how", ["SET_STATUS", "RESET_DEVICE"])
def test_reset_starts_the_negotiation_again(guest: Peer, how: str) -> None:
    assert set_status(guest, 15)
    assert guest.acked(Request[how], RESETS[how])
    assert guest.ask(R.GET_STATUS) == 0
    assert not guest.acked(R.SET_VRING_NUM, VringState(index=0, num=256))


@pytest.mark.parametrize("how", RESETS)
def test_position_survives_a_reset_until_it_is_asked(guest: Peer, backend: FakeBackend, how: str) -> None:
    """QEMU 7.2 pauses a VM with status 0 and asks for the position after it."""
    guest.start(0)
    backend.position[0] = 1234
    assert guest.acked(Request[how], RESETS[how])
    assert guest.ask(R.GET_VRING_BASE, VringState(index=0)) == 1234


@pytest.mark.parametrize("how", RESETS)
def test_ring_starts_at_0_after_a_reset(guest: Peer, backend: FakeBackend, how: str) -> None:
    guest.start(0)
    backend.position[0] = 1234
    assert guest.acked(Request[how], RESETS[how])
    assert guest.acked(R.SET_FEATURES, U64(value=ACCEPTED))
    assert guest.acked(R.SET_VRING_NUM, VringState(index=0, num=256))
    assert guest.acked(R.SET_VRING_ADDR, ring_at(0))
    assert guest.acked(R.SET_VRING_KICK, U64(value=0), [guest.eventfd()])
    assert backend.of("set_base")[-1] == (0, 0)


def test_reset_happens_even_when_a_queue_does_not_stop(guest: Peer, backend: FakeBackend) -> None:
    guest.start(0)
    backend.fail["stop_queue"] = DeviceTimeout("does not stop")
    assert guest.acked(R.RESET_DEVICE)
    assert backend.names()[-1] == "reset"


def test_failed_device_shows_in_the_status_until_reset(guest: Peer, backend: FakeBackend) -> None:
    err = guest.eventfd()
    assert guest.acked(R.SET_VRING_ERR, U64(value=0), [err])
    assert set_status(guest, 15)
    assert backend.frontend
    backend.frontend.device_failed("all registers read as ones")
    assert guest.ask(R.GET_STATUS) == 15 | S.NEEDS_RESET
    assert os.eventfd_read(err) == 1
    assert set_status(guest, 15)
    assert guest.ask(R.GET_STATUS) == 15 | S.NEEDS_RESET
    assert set_status(guest, 0)
    assert guest.ask(R.GET_STATUS) == 0


def test_config_change_says_nothing_to_the_peer(guest: Peer, backend: FakeBackend) -> None:
    assert backend.frontend
    backend.frontend.config_changed()
    assert guest.alive


def test_session_ends_with_the_device_first_and_the_socket_last(
    guest: Peer, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def note(owner: type, name: str, text: str) -> None:
        real: Callable[..., None] = getattr(owner, name)

        def call(self: object, *args: object) -> None:
            order.append(text)
            real(self, *args)

        monkeypatch.setattr(owner, name, call)

    note(FakeBackend, "detach", "device")
    note(memory.MemoryTable, "close", "memory")
    note(vrings.Vrings, "close", "fds")
    note(connection.Connection, "close", "socket")
    guest.start(0)
    guest.sock.close()
    settle(guest.loop)
    assert order[:4] == ["device", "memory", "fds", "socket"]
    assert backend.frontend is None
