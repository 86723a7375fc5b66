"""VIRTIO_F_SUSPEND. Ref: virtio 1.4, 3.5"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.soft.soft_rig import Nic, Ring, S, fired
from vfiodpa.errors import DriverBreach, UsageError
from vfiodpa.soft.device_string import parse_options
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_net import NetStatus

Make = Callable[[str], Nic]


@pytest.fixture
def running(make_nic: Make) -> Nic:
    nic = make_nic("soft:suspend=on")
    nic.bring_up()
    return nic


def suspend(nic: Nic) -> None:
    nic.common.device_status |= S.SUSPEND
    assert nic.common.device_status & (S.SUSPEND | S.DRIVER_OK) == S.SUSPEND


def resume(nic: Nic) -> None:
    nic.common.device_status |= S.DRIVER_OK
    assert nic.common.device_status & (S.SUSPEND | S.DRIVER_OK) == S.DRIVER_OK


def test_it_is_offered_when_asked_for(make_nic: Make) -> None:
    assert Feature.SUSPEND in make_nic("soft:suspend=on").offered()
    assert Feature.SUSPEND not in make_nic("soft").offered()
    with pytest.raises(UsageError, match="SUSPEND"):
        parse_options("soft:model=ifcvf,suspend=on")


def test_a_suspended_device_uses_nothing_until_it_resumes(running: Nic) -> None:
    tx = Ring(running, 1)
    tx.offer(bytes(72))
    running.bell(1)
    assert tx.wait_used(1)
    suspend(running)
    tx.offer(bytes(72))
    assert not tx.wait_used(2, seconds=0.02)
    resume(running)
    running.bell(1)
    assert tx.wait_used(2)


def test_a_doorbell_while_suspended_is_a_breach(running: Nic) -> None:
    suspend(running)
    with pytest.raises(DriverBreach, match="DRIVER_OK"):
        running.bell(1)


def test_changes_wait_for_the_resume(running: Nic, eventfd: Callable[[], int]) -> None:
    fd = eventfd()
    running.f.set_irq(0, fd)
    running.common.config_msix_vector = 0
    suspend(running)
    running.f.set_link(up=False)
    running.f.set_mtu(1400)
    assert (fired(fd), running.net.status, running.net.mtu) == (0, NetStatus.LINK_UP, 1500)
    resume(running)
    assert (fired(fd), running.net.status, running.net.mtu) == (1, NetStatus(0), 1400)


def test_changes_are_there_after_a_reset_too(running: Nic) -> None:
    suspend(running)
    running.f.set_link(up=False)
    running.to_driver()
    assert running.net.status == NetStatus(0)


def test_without_the_feature_suspend_is_a_breach(nic: Nic) -> None:
    nic.bring_up()
    with pytest.raises(DriverBreach, match="SUSPEND"):
        nic.common.device_status |= S.SUSPEND


def test_a_rude_driver_suspends_nothing_before_driver_ok(make_nic: Make) -> None:
    nic = make_nic("soft:suspend=on,strict=off")
    assert nic.to_features_ok()
    nic.common.device_status |= S.SUSPEND
    assert nic.common.device_status == S.ACKNOWLEDGE | S.DRIVER | S.FEATURES_OK
