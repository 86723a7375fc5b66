"""A guest gets a doorbell page only when nothing else is in it."""

from __future__ import annotations

import os

import pytest

from tests.drivers.fake_function import FakeFunction
from vfiodpa.drivers.device import DoorbellAddress
from vfiodpa.drivers.doorbell_page import check_page_of_its_own
from vfiodpa.drivers.queue import Queue
from vfiodpa.drivers.registry import driver_for
from vfiodpa.drivers.transport import Structure
from vfiodpa.drivers.virtio_pci import VirtioPci
from vfiodpa.errors import Unsupported, UsageError
from vfiodpa.memory import PAGE_SIZE
from vfiodpa.soft.function import SoftFunction

NOTIFY = Structure(4, 3 * PAGE_SIZE, 2 * PAGE_SIZE, 0)


def queues(*offsets: int, width: int = 16, size: int = 256) -> list[Queue]:
    return [Queue(i, size, DoorbellAddress(4, offset, width, i)) for i, offset in enumerate(offsets)]


def verdict(some: list[Queue], notify: Structure = NOTIFY, queue: int = 0) -> str:
    try:
        check_page_of_its_own(some[queue], some, notify, "nic")
    except Unsupported as error:
        return error.what
    return ""


def test_a_page_for_each_queue() -> None:
    assert [verdict(queues(3 * PAGE_SIZE, 4 * PAGE_SIZE), queue=queue) for queue in (0, 1)] == ["", ""]


@pytest.mark.parametrize("second", [3 * PAGE_SIZE, 3 * PAGE_SIZE + 4, 4 * PAGE_SIZE - 2])
def test_a_page_of_two_queues(second: int) -> None:
    assert verdict(queues(3 * PAGE_SIZE, second)) == "queues share a doorbell page"


def test_a_queue_that_is_not_there_shares_nothing() -> None:
    there, absent = queues(3 * PAGE_SIZE)[0], queues(0, 3 * PAGE_SIZE, size=0)[1]
    assert verdict([there, absent]) == ""


def test_another_bar_is_another_page() -> None:
    other = Queue(1, 256, DoorbellAddress(2, 3 * PAGE_SIZE, 16, 1))
    assert verdict([*queues(3 * PAGE_SIZE), other]) == ""


def test_a_doorbell_within_its_page() -> None:
    assert "not at the start of a page" in verdict(queues(3 * PAGE_SIZE + 64))


def test_other_registers_behind_the_doorbell() -> None:
    short = Structure(4, 3 * PAGE_SIZE, PAGE_SIZE + 2, 0)
    assert verdict(queues(3 * PAGE_SIZE, 4 * PAGE_SIZE), short) == ""
    assert verdict(queues(3 * PAGE_SIZE, 4 * PAGE_SIZE), short, 1) == "registers may follow the doorbell in its page"


def test_a_width_that_guests_do_not_store() -> None:
    assert verdict(queues(3 * PAGE_SIZE, width=32)) == "the device takes 32-bit doorbells, guests store 16 bits"


def test_the_software_nic_gives_its_pages() -> None:
    with SoftFunction("soft:queues=2,notifier=on") as function:
        nic = driver_for(function)
        pages = [nic.doorbell_page(queue) for queue in range(4)]
        assert [page.offset for page in pages] == [queue * PAGE_SIZE for queue in range(4)]
        assert {page.length for page in pages} == {PAGE_SIZE}
        assert len({os.fstat(page.fd).st_ino for page in pages}) == 1
        with pytest.raises(UsageError, match="no queue 4"):
            nic.doorbell_page(4)


@pytest.mark.parametrize(
    ("options", "why"),
    [("soft", "queues share a doorbell page"), ("soft:page_per_vq=on", r"no doorbell page to give away.*notifier=on")],
)
def test_a_software_nic_without_pages(options: str, why: str) -> None:
    with SoftFunction(options) as function, pytest.raises(Unsupported, match=why):
        driver_for(function).doorbell_page(0)


def test_a_function_that_gives_nothing_away() -> None:
    with pytest.raises(Unsupported, match="cannot be given away"):
        FakeFunction().doorbell_page(0, PAGE_SIZE)
    with pytest.raises(Unsupported, match="queues share"):
        VirtioPci(FakeFunction()).doorbell_page(0)
