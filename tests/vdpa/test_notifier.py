"""Host notifiers: who is asked when, what is said about it, and in which order they end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.vdpa.fake_device import FakeDevice, FakeFrontend
from vfiodpa.errors import DeviceGone, Unsupported
from vfiodpa.memory import PAGE_SIZE
from vfiodpa.pci.function import SharedPage
from vfiodpa.vdpa.doorbell import DoorbellMode, Doorbells, in_words, why_no_page

TX = 1
WIRED = "the function takes the kick eventfd itself"
Answer = Callable[[str], None]


class PagedDevice(FakeDevice):
    """Each queue's doorbell has a page; ``why_not`` takes them away."""

    why_not = ""

    def doorbell_page(self, queue: int) -> SharedPage:
        if self.why_not:
            raise Unsupported(self.why_not, cause="told so")
        return SharedPage(7, queue * PAGE_SIZE, PAGE_SIZE)

    def gone(self, queue: int) -> None:
        raise DeviceGone(f"kick {queue}")


class AskedFrontend(FakeFrontend):
    """Notes what it is asked in the device's journal and answers when the test says so."""

    def __init__(self, device: FakeDevice) -> None:
        super().__init__()
        self.journal = device.journal
        self.answers: list[Answer] = []
        self.refuses = ""

    def share_doorbell(self, queue: int, page: SharedPage, answer: Answer) -> None:
        if self.refuses:
            raise Unsupported(self.refuses)
        self.journal.append(f"share {queue} at {page.offset:#x}")
        self.answers.append(answer)

    def withdraw_doorbell(self, queue: int) -> None:
        self.journal.append(f"withdraw {queue}")


class Bench:
    def __init__(self, best: DoorbellMode = DoorbellMode.NOTIFIER) -> None:
        self.device = PagedDevice()
        self.frontend = AskedFrontend(self.device)
        self.bells = Doorbells(self.device, best)
        self.bells.frontend = self.frontend
        self.kick = os.eventfd(0, os.EFD_NONBLOCK)

    @property
    def journal(self) -> list[str]:
        return self.device.journal

    def connect(self) -> str:
        """The queue's mode and reason."""
        self.bells.connect(TX, self.kick)
        return self.now

    @property
    def now(self) -> str:
        choice = self.bells.choices[TX]
        return f"{choice.mode}: {choice.reason}"

    def close(self) -> None:
        self.bells.close()
        self.device.function.close()
        os.close(self.kick)


@pytest.fixture
def bench() -> Iterator[Bench]:
    one = Bench()
    yield one
    one.close()


def test_the_eventfd_first_then_the_page(bench: Bench) -> None:
    assert bench.connect() == f"ioeventfd: {WIRED}; no host notifier: the front end has not answered yet"
    assert bench.journal == ["doorbell 1 on", "share 1 at 0x1000"]


def test_an_accepted_page_is_the_best_way_and_the_eventfd_stays(bench: Bench) -> None:
    bench.connect()
    bench.journal.clear()
    bench.frontend.answers[0]("")
    assert bench.now == "notifier: the guest rings the device itself, else by ioeventfd"
    assert bench.journal == ["kick 1"], "in case one fell between the two ways"


def test_a_refused_page_leaves_the_eventfd(bench: Bench) -> None:
    bench.connect()
    bench.frontend.answers[0]("no room")
    assert bench.now == f"ioeventfd: {WIRED}; no host notifier: no room"
    bench.journal.clear()
    bench.bells.disconnect(TX)
    assert bench.journal == ["doorbell 1 off"], "there is nothing to withdraw"


@pytest.mark.parametrize("answered", [True, False])
def test_the_page_is_withdrawn_before_the_eventfd(bench: Bench, answered: bool) -> None:
    bench.connect()
    if answered:
        bench.frontend.answers[0]("")
    bench.journal.clear()
    bench.bells.disconnect(TX)
    assert bench.journal == ["withdraw 1", "doorbell 1 off"]
    bench.bells.disconnect(TX)
    assert bench.journal == ["withdraw 1", "doorbell 1 off"]


def test_an_answer_of_an_earlier_start_is_not_this_ones(bench: Bench) -> None:
    bench.connect()
    bench.connect()
    bench.frontend.answers[0]("")
    assert bench.now.startswith("ioeventfd")
    bench.bells.disconnect(TX)
    bench.frontend.answers[1]("")
    assert bench.bells.choices == {}
    assert "kick 1" not in bench.journal


def test_a_device_without_pages_is_not_asked_for(bench: Bench) -> None:
    bench.device.why_not = "queues share a doorbell page"
    assert not bench.bells.can_share
    assert bench.connect() == f"ioeventfd: {WIRED}; no host notifier: queues share a doorbell page (told so)"
    assert bench.journal == ["doorbell 1 on"]
    assert why_no_page(bench.device) == "queues share a doorbell page (told so)"


def test_a_front_end_that_cannot(bench: Bench) -> None:
    bench.frontend.refuses = "did not negotiate it"
    assert bench.bells.can_share
    assert bench.connect() == f"ioeventfd: {WIRED}; no host notifier: did not negotiate it"
    bench.bells.disconnect(TX)
    assert "withdraw 1" not in bench.journal


def test_a_better_way_than_wanted_is_not_used() -> None:
    one = Bench(DoorbellMode.IOEVENTFD)
    assert not one.bells.can_share
    assert one.connect() == f"ioeventfd: {WIRED}; no host notifier: it is not wanted"
    assert one.journal == ["doorbell 1 on"]
    one.close()


def test_a_device_that_is_gone_when_the_answer_comes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.connect()
    monkeypatch.setattr(bench.device, "kick", bench.device.gone)
    bench.frontend.answers[0]("")  # the loop goes on


def test_in_words(bench: Bench) -> None:
    for queue in (0, TX):
        bench.bells.connect(queue, bench.kick)
    for answer in bench.frontend.answers:
        answer("")
    words = in_words(bench.bells.choices)
    assert words == {"notifier (the guest rings the device itself, else by ioeventfd)": "queues 0 1"}
