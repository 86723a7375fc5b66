"""Vectors: one each when there are enough, shared when not, and no user disturbs another."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hwtests.footprint import thread_names
from tests.drivers.fake_function import FakeFunction
from vfiodpa.drivers.interrupts import CONFIG, Interrupts
from vfiodpa.drivers.virtio_pci import VirtioPci
from vfiodpa.errors import DeviceError, Unsupported, UsageError
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_pci import NO_VECTOR

Eventfd = Callable[[], int]
COMES_S = 5.0


@pytest.fixture
def shared() -> Iterator[tuple[FakeFunction, Interrupts]]:
    """Two vectors: all queues share the second."""
    function = FakeFunction(vectors=2)
    irqs = Interrupts(function)
    yield function, irqs
    irqs.detach_all()


def fire(function: FakeFunction, vector: int) -> None:
    fd = function.irqs[vector]
    assert fd is not None
    os.eventfd_write(fd, 1)


def comes(fd: int, seconds: float = COMES_S) -> bool:
    """Is it signalled? The signal is taken."""
    if not select.select([fd], [], [], seconds)[0]:
        return False
    os.eventfd_read(fd)
    return True


def quiet(*fds: int) -> None:
    """Take what each of those that share a vector is signalled once: as the second comes, then each one."""
    assert all(comes(fd) for fd in fds)


@pytest.mark.parametrize(
    ("vectors", "config", "queues"),
    [
        (9, 0, [1, 2, 3, 4]),
        (5, 0, [1, 2, 3, 4]),
        (4, 0, [1, 2, 3, 1]),
        (3, 0, [1, 2, 1, 2]),
        (2, 0, [1, 1, 1, 1]),
        (1, 0, [0, 0, 0, 0]),
        (0, NO_VECTOR, [NO_VECTOR] * 4),
    ],
)
def test_who_gets_which_vector(vectors: int, config: int, queues: list[int]) -> None:
    irqs = Interrupts(FakeFunction(vectors=vectors))
    assert irqs.vector_of(CONFIG) == config
    assert [irqs.vector_of(queue) for queue in range(4)] == queues


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (0, "no MSI-X vectors: nobody can be notified"),
        (1, "1 MSI-X vector: all share it, relayed by a thread"),
        (2, "2 MSI-X vectors: queues 0 1 2 3 share one, relayed by a thread"),
        (3, "3 MSI-X vectors: queues 0 2, 1 3 share one each, relayed by a thread"),
        (4, "4 MSI-X vectors: queues 0 3 share one, relayed by a thread"),
        (5, "an MSI-X vector for each queue and one for configuration changes"),
    ],
)
def test_it_is_said(vectors: int, words: str) -> None:
    assert Interrupts(FakeFunction(vectors=vectors)).in_words(4) == words


def test_interrupts_are_set_one_by_one_before_and_after_start(eventfd: Eventfd) -> None:
    function = FakeFunction(vectors=3)
    nic = VirtioPci(function)
    rx, tx, config = eventfd(), eventfd(), eventfd()
    nic.set_queue_irq(0, rx)
    nic.negotiate(Feature.VERSION_1)
    nic.start()
    nic.set_queue_irq(1, tx)
    nic.set_config_irq(config)
    assert function.irqs == {1: rx, 2: tx, 0: config}
    nic.set_queue_irq(0, None)
    assert function.irqs == {1: None, 2: tx, 0: config}
    assert (nic.vector_of(0), nic.vector_of(1)) == (1, 2)
    nic.close()


def test_a_queue_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="no queue 2"):
        VirtioPci(FakeFunction()).set_queue_irq(2, 10)


def test_one_user_has_the_vector_itself(shared: tuple[FakeFunction, Interrupts], eventfd: Eventfd) -> None:
    function, irqs = shared
    fd = eventfd()
    irqs.set(0, fd)
    assert function.irqs == {1: fd}
    assert "vdp-relay" not in thread_names()


def test_every_user_of_a_vector_is_notified(shared: tuple[FakeFunction, Interrupts], eventfd: Eventfd) -> None:
    function, irqs = shared
    fds = [eventfd() for _ in range(3)]
    for queue, fd in enumerate(fds):
        irqs.set(queue, fd)
    quiet(*fds)
    for _ in range(3):
        fire(function, 1)
        assert all(comes(fd) for fd in fds)


def test_the_first_one_is_notified_once_when_a_second_comes(
    shared: tuple[FakeFunction, Interrupts], eventfd: Eventfd
) -> None:
    """Its interrupt may have been lost while the eventfds were exchanged."""
    _, irqs = shared
    first = eventfd()
    irqs.set(0, first)
    irqs.set(1, eventfd())
    assert comes(first)


def test_another_eventfd_of_one_user_leaves_the_other(
    shared: tuple[FakeFunction, Interrupts], eventfd: Eventfd
) -> None:
    function, irqs = shared
    old, new, other = eventfd(), eventfd(), eventfd()
    irqs.set(0, old)
    irqs.set(1, other)
    before = dict(function.irqs)
    irqs.set(0, new)
    quiet(new, other)
    comes(old, 0)  # it may have been gone already
    assert function.irqs == before  # the vector itself is not touched
    fire(function, 1)
    assert comes(new)
    assert comes(other)
    assert not comes(old, 0.1)


def test_one_user_goes_the_other_stays(shared: tuple[FakeFunction, Interrupts], eventfd: Eventfd) -> None:
    function, irqs = shared
    gone, stays = eventfd(), eventfd()
    irqs.set(0, gone)
    irqs.set(1, stays)
    irqs.set(0, None)
    quiet(stays)
    comes(gone, 0)
    reused = [eventfd() for _ in range(8)]  # one of them has the number of the duplicate that was closed
    fire(function, 1)
    assert comes(stays)
    assert not select.select([gone, *reused], [], [], 0.1)[0]
    irqs.set(1, None)
    assert function.irqs == {1: None}


def test_the_callers_eventfd_may_be_closed(shared: tuple[FakeFunction, Interrupts], eventfd: Eventfd) -> None:
    function, irqs = shared
    mine, other = eventfd(), eventfd()
    theirs = os.dup(mine)
    irqs.set(0, theirs)
    irqs.set(1, other)
    os.close(theirs)
    quiet(mine, other)
    fire(function, 1)
    assert comes(mine)


def test_an_eventfd_that_is_full_holds_nobody_up(shared: tuple[FakeFunction, Interrupts], eventfd: Eventfd) -> None:
    """The guest shares the open file: it fills the counter and makes writes to it block."""
    function, irqs = shared
    full, other = eventfd(), eventfd()
    irqs.set(0, full)
    irqs.set(1, other)
    quiet(full, other)
    os.eventfd_write(full, 2**64 - 2)
    os.set_blocking(full, True)
    fire(function, 1)
    came = comes(other)
    done = threading.Thread(target=irqs.detach_all, daemon=True)
    done.start()
    done.join(COMES_S)
    held_up = done.is_alive()
    os.eventfd_read(full)  # lets go whoever it held up
    assert came
    assert not held_up


def test_what_is_no_eventfd_is_refused(shared: tuple[FakeFunction, Interrupts], eventfd: Eventfd) -> None:
    function, irqs = shared
    fd, (reader, writer) = eventfd(), os.pipe()
    irqs.set(0, fd)
    with pytest.raises(DeviceError, match=r"interrupt for queue 1: fd \d+ cannot be used \(EINVAL: not an eventfd"):
        irqs.set(1, writer)
    assert function.irqs == {1: fd}
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("vectors", [1, 2, 5])
def test_nothing_is_left_behind(vectors: int, eventfd: Eventfd) -> None:
    fds = [eventfd() for _ in range(5)]
    before = sorted(Path("/proc/self/fd").iterdir())
    irqs = Interrupts(FakeFunction(vectors=vectors))
    for _ in range(2):
        for user, fd in enumerate(fds, CONFIG):
            irqs.set(user, fd)
    irqs.detach_all()
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    assert "vdp-relay" not in thread_names()


@pytest.mark.parametrize("vectors", [2, 4])
def test_armed_again_after_a_function_reset(vectors: int, eventfd: Eventfd) -> None:
    function = FakeFunction(vectors=vectors)
    irqs = Interrupts(function)
    mine = [eventfd(), eventfd()]
    for queue, fd in enumerate(mine):
        theirs = os.dup(fd)
        irqs.set(queue, theirs)
        os.close(theirs)
    if vectors == 2:  # a vector for both
        quiet(*mine)
    function.irqs.clear()
    irqs.rearm()
    for queue, fd in enumerate(mine):
        fire(function, irqs.vector_of(queue))
        assert comes(fd)
    irqs.detach_all()


def test_without_vectors_nobody_can_be_notified() -> None:
    irqs = Interrupts(FakeFunction(vectors=0))
    with pytest.raises(Unsupported, match="no MSI-X vectors"):
        irqs.set(0, 10)
    irqs.set(0, None)
