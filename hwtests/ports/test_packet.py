"""``packet=IFACE``: an interface of the host, here an end of a veth pair."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from hwtests.ports.frames import flow_frame, frame, offer, received, send, wait_link, wait_sum
from hwtests.ports.namespace import ip, quiet
from tests.soft.soft_rig import Nic
from vfiodpa.errors import NoDevice


@pytest.fixture(autouse=True)
def cable(network: None) -> None:
    """``near`` is the NIC's, ``far`` is ours."""
    ip("link add near type veth peer name far")
    quiet("near")
    quiet("far")


@pytest.fixture
def nic(make_nic: Callable[[str], Nic]) -> Nic:
    one = make_nic("soft:packet=near")
    one.bring_up()
    return one


def test_frames_go_both_ways(nic: Nic, listen: Callable[[str], socket.socket]) -> None:
    host, rx = listen("far"), offer(nic, 8)
    for at in range(8):
        send(nic, frame(at, 60 + 100 * at), at)
        assert host.recv(2000) == frame(at, 60 + 100 * at)
        host.send(frame(0x80 + at, 60 + 100 * at))
        assert received(rx, at) == frame(0x80 + at, 60 + 100 * at)
    assert rx.used == 8  # of what it sent itself it hears nothing


def test_frames_for_others_are_heard(nic: Nic, listen: Callable[[str], socket.socket]) -> None:
    assert "promiscuity 1" in ip("-details link show near")
    rx, other = offer(nic), bytes.fromhex("0200000000aa") + frame(1)[6:]
    listen("far").send(other)
    assert received(rx) == other


def test_a_sleeping_nic_is_woken(nic: Nic, listen: Callable[[str], socket.socket]) -> None:
    host, rx = listen("far"), offer(nic)
    nic.wait_asleep()
    host.send(frame(1))
    assert received(rx) == frame(1)


def test_many_laps_of_the_ring(nic: Nic, listen: Callable[[str], socket.socket]) -> None:
    host = listen("far")
    rx = offer(nic, 8)
    for at in range(1200):  # it has 512 slots
        host.send(frame(at & 0xFF))
        assert rx.wait_used(at + 1 & 0xFFFF)
        rx.offer(bytes(1000), writable=True)
        nic.bell(0)
    assert nic.f.queue_stats(0)["packets"] == 1200


def test_a_vlan_tag_is_kept(nic: Nic, listen: Callable[[str], socket.socket]) -> None:
    rx, plain = offer(nic), frame(5, 100)
    tagged = plain[:12] + struct.pack(">HH", 0x8100, 0x2005) + plain[12:]
    listen("far").send(tagged)
    assert received(rx) == tagged


def test_frames_longer_than_a_slot(make_nic: Callable[[str], Nic], listen: Callable[[str], socket.socket]) -> None:
    ip("link set near mtu 9000")
    ip("link set far mtu 9000")
    nic = make_nic("soft:packet=near,mtu=9000")
    nic.bring_up()
    rx = offer(nic, 7, length=1000)  # merged: 12 bytes of header and 5000 of the frame
    listen("far").send(frame(9, 5000))
    assert rx.wait_used(6)
    parts = [rx.buffer(slot, 1000) for slot in range(6)]
    assert b"".join(parts)[12 : 12 + 5000] == frame(9, 5000)


def test_frames_beyond_the_mtu_are_not_for_the_guest(
    make_nic: Callable[[str], Nic], listen: Callable[[str], socket.socket]
) -> None:
    nic = make_nic("soft:packet=near,mtu=900")
    nic.bring_up()
    rx, host = offer(nic, 2), listen("far")
    host.send(frame(1, 915))
    host.send(frame(2, 914))
    assert received(rx) == frame(2, 914)
    assert nic.f.queue_stats(0)["too_long"] == 1


def say_until(host: socket.socket, data: bytes, condition: Callable[[], bool]) -> bool:
    """Of an end whose other end just came up the kernel drops frames for a moment, up to a second: say it again."""
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        host.send(data)
        time.sleep(0.02)
    return condition()


def test_an_interface_that_goes_down_takes_the_link_along(nic: Nic, listen: Callable[[str], socket.socket]) -> None:
    offer(nic, 4)
    ip("link set near down")
    assert wait_link(nic, False)
    assert "packet=near: ENETDOWN" in nic.f.diagnose()
    ip("link set near up")
    assert say_until(listen("far"), frame(1), lambda: wait_link(nic, True, 0))


def test_a_frame_that_is_sent_shows_that_the_interface_is_up_again(nic: Nic) -> None:
    ip("link set near down")
    assert wait_link(nic, False)
    ip("link set near up")
    send(nic, frame(1))
    assert wait_link(nic, True)


