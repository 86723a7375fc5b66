"""Interrupts and doorbells, seen on a transmit queue: each frame that it takes is one used buffer."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from vfiodpa.errors import Unsupported, VfiodpaError
from vfiodpa.guest.direct import DirectGuest
from vfiodpa.guest.traffic import HEADER
from vfiodpa.memory import Gpa
from vfiodpa.spec.features import Feature
from vfiodpa.vdpa.nic import Nic

TX = 1
FRAME = b"\x02\0\0\0\0\x02" + b"\x02\0\0\0\0\x01" + b"\x88\xb5" + bytes(46)
WAIT_S = 5.0


@pytest.fixture
def guest(nic: Nic) -> Iterator[DirectGuest]:
    """Running; without EVENT_IDX and indirect tables, so that each buffer is notified plainly."""
    with nic.guest() as made:
        made.start(Feature.VERSION_1)
        _fired(made.call_fd(TX), 0.2)  # a vector that comes to be shared is signalled once, by a thread
        _drain(made.call_fd(TX))
        yield made


@pytest.fixture
def frame(guest: DirectGuest) -> tuple[Gpa, int]:
    length = HEADER + len(FRAME)
    gpa = guest.memory.alloc(length)
    guest.memory.write(gpa, bytes(HEADER) + FRAME)
    return gpa, length


def _drain(fd: int) -> None:
    while select.select([fd], [], [], 0)[0]:
        os.eventfd_read(fd)


def _fired(fd: int, timeout: float = WAIT_S) -> bool:
    if not select.select([fd], [], [], timeout)[0]:
        return False
    os.eventfd_read(fd)
    return True


def _let_it_sleep() -> None:
    """A device may look at its rings for a while after it was busy, and take what it was not told of."""
    time.sleep(0.2)


def _add(guest: DirectGuest, frame: tuple[Gpa, int]) -> None:
    """Make a frame available without telling the device."""
    queue = guest.queues[TX]
    queue.add(readable=[frame])
    queue.publish()


def _send(guest: DirectGuest, frame: tuple[Gpa, int]) -> None:
    _add(guest, frame)
    guest.queues[TX].kick(force=True)


def test_a_doorbell_sends_and_an_interrupt_answers(guest: DirectGuest, frame: tuple[Gpa, int]) -> None:
    for _ in range(3):
        _send(guest, frame)
        assert _fired(guest.call_fd(TX))
        guest.queues[TX].wait(WAIT_S)


def test_without_doorbell_nothing_moves(guest: DirectGuest, frame: tuple[Gpa, int]) -> None:
    _let_it_sleep()
    _add(guest, frame)
    assert not _fired(guest.call_fd(TX), 0.3)
    guest.queues[TX].kick(force=True)
    assert _fired(guest.call_fd(TX))


def test_another_eventfd_on_the_same_vector(
    guest: DirectGuest, frame: tuple[Gpa, int], eventfd: Callable[[], int]
) -> None:
    other = eventfd()
    guest.device.set_queue_irq(TX, other)
    _send(guest, frame)
    assert _fired(other)
    assert not _fired(guest.call_fd(TX), 0.1)
    guest.device.set_queue_irq(TX, guest.call_fd(TX))
    _send(guest, frame)
    assert _fired(guest.call_fd(TX))


def test_changing_one_vector_leaves_the_other(guest: DirectGuest, frame: tuple[Gpa, int]) -> None:
    for _ in range(5):
        guest.device.set_queue_irq(0, None)
        _send(guest, frame)
        assert _fired(guest.call_fd(TX))
        guest.device.set_queue_irq(0, guest.call_fd(0))
        _send(guest, frame)
        assert _fired(guest.call_fd(TX))


def test_the_callers_eventfd_may_be_closed(guest: DirectGuest, frame: tuple[Gpa, int]) -> None:
    mine = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    copy = os.dup(mine)
    try:
        guest.device.set_queue_irq(TX, mine)
        os.close(mine)
        _send(guest, frame)
        assert _fired(copy)
        guest.device.set_queue_irq(TX, guest.call_fd(TX))
    finally:
        os.close(copy)


def test_a_vector_that_is_not_there(guest: DirectGuest, eventfd: Callable[[], int]) -> None:
    function = guest.device.function
    with pytest.raises((VfiodpaError, IndexError, ValueError)):
        function.set_irq(function.vectors, eventfd())


def test_an_eventfd_is_the_doorbell(guest: DirectGuest, frame: tuple[Gpa, int], eventfd: Callable[[], int]) -> None:
    """The kernel (or the software NIC) rings: nobody of ours runs between the two eventfds."""
    kick, at = eventfd(), guest.device.doorbell_address(TX)
    function = guest.device.function
    try:
        function.ioeventfd(at.bar, at.offset, at.width, at.value, kick)
    except Unsupported as error:
        pytest.skip(str(error))
    for _ in range(3):
        _add(guest, frame)
        os.eventfd_write(kick, 1)
        assert _fired(guest.call_fd(TX))
        guest.queues[TX].wait(WAIT_S)
    function.ioeventfd(at.bar, at.offset, at.width, at.value, None)
    _let_it_sleep()
    _add(guest, frame)
    os.eventfd_write(kick, 1)
    assert not _fired(guest.call_fd(TX), 0.3)


def test_ringing_from_another_thread(guest: DirectGuest, frame: tuple[Gpa, int]) -> None:
    _add(guest, frame)
    thread = threading.Thread(target=guest.queues[TX].kick, kwargs={"force": True})
    thread.start()
    assert _fired(guest.call_fd(TX))
    thread.join(WAIT_S)
