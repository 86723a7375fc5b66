"""``tap=NAME``: the host's network at the other end."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from hwtests.ports.frames import flow_frame, frame, offer, received, send, wait_link, wait_sum
from hwtests.ports.namespace import ip, quiet
from tests.soft.soft_rig import Nic, Ring
from tests.soft.test_soft_fragments import PAYLOAD, UFO_FEATURES, datagram, ufo_header
from vfiodpa.errors import DeviceError


@pytest.fixture
def nic(make_nic: Callable[[str], Nic]) -> Nic:
    one = make_nic("soft:tap=vm0")
    quiet("vm0")
    one.bring_up()
    return one


def test_frames_go_both_ways(nic: Nic, listen: Callable[[str], socket.socket]) -> None:
    host, rx = listen("vm0"), offer(nic, 8)
    for at in range(8):
        send(nic, frame(at, 60 + 100 * at), at)
        assert host.recv(2000) == frame(at, 60 + 100 * at)
        host.send(frame(0x80 + at, 60 + 100 * at))
        assert received(rx, at) == frame(0x80 + at, 60 + 100 * at)


def test_a_sleeping_nic_is_woken(nic: Nic, listen: Callable[[str], socket.socket]) -> None:
    host, rx = listen("vm0"), offer(nic)
    nic.wait_asleep()
    host.send(frame(1))
    assert received(rx) == frame(1)


def test_frames_wait_for_buffers(nic: Nic, listen: Callable[[str], socket.socket]) -> None:
    host = listen("vm0")
    for at in range(5):
        host.send(frame(at))
    nic.wait_asleep()
    rx = offer(nic, 5)
    assert [received(rx, at) for at in range(5)] == [frame(at) for at in range(5)]
    assert nic.f.queue_stats(0)["dropped"] == 0


def test_a_chain_of_buffers_is_one_frame(nic: Nic, listen: Callable[[str], socket.socket]) -> None:
    host, ring = listen("vm0"), Ring(nic, 1)
    data = bytes(12) + frame(7, 600)
    ring.put(0x6000, data[400:])
    ring.put(16, (ring.base + 0x6000).to_bytes(8, "little") + len(data[400:]).to_bytes(4, "little") + bytes(4))
    ring.offer(data[:400], next_of=1)
    nic.bell(1)
    assert host.recv(2000) == frame(7, 600)


def test_a_tap_that_vanishes_takes_the_link_down_and_costs_no_cpu(nic: Nic) -> None:
    ring = Ring(nic, 1)
    for at in range(50):
        if at == 20:
            ip("link del vm0")
        ring.offer(bytes(12) + frame(at))
        nic.bell(1)
        assert ring.wait_used(at + 1)  # the driver is never stuck
    assert wait_link(nic, False)
    assert "tap=vm0: ENODEV" in nic.f.diagnose()
    assert nic.f.queue_stats(1)["dropped"] >= 30
    nic.wait_asleep()
    polls = nic.f.worker_stats()["polls"]
    time.sleep(0.2)
    assert nic.f.worker_stats()["polls"] - polls < 10


def test_each_pair_is_a_queue(make_nic: Callable[[str], Nic], listen: Callable[[str], socket.socket]) -> None:
    nic = make_nic("soft:queues=2,workers=2,tap=vm0")
    quiet("vm0")
    nic.bring_up()
    nic.f.device.engine.set_active_pairs(2)
    host = listen("vm0")
    for pair in (0, 1):
        send(nic, frame(pair), pair=pair)
        assert host.recv(2000) == frame(pair)


@pytest.mark.parametrize("workers", [1, 2])
def test_all_frames_reach_the_pairs_in_use(
    make_nic: Callable[[str], Nic], listen: Callable[[str], socket.socket], workers: int
) -> None:
    """One of three, then all, then two; and a pair that comes back sends, too."""
    nic = make_nic(f"soft:queues=3,workers={workers},tap=vm0")
    quiet("vm0")
    nic.bring_up()
    host, rings, sent = listen("vm0"), [offer(nic, 8, pair=pair) for pair in range(3)], 0
    for active in (1, 3, 2):
        nic.f.device.engine.set_active_pairs(active)
        before = [ring.used for ring in rings]
        for port in range(4):
            host.send(flow_frame(100 + port))
        sent += 4
        after = wait_sum(rings, sent)
        assert sum(after) == sent
        assert after[active:] == before[active:]
    send(nic, frame(2), pair=1)
    assert wait_link(nic, True)
    while host.recv(2000) != frame(2):
        pass


def test_udp_that_the_kernel_is_to_fragment(make_nic: Callable[[str], Nic]) -> None:
    """UFO, out of the NIC: the host gets the datagram."""
    nic = make_nic("soft:tap=vm0")
    quiet("vm0")
    ip("address add 11.11.11.11/8 dev vm0")
    ip("route add default dev vm0")
    nic.bring_up(int(UFO_FEATURES))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as host:
        host.bind(("11.11.11.11", 2000))
        host.settimeout(5)
        send(nic, datagram(4), header=ufo_header(34, 800).pack())
        assert host.recv(4000) == PAYLOAD


def test_an_interface_made_for_several_queues_takes_one(make_nic: Callable[[str], Nic]) -> None:
    ip("tuntap add dev vm0 mode tap multi_queue")
    make_nic("soft:tap=vm0")


def test_another_has_it(make_nic: Callable[[str], Nic]) -> None:
    make_nic("soft:tap=vm0")
    with pytest.raises(DeviceError, match=r"cannot open tap vm0.*EBUSY.*another program has it"):
        make_nic("soft:tap=vm0")


def test_what_is_no_tap(make_nic: Callable[[str], Nic]) -> None:
    with pytest.raises(DeviceError, match=r"EINVAL.*lo is no tap"):
        make_nic("soft:tap=lo")


AS_NOBODY = """
import os, sys
from tests.soft.soft_rig import Nic
from vfiodpa.errors import VfiodpaError
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for name in sys.argv[1:]:
    try:
        Nic(f"soft:tap={name}").close()
        print(name, "opened")
    except VfiodpaError as error:
        print(error)
"""


def test_an_owner_needs_no_privilege_and_others_are_told_how() -> None:
    ip("tuntap add dev mine mode tap user 65534")
    ip("tuntap add dev yours mode tap user 0")
    argv = [sys.executable, "-c", AS_NOBODY, "mine", "yours"]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert lines[0] == "mine opened"
    assert "EPERM" in lines[1]
    assert "try: ip tuntap add dev yours mode tap user $USER" in lines[1]
