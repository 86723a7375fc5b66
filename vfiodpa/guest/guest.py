"""The Guest contract: something whose virtqueues our own driver half can fill.

Two transports: a vhost-user socket (``vhost_user``) and a device driven directly (``direct``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from ..pci.function import Doorbell
from ..spec.features import Feature
from .memory import GuestMemory
from .queue import DriverQueue


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
    def start(self, features: Feature, pairs: int = 1, size: int = 256) -> None:
        """Negotiate, make ``pairs`` queue pairs of ``size`` entries and start them."""

    @abstractmethod
    def doorbell(self, queue: int) -> Doorbell:
        """How C threads notify the other side of a queue."""

    @abstractmethod
    def call_fd(self, queue: int) -> int:
        """Eventfd on which the other side notifies us of a queue."""

    @abstractmethod
    def stop(self) -> list[int]:
        """Stop the queues; returns the position of each."""

    @abstractmethod
    def close(self) -> None:
        """Stop, disconnect and free the memory; harmless when already closed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
