"""What we capture is read by Wireshark's own programs."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from hwtests.debian_kernel import run
from hwtests.peers.conftest import need_program  # noqa: F401 - a fixture
from hwtests.ports.frames import frame, offer, received, send
from hwtests.ports.namespace import quiet
from tests.soft.soft_rig import Nic


def test_tshark_reads_direction_interface_and_time(
    make_nic: Callable[[str], Nic],
    listen: Callable[[str], socket.socket],
    need_program: Callable[[str, str], None],  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    need_program("tshark", "tshark")
    path = tmp_path / "a.pcapng"
    nic = make_nic(f"soft:tap=vm0,capture={path}")
    quiet("vm0")
    nic.bring_up()
    host, rx = listen("vm0"), offer(nic)
    send(nic, frame(1, 100))
    assert host.recv(2000) == frame(1, 100)
    host.send(frame(2, 200))
    assert received(rx) == frame(2, 200)
    nic.close()
    fields = ["frame.len", "frame.interface_name", "frame.packet_flags_direction", "frame.protocols"]
    words = [word for field in fields for word in ("-e", field)]
    packets = json.loads(run("tshark", "-r", str(path), "-T", "json", *words))
    layers = [packet["_source"]["layers"] for packet in packets]
    found = [
        (one["frame.len"][0], one["frame.interface_name"][0], int(one["frame.packet_flags_direction"][0], 0))
        for one in layers
    ]
    assert found == [("100", "pair0", 2), ("200", "pair0", 1)]
    assert "nanoseconds" in run("capinfos", str(path))


@pytest.mark.parametrize("flows", [1, 4])
def test_tshark_finds_the_flows_of_generated_frames(
    make_nic: Callable[[str], Nic],
    need_program: Callable[[str, str], None],  # noqa: F811 - the fixture
    tmp_path: Path,
    flows: int,
) -> None:
    need_program("tshark", "tshark")
    path = tmp_path / "a.pcapng"
    nic = make_nic(f"soft:port=generate,flows={flows},sizes=60+200,capture={path}")
    nic.bring_up()
    assert offer(nic, 8).wait_used(8)
    nic.close()
    check = ["-o", "ip.check_checksum:TRUE", "-T", "fields", "-e", "udp.stream", "-e", "ip.checksum.status"]
    lines = run("tshark", "-r", str(path), *check).splitlines()
    assert len(lines) == 8
    assert {line.split("\t")[1] for line in lines} == {"1"}  # good
    assert len({line.split("\t")[0] for line in lines}) == flows
