"""Waiting for file descriptors."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Iterator

import pytest

from vfiodpa.readable import readable


@pytest.fixture
def event() -> Iterator[int]:
    fd = os.eventfd(0)
    yield fd
    os.close(fd)


@pytest.fixture
def high(event: int) -> Iterator[int]:
    """The same eventfd, under a number that select() does not take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip(f"ulimit -Hn is {hard}: no descriptor can be above 1023")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    fd = os.dup2(event, 2000)
    yield fd
    os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_is_ready_comes_back_as_it_was_given(event: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        waiting: list[int | socket.socket] = [event, ours]
        theirs.send(b"x")
        assert readable(waiting, 5) == [ours]
        os.eventfd_write(event, 1)
        assert readable(waiting) == waiting


def test_silence_takes_its_time(event: int) -> None:
    begin = time.monotonic()
    assert readable([event], 0.05) == []
    assert time.monotonic() - begin >= 0.05
    assert readable([event], 0) == []


def test_a_peer_that_is_gone_can_be_read() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        assert readable([ours], 5) == [ours]


def test_numbers_above_1023(event: int, high: int) -> None:
    assert readable([high], 0) == []
    os.eventfd_write(event, 1)
    assert readable([high], 5) == [high]
