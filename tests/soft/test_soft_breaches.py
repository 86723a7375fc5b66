"""Each rule that the software NIC holds a driver to is broken once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.soft.soft_rig import Nic, S
from vfiodpa.errors import DriverBreach
from vfiodpa.soft.rules import WRITE_RULES
from vfiodpa.soft.virtio_net import DEVICE_OFFSET, ISR_OFFSET, NOTIFY_OFFSET
from vfiodpa.spec.features import Feature
from vfiodpa.spec.pci import Command
from vfiodpa.spec.virtio_pci import CommonCfg

Make = Callable[[str], Nic]
Do = Callable[[Nic], object]


def poke(offset: int, width: int, value: int) -> Do:
    return lambda nic: nic.f.bar(0).write(offset, width, value)


def peek(offset: int, width: int) -> Do:
    return lambda nic: nic.f.bar(0).read(offset, width)


def status(value: int) -> Do:
    return poke(CommonCfg.device_status.offset, 8, value)


def after(*steps: Do) -> Do:
    def run(nic: Nic) -> None:
        for step in steps:
            step(nic)

    return run


def raw(name: str, value: int) -> Do:
    """One write of a common register, in its own width (the low half of a 64-bit one)."""
    register = getattr(CommonCfg, name)
    return poke(register.offset, min(register.width, 32), value)


def to_driver(nic: Nic) -> None:
    nic.to_driver()


def to_features_ok(nic: Nic) -> None:
    nic.to_features_ok()


def to_packed(nic: Nic) -> None:
    nic.to_features_ok(nic.offered())


def features_ok_unread(nic: Nic) -> None:
    nic.to_driver()
    nic.write_features(nic.offered())
    status(S.ACKNOWLEDGE | S.DRIVER | S.FEATURES_OK)(nic)


def set_up(nic: Nic) -> None:
    nic.to_features_ok()
    nic.set_up(0)


def enabled(nic: Nic) -> None:
    nic.to_features_ok()
    nic.enable(0)


def running(nic: Nic) -> None:
    nic.bring_up()


def without_ring_reset(nic: Nic) -> None:
    nic.bring_up(int(nic.offered() & ~Feature.RING_RESET))


def queue_reset_unread(nic: Nic) -> None:
    running(nic)
    nic.common.queue_select = 0
    nic.common.queue_reset = 1
    for name in ("queue_desc", "queue_driver", "queue_device"):
        setattr(nic.common, name, 0x10000)


def no_bus_master(nic: Nic) -> None:
    to_features_ok(nic)
    nic.header.command = Command.MEMORY


def nothing(_nic: Nic) -> None:
    pass


AD = S.ACKNOWLEDGE | S.DRIVER
ADF = AD | S.FEATURES_OK

# before, the breach, what the message must say
# fmt: off
ORDER: list[tuple[Do, Do, str]] = [
    (nothing, raw("driver_feature", 0), "driver_feature: written before DRIVER"),
    (to_features_ok, raw("driver_feature", 0), "driver_feature: written after FEATURES_OK"),
    (to_driver, after(raw("driver_feature_select", 0), raw("driver_feature", 1 << 31)), "not offered.*2.2.1"),
    (to_driver, after(raw("driver_feature_select", 3), raw("driver_feature", 1 << 31)), "not offered"),
    (to_driver, after(raw("driver_feature_select", 0xFFFF_FFFF), raw("driver_feature", 1)), "not offered"),
    (running, after(status(0), status(1)), "written again before it was read as 0"),
    (to_driver, status(S.DRIVER), "bits cleared.*2.1.1"),
    (to_driver, status(AD | S.NEEDS_RESET), "NEEDS_RESET written"),
    (nothing, status(0x20), "unknown bits"),
    (to_driver, status(AD | S.SUSPEND), "SUSPEND too early"),
    (to_driver, after(status(AD | S.FAILED), status(ADF | S.FAILED)), "after FAILED"),
    (nothing, status(S.DRIVER), "DRIVER without ACKNOWLEDGE"),
    (nothing, status(S.ACKNOWLEDGE | S.FEATURES_OK), "FEATURES_OK without DRIVER"),
    (to_driver, status(AD | S.DRIVER_OK), "DRIVER_OK without FEATURES_OK"),
    (features_ok_unread, status(ADF | S.DRIVER_OK), "DRIVER_OK before the re-read"),
    (no_bus_master, status(ADF | S.DRIVER_OK), "DRIVER_OK set without Bus Master.*PCI 3.0, 6.2.2"),
    (to_features_ok, after(raw("queue_select", 3), raw("queue_size", 8)), "no such queue.*queue 3"),
    (to_driver, raw("queue_size", 8), "queue_size: written before FEATURES_OK"),
    (to_driver, raw("queue_desc", 0), "queue_desc: written before FEATURES_OK"),
    (enabled, raw("queue_size", 8), "queue_size: written while the queue is enabled"),
    (enabled, raw("queue_desc", 0), "queue_desc: written while"),
    (enabled, raw("queue_driver", 0), "queue_driver: written while"),
    (enabled, raw("queue_device", 0), "queue_device: written while"),
    (to_features_ok, raw("queue_size", 0), "not a power of two"),
    (to_features_ok, raw("queue_size", 24), "not a power of two"),
    (to_packed, raw("queue_size", 0), "0 entries"),
    (to_features_ok, raw("queue_size", 2048), "more than the device supports"),
    (nothing, after(raw("queue_select", 0xFFFF), raw("queue_msix_vector", 0)), "queue_msix_vector: .*no such queue"),
    (to_features_ok, after(raw("queue_select", 9), raw("queue_enable", 1)), "queue_enable: .*no such queue"),
    (to_driver, raw("queue_enable", 1), "queue_enable: written before FEATURES_OK"),
    (set_up, raw("queue_enable", 2), "queue_enable: not 1"),
    (enabled, raw("queue_enable", 0), "queue_enable: not 1"),
    (enabled, raw("queue_enable", 1), "enabled twice"),
    (queue_reset_unread, raw("queue_enable", 1), "before queue_reset was read"),
    (to_features_ok, raw("queue_enable", 1), "before all addresses"),
    (set_up, after(raw("queue_desc", 0x10008), raw("queue_enable", 1)), "unaligned rings.*2.7"),
    (set_up, after(raw("queue_driver", 0x10001), raw("queue_enable", 1)), "unaligned"),
    (set_up, after(raw("queue_device", 0x10002), raw("queue_enable", 1)), "unaligned"),
    (running, after(raw("queue_select", 5), raw("queue_reset", 1)), "queue_reset: .*no such queue"),
    (without_ring_reset, raw("queue_reset", 1), "without RING_RESET"),
    (running, raw("queue_reset", 0), "queue_reset: not 1"),
]

ACCESS: list[tuple[Do, Do, str]] = [
    (nothing, peek(0x14, 16), r"device_status: 16-bit read.*4\.1\.3\.1"),
    (nothing, peek(0x12, 32), "32-bit read"),
    (nothing, peek(0x00, 8), "device_feature_select: 8-bit read"),
    (nothing, peek(0x01, 32), "device_feature_select: 32-bit read at 0x1"),
    (nothing, peek(0x20, 16), "queue_desc: 16-bit read"),
    (nothing, peek(0x22, 32), "queue_desc: 32-bit read at 0x22"),
    (to_features_ok, poke(0x18, 8, 8), "queue_size: 8-bit write"),
    (nothing, poke(0x12, 16, 1), "num_queues: written.*4.1.4.3.2"),
    (nothing, poke(0x04, 32, 1), "device_feature: written"),
    (nothing, poke(0x15, 8, 1), "config_generation: written"),
    (nothing, poke(0x1E, 16, 1), "queue_notify_off: written"),
    (nothing, poke(0x38, 16, 1), "queue_notif_config_data: written"),
    (nothing, poke(0x3C, 16, 1), "admin_queue_index: written"),
    (nothing, poke(ISR_OFFSET, 8, 0), "isr: written"),
    (nothing, peek(ISR_OFFSET, 32), "nothing there"),
    (nothing, poke(DEVICE_OFFSET, 8, 1), "mac: written.*5.1.4.1"),
    (nothing, peek(DEVICE_OFFSET, 16), "mac: 16-bit read"),
    (nothing, peek(0x0400, 32), "nothing there"),
    (nothing, peek(0x0040, 32), "nothing there"),
    (nothing, peek(NOTIFY_OFFSET, 16), "16-bit read.*4.1.5.2"),
    (nothing, lambda nic: nic.f.bar(4).write(0, 32, 1), "MSI-X.*set_irq"),
    (running, lambda nic: nic.bell(0, value=1), r"notify\+0x0: 16-bit write of 0x1"),
    (running, lambda nic: nic.bell(1, width=32), "32-bit write"),
    (running, lambda nic: nic.bell(0, at=2), r"notify\+0x2"),
    (running, lambda nic: nic.bell(3), "nothing there"),
    (enabled, lambda nic: nic.bell(0), r"doorbell of queue 0: rung before DRIVER_OK.*3\.1\.1"),
    (nothing, lambda nic: nic.f.bar(2).read(0, 16), "magic: 16-bit read"),
    (nothing, lambda nic: nic.f.bar(2).write(0, 32, 1), "magic: written"),
    (nothing, lambda nic: nic.f.bar(2).read(0x102, 16), "ring_state: 16-bit read"),
    (nothing, lambda nic: nic.f.bar(2).write(4, 16, 0), "active_pairs: 0 written"),
    (nothing, lambda nic: nic.f.bar(2).write(4, 16, 2), "active_pairs: 2 written"),
    (nothing, lambda nic: nic.f.bar(2).write(0x108, 16, 2), r"ring_state\[2\]: there is no such queue"),
    (enabled, lambda nic: nic.f.bar(2).write(0x100, 16, 2), "written while the queue is enabled"),
    (nothing, lambda nic: nic.f.bar(2).write(0x0C, 16, 2), "before DRIVER_OK"),
]
# fmt: on


@pytest.mark.parametrize(("before", "breach", "says"), ORDER + ACCESS)
def test_breach_names_register_deed_and_clause(make_nic: Make, before: Do, breach: Do, says: str) -> None:
    nic = make_nic("soft")
    before(nic)
    with pytest.raises(DriverBreach, match=says) as caught:
        breach(nic)
    assert caught.value.device == nic.f.name
    assert caught.value.cause


def test_every_rule_of_the_table_is_broken_above(make_nic: Make) -> None:
    met = set()
    for before, breach, _ in ORDER:
        nic = make_nic("soft")
        before(nic)
        with pytest.raises(DriverBreach) as caught:
            breach(nic)
        what = caught.value.what
        met |= {(reg, rule.did) for reg, rules in WRITE_RULES.items() for rule in rules if f"{reg}: {rule.did}" in what}
    shared = {"queue_driver", "queue_device", "queue_desc", "queue_size"}  # have the same three rules in common
    every = {(reg, rule.did) for reg, rules in WRITE_RULES.items() for rule in rules if reg not in shared}
    assert every <= met
    assert {did for reg, did in met if reg in shared} == {rule.did for rule in WRITE_RULES["queue_size"]}


def test_a_breach_leaves_the_register_as_it_was(nic: Nic) -> None:
    nic.to_features_ok()
    nic.common.queue_size = 16
    with pytest.raises(DriverBreach):
        nic.common.queue_size = 24
    assert nic.common.queue_size == 16


def test_a_correct_driver_meets_no_breach(nic: Nic) -> None:
    nic.bring_up()
    nic.bell(0)
    nic.bell(1)
    assert nic.common.device_status == ADF | S.DRIVER_OK


def test_a_field_whose_feature_is_not_offered(make_nic: Callable[[str], Nic]) -> None:
    nic = make_nic("soft:off=mtu")
    with pytest.raises(DriverBreach, match="mtu: read, its feature is not offered") as caught:
        peek(DEVICE_OFFSET + 10, 16)(nic)
    assert "2.5.2" in str(caught.value)
