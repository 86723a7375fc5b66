"""Doorbell pages of the software NIC: shared memory that the worker looks at."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hwtests.footprint import threads
from tests.soft.soft_rig import Nic, Ring
from vfiodpa._native import ffi, lib
from vfiodpa.errors import DriverBreach, Unsupported
from vfiodpa.memory import PAGE_SIZE, Mapping
from vfiodpa.soft.virtio_net import NOTIFY_OFFSET

TX = 1
Make = Callable[[str], Nic]


@pytest.fixture
def nic(make_nic: Make) -> Nic:
    """It sleeps at once, so that nothing moves without a doorbell."""
    one = make_nic("soft:port=discard,notifier=on,poll=0")
    one.bring_up()
    return one


@pytest.fixture
def page(nic: Nic) -> Iterator[Mapping]:
    """The transmit queue's page, mapped as a guest's side maps it."""
    shared = nic.f.doorbell_page(0, NOTIFY_OFFSET + TX * PAGE_SIZE)
    with Mapping(os.dup(shared.fd), shared.length, fd_offset=shared.offset) as mapping:
        yield mapping


def store(page: Mapping, value: int, kind: int = lib.VDP_DOORBELL_MMIO16, offset: int = 0) -> None:
    address = ffi.cast("void *", page.address + offset)
    bell = ffi.new("struct vdp_doorbell *", {"kind": kind, "value": value, "addr": address})
    assert lib.vdp_doorbell_ring(bell) == 0


def kicks(nic: Nic) -> tuple[int, int]:
    stats = nic.f.queue_stats(TX)
    return stats["kicks"], stats["page_kicks"]


def publish(nic: Nic, tx: Ring) -> None:
    nic.wait_asleep()
    tx.offer(bytes(72))


def test_a_store_wakes_the_worker(nic: Nic, page: Mapping) -> None:
    tx = Ring(nic, TX)
    for count in range(1, 4):
        publish(nic, tx)
        assert not tx.wait_used(count, 0.05), "nothing moves without a kick"
        store(page, TX)
        assert tx.wait_used(count)
        assert kicks(nic) == (0, count)


def test_the_page_of_another_queue_wakes_it_too_and_is_counted_there(nic: Nic) -> None:
    shared = nic.f.doorbell_page(0, NOTIFY_OFFSET)
    with Mapping(os.dup(shared.fd), shared.length, fd_offset=shared.offset) as page:
        store(page, 0)
        end = time.monotonic() + 5
        while not nic.f.queue_stats(0)["page_kicks"] and time.monotonic() < end:
            time.sleep(0.001)
    assert (nic.f.queue_stats(0)["page_kicks"], kicks(nic)) == (1, (0, 0))


@pytest.mark.parametrize("value", [0, TX, 0x8000])
def test_any_value_rings(nic: Nic, page: Mapping, value: int) -> None:
    """What is stored, and how wide, cannot be told from memory: docs/reference/software-nic.md."""
    tx = Ring(nic, TX)
    publish(nic, tx)
    store(page, value, lib.VDP_DOORBELL_MMIO32 if value else lib.VDP_DOORBELL_MMIO16)
    assert tx.wait_used(1)


def test_the_bar_and_the_eventfd_ring_as_well(nic: Nic) -> None:
    tx = Ring(nic, TX)
    publish(nic, tx)
    nic.bell(TX, at=TX * PAGE_SIZE)
    assert tx.wait_used(1)
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    nic.f.ioeventfd(0, NOTIFY_OFFSET + TX * PAGE_SIZE, 16, TX, fd)
    publish(nic, tx)
    os.eventfd_write(fd, 1)
    assert tx.wait_used(2)
    assert kicks(nic) == (2, 0)
    os.close(fd)


def test_a_stopped_queue_hears_nothing(nic: Nic, page: Mapping) -> None:
    nic.common.queue_select = TX
    nic.common.queue_reset = 1
    store(page, TX)
    time.sleep(0.02)
    assert kicks(nic) == (0, 0)


def test_the_worker_rests_between_two_looks(nic: Nic) -> None:
    """Watching is not spinning: 50 us between looks is a few percent of a CPU."""
    nic.wait_asleep()
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.25


def wakeups() -> int:
    """How often the workers of this process went to sleep so far."""
    workers = [f"/proc/self/task/{thread.tid}/status" for thread in threads() if thread.name == "vdp-worker"]
    assert workers
    lines = [line for worker in workers for line in Path(worker).read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def test_a_nic_that_does_not_run_sleeps(make_nic: Make) -> None:
    make_nic("soft:notifier=on").wait_asleep()
    before = wakeups()
    time.sleep(0.2)
    assert wakeups() == before


def test_who_has_the_fd_cannot_cut_the_pages_off(nic: Nic, page: Mapping) -> None:
    for size in (0, PAGE_SIZE, 1 << 20):
        with pytest.raises(PermissionError):
            os.ftruncate(page.fd, size)
    with pytest.raises(OSError) as caught:
        fcntl.fcntl(page.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    assert caught.value.errno in (errno.EPERM, errno.EBUSY)


def test_a_hole_punched_into_a_page_is_a_kick(nic: Nic, page: Mapping) -> None:
    tx = Ring(nic, TX)
    publish(nic, tx)
    with mmap.mmap(page.fd, 2 * PAGE_SIZE) as whole:
        whole.madvise(mmap.MADV_REMOVE, PAGE_SIZE, PAGE_SIZE)
    assert tx.wait_used(1)


def test_only_doorbells_have_pages(nic: Nic) -> None:
    for bar, offset in ((2, 0), (0, 0), (0, NOTIFY_OFFSET + 2), (0, NOTIFY_OFFSET + 3 * PAGE_SIZE)):
        with pytest.raises(DriverBreach, match=r"4\.1\.5\.2"):
            nic.f.doorbell_page(bar, offset)


def test_without_the_option_there_are_none(make_nic: Make) -> None:
    with pytest.raises(Unsupported, match="notifier=on"):
        make_nic("soft:page_per_vq=on").f.doorbell_page(0, NOTIFY_OFFSET)
