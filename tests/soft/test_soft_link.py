"""Two software NICs on one wire."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.settle import settles
from tests.soft.soft_rig import Nic, Ring
from vfiodpa.spec.virtio_net import NetStatus
from vfiodpa.spec.virtio_ring import SplitDesc

HDR = bytes(12)
LONG = 900


@pytest.fixture
def wire() -> str:
    return f"test-{secrets.token_hex(6)}"


def wait_link(nic: Nic, up: bool, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while bool(nic.net.status & NetStatus.LINK_UP) != up and time.monotonic() < end:
        time.sleep(0.005)
    return bool(nic.net.status & NetStatus.LINK_UP) == up


@pytest.fixture
def ends(make_nic: Callable[[str], Nic], wire: str) -> tuple[Nic, Nic]:
    """Both up and connected."""
    first, second = make_nic(f"soft:link={wire}"), make_nic(f"soft:link={wire}")
    for nic in (first, second):
        assert wait_link(nic, True)
        nic.bring_up()
    return first, second


def cross(sender: Nic, receiver: Nic, frame: bytes, at: int = 0, queue: int = 1) -> bytes:
    """One frame from end to end; ``at``: how many went this way before."""
    rx, tx = Ring(receiver, queue - 1), Ring(sender, queue)
    rx.avail = tx.avail = at
    rx.offer(bytes(1000), writable=True)
    receiver.bell(queue - 1)
    tx.offer(HDR + frame)
    sender.bell(queue)
    assert rx.wait_used(at + 1)
    assert tx.wait_used(at + 1)
    return rx.buffer(at % rx.size, 12 + len(frame))[12:]


def test_frames_go_both_ways(ends: tuple[Nic, Nic]) -> None:
    first, second = ends
    for at in range(20):
        frame = secrets.token_bytes(60 + 40 * at)
        assert cross(first, second, frame, at) == frame
        assert cross(second, first, frame, at) == frame


def test_each_pair_has_its_lane(make_nic: Callable[[str], Nic], wire: str) -> None:
    first, second = make_nic(f"soft:queues=2,workers=2,link={wire}"), make_nic(f"soft:queues=2,link={wire}")
    for nic in (first, second):
        assert wait_link(nic, True)
        nic.bring_up()
        nic.f.device.engine.set_active_pairs(2)
    assert cross(first, second, b"a" * 60, queue=3) == b"a" * 60
    assert cross(second, first, b"b" * 60, queue=3) == b"b" * 60
    assert cross(first, second, b"c" * 60, queue=1) == b"c" * 60


def udp(source: int, destination: int) -> bytes:
    """A frame between two ports of two hosts, which are told apart by the ports here."""
    addresses = bytes([10, 0, 0, source % 256, 10, 0, 0, destination % 256])
    ip = b"\x45\0\0\x2e\0\0\0\0\x40\x11\0\0" + addresses
    return bytes(12) + b"\x08\0" + ip + source.to_bytes(2, "big") + destination.to_bytes(2, "big") + bytes(22)


@pytest.mark.parametrize("pieces", [False, True])
def test_a_flow_comes_back_to_the_pair_that_sends_in_it(
    make_nic: Callable[[str], Nic], wire: str, pieces: bool
) -> None:
    """5.1.6.5.6: whichever pair the other end answers on."""
    first, second = make_nic(f"soft:queues=2,link={wire}"), make_nic(f"soft:queues=2,link={wire}")
    for nic in (first, second):
        assert wait_link(nic, True)
        nic.bring_up()
        nic.f.device.engine.set_active_pairs(2)
    out, answer = udp(1000, 2000), udp(2000, 1000)
    rx, tx = Ring(first, 2), Ring(first, 3)
    if pieces:
        tx.put(tx.buffers + 0x400, out)
        tx.put(SplitDesc.size, SplitDesc(addr=tx.base + tx.buffers + 0x400, len=len(out)).pack())
        tx.offer(HDR, next_of=1)
    else:
        tx.offer(HDR + out)
    first.bell(3)
    assert tx.wait_used(1)
    own = Ring(first, 0)
    for ring in (rx, own):  # frames wait until the pair they came in has a buffer, whomever they are for
        ring.offer(bytes(1000), writable=True)
    back = Ring(second, 1)
    back.offer(HDR + answer)
    second.bell(1)
    assert rx.wait_used(1)
    assert rx.buffer(0, 12 + len(answer))[12:] == answer
    assert own.used == 0


def test_alone_the_link_is_down_and_frames_are_lost(make_nic: Callable[[str], Nic], wire: str) -> None:
    nic = make_nic(f"soft:link={wire}")
    nic.bring_up()
    assert not nic.net.status & NetStatus.LINK_UP
    assert "nobody is there" in nic.f.diagnose()
    tx = Ring(nic, 1)
    tx.offer(HDR + b"x" * 60)
    nic.bell(1)
    assert tx.wait_used(1)
    assert nic.f.queue_stats(1)["dropped"] == 1


@pytest.mark.parametrize("leaver", [0, 1], ids=["listener", "joiner"])
def test_who_leaves_may_come_back(
    ends: tuple[Nic, Nic], make_nic: Callable[[str], Nic], wire: str, leaver: int
) -> None:
    stays = ends[1 - leaver]
    ends[leaver].close()
    assert wait_link(stays, False)
    back = make_nic(f"soft:link={wire}")
    assert wait_link(back, True)
    assert wait_link(stays, True)
    back.bring_up()
    assert cross(back, stays, b"again" * 20) == b"again" * 20


def test_a_change_of_the_link_is_a_configuration_change(ends: tuple[Nic, Nic]) -> None:
    first, second = ends
    before = second.common.config_generation
    first.close()
    assert wait_link(second, False)
    assert second.common.config_generation != before


def test_a_sleeping_end_is_woken(ends: tuple[Nic, Nic]) -> None:
    first, second = ends
    rx = Ring(second, 0)
    rx.offer(bytes(1000), writable=True)
    second.wait_asleep()
    tx = Ring(first, 1)
    tx.offer(HDR + b"x" * 60)
    first.bell(1)
    assert rx.wait_used(1)


def test_frames_wait_for_buffers_and_none_is_torn(ends: tuple[Nic, Nic]) -> None:
    first, second = ends
    tx, rx = Ring(first, 1), Ring(second, 0)
    for at in range(5):
        tx.offer(HDR + bytes([at]) * LONG)
        first.bell(1)
    assert tx.wait_used(5)
    for _ in range(5):
        rx.offer(bytes(1000), writable=True)
    second.bell(0)
    assert rx.wait_used(5)
    assert [rx.buffer(at, 12 + LONG)[12:] for at in range(5)] == [bytes([at]) * LONG for at in range(5)]


def test_without_buffers_the_ring_fills_and_then_frames_are_lost(ends: tuple[Nic, Nic]) -> None:
    first, _ = ends
    tx = Ring(first, 1)
    for at in range(700):
        tx.offer(HDR + bytes(LONG))
        first.bell(1)
        assert tx.wait_used(at + 1)
    assert first.f.queue_stats(1)["dropped"] > 0


def test_a_third_one_waits_for_its_turn(
    ends: tuple[Nic, Nic], make_nic: Callable[[str], Nic], wire: str, caplog: pytest.LogCaptureFixture
) -> None:
    third = make_nic(f"soft:link={wire}")
    assert settles(lambda: "two NICs are on this wire already" in caplog.text, 5)
    assert not wait_link(third, True, 0.2)
    ends[1].close()
    assert wait_link(third, True)


def test_ends_of_different_width_do_not_fit(
    make_nic: Callable[[str], Nic], wire: str, caplog: pytest.LogCaptureFixture
) -> None:
    one = make_nic(f"soft:link={wire}")
    time.sleep(0.1)
    make_nic(f"soft:queues=2,link={wire}")
    assert settles(lambda: "the other side has 1 queue pairs, we 2" in caplog.text, 5)
    assert not wait_link(one, True, 0.3)


def shared_memory() -> int:
    """How many wires' memory this process has open."""
    found = 0
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the directory's own
            found += "memfd:vfiodpa-link" in str(fd.readlink())
    return found


