"""A second process made of this one: another user of the device, or one with fewer rights."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from types import TracebackType
from typing import Self

NOBODY = 65534
ANSWER_S = 60.0


class Child:
    """Runs ``work`` in a forked process, which then waits to be killed.

    ``answer`` is what ``work`` returned, or the name and text of the exception that ended it.
    """

    def __init__(self, work: Callable[[], str]) -> None:
        self._answer, theirs = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._run(work, theirs)
        os.close(theirs)
        self.alive = True

    @staticmethod
    def _run(work: Callable[[], str], answer: int) -> None:
        try:
            try:
                text = work()
            except BaseException as error:  # noqa: BLE001 # the parent judges it
                text = f"{type(error).__name__}: {error}"
            os.write(answer, text.encode() + b"\n")
            signal.pause()
        finally:
            os._exit(0)  # none of pytest's own clean-up

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()
        os.close(self._answer)

    @property
    def answer(self) -> str:
        if not select.select([self._answer], [], [], ANSWER_S)[0]:
            raise TimeoutError(f"process {self.pid} gave no answer within {ANSWER_S} s")
        return os.read(self._answer, 65536).decode().rstrip("\n")

    def kill(self) -> None:
        """SIGKILL, and reaped."""
        if self.alive:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.alive = False


def ask(work: Callable[[], str]) -> str:
    """The answer of a child that is ended at once."""
    with Child(work) as child:
        return child.answer
