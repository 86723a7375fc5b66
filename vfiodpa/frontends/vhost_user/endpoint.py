"""Where guests come from: one place for one guest at a time, by a server or a client socket."""

from __future__ import annotations

import logging
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Self

from ...errors import UsageError, VfiodpaError
from ..frontend import Backend
from ..loop import Loop
from .connection import DEADLINE
from .message import Tap, no_tap
from .session import Session

log = logging.getLogger(__name__)

PATH_MAX = 107  # bytes in sun_path, without the final zero (unix(7))


def nothing(_text: str) -> None:
    """The default of ``on_ready``."""


class Endpoint(ABC):
    """A socket path and at most one guest. ``on_ready`` gets a line for people when it can be used."""

    def __init__(
        self,
        loop: Loop,
        path: Path | str,
        backend: Backend,
        *,
        on_ready: Callable[[str], None] = nothing,
        deadline: float = DEADLINE,
        tap: Tap = no_tap,
    ) -> None:
        """``deadline``: seconds that a peer may take for the rest of a message, or to read a reply."""
        self._tap = tap
        self.path = Path(path)
        self._loop = loop
        self._backend = backend
        self._on_ready = on_ready
        self._deadline = deadline
        self._session: Session | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @abstractmethod
    def open(self) -> None:
        """Start to serve; returns at once."""

    @abstractmethod
    def close(self) -> None:
        """Let the guest go and free the socket; harmless when already closed."""

    @property
    def connected(self) -> bool:
        """Is a guest there?"""
        return self._session is not None

    @property
    def name(self) -> str:
        """For people and log lines."""
        return str(self.path)

    def _attach(self, sock: socket.socket) -> None:
        """Give a connected socket (taken over) to the back end, or close it with one log line."""
        try:
            self._session = Session(self._loop, sock, self.name, self._backend, self._left, self._deadline, self._tap)
        except VfiodpaError as error:
            log.warning("%s: connection refused: %s", self.name, error)
            self._left()

    def _left(self) -> None:
        self._session = None

    def _close_session(self) -> None:
        if self._session is not None:
            self._session.close()


def check_path(path: Path) -> None:
    """Raises ``UsageError`` for a path that no socket can have."""
    length = len(bytes(path))
    if length > PATH_MAX:
        raise UsageError(
            f"the socket path has {length} bytes, at most {PATH_MAX} are possible",
            device=str(path),
            remedy="a shorter one",
        )
