"""Peers that stall, vanish or are killed, next to others that must not notice."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

from tests.e2e.conftest import Connect, Serve
from tests.e2e.rig import DEADLINE, Stream, move, wait_for, warnings
from vfiodpa.guest.channel import FrontendChannel
from vfiodpa.guest.traffic import Plan, Traffic
from vfiodpa.spec.vhost_user import Header, Request
from vfiodpa.vdpa.datapath import State

HALF_A_HEADER = Header(request=Request.GET_FEATURES, flags=1, length=0).pack()[:6]
HEADER_ONLY = Header(request=Request.SET_FEATURES, flags=1, length=8).pack()

VICTIM = """
import sys
from vfiodpa.guest.traffic import Plan, Traffic
from vfiodpa.guest.vhost_user import VhostUserGuest
guest = VhostUserGuest(sys.argv[1])
guest.start()
traffic = Traffic(guest, Plan(poll_us=0))
while traffic.stats().total.received < 100:
    traffic.wait(0.001)
print("flows", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("sent", [HALF_A_HEADER, HEADER_ONLY, HEADER_ONLY + b"\1"], ids=["header", "payload", "rest"])
def test_a_peer_that_stalls_is_given_up_and_nobody_else_notices(
    serve: Serve, neighbour: Stream, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve(deadline=0.2)
    with FrontendChannel.connect(served.path, DEADLINE) as peer:
        peer.send_raw(sent)
        neighbour.flows()
        assert peer.closed_by_peer(DEADLINE)
    served.wait_state(State.IDLE)
    (line,) = warnings(caplog.records)
    assert "stalled" in line
    assert str(served.path) in line


def test_a_guest_that_stalls_within_a_message_keeps_its_traffic_until_its_deadline(
    serve: Serve, connect: Connect, neighbour: Stream
) -> None:
    served = serve(deadline=0.5)
    guest = connect(served)
    guest.start()
    traffic = Traffic(guest, Plan(poll_us=0, drain=0.0))
    guest.channel.send_raw(HALF_A_HEADER)
    before = traffic.stats().total.received
    wait_for(lambda: traffic.stats().total.received > before, "frames during the stall")
    assert guest.channel.closed_by_peer(DEADLINE)
    served.wait_state(State.IDLE)
    traffic.stop()
    guest.vanish()
    neighbour.flows()


def test_a_peer_that_never_reads_its_replies(serve: Serve, neighbour: Stream) -> None:
    served = serve(deadline=0.2)
    with FrontendChannel.connect(served.path, 0.2) as peer:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        try:
            while True:
                peer.send(Request.GET_FEATURES)
        except Exception as error:  # noqa: BLE001 - either way: we are not read, or closed
            assert "does not read" in str(error) or "cannot send" in str(error)
        neighbour.flows()
        served.wait_state(State.IDLE)


def test_a_second_guest_is_turned_away(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    served = serve()
    guest = connect(served)
    guest.start()
    stream = Stream(guest)
    with FrontendChannel.connect(served.path, DEADLINE) as second:
        assert second.closed_by_peer(DEADLINE)
    stream.flows()
    stream.stop()
    assert len(warnings(caplog.records)) == 1


@pytest.mark.parametrize("device", ["soft", "soft:model=plain", "soft:ioeventfd=off"])
def test_a_guest_that_vanishes_under_traffic(
    serve: Serve, connect: Connect, neighbour: Stream, device: str, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve(device)
    for _ in range(3):
        guest = connect(served)
        guest.start()
        traffic = Traffic(guest, Plan(poll_us=0, drain=0.0))
        assert not traffic.wait(0.01)
        guest.channel.close()
        served.wait_state(State.IDLE)
        assert served.nic.device.status == 0
        traffic.stop()
        guest.vanish()
    guest = connect(served)
    guest.start()
    move(guest)
    assert warnings(caplog.records) == []


def test_a_guest_that_vanishes_within_a_message(
    serve: Serve, connect: Connect, neighbour: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve()
    guest = connect(served)
    guest.start()
    guest.channel.send_raw(HEADER_ONLY)
    guest.vanish()
    served.wait_state(State.IDLE)
    guest = connect(served)
    guest.start()
    move(guest)
    assert len(warnings(caplog.records)) == 1


def test_a_guest_that_breaks_the_protocol_under_traffic(
    serve: Serve, connect: Connect, neighbour: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve()
    guest = connect(served)
    guest.start()
    traffic = Traffic(guest, Plan(poll_us=0, drain=0.0))
    guest.channel.send_raw(Header(request=0x7FFF, flags=1, length=0xFFFF_FFFF).pack())
    assert guest.channel.closed_by_peer(DEADLINE)
    served.wait_state(State.IDLE)
    traffic.stop()
    guest.vanish()
    assert len(warnings(caplog.records)) == 1
    guest = connect(served)
    guest.start()
    move(guest)


def test_a_killed_guest(serve: Serve, connect: Connect, neighbour: Stream) -> None:
    served = serve()
    command = [sys.executable, "-c", VICTIM, str(served.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as victim:
        try:
            assert victim.stdout is not None
            assert victim.stdout.readline() == "flows\n"
            assert served.datapath.state is State.RUNNING
        finally:
            victim.send_signal(signal.SIGKILL)
    served.wait_state(State.IDLE)
    assert served.nic.device.status == 0
    guest = connect(served)
    guest.start()
    move(guest)


def test_services_stop_under_traffic(serve: Serve, connect: Connect, neighbour: Stream) -> None:
    served = serve()
    guest = connect(served)
    guest.start()
    traffic = Traffic(guest, Plan(poll_us=0, drain=0.0))
    served.service.close()
    assert served.datapath.state is State.CLOSED
    assert not served.path.exists()
    assert guest.channel.closed_by_peer(DEADLINE)
    traffic.stop()
    guest.vanish()