def test_frames_from_before_do_not_show_that_the_interface_is_up(
    nic: Nic, listen: Callable[[str], socket.socket]
) -> None:
    host = listen("far")
    for fill in range(3):  # the guest has no buffers yet
        host.send(frame(fill))
    ip("link set near down")
    assert wait_link(nic, False)
    rx = offer(nic, 4)
    assert [received(rx, at) for at in range(3)] == [frame(fill) for fill in range(3)]
    assert not wait_link(nic, True, 0.1)
    ip("link set near up")
    assert say_until(host, frame(3), lambda: wait_link(nic, True, 0))
    assert received(rx, 3) == frame(3)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("version", [4, 6])
def test_flows_are_spread_over_the_pairs(
    make_nic: Callable[[str], Nic], listen: Callable[[str], socket.socket], workers: int, version: int
) -> None:
    """Both directions of a flow come in the same pair."""
    nic = make_nic(f"soft:queues=3,workers={workers},packet=near")
    nic.bring_up()
    nic.f.device.engine.set_active_pairs(3)
    rings, host = [offer(nic, 8, pair=pair) for pair in range(3)], listen("far")
    came = [[0, 0, 0]]
    for port in range(1000, 1004):
        for back in (False, True):
            host.send(flow_frame(port, version, back=back))
            came.append(wait_sum(rings, len(came)))
    steps = [[now - before for before, now in zip(*pair, strict=True)] for pair in pairwise(came)]
    assert all(sorted(step) == [0, 0, 1] for step in steps), steps
    assert steps[::2] == steps[1::2]
    assert len({tuple(step) for step in steps}) > 1


def test_fragments_of_a_frame_stay_together(
    make_nic: Callable[[str], Nic], listen: Callable[[str], socket.socket]
) -> None:
    """Only the first has ports."""
    nic = make_nic("soft:queues=4,workers=4,packet=near")
    nic.bring_up()
    nic.f.device.engine.set_active_pairs(4)
    rings, host = [offer(nic, 8, pair=pair) for pair in range(4)], listen("far")
    for at, more in enumerate((0x2000, 0x2000, 0x2000, 0x2000, 0)):
        data = flow_frame(1000 + at)  # what looks like a port is payload in all but the first
        host.send(data[:20] + (more + 3 * at).to_bytes(2, "big") + data[22:])
    assert sorted(wait_sum(rings, 5)) == [0, 0, 0, 5]


@pytest.mark.parametrize("workers", [1, 2])
def test_all_frames_reach_the_pairs_in_use(
    make_nic: Callable[[str], Nic], listen: Callable[[str], socket.socket], workers: int
) -> None:
    """One of three, then two, then again one; then the first receive queue is reset."""
    nic = make_nic(f"soft:queues=3,workers={workers},packet=near")
    nic.bring_up()
    engine, host = nic.f.device.engine, listen("far")
    rings, sent = [offer(nic, 8, pair=pair) for pair in range(3)], 0
    for active in (1, 2, 1):
        engine.set_active_pairs(active)
        before = [ring.used for ring in rings]
        for port in range(3):
            host.send(flow_frame(sent + port))
        sent += 3
        after = wait_sum(rings, sent)
        assert sum(after) == sent
        assert after[active:] == before[active:]
    engine.set_active_pairs(2)
    engine.disable(0)
    for port in range(4):
        host.send(flow_frame(port))
    assert wait_sum(rings[1:2], 4 + after[1])[0] == 4 + after[1]


def test_pairs_after_the_interface_was_down(
    make_nic: Callable[[str], Nic], listen: Callable[[str], socket.socket]
) -> None:
    """The kernel takes its sockets out of the group then, and in again."""
    nic = make_nic("soft:queues=3,workers=3,packet=near")
    nic.bring_up()
    nic.f.device.engine.set_active_pairs(1)
    rx, host = offer(nic, 8), listen("far")
    ip("link set near down")
    assert wait_link(nic, False)
    ip("link set near up")
    assert say_until(host, frame(1), lambda: rx.used > 0)
    for port in range(4):
        host.send(flow_frame(port))
    assert wait_sum([rx], 5)[0] >= 5


def test_what_the_host_sends_there_is_not_for_the_guest(nic: Nic, listen: Callable[[str], socket.socket]) -> None:
    rx = offer(nic, 2)
    listen("near").send(frame(1))
    listen("far").send(frame(2))
    assert received(rx) == frame(2)
    assert rx.used == 1


def test_an_interface_that_is_not_there(make_nic: Callable[[str], Nic]) -> None:
    with pytest.raises(NoDevice, match=r"no interface eth7.*near"):
        make_nic("soft:packet=eth7")
