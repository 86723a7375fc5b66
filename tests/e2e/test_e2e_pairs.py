"""Several queue pairs over vhost-user, switched by the device's control queue: what any virtio NIC has."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.e2e.rig import BASIC, Served, Stream, move, wait_for
from vfiodpa.drivers.control_memory import LENGTH
from vfiodpa.errors import IommuError, VfiodpaError
from vfiodpa.frontends.frontend import Region
from vfiodpa.guest.memory import GuestMemory
from vfiodpa.guest.vhost_user import WANTED, VhostUserGuest
from vfiodpa.memory import Gpa
from vfiodpa.soft.control_queue import ControlQueue
from vfiodpa.spec.features import Feature
from vfiodpa.spec.vhost_user import Protocol
from vfiodpa.vdpa.datapath import State

Serve = Callable[..., Served]
Connect = Callable[..., VhostUserGuest]

MQ = BASIC | Feature.NET_MQ
PLAIN = "soft:model=plain,queues=3"
TOP = 1 << 48


def watch(served: Served, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of pairs that the device is told."""
    seen: list[int] = []
    effects = served.function.device.settings.effects
    carry_out = effects.set_pairs

    def set_pairs(pairs: int) -> None:
        seen.append(pairs)
        carry_out(pairs)

    monkeypatch.setattr(effects, "set_pairs", set_pairs)
    return seen


@pytest.mark.parametrize("device", [PLAIN, f"{PLAIN},reset=off"])
def test_frames_on_every_pair(serve: Serve, connect: Connect, device: str) -> None:
    served = serve(device)
    guest = connect(served)
    guest.start(MQ, pairs=3)
    move(guest)
    assert all(served.packets(queue) for queue in range(6))


@pytest.mark.parametrize("device", [PLAIN, f"{PLAIN},reset=off"])
def test_fewer_and_more_pairs_while_frames_flow(
    serve: Serve, connect: Connect, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guest that uses fewer pairs disables the others; their rings stay started."""
    served = serve(device)
    seen = watch(served, monkeypatch)
    guest = connect(served)
    guest.start(MQ, pairs=3)
    wait_for(lambda: seen[-1:] == [3], "three pairs")
    stream = Stream(guest, pairs=1)
    for queue in (5, 4):
        guest.enable_queue(queue, False)
    wait_for(lambda: seen[-1:] == [2], "two pairs")
    for queue in (2, 3):
        guest.enable_queue(queue, False)
    wait_for(lambda: seen[-1:] == [1], "one pair")
    stream.flows()
    for queue in (2, 3, 4, 5):
        guest.enable_queue(queue, True)
    wait_for(lambda: seen[-1:] == [3], "three pairs")
    stream.flows()
    stream.stop()
    move(guest, count=100)


def test_queues_are_set_up_before_the_device_starts(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started and not enabled yet, as without STATUS, where the first pair starts the device."""
    served = serve(f"{PLAIN},reset=off")
    device, seen = served.nic.device, []
    start = device.start

    def record() -> None:
        seen.append(device.stats()["queue_starts"])
        start()

    monkeypatch.setattr(device, "start", record)
    guest = connect(served, protocol=WANTED & ~Protocol.STATUS)
    guest.start(MQ, pairs=3)
    move(guest, count=50)
    assert seen == [6]


def test_a_guest_with_one_pair_sends_no_command(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(PLAIN)
    seen = watch(served, monkeypatch)
    guest = connect(served)
    guest.start(MQ, pairs=1)
    move(guest)
    assert seen == []


def test_guest_after_guest(serve: Serve, connect: Connect) -> None:
    served = serve(PLAIN)
    for _ in range(3):
        guest = connect(served)
        guest.start(MQ, pairs=2)
        move(guest, count=50)
        guest.close()
        served.wait_state(State.IDLE)


def test_a_device_that_does_not_answer_fails_and_works_for_the_next(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(PLAIN)
    guest = connect(served)
    with monkeypatch.context() as patch:
        patch.setattr(ControlQueue, "serve", lambda _: False)
        guest.start(MQ, pairs=2)
        served.wait_state(State.FAILED)
    guest.close()
    served.wait_state(State.IDLE)
    guest = connect(served)
    guest.start(MQ, pairs=2)
    move(guest, count=50)


def test_guest_memory_over_the_control_queue_is_refused(serve: Serve, connect: Connect) -> None:
    served = serve(PLAIN)
    assert served.nic.device.reserved[0].first == TOP - LENGTH
    memory = GuestMemory(1 << 20, base=Gpa(TOP - (1 << 20)))
    with pytest.raises(IommuError, match="the driver uses 0xffffffffe000-0xffffffffffff itself"):
        served.datapath.check_regions([Region(memory.regions[0].gpa, 1 << 20, memory.regions[0].mapping)])
    guest = connect(served, memory=memory)
    with pytest.raises((VfiodpaError, OSError)):
        guest.start(MQ, pairs=1)
    guest.vanish()
    served.wait_state(State.IDLE)
    guest = connect(served)
    guest.start(MQ, pairs=2)
    move(guest, count=50)
