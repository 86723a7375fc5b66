"""The driver's own control queue, on the software NIC: pairs, answers, deadlines, and where its memory lies."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.drivers.fake_function import BASIC, FakeFunction
from vfiodpa.drivers.control_memory import LENGTH, ControlMemory
from vfiodpa.drivers.control_queue import ControlQueue
from vfiodpa.drivers.device import VdpaDevice
from vfiodpa.drivers.registry import driver_for
from vfiodpa.drivers.virtio_pci import VirtioPci
from vfiodpa.drivers.waiting import Deadlines
from vfiodpa.errors import (
    CommandRefused,
    DeviceError,
    DeviceGone,
    DeviceTimeout,
    IommuError,
    StateError,
    Unsupported,
)
from vfiodpa.guest.direct import DirectGuest
from vfiodpa.memory import PAGE_SIZE
from vfiodpa.soft.control_queue import ControlQueue as Device
from vfiodpa.soft.domain import SoftDomain
from vfiodpa.soft.function import SoftFunction
from vfiodpa.soft.settings import Refused
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_net import Ack

F = Feature
MULTIQUEUE = F.NET_CTRL_VQ | F.NET_MQ
GUEST = F.VERSION_1 | F.NET_MQ
PLAIN = "soft:model=plain,queues=3"
TOP = 1 << 48
DEADLINE = 0.2

Open = Callable[..., VdpaDevice]


@pytest.fixture
def make() -> Iterator[Open]:
    made: list[VdpaDevice] = []

    def open_it(text: str = PLAIN, domain: SoftDomain | None = None) -> VdpaDevice:
        function = SoftFunction(text, domain)
        made.append(driver_for(function, deadlines=Deadlines(command=DEADLINE)))
        return made[-1]

    yield open_it
    for nic in made:
        with contextlib.suppress(DeviceGone):
            nic.close()
        nic.function.close()


@pytest.fixture
def nic(make: Open) -> VdpaDevice:
    return make()


@pytest.fixture(params=[F(0), F.RING_PACKED, F.EVENT_IDX, F.RING_PACKED | F.EVENT_IDX], ids=str)
def guest(request: pytest.FixtureRequest, nic: VdpaDevice) -> Iterator[DirectGuest]:
    """Started with two of three pairs."""
    with DirectGuest(nic) as guest:
        guest.start(GUEST | request.param, pairs=2)
        yield guest


def told(nic: VdpaDevice, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of pairs that reach the device."""
    assert isinstance(nic.function, SoftFunction)
    seen: list[int] = []
    monkeypatch.setattr(nic.function.device.settings.effects, "set_pairs", seen.append)
    return seen


# Pairs


def test_pairs_are_offered_because_there_is_a_control_queue(nic: VdpaDevice) -> None:
    assert nic.queue_pairs == 3
    assert nic.features & MULTIQUEUE == F.NET_MQ  # the guest's own control queue stays with its front end


@pytest.mark.parametrize("device", [f"{PLAIN},off=ctrl_vq", f"{PLAIN},off=mq", "soft:model=plain"])
def test_one_pair_needs_none(make: Open, device: str) -> None:
    nic = make(device)
    assert (nic.queue_pairs, nic.features & F.NET_MQ, nic.reserved) == (1, 0, ())
    nic.negotiate(F.VERSION_1)
    nic.set_active_pairs(1)


def test_a_vendors_register_comes_first(make: Open) -> None:
    nic = make("soft:queues=3")
    nic.negotiate(GUEST)
    assert (nic.queue_pairs, nic.reserved) == (3, ())
    assert not nic.negotiated & F.NET_CTRL_VQ


def test_it_is_asked_for_only_with_multiqueue(nic: VdpaDevice) -> None:
    nic.negotiate(F.VERSION_1)
    assert not nic.negotiated & MULTIQUEUE
    with pytest.raises(Unsupported, match="MQ was not negotiated"):
        nic.set_active_pairs(2)
    nic.negotiate(GUEST)
    assert nic.negotiated & MULTIQUEUE == MULTIQUEUE


