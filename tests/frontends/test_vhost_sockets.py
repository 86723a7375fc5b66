"""Server and client sockets: who may connect, what happens to the file, and coming back."""

from __future__ import annotations

import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.frontends.fakes import FakeBackend, Peer, open_fds, settle
from vfiodpa.errors import ExitCode, LimitError, StateError, UsageError, VfiodpaError
from vfiodpa.frontends.loop import Loop
from vfiodpa.frontends.vhost_user import server as server_module
from vfiodpa.frontends.vhost_user.client import Client
from vfiodpa.frontends.vhost_user.server import Server
from vfiodpa.spec.vhost_user import Header, Request

Warnings = Callable[[], list[str]]


def until(loop: Loop, done: Callable[[], bool], seconds: float = 2) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        loop.run_once(0.01)


# Server


def test_says_that_it_listens(loop: Loop, tmp_path: Path) -> None:
    said: list[str] = []
    with Server(loop, tmp_path / "s", FakeBackend(), on_ready=said.append):
        assert said == [f"listening on {tmp_path / 's'}"]


def test_only_the_owner_may_connect(server: Server) -> None:
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600


def test_file_is_removed_at_the_end(loop: Loop, tmp_path: Path) -> None:
    server = Server(loop, tmp_path / "s", FakeBackend())
    server.open()
    server.close()
    server.close()
    assert not server.path.exists()


def test_file_of_another_is_left_alone(loop: Loop, tmp_path: Path) -> None:
    with Server(loop, tmp_path / "s", FakeBackend()) as server:
        server.path.unlink()
        server.path.write_text("somebody else's")
    assert server.path.read_text() == "somebody else's"


def test_file_that_is_gone_already(loop: Loop, tmp_path: Path) -> None:
    with Server(loop, tmp_path / "s", FakeBackend()) as server:
        server.path.unlink()


def test_stale_file_is_replaced(loop: Loop, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    with Server(loop, tmp_path / "s", FakeBackend()) as server:
        peer = Peer(loop, server.path)
        assert server.connected
        peer.close()


def test_live_socket_is_refused(loop: Loop, server: Server) -> None:
    with pytest.raises(StateError, match="another process serves this socket") as caught:
        Server(loop, server.path, FakeBackend()).open()
    assert str(server.path) in str(caught.value)
    assert caught.value.exit_code == ExitCode.FAILED
    settle(loop)
    peer = Peer(loop, server.path)  # the probe did no harm
    assert peer.alive
    peer.close()


def test_socket_with_a_full_backlog_is_live(loop: Loop, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(tmp_path / "s"))
        busy.listen(0)
        waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(2)]
        for one in waiting:
            one.connect_ex(str(tmp_path / "s"))
        with pytest.raises(StateError):
            Server(loop, tmp_path / "s", FakeBackend()).open()
        for one in waiting:
            one.close()


@pytest.mark.parametrize("make", [lambda path: path.write_text("data"), lambda path: path.mkdir()])
def test_what_is_no_socket_is_never_removed(loop: Loop, tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "s")
    with pytest.raises(UsageError, match="not a socket"):
        Server(loop, tmp_path / "s", FakeBackend()).open()
    assert (tmp_path / "s").exists()


