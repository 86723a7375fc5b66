"""What goes over the wire lands in a pcapng file: read by a parser that is not ours."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pcapng
import pytest
from pcapng.blocks import EnhancedPacket, InterfaceDescription, InterfaceStatistics

from tests.soft.soft_rig import Nic, Ring
from vfiodpa.errors import LimitError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore:Field type should not be:DeprecationWarning")  # the parser's own

HDR = bytes(12)
SENT, RECEIVED = "outbound", "inbound"


@dataclass(frozen=True, slots=True)
class Packet:
    data: bytes
    way: str
    pair: int
    queue: int
    seconds: float


def read(path: Path) -> tuple[list[object], list[Packet]]:
    """All blocks, and the packets among them."""
    with path.open("rb") as file:
        blocks = list(pcapng.FileScanner(file))
    packets = [
        Packet(
            block.packet_data,
            block.options["epb_flags"].inout,
            block.interface_id,
            block.options["epb_queue"],
            block.timestamp,
        )
        for block in blocks
        if isinstance(block, EnhancedPacket)
    ]
    return blocks, packets


def frame(fill: int, length: int = 60) -> bytes:
    return bytes([fill]) * length


def send(nic: Nic, queue: int, *frames: bytes) -> None:
    ring = Ring(nic, queue)
    for one in frames:
        ring.offer(HDR + one)
    nic.bell(queue)
    assert ring.wait_used(len(frames))


def test_all_that_is_transmitted_is_in_the_file(make_nic: Callable[[str], Nic], tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    before = time.time()
    nic = make_nic(f"soft:pcap={path}")
    nic.bring_up()
    frames = [frame(i, 60 + i) for i in range(7)]  # each padding of a block
    send(nic, 1, *frames)
    nic.close()
    blocks, packets = read(path)
    assert [packet.data for packet in packets] == frames
    assert {(packet.way, packet.pair, packet.queue) for packet in packets} == {(SENT, 0, 1)}
    assert all(before - 1 < packet.seconds < time.time() + 1 for packet in packets)
    (interface,) = (block for block in blocks if isinstance(block, InterfaceDescription))
    assert (interface.options["if_name"], interface.timestamp_resolution) == ("pair0", 1e-9)


def test_a_capture_sees_both_directions_and_each_pair(make_nic: Callable[[str], Nic], tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    nic = make_nic(f"soft:queues=2,capture={path}")
    nic.bring_up()
    nic.f.device.engine.set_active_pairs(2)
    for pair in (0, 1):
        back = Ring(nic, 2 * pair)
        back.offer(bytes(200), writable=True)
        send(nic, 2 * pair + 1, frame(pair + 1))
        assert back.wait_used(1)
    nic.close()
    _, packets = read(path)
    found = {(packet.data, packet.way, packet.pair, packet.queue) for packet in packets}
    assert found == {
        (frame(1), SENT, 0, 1),
        (frame(1), RECEIVED, 0, 0),
        (frame(2), SENT, 1, 3),
        (frame(2), RECEIVED, 1, 2),
    }


def test_a_device_with_several_workers_has_one_capture(make_nic: Callable[[str], Nic], tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    nic = make_nic(f"soft:queues=2,workers=2,pcap={path}")
    nic.bring_up()
    nic.f.device.engine.set_active_pairs(2)
    send(nic, 1, frame(1))
    send(nic, 3, frame(2))
    nic.close()
    _, packets = read(path)
    assert {(packet.data, packet.pair) for packet in packets} == {(frame(1), 0), (frame(2), 1)}


def test_frames_appear_while_the_nic_is_open(make_nic: Callable[[str], Nic], tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    nic = make_nic(f"soft:pcap={path}")
    nic.bring_up()
    empty = path.stat().st_size
    send(nic, 1, frame(1))
    end = time.monotonic() + 5
    while path.stat().st_size == empty and time.monotonic() < end:
        time.sleep(0.005)
    assert [packet.data for packet in read(path)[1]] == [frame(1)]


def test_the_end_of_the_file_counts_what_is_missing(make_nic: Callable[[str], Nic], tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    nic = make_nic(f"soft:port=discard,capture={path}")
    assert nic.f.counters()["capture_lost"] == 0
    nic.close()
    (statistics,) = (block for block in read(path)[0] if isinstance(block, InterfaceStatistics))
    assert statistics.options["isb_ifdrop"] == 0


def test_a_reader_that_leaves_ends_the_capture_and_not_the_traffic(
    make_nic: Callable[[str], Nic], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    nic = make_nic(f"soft:pcap={path}")
    nic.bring_up()
    os.close(reader)
    with caplog.at_level(logging.WARNING):
        send(nic, 1, frame(1))
        end = time.monotonic() + 5
        while "stopped" not in nic.f.diagnose() and time.monotonic() < end:
            time.sleep(0.005)
    ring = Ring(nic, 1)
    ring.avail = 1
    ring.offer(HDR + frame(2))
    nic.bell(1)
    assert ring.wait_used(2)
    assert nic.f.counters()["capture_lost"] >= 1
    assert caplog.text.count(f"capture to {path} stopped: EPIPE") == 1
    assert "the traffic goes on" in caplog.text


FULL_DISK = """
import resource, signal, sys, time
from tests.soft.soft_rig import Nic, Ring
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
nic = Nic(f"soft:pcap={sys.argv[1]}")
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
nic.bring_up()
ring = Ring(nic, 1)
for i in range(200):
    ring.offer(bytes(12) + bytes([i]) * 900)
    nic.bell(1)
    assert ring.wait_used(i + 1), i
    end = time.monotonic() + 5
    while i == 60 and "EFBIG" not in nic.f.diagnose() and time.monotonic() < end:
        time.sleep(0.005)  # the writer has its own thread: the disk is full for the rest
print(nic.f.counters()["capture_lost"], nic.f.diagnose())
nic.close()
"""


def test_a_full_disk_leaves_whole_blocks_and_the_traffic_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "EFBIG" in done.stdout
    assert int(done.stdout.split()[0]) > 100
    _, packets = read(path)  # raises for half a block
    assert [packet.data[0] for packet in packets] == list(range(len(packets)))
    assert len(packets) > 0


@pytest.mark.parametrize(
    ("name", "says"),
    [("no/such", "ENOENT.*mkdir -p .*/no$"), (".", "EISDIR"), ("pipe", "ENXIO.*nobody reads the pipe")],
)
def test_files_that_cannot_be_written(tmp_path: Path, name: str, says: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match=says):
        Nic(f"soft:pcap={tmp_path / name}")


def test_a_disk_that_is_full_at_once(tmp_path: Path) -> None:
    with pytest.raises(LimitError, match=r"cannot capture to /dev/full.*ENOSPC"):
        Nic("soft:capture=/dev/full")
