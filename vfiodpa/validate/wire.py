"""Whoever is at the other end of the wire: it sends frames to the NIC, and hears what the NIC sends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ..spec.virtio_net import NetHdr


@dataclass(frozen=True, slots=True)
class Heard:
    """A frame from the wire. ``header`` says what offloads are still to be done, where the wire carries that."""

    frame: bytes
    header: NetHdr | None = None


class Wire(ABC):
    """A wire peer. Owns its interface or NIC; a context manager."""

    name: str = ""
    carries_tunnels = False  # also those of segments in UDP tunnels
    carries_offloads = False  # frames cross it with their virtio header (partial checksums, segments to be cut)

    @abstractmethod
    def send(self, frame: bytes, header: NetHdr | None = None) -> None:
        """Put a frame (no FCS) on the wire. ``header`` only where ``carries_offloads``."""

    @abstractmethod
    def receive(self, timeout: float = 1.0) -> Heard | None:
        """The next frame that the NIC sent; ``None`` when none came within ``timeout`` seconds."""

    def drain(self, quiet: float = 0.0) -> list[Heard]:
        """All that waits, until nothing came for ``quiet`` seconds."""
        found: list[Heard] = []
        while (one := self.receive(quiet)) is not None:
            found.append(one)
        return found

    @abstractmethod
    def set_link(self, up: bool) -> None:
        """Take the link down or up."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back; harmless when already closed."""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
