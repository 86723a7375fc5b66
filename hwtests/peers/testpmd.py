"""DPDK's testpmd, driven through its command line: as the guest (virtio-user) or as a vhost back end."""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .program import Program

RING = 1024
START_S = 90.0  # on a busy machine; a second or two otherwise
COMMAND_S = 10.0
MEMORY_MB = 256


class Memory(enum.Enum):
    """What the process's memory is made of; both are memfds that vhost-user can pass on."""

    SMALL_PAGES = "4k"
    HUGE_PAGES = "2M"

    @property
    def options(self) -> list[str]:
        if self is Memory.SMALL_PAGES:
            return ["--no-huge"]
        # One memfd for everything: the vhost-user memory table of virtio-user has eight entries.
        return ["--in-memory", "--single-file-segments"]


@dataclass(frozen=True, slots=True)
class PortStats:
    """``show port stats``: frames and bytes since the port came up; ``rx_pps`` since the last time it was asked."""

    rx_packets: int
    rx_bytes: int
    tx_packets: int
    tx_bytes: int
    rx_pps: int


@dataclass(frozen=True, slots=True)
class ForwardStats:
    """``show fwd stats``, all ports. ``cycles``: of polls that found packets; 0 until the first packet."""

    rx_packets: int
    tx_packets: int
    tx_dropped: int
    cycles: int
    cycles_packets: int


