"""The command line: in this process where that will do, in a child of it where it must be a process.

Children are forked and not started anew: importing everything again takes longer than most tests.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import itertools
import json
import logging
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import pytest

from vfiodpa.cli.main import main
from vfiodpa.soft import function

PATIENCE = 30.0  # seconds
WHERE = signal.SIGUSR2  # a child that does not end is asked where it is
COLOUR_VARIABLES = ("NO_COLOR", "FORCE_COLOR", "COLUMNS")


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        body = json.loads(self.out)
        assert isinstance(body, dict)
        return body


class Cli:
    """``cli("show", "soft")`` runs one verb in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> Ran:
        code = run_main(words)
        out, err = self._capsys.readouterr()
        return Ran(code, out, err)


def run_main(words: Sequence[str]) -> int:
    try:
        return main(words)
    except SystemExit as end:  # argparse
        return int(end.code or 0)


class Child:
    """A verb in a process of its own, with its output in pipes or on a terminal."""

    def __init__(self, words: Sequence[str], fds: tuple[int, int, int], env: dict[str, str]) -> None:
        self._out = self._err = b""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the other threads are C and hold no lock
            self.pid = os.fork()
        if self.pid == 0:
            _be_a_process(words, fds, env)
        self._code: int | None = None

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """The exit code; negative for the signal that killed it."""
        end = time.monotonic() + seconds
        while self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                raise TimeoutError(f"process {self.pid} does not end")
            else:
                time.sleep(0.005)
        return self._code

    def kill(self) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


def _be_a_process(words: Sequence[str], fds: tuple[int, int, int], env: dict[str, str]) -> NoReturn:
    """In the child: nothing of pytest is left but the modules."""
    code = 1
    try:
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        os.closerange(3, 1024)  # the parent's ends of the pipes among them
        for name in COLOUR_VARIABLES:
            os.environ.pop(name, None)
        os.environ.update({"TERM": "xterm", **env})
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(i, mode) for i, mode in enumerate("rww"))
        faulthandler.register(WHERE, sys.stderr)
        logging.getLogger().handlers.clear()
        function._names = itertools.count()
        code = run_main(words)
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - what the interpreter does at the top
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


class Piped(Child):
    """With pipes."""

    def __init__(self, *words: str, **env: str) -> None:
        nothing = os.open(os.devnull, os.O_RDONLY)
        out, child_out = os.pipe()
        err, child_err = os.pipe()
        super().__init__(words, (nothing, child_out, child_err), env)
        for fd in (nothing, child_out, child_err):
            os.close(fd)
        self.out = os.fdopen(out)
        self.err = os.fdopen(err)

    def line(self) -> str:
        """The next line of its standard output."""
        return self.out.readline()

    def finish(self) -> Ran:
        """Wait for its end; what it said since the last ``line``. It must say less than a pipe holds."""
        try:
            code = self.wait()
        except TimeoutError as late:
            self.send_signal(WHERE)
            time.sleep(0.5)
            self.kill()
            raise TimeoutError(f"{late}; its threads are at:\n{self.err.read()}") from late
        return Ran(code, self.out.read(), self.err.read())

    def close(self) -> None:
        self.kill()
        self.out.close()
        self.err.close()


@contextmanager
def running(*words: str, **env: str) -> Iterator[Piped]:
    """A verb as a process; killed at the end of the block if it is still there."""
    process = Piped(*words, **env)
    try:
        yield process
    finally:
        process.close()


def on_a_terminal(*words: str, columns: int = 80, **env: str) -> Ran:
    """What a verb shows on a terminal (both streams)."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = Child(words, (theirs, theirs, theirs), env)
    os.close(theirs)
    data = b""
    try:
        with contextlib.suppress(OSError):  # EIO: the other side is closed
            while select.select([ours], [], [], PATIENCE)[0]:
                data += os.read(ours, 65536)
        code = child.wait()
    finally:
        child.kill()
        os.close(ours)
    return Ran(code, data.decode().replace("\r\n", "\n"), "")
