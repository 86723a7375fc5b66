from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from vfiodpa.frontends.loop import READ, WRITE, Loop


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


def test_readable_fd_calls_back(loop: Loop, pipe: tuple[int, int]) -> None:
    seen: list[int] = []
    loop.watch(pipe[0], seen.append)
    assert loop.run_once(0) == 0
    os.write(pipe[1], b"x")
    assert loop.run_once(0) == 1
    assert seen == [READ]


def test_watch_again_replaces_callback_and_events(loop: Loop, pipe: tuple[int, int]) -> None:
    seen: list[str] = []
    loop.watch(pipe[1], lambda _: seen.append("first"), READ)
    loop.watch(pipe[1], lambda _: seen.append("second"), WRITE)
    loop.run_once(0)
    assert seen == ["second"]


def test_unwatched_fd_is_quiet(loop: Loop, pipe: tuple[int, int]) -> None:
    loop.watch(pipe[0], lambda _: pytest.fail("called"))
    os.write(pipe[1], b"x")
    loop.unwatch(pipe[0])
    loop.unwatch(pipe[0])
    assert loop.run_once(0) == 0


def test_fd_dropped_by_an_earlier_callback_of_the_round_is_not_called(loop: Loop) -> None:
    pairs = [os.pipe(), os.pipe()]
    called: list[int] = []

    def drop_the_other(mine: int, other: int) -> None:
        called.append(mine)
        loop.unwatch(other)

    loop.watch(pairs[0][0], lambda _: drop_the_other(0, pairs[1][0]))
    loop.watch(pairs[1][0], lambda _: drop_the_other(1, pairs[0][0]))
    for _, write in pairs:
        os.write(write, b"x")
    loop.run_once(0)
    assert len(called) == 1
    for fd in (fd for pair in pairs for fd in pair):
        os.close(fd)


def test_timers_fire_in_order_and_once(loop: Loop) -> None:
    seen: list[str] = []
    loop.call_later(0.02, lambda: seen.append("late"))
    loop.call_later(0.0, lambda: seen.append("soon"))
    while len(seen) < 2:
        loop.run_once()
    loop.run_once(0)
    assert seen == ["soon", "late"]


def test_cancelled_timer_does_not_fire_and_does_not_wake(loop: Loop) -> None:
    timer = loop.call_later(0.0, lambda: pytest.fail("called"))
    timer.cancel()
    timer.cancel()
    start = time.monotonic()
    assert loop.run_once(0.03) == 0
    assert time.monotonic() - start >= 0.02


def test_wait_ends_when_a_timer_is_due(loop: Loop) -> None:
    loop.call_later(0.01, lambda: None)
    start = time.monotonic()
    assert loop.run_once(5) == 1
    assert time.monotonic() - start < 1


def test_stop_from_another_thread(loop: Loop) -> None:
    thread = threading.Timer(0.02, loop.stop)
    thread.start()
    loop.run()
    thread.join()


def test_stop_before_run_counts(loop: Loop) -> None:
    loop.stop()
    loop.run()


def test_many_stops_do_not_block(loop: Loop) -> None:
    for _ in range(70_000):  # more than a pipe holds
        loop.stop()
    loop.run()


def test_signal_stops_the_loop_and_handlers_come_back(loop: Loop) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with loop.stop_on(signal.SIGTERM):
        loop.call_later(0.0, lambda: os.kill(os.getpid(), signal.SIGTERM))
        loop.run()
    assert signal.getsignal(signal.SIGTERM) is before


def test_signal_wakes_the_wait_by_itself(loop: Loop) -> None:
    """A Python handler alone runs only after the wait, when the signal came just before it."""
    with loop.stop_on(signal.SIGTERM):
        signal.signal(signal.SIGTERM, lambda *_: None)
        os.kill(os.getpid(), signal.SIGTERM)
        start = time.monotonic()
        assert loop.run_once(5) == 1
        assert time.monotonic() - start < 2


def test_callback_error_reaches_the_caller(loop: Loop) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    loop.call_later(0, broken)
    with pytest.raises(ZeroDivisionError):
        loop.run()


def test_close_twice(loop: Loop) -> None:
    loop.close()
    loop.close()
    loop.stop()  # a signal after the end