OTHER = """
import sys, time
from tests.soft.soft_rig import Nic, Ring
nic = Nic(f"soft:link={sys.argv[1]}")
nic.bring_up()
rx = Ring(nic, 0)
rx.offer(bytes(1000), writable=True)
nic.bell(0)
print("up", flush=True)
rx.wait_used(1, 30)
print(rx.buffer(0, 72)[12:].decode(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(wire: str) -> Iterator[subprocess.Popen[str]]:
    """An end in another process."""
    process = subprocess.Popen([sys.executable, "-c", OTHER, wire], stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_another_process_is_reached_and_its_death_noticed(
    make_nic: Callable[[str], Nic], wire: str, other: subprocess.Popen[str]
) -> None:
    nic = make_nic(f"soft:link={wire}")
    nic.bring_up()
    assert other.stdout is not None
    assert other.stdout.readline() == "up\n"
    assert wait_link(nic, True)
    tx = Ring(nic, 1)
    tx.offer(HDR + b"hello" * 12)
    nic.bell(1)
    assert other.stdout.readline() == "hello" * 12 + "\n"
    assert shared_memory() == 1
    other.send_signal(signal.SIGKILL)
    assert wait_link(nic, False)
    end = time.monotonic() + 5
    while shared_memory() and time.monotonic() < end:  # given back right after the link went down
        time.sleep(0.005)
    assert shared_memory() == 0


def test_a_frozen_process_costs_frames_and_no_hang(
    make_nic: Callable[[str], Nic], wire: str, other: subprocess.Popen[str]
) -> None:
    nic = make_nic(f"soft:link={wire}")
    nic.bring_up()
    assert other.stdout is not None
    assert other.stdout.readline() == "up\n"
    assert wait_link(nic, True)
    other.send_signal(signal.SIGSTOP)
    os.waitpid(other.pid, os.WUNTRACED)  # until it has stopped
    tx = Ring(nic, 1)
    for at in range(700):
        tx.offer(HDR + bytes(LONG))
        nic.bell(1)
        assert tx.wait_used(at + 1)
    assert nic.f.queue_stats(1)["dropped"] > 0


def test_a_peer_that_leaves_while_one_knocks_is_no_trouble(
    make_nic: Callable[[str], Nic], wire: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It closed with our greeting unread, which is a reset here: nothing to warn of."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as host:
        host.bind(f"\0vfiodpa-link-{os.getuid()}-{wire}")
        host.listen()
        make_nic(f"soft:link={wire}")
        for _ in range(3):
            knocking, _ = host.accept()
            knocking.recv(1, socket.MSG_PEEK)
            knocking.close()
    assert not caplog.records
