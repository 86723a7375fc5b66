"""DPDK's guest at one end of a wire and our guest half at the other, which sends, and looks at every byte that returns.

    traffic == software NIC -- wire -- software NIC == vfiodpa serve == virtio-user (testpmd, io)

virtio-user makes the socket, as a guest must that outlives its back end.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import vfiodpa
from hwtests.peers.backend import VfiodpaServer
from hwtests.peers.program import Program
from hwtests.peers.testpmd import Testpmd, two_cpus, virtio_user
from vfiodpa.guest.direct import DirectGuest
from vfiodpa.guest.guest import USEFUL
from vfiodpa.guest.traffic import Plan, Verdict, run

SIZES = (64, 65, 128, 256, 511, 512, 1024, 1280, 1514, 1518)
LARGE = (65535, 64, 9000)  # in 33, 1 and 5 of the guest's buffers
PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class RingPath:
    """One of DPDK's paths through virtio-user."""

    packed: bool = False
    mergeable: bool = False
    in_order: bool = False
    vectorized: bool = False

    def __str__(self) -> str:
        words = ["packed" if self.packed else "split", "mergeable" if self.mergeable else "plain"]
        return "-".join(words + ["in-order"] * self.in_order + ["vectorized"] * self.vectorized)

    @property
    def functions(self) -> tuple[str, str]:
        """What its driver calls its receive and transmit functions then."""
        if self.vectorized:
            return "vectorized", "standard"
        if self.packed:
            return f"packed ring {'mergeable buffer' if self.mergeable else 'standard'}", "packed ring standard"
        if self.in_order:
            return "inorder", "inorder"
        return "mergeable buffer" if self.mergeable else "standard", "standard"

    @property
    def large(self) -> tuple[int, ...]:
        """Sizes of large frames that can be mixed: indirect tables beside chains are too much for DPDK where it
        has packed rings without IN_ORDER (test_virtio_user_pieces.py)."""
        return LARGE[:2] if self.packed and not self.in_order else LARGE

    @property
    def options(self) -> dict[str, Any]:
        """As ``virtio_user`` takes them."""
        return {name: getattr(self, name) for name in ("packed", "mergeable", "in_order", "vectorized")}


# The tenth, packed and vectorized, needs AVX-512. IN_ORDER switches the split vectorized one off.
PATHS = [*(RingPath(*kind) for kind in product((False, True), repeat=3)), RingPath(vectorized=True)]


class Lab:
    """Both ends of the wire, and who is at them. What it starts ends with ``ends``."""

    def __init__(
        self, directory: Path, path: RingPath, ends: ExitStack, *, pairs: int = 1, queues: int = 0, ring: int = 1024
    ) -> None:
        """``pairs`` of virtio-user; ``queues``: pairs of both NICs, as many if not said otherwise."""
        self.directory = directory
        self.path = path
        self.ends = ends
        self.pairs = pairs
        self.ring = ring
        self.device = f"soft:link=peers-{os.getpid()},mtu=9000,queues={queues or pairs}"
        nic = ends.enter_context(vfiodpa.open(self.device))
        self.traffic = ends.enter_context(DirectGuest(nic.device))
        self.guest = self._new_guest()
        self.server = self._new_server()
        self.guest.wait_ready()

    def _new_guest(self) -> Testpmd:
        """Waiting for a back end."""
        socket, log = self.directory / "vhost.sock", self.directory / "guest.log"
        socket.unlink(missing_ok=True)
        cpu, rings = two_cpus()[1], self.path.options | {"pairs": self.pairs, "ring": self.ring}
        guest = virtio_user(socket, log, cpu=cpu, listen=True, **rings)
        self.ends.callback(_end, guest)
        guest.wait_until_ready("waiting for client connection", PATIENCE_S)
        return guest

    def _new_server(self) -> VfiodpaServer:
        socket, log = self.directory / "vhost.sock", self.directory / "serve.log"
        server = VfiodpaServer(socket, log, device=self.device, words=["--client", "-v"])
        self.ends.callback(_end, server.program)
        return server

    def restart_server(self, *, kill: bool = False) -> None:
        """Another ``vfiodpa serve`` takes over the guest's running rings."""
        if kill:
            self.server.program.kill()
        else:
            self.server.stop()
        self.server = self._new_server()

    def restart_guest(self, *, kill: bool = False) -> None:
        """Another testpmd, for which the back end waits."""
        if kill:
            self.guest.kill()
        else:
            assert self.guest.quit() == 0
        self.guest = self._new_guest()
        self.guest.wait_ready()
        self.guest.start()

    def verify(self, count: int = 2000, *, pairs: int = 1, large: tuple[int, ...] | None = None) -> None:
        """Frames of all sizes, ``count`` on each pair, come back whole, each once, in order.

        With mergeable buffers ``large`` ones, too: as the path has them, if not said otherwise.
        """
        self._wait_for_the_path(pairs)
        check(run(self.traffic, self._plan(SIZES, count), seconds=PATIENCE_S), count)
        if self.path.mergeable and pairs == 1:
            plan = self._plan(self.path.large if large is None else large, 150, window=4)
            check(run(self.traffic, plan, seconds=PATIENCE_S), 150)

    def _plan(self, sizes: tuple[int, ...], count: int, **more: Any) -> Plan:
        return Plan(sizes, count=count, stall=PATIENCE_S, drain=PATIENCE_S, **more)

    def start_traffic(self, pairs: int = 1) -> None:
        """Fresh rings for our own guest half."""
        self.traffic.start(USEFUL & self.traffic.offered, pairs=pairs, size=256 if pairs == 1 else 64)

    def _wait_for_the_path(self, pairs: int) -> None:
        end = time.monotonic() + PATIENCE_S
        self.start_traffic(pairs)
        while not run(self.traffic, Plan(count=1, stall=0.2, drain=0.2), seconds=0.5).clean:
            assert time.monotonic() < end, f"no frame comes back:\n{self.server.program.output()}"
        time.sleep(0.1)  # one that was late
        self.start_traffic(pairs)


def _end(program: Program) -> None:
    if program.running:
        program.kill()


def check(verdict: Verdict, count: int) -> None:
    """Every frame came back, on every pair."""
    assert verdict.clean, f"{verdict}: {verdict.total}"
    assert [pair.received for pair in verdict.pairs] == [count] * len(verdict.pairs)
