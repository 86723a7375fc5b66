"""Fixtures: a network namespace, NICs in it, a raw socket at the other end."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from hwtests.ports.namespace import namespace
from tests.soft.soft_rig import Nic, nics

ETH_P_ALL = 3


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    if os.geteuid():
        pytest.skip("a network namespace wants root")
    with namespace():
        yield


@pytest.fixture
def make_nic() -> Iterator[Callable[[str], Nic]]:
    with nics() as make:
        yield make


@pytest.fixture
def listen() -> Iterator[Callable[[str], socket.socket]]:
    """A packet socket on an interface: all that comes there."""
    made: list[socket.socket] = []

    def make(interface: str) -> socket.socket:
        one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        made.append(one)
        one.bind((interface, ETH_P_ALL))
        one.settimeout(5)
        return one

    yield make
    for one in made:
        one.close()
