"""The kernel's vp_vdpa on the same NIC says the same of it as we do; docs/reference/vp-vdpa.md has the differences."""

from __future__ import annotations

import pytest

from hwtests.vfio.vp_vdpa import View, missing, ours, rows, theirs
from vfiodpa.frontends.vhost_user.offer import explain
from vfiodpa.spec.features import Feature


@pytest.fixture(scope="module")
def views(bdf: str) -> tuple[View, View]:
    why_not = missing()
    if why_not:
        pytest.skip(f"nothing to compare with: {why_not}")
    return ours(bdf), theirs(bdf)


def test_the_device_offers_the_same(views: tuple[View, View]) -> None:
    mine, kernel = views
    assert mine.device == kernel.device


def test_what_a_guest_does_not_get_has_a_reason(views: tuple[View, View]) -> None:
    mine, kernel = views
    why = {offer.bit: offer.why for offer in explain(mine.device, mine.guest)}
    assert not mine.guest & ~int(kernel.guest) & ~int(Feature.VHOST_PROTOCOL_FEATURES), "more than the device has"
    assert all(why[bit] for bit in Feature if bit & kernel.guest & ~int(mine.guest))


def test_the_configuration_is_the_same(views: tuple[View, View]) -> None:
    mine, kernel = views
    assert mine.config == kernel.config
    assert len(mine.config["mac"]) == 6  # type: ignore[arg-type]
    assert "status" in mine.config


def test_the_queues_are_the_same(views: tuple[View, View]) -> None:
    mine, kernel = views
    assert mine.queue_size == kernel.queue_size
    if not kernel.guest & Feature.NET_MQ & ~mine.guest:
        # QEMU shows one pair and the control queue until MQ is negotiated.
        control = bool(kernel.guest & Feature.NET_CTRL_VQ)
        assert kernel.queues - control in (mine.queues, 2)


def test_every_difference_is_in_the_table(views: tuple[View, View]) -> None:
    for subject, left, right, why in rows(*views):
        assert left == right or why, subject