class Testpmd(Program):
    """One testpmd with one port and one forwarding thread that sends back what it receives (io mode, port loop).

    ``vdev`` names the port, for example ``net_virtio_user0,path=S,queues=1``. All its threads stay on ``cpu``.
    """

    __test__ = False  # not a test class

    def __init__(
        self, vdev: str, log: Path, *, cpu: int, memory: Memory = Memory.SMALL_PAGES, ring: int = RING, pairs: int = 1
    ) -> None:
        eal = ["--lcores", f"0@{cpu},1@{cpu}", *memory.options, "-m", str(MEMORY_MB)]
        eal += ["--no-pci", "--no-shconf", "--no-telemetry", "--vdev", vdev]
        eal += ["--log-level=pmd.net.virtio.*:info"]  # its paths, for `paths`
        app = ["-i", "--port-topology=loop", "--nb-cores=1", "--no-mlockall", "--total-num-mbufs=16384"]
        app += [f"--txd={ring}", f"--rxd={ring}", f"--txq={pairs}", f"--rxq={pairs}"]
        # Line-buffered: its answers must be in the file when it waits for the next command.
        super().__init__(["stdbuf", "-oL", "dpdk-testpmd", *eal, "--", *app], log)

    def wait_ready(self) -> None:
        """Until the port is up and commands are taken."""
        self.wait_until_ready(r"^Checking link statuses", START_S)

    def command(self, line: str, answer: str) -> re.Match[str]:
        """Send a command; the match of ``answer`` in what it prints from then on."""
        mark = self.printed()
        self.send(line)
        return self.wait_for(answer, COMMAND_S, mark)

    def set_frame_size(self, size: int) -> None:
        """Bytes, without checksum, of the frames that ``start(bursts)`` makes."""
        self.send(f"set txpkts {size}")

    def set_pieces(self, sizes: Sequence[int], *, random: bool = False) -> None:
        """Frames of ``start_sending``, a buffer of so many bytes each; ``random``: of one to all of them."""
        self.send(f"set txpkts {','.join(map(str, sizes))}")
        self.send(f"set txsplit {'rand' if random else 'off'}")

    def start_sending(self) -> None:
        """Frames without end; what comes back is not looked at."""
        self.send("set fwd txonly")
        self.start(mode="txonly")

    def record_cycles(self) -> None:
        self.send("set record-core-cycles on")

    def start(self, bursts: int = 0, mode: str = "io") -> None:
        """Start to forward; with ``bursts``, first send so many bursts of 32 frames."""
        self.command(f"start tx_first {bursts}" if bursts else "start", rf"^ *{mode} packet forwarding packets/burst")

    def leave_to_the_nic(self, segment: int) -> None:
        """Forward with ``mode="csum"``, and leave UDP and TCP checksums to the NIC, and segments of so many bytes."""
        self.command("port stop 0", r"^Done")
        self.send("set fwd csum")
        self.command("csum set udp hw 0", r"UDP checksum offload is hw")
        self.command("csum set tcp hw 0", r"TCP checksum offload is hw")
        self.command(f"tso set {segment} 0", rf"TSO segment size for non-tunneled packets is {segment}")
        self.command("port start 0", r"^Done")  # negotiates anew

    def restart_port(self) -> None:
        """Down and up, with fresh rings, and forward again."""
        self.set_pairs(None)

    def set_pairs(self, pairs: int | None) -> None:
        """Forward on so many of its queue pairs from now on, ``None``: as many as before; its port restarts."""
        self.stop()
        self.command("port stop 0", r"^Done")
        if pairs is not None:
            self.send(f"port config all rxq {pairs}")
            self.send(f"port config all txq {pairs}")
        self.command("port start 0", r"^Done")
        self.start()

    def stop(self) -> None:
        """Stop to forward. What is in flight stays in the rings."""
        self.command("stop", r"^Done\.")

    def port_stats(self) -> PortStats:
        pattern = (
            r"RX-packets: (?P<rx>\d+) .*RX-bytes: +(?P<rxb>\d+)\s(?:.*\n)*?"
            r".*TX-packets: (?P<tx>\d+) .*TX-bytes: +(?P<txb>\d+)\s(?:.*\n)*?"
            r".*Rx-pps: +(?P<pps>\d+)\s(?:.*\n)*? *#{20}"
        )
        got = self.command("show port stats 0", pattern)
        return PortStats(*(int(got[key]) for key in ("rx", "rxb", "tx", "txb", "pps")))

    def forward_stats(self) -> ForwardStats:
        pattern = (
            r"Accumulated forward(?:.*\n)\s*RX-packets: (?P<rx>\d+) .*\n"
            r"\s*TX-packets: (?P<tx>\d+) +TX-dropped: (?P<drop>\d+) .*\n *\+{20,}\n"
            r"(?:\s*CPU cycles/packet=.*total cycles=(?P<cycles>\d+) / total io packets=(?P<io>\d+)\))?"
        )
        mark = self.printed()
        self.send("show fwd stats all")
        # The cycles come after the table, or not at all: the next command's answer bounds the wait.
        self.command("show config fwd", r"^io packet forwarding - ")
        got = self.wait_for(pattern, COMMAND_S, mark)
        return ForwardStats(*(int(got[key] or 0) for key in ("rx", "tx", "drop", "cycles", "io")))

    def received_by_queue(self) -> dict[int, int]:
        """Frames that were forwarded from each receive queue since it started; queues without any are left out."""
        mark = self.printed()
        self.send("show fwd stats all")
        self.command("show config fwd", r"^io packet forwarding - ")
        text = self.wait_for(r"(?s).*Accumulated forward", COMMAND_S, mark)[0]
        found = re.findall(r"RX Port= *0/Queue= *(\d+) -> [^\n]*\n\s*RX-packets: (\d+)", text)
        if not found:  # a single queue: it prints the port's sum only
            found = re.findall(r"Forward statistics for port (0) [^\n]*\n\s*RX-packets: (\d+)", text)
        return {int(queue): int(count) for queue, count in found if int(count)}

    def paths(self) -> tuple[str, str]:
        """virtio-user's receive and transmit functions, as it named them when its port came up last."""
        found = [re.findall(rf"virtio: using (.+) {way} path on port 0", self.output()) for way in ("Rx", "Tx")]
        return found[0][-1], found[1][-1]

    def quit(self) -> int:
        """The orderly end; its exit status."""
        self.send("quit")
        return self.wait(COMMAND_S)


def virtio_user(
    socket: Path,
    log: Path,
    *,
    cpu: int,
    mergeable: bool,
    packed: bool = False,
    in_order: bool = False,
    vectorized: bool = False,
    memory: Memory = Memory.SMALL_PAGES,
    ring: int = RING,
    pairs: int = 1,
    listen: bool = False,
) -> Testpmd:
    """testpmd as a guest's driver on a vhost-user socket: ``pairs`` queue pairs, rings of ``ring`` entries.

    ``listen``: it makes the socket, and is ready (``wait_ready``) once a back end has connected.
    """
    vdev = f"net_virtio_user0,path={socket},queues={pairs},queue_size={ring},mrg_rxbuf={int(mergeable)}"
    vdev += f",packed_vq={int(packed)},in_order={int(in_order)},vectorized={int(vectorized)}"
    vdev += f",server={int(listen)}"
    vdev += f",cq={int(pairs > 1)}"  # between its driver and its front end; the back end never sees it
    peer = Testpmd(vdev, log, cpu=cpu, memory=memory, ring=ring, pairs=pairs)
    if not listen:
        peer.wait_ready()
    return peer


def two_cpus() -> tuple[int, int]:
    """A CPU for the back end and one for its peer; the same one on a machine with a single CPU."""
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[0], cpus[-1]
