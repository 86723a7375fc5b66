"""What our front end does with doorbell pages: it maps them as QEMU does, and refuses the rest."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from tests.guest.fake_backend import PROTOCOL, FakeBackend
from vfiodpa._native import ffi, lib
from vfiodpa.guest.channel import Channel
from vfiodpa.guest.memory import GuestMemory
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.memory import PAGE_SIZE, Mapping
from vfiodpa.spec.vhost_user import HOST_NOTIFIERS, VRING_NO_FD, BackendRequest, Request, VringArea

TX = 1


class Bench:
    """A started guest and the back end's end of its channel."""

    def __init__(self, backend: FakeBackend) -> None:
        self.guest = VhostUserGuest(backend.path, memory=GuestMemory(1 << 22), notifiers=True, timeout=2)
        self.guest.start()
        given = next(message for message in backend.heard if message.request == Request.SET_BACKEND_REQ_FD)
        self.channel = Channel(socket.socket(fileno=os.dup(given.fds[0])), timeout=2)
        self.memory = Mapping.create(4 * PAGE_SIZE)

    def share(self, index: int, length: int = PAGE_SIZE, offset: int = 2 * PAGE_SIZE, fds: int = 1) -> bool:
        """Was it accepted?"""
        area = VringArea(index=index, length=length, offset=offset)
        self.channel.send(BackendRequest.VRING_HOST_NOTIFIER_MSG, area, [self.memory.fd] * fds, need_reply=True)
        self.guest.requests(2)
        return self.channel.recv().u64 == 0

    def peek(self, offset: int) -> int:
        return int(lib.vdp_guest_read16(ffi.cast("void *", self.memory.address + offset)))

    def close(self) -> None:
        self.guest.close()
        self.channel.close()
        self.memory.close()


@pytest.fixture
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with FakeBackend(tmp_path_factory.mktemp("b") / "s", protocol=PROTOCOL | HOST_NOTIFIERS) as backend:
        one = Bench(backend)
        yield one
        one.close()


def test_the_queue_is_rung_in_the_page(bench: Bench) -> None:
    assert bench.share(TX)
    assert [bench.guest.rings_by(queue) for queue in (0, TX)] == ["eventfd", "page"]
    before = dict(bench.guest.rings)
    bench.guest.queues[TX].kick(force=True)
    assert bench.peek(2 * PAGE_SIZE) == TX
    assert dict(bench.guest.rings) == before | {"page": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"length": 2 * PAGE_SIZE},
        {"length": 0},
        {"offset": PAGE_SIZE + 2},
        {"offset": 1 << 63},
        {"fds": 0},
        {"fds": 2},
        {"index": 2},
        {"index": 0xFF},
    ],
    ids=str,
)
def test_anything_else_is_refused(bench: Bench, wrong: dict[str, int]) -> None:
    assert not bench.share(**{"index": TX, **wrong})
    assert bench.guest.rings_by(TX) == "eventfd"
    assert bench.share(TX)


def test_a_withdrawal(bench: Bench) -> None:
    assert bench.share(TX)
    assert bench.share(TX | VRING_NO_FD, fds=0)
    assert bench.guest.rings_by(TX) == "eventfd"
    assert bench.share(TX | VRING_NO_FD, fds=0), "harmless twice"


def test_another_page_replaces_the_first(bench: Bench) -> None:
    assert bench.share(TX)
    assert bench.share(TX, offset=PAGE_SIZE)
    bench.guest.queues[TX].kick(force=True)
    assert (bench.peek(PAGE_SIZE), bench.peek(2 * PAGE_SIZE)) == (TX, 0)


def test_the_page_is_dropped_before_the_queue_stops(bench: Bench) -> None:
    assert bench.share(TX)
    bench.guest.stop()
    assert bench.guest.rings_by(TX) == "eventfd"


def test_without_a_word_the_wait_ends(bench: Bench) -> None:
    assert not bench.guest.take_notifiers(0.05)
