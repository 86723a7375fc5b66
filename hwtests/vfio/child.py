"""A child process without the cost of a new interpreter: forked, with a result or an error handed back."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

ANSWER_S = 60.0

Task = Callable[[Callable[[object], None]], object]


class Child:
    """Runs ``task(tell)`` in a forked process; what it tells, and at last returns or raises, comes by ``next``."""

    def __init__(self, task: Task) -> None:
        context = multiprocessing.get_context("fork")
        self._ours, theirs = context.Pipe()
        self.process = context.Process(target=_run, args=(task, theirs), daemon=True)
        self.process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()
        self._ours.close()

    def next(self, timeout: float = ANSWER_S) -> Any:
        """What it says next; its exceptions are raised here."""
        if not self._ours.poll(timeout):
            raise TimeoutError("the child said nothing")
        said = self._ours.recv()
        if isinstance(said, BaseException):
            raise said
        return said

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.process.pid or 0, number)

    def kill(self) -> None:
        """SIGKILL, and reaped."""
        self.process.kill()
        self.process.join(10)


def in_child(task: Callable[[], object]) -> Any:
    """Run ``task`` in a child; returns or raises what it returned or raised."""
    with Child(lambda _: task()) as child:
        return child.next()


def _run(task: Task, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        said = task(pipe.send)
    except BaseException as error:  # noqa: BLE001 # to be raised over there
        said = error
    try:
        pipe.send(said)
    finally:
        os._exit(0)
