"""MSI-X vectors: who gets which, and the eventfds behind them.

With enough vectors, configuration changes have vector 0 and queue q has vector 1 + q. ``pairs_for``
limits the queue pairs so that this holds whenever three or more vectors exist. With two, both queues
of the one pair share vector 1; with one, everything shares vector 0. A vector signals one eventfd, so
the users of a shared vector must all bring the same one. With none, nobody is notified.
"""

from __future__ import annotations

from ..errors import DeviceError, Unsupported
from ..pci.function import PciFunction
from ..spec.virtio_pci import NO_VECTOR, CommonCfg

CONFIG = -1  # the user of the configuration change vector; queues are users 0, 1, ...


def pairs_for(vectors: int, pairs: int) -> int:
    """How many of ``pairs`` queue pairs the vectors allow."""
    return min(pairs, max(1, (vectors - 1) // 2)) if vectors else pairs


class Interrupts:
    """The vectors of one function; fds stay the caller's."""

    def __init__(self, function: PciFunction) -> None:
        self.function = function
        self.vectors = function.vectors
        self._fds: dict[int, int] = {}  # by user

    def vector_of(self, user: int) -> int:
        """Vector of a queue, or of ``CONFIG``; ``NO_VECTOR`` when there is none."""
        if not self.vectors:
            return NO_VECTOR
        if self.vectors >= 3:
            return 0 if user == CONFIG else 1 + user
        return 0 if user == CONFIG else self.vectors - 1

    def map(self, common: CommonCfg, user: int) -> None:
        """Give the selected queue, or configuration changes, its vector; read back (4.1.5.1.2)."""
        vector = self.vector_of(user)
        if user == CONFIG:
            common.config_msix_vector = vector
            answer = common.config_msix_vector
        else:
            common.queue_msix_vector = vector
            answer = common.queue_msix_vector
        if answer != vector:
            shown = "NO_VECTOR" if answer == NO_VECTOR else str(answer)
            raise DeviceError(
                f"the device refused MSI-X vector {vector} for {_who(user)}",
                device=self.function.name,
                cause=f"it reads back {shown}",
            )

    def set(self, user: int, fd: int | None) -> None:
        """Attach or detach a user's eventfd. Raises ``Unsupported`` where the vectors do not suffice."""
        vector = self.vector_of(user)
        others = {other: f for other, f in self._fds.items() if other != user and self.vector_of(other) == vector}
        if fd is None:
            if self._fds.pop(user, None) is not None and not others:
                self.function.set_irq(vector, None)
            return
        self._check(user, fd, others)
        self.function.set_irq(vector, fd)
        self._fds[user] = fd

    def detach_all(self) -> None:
        """Take every eventfd back."""
        for user in list(self._fds):
            self.set(user, None)

    def _check(self, user: int, fd: int, others: dict[int, int]) -> None:
        who = _who(user)
        if not self.vectors:
            raise Unsupported(f"no interrupt for {who}: the function has no MSI-X vectors", device=self.function.name)
        if any(other != fd for other in others.values()):
            raise Unsupported(
                f"no interrupt of its own for {who}",
                device=self.function.name,
                cause=f"with {self.vectors} MSI-X vectors it shares vector {self.vector_of(user)}, "
                "and a vector signals one eventfd only",
            )


def _who(user: int) -> str:
    return "configuration changes" if user == CONFIG else f"queue {user}"
