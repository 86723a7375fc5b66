"""``vfiodpa serve`` in a child process, and a guest whose frames come back over the wire."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hwtests.vfio.child import Child
from vfiodpa.cli.main import main

READY_S = 30.0


class Server(Child):
    """The command itself, forked. ``status`` waits for its exit code."""

    def __init__(self, bdf: str, iommu: str, socket: Path) -> None:
        socket.unlink(missing_ok=True)  # a killed one leaves it
        words = ["serve", bdf, "--socket", str(socket), "--iommu", iommu, "-v"]

        def serve(_: Callable[[object], None]) -> int:
            return main(words)

        super().__init__(serve)
        self.socket = socket

    def wait_ready(self) -> None:
        """Until guests can connect."""
        end = time.monotonic() + READY_S
        while not self.socket.exists():
            if not self.process.is_alive() or time.monotonic() > end:
                raise TimeoutError("the server does not come up")
            time.sleep(0.02)

    def status(self) -> Any:
        """Its exit status."""
        return self.next()

    def switches(self) -> dict[str, int]:
        """Context switches of each of its threads so far, of both kinds, by thread id."""
        found = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            lines = (task / "status").read_text().splitlines()
            found[task.name] = sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)
        return found
