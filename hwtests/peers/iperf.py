"""iperf3: servers on this host, clients in a Linux guest (``guest/iperf``)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .linux_guest import LinuxGuest
from .program import Program, ProgramError

PORT = 5201
START_S = 10.0


@dataclass(frozen=True, slots=True)
class Flow:
    """One TCP connection: what the receiver got, without headers. ``seconds`` by its clock."""

    bytes: int
    seconds: float

    @property
    def bits_per_second(self) -> float:
        return 8 * self.bytes / self.seconds


@contextlib.contextmanager
def servers(address: str, directory: Path, count: int = 1, port: int = PORT) -> Iterator[None]:
    """So many, on ports one after the other, in this thread's network namespace."""
    with contextlib.ExitStack() as stack:
        for number in range(port, port + count):
            argv = ["iperf3", "-s", "-B", address, "-p", str(number), "--forceflush"]
            one = stack.enter_context(Program(argv, directory / f"iperf-{address}-{number}.log"))
            one.wait_for(r"^Server listening", START_S)
        yield


def measure(guest: LinuxGuest, address: str, seconds: int, *, reverse: bool = False, port: int = PORT) -> list[Flow]:
    """A connection from each of the guest's CPUs at once; ``reverse``: towards the guest. Raises ProgramError."""
    words = ["iperf", address, str(port), str(seconds), *(["-R"] if reverse else [])]
    flows = []
    for one in json.loads(guest.run(" ".join(words))):
        if "error" in one:
            raise ProgramError(f"iperf3 in the guest: {one['error']}")
        received = one["end"]["sum_received"]
        flows.append(Flow(received["bytes"], received["seconds"]))
    return flows