def test_what_is_asked_before_the_start_is_done_after_it(nic: VdpaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = told(nic, monkeypatch)
    nic.negotiate(GUEST)
    nic.set_active_pairs(3)
    assert seen == []
    nic.start()
    assert seen == [3]


def test_only_changes_are_sent(guest: DirectGuest, nic: VdpaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = told(nic, monkeypatch)
    for pairs in (2, 1, 1, 2, 3, 3):
        nic.set_active_pairs(pairs)
    assert seen == [1, 2, 3]


def test_many_commands_go_round_the_ring(guest: DirectGuest, nic: VdpaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = told(nic, monkeypatch)
    for number in range(100):
        nic.set_active_pairs(1 + number % 2)
    assert len(seen) == 100


def test_a_reset_means_one_pair(guest: DirectGuest, nic: VdpaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    guest.stop()
    seen = told(nic, monkeypatch)
    guest.start(GUEST, pairs=2)
    assert seen == [2]


# Answers


def refuse(*_: object) -> None:
    raise Refused("by the test")


def test_a_refusal_has_a_name(guest: DirectGuest, nic: VdpaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("vfiodpa.soft.commands.run", refuse)
        with pytest.raises(CommandRefused, match=r"soft\d+: the device refused the command VQ_PAIRS_SET"):
            nic.set_active_pairs(1)
    nic.set_active_pairs(3)  # the queue goes on


def test_an_answer_that_nobody_knows(guest: DirectGuest, nic: VdpaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Device, "_run", lambda *_: b"\7")
    with pytest.raises(DeviceError, match="answered with 0x07"):
        nic.set_active_pairs(1)


def test_no_answer_within_the_deadline(guest: DirectGuest, nic: VdpaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Device, "serve", lambda _: False)
        start = time.monotonic()
        with pytest.raises(DeviceTimeout, match=r"VQ_PAIRS_SET did not end within 0\.2 s"):
            nic.set_active_pairs(1)
        assert DEADLINE <= time.monotonic() - start < DEADLINE + 1
    with pytest.raises(StateError, match="earlier command was not answered"):
        nic.set_active_pairs(1)  # its buffers are still the device's
    guest.stop()
    guest.start(GUEST, pairs=2)  # a reset mends it


def test_a_device_that_goes_meanwhile(guest: DirectGuest, nic: VdpaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    def vanish(_: Device) -> bool:
        assert isinstance(nic.function, SoftFunction)
        nic.function.unplug()
        return False

    monkeypatch.setattr(Device, "serve", vanish)
    with pytest.raises(DeviceGone):
        nic.set_active_pairs(1)


def test_nothing_is_sent_before_it_is_set_up(nic: VdpaDevice) -> None:
    control = ControlQueue(nic.function, DEADLINE)
    with pytest.raises(StateError, match="not set up"):
        control.send(Ack.OK, Ack.OK)
    control.close()


def test_a_device_that_refuses_multiqueue_has_one_pair(caplog: pytest.LogCaptureFixture) -> None:
    function = FakeFunction(features=int(BASIC | MULTIQUEUE), pairs=4, num_queues=9, vectors=9, refuses_features=True)
    with caplog.at_level(logging.WARNING):
        nic = VirtioPci(function)
    assert nic.queue_pairs == 1
    assert "offers MQ and refuses it" in caplog.text


# Its memory


def test_it_lies_in_the_highest_pages(nic: VdpaDevice) -> None:
    (place,) = nic.reserved
    assert (place.first, place.last) == (TOP - LENGTH, TOP - 1)


def test_devices_of_one_domain_have_places_of_their_own(make: Open) -> None:
    domain = SoftDomain()
    first, second = make(PLAIN, domain), make(PLAIN, domain)
    assert first.reserved[0].first == second.reserved[0].last + 1


def test_it_is_given_back(make: Open) -> None:
    domain = SoftDomain()
    before = len(list(Path("/proc/self/fd").iterdir()))
    memory = ControlMemory(domain, "test")
    memory.close()
    memory.close()
    assert "0 maps" in repr(domain)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    nic = make(PLAIN, domain)
    assert "2 maps" in repr(domain)
    nic.close()
    assert "0 maps" in repr(domain)
    domain.close()


def test_without_a_place_there_is_one_pair(
    make: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise IommuError("full")

    monkeypatch.setattr(SoftDomain, "map", full)
    with caplog.at_level(logging.WARNING):
        nic = make()
    assert (nic.queue_pairs, nic.features & F.NET_MQ, nic.reserved) == (1, 0, ())
    assert "no place for the control queue" in caplog.text


def test_a_guest_cannot_have_commands_forged(nic: VdpaDevice) -> None:
    """A receive buffer over the commands, or over a split ring's descriptors, is stopped by the IOMMU."""
    (place,) = nic.reserved
    with DirectGuest(nic) as guest:
        guest.start(GUEST, pairs=2)
        guest.queues[0].send(writable=[(place.first, PAGE_SIZE)])
        data = guest.memory.alloc(2048)
        guest.queues[1].send(readable=[(data, 200)])
        end = time.monotonic() + 5
        while not (faults := nic.function.dma.faults()) and time.monotonic() < end:
            time.sleep(0.001)
    assert faults[0].iova == place.first
