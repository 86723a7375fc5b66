from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vfiodpa.errors import DeviceError, ProtocolViolation
from vfiodpa.guest.channel import Channel, FrontendChannel, PeerClosed, PeerTimeout, RequestRefused
from vfiodpa.spec.vhost_user import U64, VERSION, Header, HeaderFlag, Request

Pair = tuple[FrontendChannel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with FrontendChannel(ours, "ours", 1.0) as front, Channel(theirs, "theirs", 1.0) as back:
        yield front, back


def fd_count() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_message_on_the_wire(pair: Pair) -> None:
    front, back = pair
    front.send(Request.SET_FEATURES, U64(value=5), need_reply=True)
    data = back.socket.recv(100)
    assert data == Header(request=2, flags=VERSION | HeaderFlag.NEED_REPLY, length=8).pack() + U64(value=5).pack()


def test_fds_travel(pair: Pair) -> None:
    front, back = pair
    before = fd_count()
    read, write = os.pipe()
    front.send(Request.SET_VRING_KICK, U64(value=1), [write, read])
    message = back.recv()
    os.write(message.fds[0], b"x")
    assert os.read(read, 1) == b"x"
    assert not os.get_inheritable(message.fds[0])
    message.close_fds()
    os.close(read)
    os.close(write)
    assert fd_count() == before


def test_reply_in_pieces(pair: Pair) -> None:
    front, back = pair
    data = Header(request=1, flags=VERSION | HeaderFlag.REPLY, length=8).pack() + U64(value=77).pack()

    def trickle() -> None:
        for byte in data:
            back.send_raw(bytes([byte]))
            time.sleep(0.001)

    thread = threading.Thread(target=trickle)
    thread.start()
    assert front.call(Request.GET_FEATURES).u64 == 77
    thread.join()


def test_silent_peer(pair: Pair) -> None:
    front, _ = pair
    front.timeout = 0.05
    begin = time.monotonic()
    with pytest.raises(PeerTimeout, match="GET_FEATURES"):
        front.call(Request.GET_FEATURES)
    assert time.monotonic() - begin < 1
    assert not front.closed_by_peer(0.01)


def test_peer_that_trickles_meets_the_deadline(pair: Pair) -> None:
    front, back = pair
    front.timeout = 0.1
    back.send_raw(b"\x01")
    with pytest.raises(PeerTimeout):
        front.recv()


def test_peer_that_does_not_read(pair: Pair) -> None:
    front, _ = pair
    front.timeout = 0.05
    with pytest.raises(PeerTimeout, match="does not read"):
        front.send_raw(bytes(10 << 20))


def test_peer_that_closes(pair: Pair) -> None:
    front, back = pair
    back.close()
    assert front.closed_by_peer()
    with pytest.raises(PeerClosed):
        front.recv()


def test_refused(pair: Pair) -> None:
    front, back = pair
    front.acks = True
    back.send(Request.SET_OWNER, U64(value=1), flags=VERSION | HeaderFlag.REPLY)
    with pytest.raises(RequestRefused, match="SET_OWNER was refused"):
        front.command(Request.SET_OWNER)


def test_no_wait_without_reply_ack(pair: Pair) -> None:
    front, back = pair
    front.command(Request.SET_OWNER)
    assert back.recv().flags == VERSION


@pytest.mark.parametrize(("request_", "flags"), [(2, VERSION | HeaderFlag.REPLY), (1, VERSION)])
def test_wrong_answer(pair: Pair, request_: int, flags: int) -> None:
    front, back = pair
    back.send(request_, U64(value=0), flags=flags)
    with pytest.raises(ProtocolViolation, match="was answered by"):
        front.call(Request.GET_FEATURES)


def test_oversized_answer(pair: Pair) -> None:
    front, back = pair
    back.send_raw(Header(request=1, flags=5, length=1 << 31).pack())
    with pytest.raises(ProtocolViolation):
        front.recv()


def test_fds_of_a_broken_message_are_closed(pair: Pair) -> None:
    front, back = pair
    before = fd_count()
    read, write = os.pipe()
    back.send_raw(Header(request=1, flags=5, length=1 << 31).pack(), [read, write])
    os.close(read)
    os.close(write)
    with pytest.raises(ProtocolViolation):
        front.recv()
    assert fd_count() == before


def test_connect_to_nobody(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="ENOENT"):
        FrontendChannel.connect(tmp_path / "none", timeout=0.05)


def test_connect_waits_for_the_listener(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        threading.Timer(0.05, listener.listen).start()
        with FrontendChannel.connect(path, timeout=5) as channel:
            assert channel.name == str(path)


def test_accept(tmp_path: Path) -> None:
    path = tmp_path / "s"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def dial() -> None:
        while sock.connect_ex(str(path)):
            time.sleep(0.005)

    thread = threading.Thread(target=dial)
    thread.start()
    with FrontendChannel.accept(path, timeout=5) as channel, sock:
        channel.send(Request.SET_OWNER)
        assert len(sock.recv(100)) == Header.size
    thread.join()
    assert not path.exists()


def test_accept_nobody(tmp_path: Path) -> None:
    with pytest.raises(PeerTimeout, match="no back end connected"):
        FrontendChannel.accept(tmp_path / "s", timeout=0.05)
