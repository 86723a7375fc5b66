"""``vfiodpa serve`` as a process."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.e2e.rig import DEADLINE


class Server:
    """``vfiodpa serve DEVICE --socket PATH ...``; ended by the context at the latest."""

    def __init__(self, path: Path, *words: str, device: str = "soft") -> None:
        self.path = path
        self.report_path = path.with_suffix(".json")
        self.errors = path.with_suffix(".err").open("w+")
        command = [sys.executable, "-m", "vfiodpa", "serve", device, "--socket", str(path)]
        command += ["--report", str(self.report_path), *words]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.errors.close()

    def line(self) -> str:
        """The next line of its standard output."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], DEADLINE)[0], f"it says nothing: {self.stderr}"
        return self.process.stdout.readline()

    @property
    def stderr(self) -> str:
        return Path(self.errors.name).read_text()

    def end(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal; returns the seconds until it ended."""
        start = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(DEADLINE)
        return time.monotonic() - start

    def wait(self) -> int:
        """Wait until it ends by itself; its exit code."""
        return self.process.wait(DEADLINE)

    @property
    def rest(self) -> str:
        """What else it said on standard output; after its end."""
        assert self.process.stdout is not None
        return self.process.stdout.read()

    @property
    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.report_path.read_text())
        return report
