"""What serves the guest in these tests: ours, or DPDK's vhost back end to prove the tests and to compare with."""

from __future__ import annotations

import json
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .program import Program, ProgramError
from .testpmd import Memory, Testpmd

READY_S = 20.0
REPORT_S = 5.0
REPORT_SCHEMA = "vfiodpa.report/1"


@dataclass(frozen=True, slots=True)
class Counters:
    """Frames and bytes (without virtio headers) of all queues of one direction each.

    ``busy_cycles`` counts the time stamp counter's ticks in polls that found packets: divided by ``from_guest`` it is
    what testpmd prints as CPU cycles/packet, because both count a frame once, when it is taken from the guest.
    """

    from_guest: int
    to_guest: int
    bytes_from_guest: int
    bytes_to_guest: int
    dropped: int
    busy_cycles: int


class EchoBackend(ABC):
    """A running vhost-user server that sends each frame back on the queue pair it came from."""

    program: Program

    def __init__(self, socket: Path) -> None:
        self.socket = socket

    @abstractmethod
    def counters(self) -> Counters:
        """Since the server started. The guest may be running."""

    @abstractmethod
    def stop(self) -> None:
        """The orderly end. Raises ProgramError when it is not one."""

    def settled(self, timeout: float = 5.0) -> Counters:
        """The counters, once they no longer change: nothing is in flight in the back end."""
        deadline = time.monotonic() + timeout
        now = self.counters()
        while time.monotonic() < deadline:
            time.sleep(0.2)
            last, now = now, self.counters()
            if (last.from_guest, last.to_guest) == (now.from_guest, now.to_guest):
                return now
        raise ProgramError(f"{self.program.name}: counters still move {timeout:g} s after the guest stopped: {now}")


class VfiodpaServer(EchoBackend):
    """``vfiodpa serve soft:port=echo``, with its report refreshed by SIGUSR1.

    ``words``: more options; with ``--client`` the guest makes the socket.
    """

    def __init__(
        self,
        socket: Path,
        log: Path,
        *,
        cpu: int | None = None,
        device: str = "soft:port=echo",
        words: Sequence[str] = (),
    ) -> None:
        super().__init__(socket)
        self._report = log.with_suffix(".json")
        vfiodpa = Path(sys.executable).with_name("vfiodpa")
        argv = [str(vfiodpa), "serve", device, "--socket", str(socket), "--report", str(self._report), *words]
        self.program = Program(argv, log, cpu=cpu)
        self.program.wait_until_ready(r"^(listening on|connected to) ", READY_S)

    def report(self) -> dict[str, Any]:
        """A fresh report; see docs for the schema."""
        self._report.unlink(missing_ok=True)  # so that the one found next is the one asked for
        self.program.signal(signal.SIGUSR1)
        return self._read_report()

    def counters(self) -> Counters:
        return counters_of(self.report())

    def stop(self) -> None:
        self._report.unlink(missing_ok=True)
        self.program.signal(signal.SIGTERM)
        status = self.program.wait(10)
        if status:
            raise ProgramError(f"vfiodpa serve ended with status {status} on SIGTERM:\n{self.program.output()}")
        self._read_report()  # the last one is written at the end

    def _read_report(self) -> dict[str, Any]:
        deadline = time.monotonic() + REPORT_S
        while not self._report.exists():
            if time.monotonic() > deadline:
                raise ProgramError(f"no report within {REPORT_S:g} s:\n{self.program.output()}")
            time.sleep(0.02)
        report: dict[str, Any] = json.loads(self._report.read_text())
        if report["schema"] != REPORT_SCHEMA:
            raise ProgramError(f"report has schema {report['schema']!r}, not {REPORT_SCHEMA!r}")
        return report


def counters_of(report: dict[str, Any]) -> Counters:
    """The sums of a report's queues and workers. A transmit queue is the guest's: its frames come from the guest."""
    tx = [queue for queue in report["queues"] if queue["kind"] == "tx"]
    rx = [queue for queue in report["queues"] if queue["kind"] == "rx"]
    return Counters(
        from_guest=sum(queue["packets"] for queue in tx),
        to_guest=sum(queue["packets"] for queue in rx),
        bytes_from_guest=sum(queue["bytes"] for queue in tx),
        bytes_to_guest=sum(queue["bytes"] for queue in rx),
        dropped=sum(queue["dropped"] for queue in report["queues"]),
        busy_cycles=sum(worker["busy_cycles"] for worker in report["workers"]),
    )


class DpdkVhost(EchoBackend):
    """testpmd in io mode over DPDK's vhost library."""

    program: Testpmd

    def __init__(self, socket: Path, log: Path, *, cpu: int, memory: Memory = Memory.SMALL_PAGES) -> None:
        super().__init__(socket)
        self.program = Testpmd(f"net_vhost0,iface={socket},queues=1", log, cpu=cpu, memory=memory)
        self.program.wait_ready()
        with self.program.kill_on_error():
            self.program.record_cycles()
            self.program.start()

    def counters(self) -> Counters:
        port = self.program.port_stats()
        forward = self.program.forward_stats()
        return Counters(
            from_guest=port.rx_packets,
            to_guest=port.tx_packets,
            bytes_from_guest=port.rx_bytes,
            bytes_to_guest=port.tx_bytes,
            dropped=forward.tx_dropped,
            busy_cycles=forward.cycles,
        )

    def stop(self) -> None:
        status = self.program.quit()
        if status:
            raise ProgramError(f"testpmd ended with status {status}:\n{self.program.output()}")


def start_backend(kind: str, directory: Path, *, cpu: int, memory: Memory = Memory.SMALL_PAGES) -> EchoBackend:
    """``kind``: ``vfiodpa`` or ``dpdk``. Socket and logs go to ``directory`` (its path must stay below 100 bytes).

    ``memory`` is DPDK's own; ours has no packet buffers.
    """
    socket = directory / "vhost.sock"
    if kind == "vfiodpa":
        return VfiodpaServer(socket, directory / "serve.log", cpu=cpu)
    return DpdkVhost(socket, directory / "dpdk-vhost.log", cpu=cpu, memory=memory)
