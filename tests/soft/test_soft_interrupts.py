from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.soft.soft_rig import Nic, Ring, S, StuckLib, fired, wait_for
from vfiodpa._native import lib
from vfiodpa.drivers.feature_policy import LONG_HEADERS
from vfiodpa.errors import DeviceError, DeviceTimeout, DriverBreach, Unsupported
from vfiodpa.soft.options import CONTROL
from vfiodpa.soft.virtio_net import NOTIFY_OFFSET
from vfiodpa.spec.features import Feature
from vfiodpa.spec.pci import Status
from vfiodpa.spec.virtio_pci import NO_VECTOR, IsrStatus

Make = Callable[[str], Nic]
Eventfd = Callable[[], int]


def route(nic: Nic, queue: int, vector: int) -> None:
    nic.common.queue_select = queue
    nic.common.queue_msix_vector = vector


def transmit(nic: Nic, tx: Ring) -> None:
    tx.offer(bytes(72))
    nic.bell(tx.queue)
    assert tx.wait_used(tx.avail)


def test_any_event_maps_to_any_vector_and_reads_back(nic: Nic) -> None:
    for vector in (0, 1, 2, NO_VECTOR):
        nic.common.config_msix_vector = vector
        assert nic.common.config_msix_vector == vector
        for queue in (0, 1):
            route(nic, queue, vector)
            assert nic.common.queue_msix_vector == vector


@pytest.mark.parametrize("vector", [3, 4, 0xFFFE])
def test_a_vector_that_is_not_there_reads_back_as_none(nic: Nic, vector: int) -> None:
    nic.common.config_msix_vector = vector
    assert nic.common.config_msix_vector == NO_VECTOR
    route(nic, 0, vector)
    assert nic.common.queue_msix_vector == NO_VECTOR


def test_used_buffers_signal_the_queues_vector_only(nic: Nic, eventfd: Eventfd) -> None:
    fds = [eventfd() for _ in range(3)]
    for vector, fd in enumerate(fds):
        nic.f.set_irq(vector, fd)
    nic.common.config_msix_vector = 0
    route(nic, 0, 1)
    route(nic, 1, 2)
    nic.bring_up()  # resets: the vectors are gone
    tx = Ring(nic, 1)
    transmit(nic, tx)
    assert [fired(fd) for fd in fds] == [0, 0, 0]
    route(nic, 1, 2)
    transmit(nic, tx)
    assert wait_for(fds[2]) == 1
    assert [fired(fd) for fd in fds] == [0, 0, 0]


def test_queues_may_share_a_vector(make_nic: Make, eventfd: Eventfd) -> None:
    nic, fd = make_nic("soft:queues=2"), eventfd()
    nic.f.set_irq(0, fd)
    nic.bring_up()
    for queue in range(4):
        route(nic, queue, 0)
    for queue in (1, 3):
        transmit(nic, Ring(nic, queue))
        assert wait_for(fd) == 1


def test_the_callers_fd_can_be_closed(nic: Nic) -> None:
    fd = os.eventfd(0, os.EFD_CLOEXEC)
    mine = os.dup(fd)
    nic.f.set_irq(1, fd)
    os.close(fd)
    nic.bring_up()
    route(nic, 1, 1)
    transmit(nic, Ring(nic, 1))
    assert wait_for(mine) == 1
    os.close(mine)


def test_swapping_a_vectors_fd_while_running(nic: Nic, eventfd: Eventfd) -> None:
    first, second = eventfd(), eventfd()
    nic.f.set_irq(1, first)
    nic.bring_up()
    route(nic, 1, 1)
    tx = Ring(nic, 1)
    nic.f.set_irq(1, second)
    transmit(nic, tx)
    assert (wait_for(second), fired(first)) == (1, 0)
    nic.f.set_irq(1, None)
    transmit(nic, tx)
    assert (fired(second), fired(first)) == (0, 0)


