from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.frontends.fakes import HASTY, FakeBackend, Peer, open_fds, settle
from vfiodpa.frontends.loop import Loop
from vfiodpa.frontends.vhost_user.server import Server


@pytest.fixture
def loop() -> Iterator[Loop]:
    """Every test of this room ends with the fds that it began with."""
    before = open_fds()
    with Loop() as loop:
        yield loop
    assert open_fds() == before


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def server(loop: Loop, backend: FakeBackend, tmp_path: Path) -> Iterator[Server]:
    with Server(loop, tmp_path / "s", backend) as server:
        yield server
        settle(loop)


@pytest.fixture
def peer(loop: Loop, server: Server) -> Iterator[Peer]:
    """Connected, nothing said."""
    peer = Peer(loop, server.path)
    yield peer
    peer.close()


@pytest.fixture
def watched(loop: Loop, tmp_path: Path) -> Iterator[Peer]:
    """Connected to a server that soon loses its patience."""
    with Server(loop, tmp_path / "hasty", FakeBackend(), deadline=HASTY) as server:
        peer = Peer(loop, server.path)
        yield peer
        peer.close()


@pytest.fixture
def guest(peer: Peer) -> Peer:
    """Everything negotiated and memory there."""
    peer.negotiate()
    peer.add_memory()
    return peer


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines logged as warnings or worse so far."""
    return lambda: [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
