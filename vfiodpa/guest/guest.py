"""The Guest contract: something whose virtqueues our own driver half can fill.

Two transports: a vhost-user socket (``vhost_user``) and a device driven directly (``direct``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from ..errors import FeaturesRefused, Unsupported
from ..pci.function import Doorbell
from ..spec.features import Feature, names
from .memory import GuestMemory
from .queue import DriverQueue

# What our driver half makes use of; ``start`` negotiates those that are offered unless told otherwise.
# Packed rings (RING_PACKED) and IN_ORDER it takes only when told to.
USEFUL = Feature.VERSION_1 | Feature.NET_MRG_RXBUF | Feature.EVENT_IDX | Feature.INDIRECT_DESC | Feature.NET_MQ


class Guest(ABC):
    """A connected driver half: memory, features and queues. Leaving the context disconnects."""

    name: str
    memory: GuestMemory
    queues: list[DriverQueue]  # receive and transmit alternating

    @property
    @abstractmethod
    def offered(self) -> Feature:
        """Features that the other side offers."""

    @property
    @abstractmethod
    def negotiated(self) -> Feature:
        """Features in force."""

    @abstractmethod
    def start(self, features: Feature | None = None, pairs: int = 1, size: int = 256) -> None:
        """Negotiate, make ``pairs`` queue pairs of ``size`` entries and start them.

        ``None`` takes what is offered of ``USEFUL``. Queues of an earlier start are freed.
        """

    @abstractmethod
    def doorbell(self, queue: int) -> Doorbell:
        """How C threads notify the other side of a queue."""

    @abstractmethod
    def call_fd(self, queue: int) -> int:
        """Eventfd on which the other side notifies us of a queue."""

    @abstractmethod
    def stop(self) -> list[int]:
        """Stop the queues; returns the position of each. Rings can still be read, until the next start."""

    @abstractmethod
    def close(self) -> None:
        """Stop, disconnect and free the memory; harmless when already closed."""

    @property
    def summary(self) -> str:
        """Queues and features, for people."""
        if not self.queues:
            return "not started"
        return f"{len(self.queues)} queues, features {' '.join(names(self.negotiated))}"

    def choose(self, features: Feature | None) -> Feature:
        """Features to negotiate; raises when the other side or our driver half lacks one."""
        if features is None:
            features = USEFUL & self.offered
        if features & ~self.offered:
            missing = ", ".join(names(features & ~self.offered))
            raise FeaturesRefused(f"{missing} is not offered", device=self.name)
        if not features & Feature.VERSION_1:
            raise Unsupported("our driver half speaks VERSION_1 only", device=self.name)
        if features & Feature.NOTIFICATION_DATA:
            raise Unsupported("our driver half has no NOTIFICATION_DATA", device=self.name)
        return features

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