def test_a_swap_that_fails_keeps_the_old_fd(nic: Nic, eventfd: Eventfd, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = eventfd(), eventfd()
    nic.f.set_irq(1, first)
    nic.bring_up()
    route(nic, 1, 1)
    with monkeypatch.context() as patch:
        patch.setattr("vfiodpa.soft.engine.lib", StuckLib())
        with pytest.raises(DeviceTimeout):
            nic.f.set_irq(1, second)
    transmit(nic, Ring(nic, 1))
    assert (wait_for(first), fired(second)) == (1, 0)


def test_what_is_no_eventfd_is_refused(nic: Nic, tmp_path: Path) -> None:
    read, write = os.pipe()
    with socket.socket() as sock, (tmp_path / "file").open("w") as file:
        for fd in (read, sock.fileno(), file.fileno()):
            with pytest.raises(DeviceError, match="EINVAL"):
                nic.f.set_irq(0, fd)
            with pytest.raises(DeviceError, match="EINVAL"):
                nic.f.ioeventfd(0, NOTIFY_OFFSET, 16, 0, fd)
    os.close(read)
    os.close(write)
    with pytest.raises(DeviceError, match="EBADF"):
        nic.f.set_irq(0, read)


def test_a_vector_beyond_the_table_is_refused(make_nic: Make, eventfd: Eventfd) -> None:
    nic = make_nic("soft:msix=0")
    with pytest.raises(DeviceError, match="0 vectors"):
        nic.f.set_irq(0, eventfd())


def test_configuration_changes_signal_their_vector_after_the_isr_bit(nic: Nic, eventfd: Eventfd) -> None:
    fd = eventfd()
    nic.f.set_irq(0, fd)
    nic.common.config_msix_vector = 0
    nic.f.set_link(up=False)
    assert fired(fd) == 1
    assert nic.isr.isr == IsrStatus.CONFIG
    assert nic.isr.isr == IsrStatus(0)
    nic.common.config_msix_vector = NO_VECTOR
    nic.f.set_link(up=True)
    assert fired(fd) == 0


def test_without_msix_the_pci_status_mirrors_the_isr(make_nic: Make) -> None:
    nic = make_nic("soft:msix=0")
    nic.f.set_mtu(1400)
    assert nic.header.status & Status.INTERRUPT
    assert nic.isr.isr == IsrStatus.CONFIG
    assert not nic.header.status & Status.INTERRUPT


def test_without_a_vector_used_buffers_show_in_the_isr(nic: Nic, eventfd: Eventfd) -> None:
    nic.bring_up()
    tx = Ring(nic, 1)
    transmit(nic, tx)
    assert nic.header.status & Status.INTERRUPT
    assert nic.isr.isr == IsrStatus.QUEUE
    assert nic.isr.isr == IsrStatus(0)
    nic.f.set_irq(0, eventfd())  # MSI-X is on: queues without a vector are silent
    transmit(nic, tx)
    assert nic.isr.isr == IsrStatus(0)


def test_a_driver_that_wants_no_notification_finds_none_in_the_isr(nic: Nic) -> None:
    nic.bring_up(
        int(
            nic.offered()
            & ~(Feature.RING_PACKED | Feature.EVENT_IDX | Feature.NOTIFICATION_DATA | CONTROL | LONG_HEADERS)
        )
    )
    tx = Ring(nic, 1)
    tx.put(0x8000, b"\1\0")
    transmit(nic, tx)
    assert nic.isr.isr == IsrStatus(0)


def test_an_error_signals_the_configuration_vector(nic: Nic, eventfd: Eventfd) -> None:
    fd = eventfd()
    nic.f.set_irq(0, fd)
    nic.bring_up()
    nic.common.config_msix_vector = 0
    Ring(nic, 1).offer(bytes(72), next_of=100)
    nic.bell(1)
    assert wait_for(fd) == 1
    assert nic.isr.isr == IsrStatus.CONFIG
    assert nic.isr.isr == IsrStatus(0)
    assert nic.wait_needs_reset()


def test_fail_hook_does_the_same(nic: Nic, eventfd: Eventfd) -> None:
    fd = eventfd()
    nic.f.set_irq(0, fd)
    nic.bring_up()
    nic.common.config_msix_vector = 0
    nic.f.fail("firmware stopped")
    assert fired(fd) == 1
    assert nic.common.device_status & S.NEEDS_RESET
    assert nic.f.diagnose() == "firmware stopped"
    nic.bring_up()
    assert not nic.common.device_status & S.NEEDS_RESET


class TestDoorbells:
    def test_a_bound_eventfd_rings_the_queue(self, nic: Nic, eventfd: Eventfd) -> None:
        fd = eventfd()
        nic.bring_up()
        nic.f.ioeventfd(0, NOTIFY_OFFSET + 4, 16, 1, fd)
        tx = Ring(nic, 1)
        for _ in range(3):
            tx.offer(bytes(72))
            os.eventfd_write(fd, 1)
            assert tx.wait_used(tx.avail)

    def test_it_survives_a_device_reset(self, nic: Nic, eventfd: Eventfd) -> None:
        fd = eventfd()
        nic.f.ioeventfd(0, NOTIFY_OFFSET + 4, 16, 1, fd)
        nic.bring_up()
        nic.bring_up()
        tx = Ring(nic, 1)
        tx.offer(bytes(72))
        os.eventfd_write(fd, 1)
        assert tx.wait_used(1)

    def test_taken_back_it_rings_no_more(self, make_nic: Make, eventfd: Eventfd) -> None:
        nic, fd = make_nic("soft:poll=0"), eventfd()
        nic.bring_up()
        nic.f.ioeventfd(0, NOTIFY_OFFSET + 4, 16, 1, fd)
        nic.f.ioeventfd(0, NOTIFY_OFFSET + 4, 16, 1, None)
        nic.wait_asleep()
        tx = Ring(nic, 1)
        tx.offer(bytes(72))
        os.eventfd_write(fd, 1)
        assert not tx.wait_used(1, seconds=0.05)
        nic.bell(1)
        assert tx.wait_used(1)

    def test_binding_twice_and_taking_back_nothing_fail_as_vfio_does(self, nic: Nic, eventfd: Eventfd) -> None:
        with pytest.raises(DeviceError, match="ENODEV"):
            nic.f.ioeventfd(0, NOTIFY_OFFSET, 16, 0, None)
        nic.f.ioeventfd(0, NOTIFY_OFFSET, 16, 0, eventfd())
        with pytest.raises(DeviceError, match="EEXIST"):
            nic.f.ioeventfd(0, NOTIFY_OFFSET, 16, 0, eventfd())

    @pytest.mark.parametrize(
        ("bar", "offset", "width", "value"),
        [(2, 0, 16, 0), (0, 0x14, 16, 0), (0, NOTIFY_OFFSET, 16, 1), (0, NOTIFY_OFFSET, 32, 0), (0, 0x300C, 16, 3)],
    )
    def test_only_a_doorbell_can_be_bound(
        self, nic: Nic, eventfd: Eventfd, bar: int, offset: int, width: int, value: int
    ) -> None:
        with pytest.raises(DriverBreach, match=r"4\.1\.5\.2"):
            nic.f.ioeventfd(bar, offset, width, value, eventfd())

    def test_ioeventfd_can_be_refused(self, make_nic: Make, eventfd: Eventfd) -> None:
        with pytest.raises(Unsupported, match="ioeventfd=off"):
            make_nic("soft:ioeventfd=off").f.ioeventfd(0, NOTIFY_OFFSET, 16, 0, eventfd())

    def test_page_per_queue(self, make_nic: Make, eventfd: Eventfd) -> None:
        nic, fd = make_nic("soft:page_per_vq=on"), eventfd()
        nic.bring_up()
        nic.f.ioeventfd(0, NOTIFY_OFFSET + 0x1000, 16, 1, fd)
        nic.bell(0, at=0)
        tx = Ring(nic, 1)
        tx.offer(bytes(72))
        os.eventfd_write(fd, 1)
        assert tx.wait_used(1)

    def test_the_doorbell_handle_rings(self, nic: Nic) -> None:
        nic.bring_up()
        bell = nic.f.doorbell(0, NOTIFY_OFFSET + 4, 16, 1)
        tx = Ring(nic, 1)
        tx.offer(bytes(72))
        assert lib.vdp_doorbell_ring(bell.native) == 0
        assert tx.wait_used(1)
