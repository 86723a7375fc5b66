"""Which feature bits a guest is offered, and the reason for each that is not."""

from __future__ import annotations

import pytest

from tests.frontends.fakes import FEATURES, FakeBackend
from vfiodpa.frontends.vhost_user.offer import explain, offered_features, offered_protocol
from vfiodpa.spec.features import Feature, bits
from vfiodpa.spec.vhost_user import Protocol

F = Feature
EVERYTHING = Feature((1 << 71) - 1)


def why(bit: Feature, device: Feature = EVERYTHING, backend: Feature = EVERYTHING) -> str:
    return next(one.why for one in explain(device, backend) if one.bit == bit)


def test_offer_is_what_the_core_has_and_what_the_front_end_does_itself() -> None:
    assert offered_features(FEATURES) == FEATURES | F.VHOST_PROTOCOL_FEATURES | F.NET_GUEST_ANNOUNCE


def test_offer_fits_a_message() -> None:
    assert int(offered_features(EVERYTHING)) < 1 << 64


@pytest.mark.parametrize(
    ("bit", "text"),
    [
        (F.NET_CTRL_VQ, "control queue ends in the vhost-user front end"),
        (F.NET_RSS, "control queue"),
        (F.NET_RSS_CONTEXT, "control queue"),
        (F.NET_OUT_NET_HEADER, "64 feature bits"),
        (F.ACCESS_PLATFORM, "between driver and device only"),
        (F.NOTIFICATION_DATA, "carries no data"),
        (F.VHOST_LOG_ALL, "no dirty log"),
    ],
)
def test_what_cannot_be_carried_is_not_offered_and_explained(bit: Feature, text: str) -> None:
    assert not bit & offered_features(EVERYTHING)
    assert text in why(bit)


def test_what_the_device_lacks() -> None:
    for bit in (F.NET_MRG_RXBUF, F.NET_RSS):
        assert why(bit, device=F.VERSION_1, backend=F.VERSION_1) == "the device does not have it"


def test_what_the_core_dropped() -> None:
    assert why(F.NET_HOST_TSO4, backend=F.VERSION_1) == "it needs NET_CSUM"
    assert why(F.NET_HOST_TSO4, backend=F.VERSION_1 | F.NET_CSUM) == "vfiodpa's driver does not carry it"


def test_every_bit_has_a_verdict_that_fits_the_offer() -> None:
    listed = explain(FEATURES | F(1 << 58), FEATURES)
    assert [one.bit for one in listed] == sorted({*Feature, F(1 << 58)}, key=int)
    offered = offered_features(FEATURES)
    assert {one.bit for one in listed if one.offered} == set(bits(offered))
    assert all(one.offered != bool(one.why) for one in listed)
    assert "BIT_58" in {one.name for one in listed}


def test_protocol_features() -> None:
    backend = FakeBackend()
    assert Protocol.RARP in offered_protocol(backend)
    backend.can_announce = False
    assert offered_protocol(backend) == (
        Protocol.MQ
        | Protocol.REPLY_ACK
        | Protocol.MTU
        | Protocol.BACKEND_REQ
        | Protocol.RESET_DEVICE
        | Protocol.CONFIGURE_MEM_SLOTS
        | Protocol.STATUS
    )
