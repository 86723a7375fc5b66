"""Fixtures: the back end shares pages, and a channel is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.frontends.channel.channel_rig import Channel, SharingBackend
from tests.frontends.fakes import HASTY, Peer
from vfiodpa.frontends.loop import Loop
from vfiodpa.frontends.vhost_user.server import Server


@pytest.fixture
def backend(loop: Loop) -> Iterator[SharingBackend]:
    one = SharingBackend()
    yield one
    os.close(one.page)


@pytest.fixture
def channel(guest: Peer) -> Iterator[Channel]:
    """Everything negotiated, and the channel handed over."""
    one = Channel(guest)
    one.give()
    yield one
    one.sock.close()
    one.theirs.close()


@pytest.fixture
def hasty(loop: Loop, backend: SharingBackend, tmp_path: Path) -> Iterator[Channel]:
    """On a server that soon loses its patience."""
    with Server(loop, tmp_path / "hasty", backend, deadline=HASTY) as server:
        peer = Peer(loop, server.path)
        peer.negotiate()
        peer.add_memory()
        one = Channel(peer)
        one.give()
        yield one
        one.sock.close()
        peer.close()
