"""MSI-X vectors: who gets which, and the eventfds behind them.

Configuration changes have vector 0, the queues take turns with the others: each has its own as long as
there are enough, else queues share. With one vector everybody shares it; with none, nobody is notified.
A vector with one user signals that user's eventfd itself; once a second one comes, a C thread passes its
signals on (``fan_out``), until the last one has gone.
"""

from __future__ import annotations

import os

from ..errors import Unsupported
from ..pci.eventfd import duplicate_eventfd
from ..pci.function import PciFunction
from ..spec.virtio_pci import NO_VECTOR
from .fan_out import FanOut

CONFIG = -1  # the user of the configuration change vector; queues are users 0, 1, ...


class Interrupts:
    """The vectors of one function. Fds stay the caller's; duplicates are kept to arm the vectors again."""

    def __init__(self, function: PciFunction) -> None:
        self.function = function
        self.vectors = function.vectors
        self._fds: dict[int, int] = {}  # duplicates, by user
        self._fan_out = FanOut(function.name)

    def vector_of(self, user: int) -> int:
        """Vector of a queue, or of ``CONFIG``; ``NO_VECTOR`` when there is none."""
        if not self.vectors:
            return NO_VECTOR
        return 0 if user == CONFIG or self.vectors == 1 else 1 + user % (self.vectors - 1)

    def in_words(self, queues: int) -> str:
        """Who has which of them, when ``queues`` queues are used."""
        if not self.vectors:
            return "no MSI-X vectors: nobody can be notified"
        if self.vectors > queues:
            return "an MSI-X vector for each queue and one for configuration changes"
        if self.vectors == 1:
            return "1 MSI-X vector: all share it, relayed by a thread"
        step = self.vectors - 1
        groups = [range(first, queues, step) for first in range(step) if first + step < queues]
        listed = ", ".join(" ".join(map(str, group)) for group in groups)
        share = "share one each" if len(groups) > 1 else "share one"
        return f"{self.vectors} MSI-X vectors: queues {listed} {share}, relayed by a thread"

    def set(self, user: int, fd: int | None) -> None:
        """Attach or detach a user's eventfd; other users are not disturbed. Raises ``Unsupported`` without vectors."""
        if fd is None:
            self._detach(user)
            return
        who = "configuration changes" if user == CONFIG else f"queue {user}"
        if not self.vectors:
            raise Unsupported(f"no interrupt for {who}: the function has no MSI-X vectors", device=self.function.name)
        own = duplicate_eventfd(fd, f"interrupt for {who}", self.function.name)
        try:
            self._attach(user, fd, own)
        except BaseException:
            os.close(own)
            raise
        if user in self._fds:
            os.close(self._fds[user])
        self._fds[user] = own

    def rearm(self) -> None:
        """After a reset of the function, which took the vectors: attach everybody again."""
        for user, fd in self._fds.items():
            vector = self.vector_of(user)
            self.function.set_irq(vector, self._fan_out.source(vector) if vector in self._fan_out else fd)

    def detach_all(self) -> None:
        """Take every eventfd back."""
        for user in list(self._fds):
            self._detach(user)

    def _others(self, user: int) -> dict[int, int]:
        vector = self.vector_of(user)
        return {other: fd for other, fd in self._fds.items() if other != user and self.vector_of(other) == vector}

    def _attach(self, user: int, fd: int, own: int) -> None:
        vector, others = self.vector_of(user), self._others(user)
        if vector in self._fan_out:
            self._fan_out.set(vector, user, own)
        elif others:
            self._share(vector, others | {user: own})
        else:
            self.function.set_irq(vector, fd)

    def _share(self, vector: int, fds: dict[int, int]) -> None:
        """The second user has come."""
        source = self._fan_out.source(vector)
        try:
            for user, fd in fds.items():
                self._fan_out.set(vector, user, fd)
            self.function.set_irq(vector, source)
        except BaseException:  # the first one has it as before
            self._drop(vector, list(fds))
            raise
        self._fan_out.signal(vector)  # while an eventfd is exchanged, an interrupt can be lost

    def _detach(self, user: int) -> None:
        if user not in self._fds:
            return
        vector, others = self.vector_of(user), self._others(user)
        try:
            if not others:
                self.function.set_irq(vector, None)
        finally:
            self._fan_out.remove(user)
            if not others and vector in self._fan_out:
                self._drop(vector, [])
            os.close(self._fds.pop(user))

    def _drop(self, vector: int, users: list[int]) -> None:
        for user in users:
            self._fan_out.remove(user)
        self._fan_out.drop(vector)