def test_path_that_is_too_long(loop: Loop, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at most 107"):
        Server(loop, tmp_path / ("x" * 108), FakeBackend()).open()


def test_directory_that_is_missing(loop: Loop, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mkdir -p"):
        Server(loop, tmp_path / "no" / "s", FakeBackend()).open()


def test_directory_without_permission(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(*_args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "fchmod", bind)  # root may write everywhere
    with pytest.raises(LimitError, match="EACCES") as caught:
        Server(loop, tmp_path / "s", FakeBackend()).open()
    assert caught.value.exit_code == ExitCode.NO_PERMISSION


def test_one_guest_at_a_time(loop: Loop, server: Server, peer: Peer, warnings: Warnings) -> None:
    second = Peer(loop, server.path)
    assert not second.alive
    assert len(warnings()) == 1
    assert "another guest is attached" in warnings()[0]
    assert peer.ask(Request.GET_FEATURES)
    second.close()


def test_next_guest_after_the_first(loop: Loop, server: Server, peer: Peer, backend: FakeBackend) -> None:
    peer.close()
    again = Peer(loop, server.path)
    assert again.ask(Request.GET_FEATURES)
    again.close()
    assert backend.names() == ["attach", "detach"] * 2


@pytest.mark.parametrize("unread", [b"", Header(request=1, flags=1).pack() * 50, b"\1"])
def test_quick_reconnect_of_a_killed_guest(
    loop: Loop, server: Server, backend: FakeBackend, unread: bytes, warnings: Warnings
) -> None:
    """The old end and the new connection are there at once, even with requests unread."""
    old = Peer(loop, server.path)
    old.sock.sendall(unread)
    old.sock.close()
    new = socket.socket(socket.AF_UNIX)
    new.connect(str(server.path))
    assert server._listener
    server._accept(0)  # the listener's turn comes first
    peer = Peer(loop, server.path, new)
    assert peer.ask(Request.GET_FEATURES)
    assert backend.names() == ["attach", "detach", "attach"]
    assert not warnings()
    peer.close()


def test_core_that_has_a_guest_refuses(
    loop: Loop, server: Server, peer: Peer, tmp_path: Path, warnings: Warnings
) -> None:
    with Server(loop, tmp_path / "two", server._backend) as two:
        second = Peer(loop, two.path)
        assert not second.alive
        assert not two.connected
        second.close()
    assert peer.alive
    assert len(warnings()) == 1


def test_attach_and_detach_are_one_line_each(loop: Loop, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    peer = Peer(loop, server.path)
    peer.close()
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        f"{server.path}: guest attached (pid {os.getpid()}, uid {os.getuid()})",
        f"{server.path}: guest detached",
    ]


def test_close_lets_the_guest_go(loop: Loop, tmp_path: Path, backend: FakeBackend) -> None:
    with Server(loop, tmp_path / "s", backend) as server:
        peer = Peer(loop, server.path)
    assert backend.names() == ["attach", "detach"]
    assert not peer.alive
    peer.close()


def test_out_of_fds_is_one_warning_and_no_spin(
    loop: Loop, server: Server, monkeypatch: pytest.MonkeyPatch, warnings: Warnings
) -> None:
    class Empty:
        def __init__(self, real: socket.socket) -> None:
            self.fileno = real.fileno

        def accept(self) -> None:
            raise OSError(24, "Too many open files")

    assert server._listener
    real = server._listener
    monkeypatch.setattr(server_module, "RETRY", 0.02)
    server._listener = Empty(real)  # type: ignore[assignment]
    peer = Peer(loop, server.path)
    assert loop.run_once(0) == 0
    assert len(warnings()) == 1
    assert "EMFILE" in warnings()[0]
    server._listener = real
    until(loop, lambda: server.connected)
    peer.close()


def test_two_servers_in_one_loop(loop: Loop, tmp_path: Path) -> None:
    with Server(loop, tmp_path / "a", FakeBackend()) as a, Server(loop, tmp_path / "b", FakeBackend()) as b:
        peers = [Peer(loop, a.path), Peer(loop, b.path)]
        assert all(peer.ask(Request.GET_FEATURES) for peer in peers)
        for peer in peers:
            peer.close()


@pytest.mark.parametrize("state", ["listening", "connected", "half a message"])
def test_sigterm_ends_cleanly(tmp_path: Path, state: str) -> None:
    """A process of its own: signal, exit code and socket file."""
    code = f"""
import signal, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.frontends.fakes import FakeBackend
from vfiodpa.frontends.loop import Loop
from vfiodpa.frontends.vhost_user.server import Server
with Loop() as loop, loop.stop_on(signal.SIGTERM), Server(
    loop, {str(tmp_path / "s")!r}, FakeBackend(), on_ready=lambda text: print(text, flush=True)
):
    loop.run()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert b"listening on" in process.stdout.readline()
        with socket.socket(socket.AF_UNIX) as sock:
            if state != "listening":
                sock.connect(str(tmp_path / "s"))
                sock.sendall(Header(request=Request.GET_FEATURES, flags=1).pack())
                assert sock.recv(100)
            if state == "half a message":
                sock.sendall(b"\1\0\0")
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        assert process.stderr.read() == b""
    assert not (tmp_path / "s").exists()


# Client


class FrontEnd:
    """A listening front end, as QEMU with server=on."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.path = path
        self.sock.bind(str(path))
        self.sock.listen()

    def accept(self, loop: Loop) -> Peer:
        return Peer(loop, self.path, self.sock.accept()[0])

    def close(self) -> None:
        self.sock.close()
        self.path.unlink()


def client(loop: Loop, path: Path, backend: FakeBackend, said: list[str]) -> Client:
    made = Client(loop, path, backend, on_ready=said.append)
    made.retry = 0.02
    return made


def test_client_connects_and_says_so(loop: Loop, tmp_path: Path, backend: FakeBackend) -> None:
    front_end, said = FrontEnd(tmp_path / "s"), list[str]()
    with client(loop, tmp_path / "s", backend, said):
        peer = front_end.accept(loop)
        assert said == [f"connected to {tmp_path / 's'}"]
        assert peer.ask(Request.GET_FEATURES)
        peer.close()
    front_end.close()


def test_client_waits_for_the_front_end(
    loop: Loop, tmp_path: Path, backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    said: list[str] = []
    with client(loop, tmp_path / "s", backend, said) as one:
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            loop.run_once(0.01)
        assert not said
        assert len([record for record in caplog.records if "waiting" in record.getMessage()]) == 1
        front_end = FrontEnd(tmp_path / "s")
        until(loop, lambda: one.connected)
        front_end.accept(loop).close()
    front_end.close()


def test_client_warns_where_no_front_end_can_ever_be(
    loop: Loop, tmp_path: Path, backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    with client(loop, tmp_path / "none" / "s", backend, []), client(loop, tmp_path / "s", backend, []):
        loop.run_once(0.01)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "none/s: waiting for the front end (ENOENT" in caplog.text


def test_client_comes_back_after_a_loss(loop: Loop, tmp_path: Path, backend: FakeBackend) -> None:
    front_end, said = FrontEnd(tmp_path / "s"), list[str]()
    with client(loop, tmp_path / "s", backend, said) as one:
        for count in range(1, 4):
            until(loop, lambda: one.connected)
            front_end.accept(loop).close()
            assert not one.connected
            assert len(said) == count
    front_end.close()
    assert backend.names() == ["attach", "detach"] * 3


def test_client_does_not_hammer_a_front_end_that_hangs_up(loop: Loop, tmp_path: Path, backend: FakeBackend) -> None:
    front_end, said = FrontEnd(tmp_path / "s"), list[str]()
    one = client(loop, tmp_path / "s", backend, said)
    one.retry = 10
    with one:
        front_end.accept(loop).close()
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            loop.run_once(0.01)
        assert len(said) == 1
    front_end.close()


def test_closed_client_stays_closed(loop: Loop, tmp_path: Path, backend: FakeBackend) -> None:
    front_end, said = FrontEnd(tmp_path / "s"), list[str]()
    one = client(loop, tmp_path / "s", backend, said)
    one.open()
    peer = front_end.accept(loop)
    one.close()
    one.close()
    end = time.monotonic() + 0.05
    while time.monotonic() < end:
        loop.run_once(0.01)
    assert len(said) == 1
    assert not peer.alive
    peer.close()
    front_end.close()


def test_client_with_an_impossible_path(loop: Loop, tmp_path: Path) -> None:
    before = open_fds()
    with pytest.raises(VfiodpaError, match="at most 107"):
        Client(loop, tmp_path / ("x" * 108), FakeBackend()).open()
    assert open_fds() == before


def test_client_without_permission(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: 13)
    with pytest.raises(LimitError, match="EACCES"):
        Client(loop, tmp_path / "s", FakeBackend()).open()
    assert loop.run_once(0) == 0
