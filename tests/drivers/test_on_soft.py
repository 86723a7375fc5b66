"""The very same driver on the software NIC, whose register model fails on every breach."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from vfiodpa.drivers.device import QueueSetup, QueueState
from vfiodpa.drivers.registry import driver_for
from vfiodpa.drivers.virtio_pci import VirtioPci
from vfiodpa.drivers.waiting import wait_until
from vfiodpa.errors import DeviceGone, Unsupported
from vfiodpa.memory import Iova, Mapping
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.features import NONE, Feature, names
from vfiodpa.spec.virtio_pci import CommonCfg, DeviceStatus

BASE = 0x10_0000
EACH = 0x10000
GUEST = Feature.VERSION_1 | Feature.NET_MAC | Feature.NET_MRG_RXBUF


class Rig:
    """A software NIC with its driver, and zeroed memory for the rings of every queue."""

    def __init__(self, text: str = "soft") -> None:
        self.function = SoftFunction(text)
        self.nic = driver_for(self.function)
        self.memory = Mapping.create(EACH * 2 * max(self.nic.queue_pairs, 1))
        self.function.dma.map(Iova(BASE), self.memory)

    def ring(self, queue: int, avail: int = 0) -> QueueSetup:
        base = BASE + EACH * queue
        return QueueSetup(256, Iova(base), Iova(base + 0x4000), Iova(base + 0x8000), QueueState(avail))

    def start(self, extra: Feature = NONE) -> None:
        self.nic.negotiate(GUEST | extra)
        for queue in range(2 * self.nic.queue_pairs):
            self.nic.start_queue(queue, self.ring(queue))
        self.nic.start()

    def close(self) -> None:
        self.function.close()
        self.memory.close()


@pytest.fixture
def rig() -> Iterator[Callable[[str], Rig]]:
    made: list[Rig] = []

    def make(text: str = "soft") -> Rig:
        made.append(Rig(text))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_the_record_is_found_by_ids(rig: Callable[..., Rig]) -> None:
    assert rig().nic.driver == "softnic"
    assert rig("soft:model=plain").nic.driver == "virtio_pci"


@pytest.mark.parametrize("text", ["soft", "soft:model=plain", "soft:queues=3"])
def test_the_whole_life_without_a_breach(rig: Callable[..., Rig], text: str) -> None:
    one = rig(text)
    for _ in range(2):
        one.start()
        assert one.nic.status & DeviceStatus.DRIVER_OK
        assert one.nic.read_config()["mac"] == list(one.function.options.mac)
        for queue in range(2 * one.nic.queue_pairs):
            one.nic.kick(queue)
            one.nic.stop_queue(queue)
            one.nic.start_queue(queue, one.ring(queue))
        one.nic.suspend()
    one.nic.close()
    assert one.function.diagnose() == ""


def test_what_a_guest_is_offered(rig: Callable[..., Rig]) -> None:
    nic = rig("soft:queues=2").nic
    assert {"VERSION_1", "NET_MQ", "NET_MAC", "NET_MRG_RXBUF"} <= set(names(nic.features))
    assert not {"ACCESS_PLATFORM", "NET_CTRL_VQ"} & set(names(nic.features))
    assert nic.queue_pairs == 2
    assert rig("soft:queues=2,model=plain").nic.queue_pairs == 2
    assert rig("soft:queues=2,model=plain,off=ctrl_vq").nic.queue_pairs == 1


def test_positions_survive_queue_stop_and_suspend(rig: Callable[..., Rig]) -> None:
    one = rig()
    one.nic.negotiate(GUEST)
    one.nic.start_queue(0, one.ring(0, avail=0xFFFE))
    one.nic.start_queue(1, one.ring(1, avail=7))
    assert one.nic.stop_queue(0) == QueueState(0xFFFE)
    assert one.nic.suspend() == {1: QueueState(7)}


def test_the_plain_model_has_no_positions(rig: Callable[..., Rig]) -> None:
    one = rig("soft:model=plain")
    one.nic.negotiate(GUEST)
    with pytest.raises(Unsupported, match="ring-state"):
        one.nic.start_queue(0, one.ring(0, avail=7))
    one.nic.start_queue(0, one.ring(0))
    assert one.nic.suspend() == {0: None}


def test_active_pairs_and_announce(rig: Callable[..., Rig]) -> None:
    one = rig("soft:queues=4")
    one.start()
    one.nic.set_active_pairs(4)
    assert one.nic.can_announce
    one.nic.announce(bytes.fromhex("525400000001"))


def test_interrupts_before_and_after_start(rig: Callable[..., Rig]) -> None:
    one = rig()
    fds = [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(2)]
    try:
        one.nic.set_queue_irq(0, fds[0])
        one.start()
        one.nic.set_config_irq(fds[1])
        one.function.set_link(False)
        assert os.eventfd_read(fds[1]) == 1
        assert one.nic.read_config()["status"] == 0
    finally:
        one.nic.close()
        for fd in fds:
            os.close(fd)


def test_registers_by_name(rig: Callable[..., Rig]) -> None:
    blocks = rig().nic.blocks
    assert set(blocks) == {"pci", "common", "isr", "net", "vendor"}
    assert [name for name, block in blocks.items() if not block.dump()] == ["isr"]  # reading would clear it


def test_an_unplugged_device_is_gone(rig: Callable[..., Rig]) -> None:
    one = rig()
    one.start()
    one.function.unplug()
    with pytest.raises(DeviceGone):
        _ = one.nic.status
    with pytest.raises(DeviceGone):
        one.nic.suspend()


def test_a_failed_device_says_why(rig: Callable[..., Rig]) -> None:
    one = rig()
    one.start()
    one.function.fail("the test said so")
    assert one.nic.status & DeviceStatus.NEEDS_RESET
    one.nic.reset()
    assert one.nic.status == 0


def test_the_generic_driver_drives_it_too(rig: Callable[..., Rig]) -> None:
    one = rig()
    nic = driver_for(one.function, "virtio_pci")
    assert isinstance(nic, VirtioPci)
    assert not nic.can_restore_state
    assert nic.queue_pairs == 1


def test_a_ring_that_is_not_mapped_shows_as_needs_reset(rig: Callable[..., Rig]) -> None:
    one = rig()
    one.nic.negotiate(GUEST)
    one.nic.start_queue(1, QueueSetup(256, Iova(0x4000_0000), Iova(0x4000_4000), Iova(0x4000_8000)))
    one.nic.start()
    one.nic.kick(1)
    wait_until(lambda: bool(one.nic.status & DeviceStatus.NEEDS_RESET), 5, "NEEDS_RESET", one.function)
    assert one.function.dma.faults()


@pytest.mark.parametrize("text", ["soft:queues=2,notif_data=on", "soft:queues=2,model=plain,notif_data=on"])
def test_doorbells_carry_what_the_device_says(rig: Callable[..., Rig], text: str) -> None:
    r = rig(text)
    before = [r.nic.doorbell_address(queue).value for queue in range(4)]
    r.start(Feature.NET_MQ)
    common = r.nic.blocks["common"]
    assert isinstance(common, CommonCfg)
    for queue in range(4):
        common.queue_select = queue
        value = common.queue_notif_config_data
        assert value != before[queue] == queue
        assert r.nic.doorbell_address(queue).value == value
        r.nic.kick(queue)
    r.nic.set_active_pairs(2)  # by the vendor's register, or over a control queue with a doorbell of its own
    r.nic.reset()
    r.start()


def test_who_has_a_doorbells_page_stores_the_queues_index(rig: Callable[..., Rig]) -> None:
    r = rig("soft:notifier=on,notif_data=on")
    r.start()
    assert Feature.NOTIF_CONFIG_DATA in r.nic.device_features
    assert Feature.NOTIF_CONFIG_DATA not in r.nic.negotiated
    assert r.nic.doorbell_address(1).value == 1
    r.nic.doorbell_page(1)
