"""A program that a test runs: its output in a file, commands on its standard input, and an end that always comes."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

POLL_S = 0.02


class ProgramError(Exception):
    """The program ended early, was silent too long or had to be killed; the message carries its last output."""


class Program:
    """One child process. It dies with its parent, whatever happens to the parent.

    ``cpu`` pins every thread of it. Its output (both streams) goes to ``log``, so that a full pipe can never stop it.
    """

    def __init__(self, argv: Sequence[str], log: Path, *, cpu: int | None = None) -> None:
        pin = [] if cpu is None else ["taskset", "-c", str(cpu)]
        self.log = log
        self.name = log.stem
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *pin, *argv],  # both exec: the pid is the program's
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def preemptions(self) -> int:
        """How often its threads lost their CPU to something else, so far."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/status")
        found = (re.search(r"^nonvoluntary_ctxt_switches:\s+(\d+)$", task.read_text(), re.MULTILINE) for task in tasks)
        return sum(int(match[1]) for match in found if match)

    def output(self, start: int = 0) -> str:
        """What it printed, from byte ``start`` on."""
        return self.log.read_bytes()[start:].decode(errors="replace")

    def printed(self) -> int:
        """Bytes printed so far: a mark for ``output`` and ``wait_for``."""
        return self.log.stat().st_size

    def wait_for(self, pattern: str, timeout: float, start: int = 0) -> re.Match[str]:
        """The first match of ``pattern`` (multi-line) in the output from byte ``start`` on. Raises ProgramError."""
        deadline = time.monotonic() + timeout
        while True:
            alive = self.running  # before the read: what it printed last must still be seen
            found = re.search(pattern, self.output(start), re.MULTILINE)
            if found:
                return found
            if not alive:
                raise self._error(f"ended with status {self._process.returncode} before it printed {pattern!r}")
            if time.monotonic() > deadline:
                raise self._error(f"did not print {pattern!r} within {timeout:g} s")
            time.sleep(POLL_S)

    def wait_until_ready(self, pattern: str, timeout: float) -> None:
        """As ``wait_for``; a program that does not come up is killed, since nobody holds it yet."""
        with self.kill_on_error():
            self.wait_for(pattern, timeout)

    @contextlib.contextmanager
    def kill_on_error(self) -> Iterator[None]:
        """While it comes up: whatever goes wrong inside the block ends it."""
        try:
            yield
        except BaseException:
            self.kill()
            raise

    def send(self, line: str) -> None:
        """One line to its standard input."""
        stdin = self._process.stdin
        if stdin is None or not self.running:
            raise self._error(f"is not there to take {line!r}")
        stdin.write(line.encode() + b"\n")
        stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout: float) -> int:
        """Its exit status. Raises ProgramError, after a kill, when it does not end in time."""
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._error(f"did not end within {timeout:g} s and was killed") from None
        self._close_stdin()
        return status

    def kill(self) -> None:
        """SIGKILL, and reaped."""
        self._process.kill()
        self._process.wait(10)
        self._close_stdin()

    def _close_stdin(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def _error(self, what: str) -> ProgramError:
        tail = "\n".join(self.output().splitlines()[-25:])
        return ProgramError(f"{self.name} {what}; its last output ({self.log}):\n{tail}")
