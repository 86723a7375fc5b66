"""DPDK's nine virtio-user paths, with every frame verified, and both sides restarted under the other.

Our guest half sends over a wire, DPDK's guest sends back what it gets, our guest half looks at each byte:

    traffic == software NIC -- wire -- software NIC == vfiodpa serve == virtio-user (testpmd, io)

virtio-user makes the socket, as a guest must that outlives its back end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import vfiodpa
from hwtests.peers.backend import VfiodpaServer
from hwtests.peers.testpmd import Testpmd, two_cpus, virtio_user
from vfiodpa.guest.direct import DirectGuest
from vfiodpa.guest.traffic import Plan, Verdict, run

pytestmark = pytest.mark.timeout(180)

SIZES = (64, 65, 128, 256, 511, 512, 1024, 1280, 1514, 1518)
COUNT = 3000
LARGEST = 65535  # in 33 of the guest's buffers
LARGE_COUNT = 200
PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Path9:
    """One of DPDK's paths; ``receive`` and ``transmit`` is what its driver calls its functions then."""

    packed: bool
    mergeable: bool
    in_order: bool
    vectorized: bool = False

    def __str__(self) -> str:
        words = ["packed" if self.packed else "split", "mergeable" if self.mergeable else "plain"]
        return "-".join(words + ["in-order"] * self.in_order + ["vectorized"] * self.vectorized)

    @property
    def functions(self) -> tuple[str, str]:
        """Receive and transmit."""
        if self.vectorized:
            return "vectorized", "standard"
        if self.packed:
            return f"packed ring {'mergeable buffer' if self.mergeable else 'standard'}", "packed ring standard"
        if self.in_order:
            return "inorder", "inorder"
        return "mergeable buffer" if self.mergeable else "standard", "standard"

    @property
    def options(self) -> dict[str, bool]:
        return {name: getattr(self, name) for name in self.__slots__}


PATHS = [Path9(*kind) for kind in product((False, True), repeat=3)]
PATHS.append(Path9(packed=False, mergeable=False, in_order=False, vectorized=True))


class Lab:
    """Both ends of the wire, and who is at them."""

    def __init__(self, directory: Path, path: Path9, ends: ExitStack) -> None:
        self.directory = directory
        self.path = path
        self.ends = ends
        self.wire = f"peers-{os.getpid()}"
        nic = ends.enter_context(vfiodpa.open(f"soft:link={self.wire},mtu=9000"))
        self.traffic = ends.enter_context(DirectGuest(nic.device))
        self.guest = self.new_guest()
        self.server = self.new_server()
        self.guest.wait_ready()
        self.guest.start()

    def new_guest(self) -> Testpmd:
        """DPDK's, waiting for a back end."""
        socket, log = self.directory / "vhost.sock", self.directory / "guest.log"
        socket.unlink(missing_ok=True)
        guest = virtio_user(socket, log, cpu=two_cpus()[1], listen=True, **self.path.options)
        self.ends.callback(lambda: guest.running and guest.kill())
        guest.wait_until_ready("waiting for client connection", PATIENCE_S)
        return guest

    def new_server(self) -> VfiodpaServer:
        socket, log = self.directory / "vhost.sock", self.directory / "serve.log"
        server = VfiodpaServer(socket, log, device=f"soft:link={self.wire},mtu=9000", words=["--client", "-v"])
        self.ends.callback(lambda: server.program.running and server.program.kill())
        return server

    def restart_server(self, *, kill: bool) -> None:
        if kill:
            self.server.program.kill()
        else:
            self.server.stop()
        self.server = self.new_server()

    def restart_guest(self, *, kill: bool) -> None:
        if kill:
            self.guest.kill()
        else:
            assert self.guest.quit() == 0
        self.guest = self.new_guest()
        self.guest.wait_ready()
        self.guest.start()

    def verify(self) -> None:
        """Frames of all sizes go round and come back whole, each once, in order."""
        self.traffic.start(size=256)
        self._wait_for_the_path()
        check(
            run(self.traffic, Plan(SIZES, count=COUNT, stall=PATIENCE_S, drain=PATIENCE_S), seconds=PATIENCE_S), COUNT
        )
        if self.path.mergeable:
            plan = Plan((LARGEST, 64), count=LARGE_COUNT, window=4, stall=PATIENCE_S, drain=PATIENCE_S)
            check(run(self.traffic, plan, seconds=PATIENCE_S), LARGE_COUNT)

    def _wait_for_the_path(self) -> None:
        end = time.monotonic() + PATIENCE_S
        while not run(self.traffic, Plan(count=1, stall=0.2, drain=0.2), seconds=0.5).clean:
            assert time.monotonic() < end, f"no frame comes back:\n{self.server.program.output()}"
        time.sleep(0.1)  # one that was late
        self.traffic.start(size=256)


def check(verdict: Verdict, count: int) -> None:
    assert verdict.clean, f"{verdict}: {verdict.total}"
    assert verdict.total.received == count


@pytest.fixture
def lab(directory: Path, need_program: Callable[[str, str], None]) -> Iterator[Callable[[Path9], Lab]]:
    need_program("dpdk-testpmd", "dpdk-dev")
    with ExitStack() as ends:
        yield lambda path: Lab(directory, path, ends)


@pytest.mark.parametrize("path", PATHS, ids=str)
def test_a_path_and_restarts_on_either_side(lab: Callable[[Path9], Lab], path: Path9) -> None:
    one: Any = lab(path)
    assert one.guest.paths() == path.functions
    one.verify()
    one.restart_server(kill=False)
    one.verify()
    one.restart_guest(kill=False)
    one.verify()
    one.server.stop()
