"""``vfiodpa serve`` as users run it: it starts, says so, ends and cleans up, whatever its guest is doing."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import vfiodpa
from tests.e2e.hostile import Attack
from tests.e2e.rig import DEADLINE, move, wait_for
from tests.e2e.server import Server
from vfiodpa.errors import ExitCode
from vfiodpa.guest.channel import FrontendChannel
from vfiodpa.guest.traffic import Plan, Traffic
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.spec.vhost_user import Header, Request

ENDS_WITHIN = 4.0  # seconds; a small part of one on an idle machine, 5 when it waits for a peer's deadline


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nic.sock"


@pytest.fixture
def server(path: Path) -> Iterator[Server]:
    with Server(path) as one:
        assert one.line() == f"listening on {path}\n"
        yield one


# What the guest is doing when the signal comes


def no_guest(server: Server, ends: ExitStack) -> None:
    pass


def connected(server: Server, ends: ExitStack) -> None:
    channel = ends.enter_context(FrontendChannel.connect(server.path, DEADLINE))
    assert channel.call(Request.GET_FEATURES).u64


def has_memory(server: Server, ends: ExitStack) -> None:
    guest = ends.enter_context(VhostUserGuest(server.path, timeout=DEADLINE))
    guest.set_features(guest.choose(None))
    guest.send_memory()


def started(server: Server, ends: ExitStack) -> VhostUserGuest:
    guest = VhostUserGuest(server.path, timeout=DEADLINE)
    ends.callback(guest.vanish)  # the server ends first
    guest.start()
    return guest


def running(server: Server, ends: ExitStack) -> None:
    traffic = ends.enter_context(Traffic(started(server, ends), Plan(poll_us=0, drain=0.0)))
    wait_for(lambda: traffic.stats().total.received > 100, "traffic")


def failed(server: Server, ends: ExitStack) -> None:
    guest = started(server, ends)
    attack = Attack(guest)
    attack.tx.offer(0xFFFF)
    attack.tx.kick()
    assert select.select([guest.error_fd(1)], [], [], DEADLINE)[0]


def stalled(server: Server, ends: ExitStack) -> None:
    channel = ends.enter_context(FrontendChannel.connect(server.path, DEADLINE))
    assert channel.call(Request.GET_FEATURES).u64
    channel.send_raw(Header(request=Request.SET_FEATURES, flags=1, length=8).pack() + b"\0\0\0")


@pytest.mark.parametrize("state", [no_guest, connected, has_memory, running, failed, stalled])
def test_sigterm_ends_it_in_every_state(
    server: Server, ends: ExitStack, state: Callable[[Server, ExitStack], None]
) -> None:
    state(server, ends)
    seconds = server.end()
    assert server.process.returncode == ExitCode.DONE, server.stderr
    assert seconds < ENDS_WITHIN
    assert not server.path.exists()
    assert server.rest == ""
    assert server.report["schema"] == "vfiodpa.report/1"
    if state is running:
        assert server.report["queues"][1]["packets"] > 100
    assert server.stderr.count("\n") == (1 if state is failed else 0), server.stderr


def test_it_is_ready_once_it_runs(path: Path) -> None:
    """Who reads the line may send the signal that ends it: it must be ours by then."""
    said: list[str] = []
    with vfiodpa.open("soft") as nic, nic.serve(path, on_ready=said.append) as service:
        assert said == []
        service.start()
        assert said == [f"listening on {path}"]


def test_a_second_signal_does_not_cut_the_teardown_short(path: Path) -> None:
    """``timeout`` signals a process and then its group."""
    others: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _frame: others.append(number))
    try:
        with vfiodpa.open("soft") as nic, nic.serve(path) as service:
            service._loop.call_later(0, lambda: os.kill(os.getpid(), signal.SIGUSR2))
            service.run(signal.SIGUSR2)
            os.kill(os.getpid(), signal.SIGUSR2)
            assert others == []
        os.kill(os.getpid(), signal.SIGUSR2)
        assert others == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_report_on_demand(server: Server, ends: ExitStack) -> None:
    move(started(server, ends), count=100)
    server.process.send_signal(signal.SIGUSR1)
    wait_for(server.report_path.exists, "the report")
    assert [queue["packets"] for queue in server.report["queues"]] == [100, 100]
    assert server.process.poll() is None


def test_a_killed_server_leaves_a_stale_socket_that_is_replaced(path: Path) -> None:
    with Server(path) as first, ExitStack() as ends:
        first.line()
        guest = started(first, ends)
        first.end(signal.SIGKILL)
        assert guest.channel.closed_by_peer(DEADLINE)
    assert path.is_socket()
    with Server(path) as second, ExitStack() as ends:
        assert second.line() == f"listening on {path}\n"
        move(started(second, ends), count=100)


def test_a_live_socket_is_refused_and_goes_on(server: Server, ends: ExitStack) -> None:
    with Server(server.path) as second:
        assert second.wait() == ExitCode.FAILED
        assert "another process serves this socket" in second.stderr
        assert str(server.path) in second.stderr
        assert second.rest == ""
    assert server.path.is_socket()
    move(started(server, ends), count=100)


def test_client_mode_comes_back_to_each_front_end(path: Path) -> None:
    with Server(path, "--client") as server:
        for _ in range(2):
            with VhostUserGuest(path, listen=True, timeout=DEADLINE) as guest:
                assert server.line() == f"connected to {path}\n"
                guest.start()
                move(guest, count=100)
        assert server.end(signal.SIGINT) < ENDS_WITHIN
        assert server.process.returncode == ExitCode.DONE
        assert server.rest == ""


def test_client_mode_ends_while_it_waits(path: Path) -> None:
    """And says nothing on standard output before it is connected."""
    with socket.socket(socket.AF_UNIX) as listener:  # bound, not listening: a connection is refused
        listener.bind(str(path))
        with Server(path, "--client", "-v") as server:
            wait_for(lambda: "waiting for the front end" in server.stderr, "its first attempt")
            server.end()
            assert server.process.returncode == ExitCode.DONE
            assert server.rest == ""
    assert path.is_socket(), "the front end's socket is not ours to remove"
