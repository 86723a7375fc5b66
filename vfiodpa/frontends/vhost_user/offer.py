"""What is offered to a guest behind vhost-user, and why the rest is not.

Ref: vhost-user, "Feature bits" and "Protocol features". The control queue and the configuration space of a
vhost-user NIC belong to the front end, so what is configured through them never reaches the device.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...spec.features import NONE, REQUIRES, TRANSPORT, Feature, bits, name, names
from ...spec.vhost_user import HOST_NOTIFIERS, Protocol
from ..frontend import Backend

F = Feature
_WIDTH = 64  # GET_FEATURES answers a u64

_CONTROL = (
    F.NET_CTRL_VQ
    | F.NET_CTRL_GUEST_OFFLOADS
    | F.NET_CTRL_RX
    | F.NET_CTRL_VLAN
    | F.NET_CTRL_RX_EXTRA
    | F.NET_CTRL_MAC_ADDR
    | F.NET_DEVICE_STATS
    | F.NET_HASH_TUNNEL
    | F.NET_VQ_NOTF_COAL
    | F.NET_NOTF_COAL
    | F.NET_HASH_REPORT
    | F.NET_RSS
    | F.NET_RSS_CONTEXT
)

# Between the front end and its guest, or us: no device is asked. With GUEST_ANNOUNCE the front end asks its guest to
# announce itself after a migration (by status and control queue, which are its own), instead of us to send a RARP.
FRONT_END = F.VHOST_PROTOCOL_FEATURES | F.NET_GUEST_ANNOUNCE

# First match wins.
_NOT_CARRIED: tuple[tuple[Feature, str], ...] = (
    (F.VHOST_LOG_ALL, "vfiodpa keeps no dirty log yet"),
    (TRANSPORT, "it is between driver and device only, the guest's driver talks to its VMM"),
    (_CONTROL, "the guest's control queue ends in the vhost-user front end"),
    (F.NET_SPEED_DUPLEX, "the front end says how fast its guest's NIC is"),
    (F.NOTIFICATION_DATA, "a kick eventfd carries no data"),
    (Feature(~((1 << _WIDTH) - 1)), f"vhost-user messages carry {_WIDTH} feature bits"),
)


@dataclass(frozen=True, slots=True)
class Offered:
    """One feature bit and whether the guest is offered it; ``why`` is empty when it is."""

    bit: Feature
    offered: bool
    why: str = ""

    @property
    def name(self) -> str:
        """``'NET_MAC'``."""
        return name(self.bit)


def offered_features(backend: Feature) -> Feature:
    """What GET_FEATURES answers over a back end that has these features."""
    mask = Feature(backend)
    for not_carried, _ in _NOT_CARRIED:
        mask &= ~not_carried
    return mask | FRONT_END


def offered_protocol(backend: Backend) -> Protocol:
    """What GET_PROTOCOL_FEATURES answers."""
    protocol = (
        Protocol.MQ
        | Protocol.REPLY_ACK
        | Protocol.MTU
        | Protocol.BACKEND_REQ
        | Protocol.RESET_DEVICE
        | Protocol.CONFIGURE_MEM_SLOTS
        | Protocol.STATUS
    )
    if backend.can_announce:
        protocol |= Protocol.RARP
    if backend.shares_doorbells:
        protocol |= HOST_NOTIFIERS
    return protocol


def explain(device: Feature, backend: Feature) -> list[Offered]:
    """Every feature bit that is known or that the device has, lowest first, with the reason when it is missing.

    ``device``: what the device itself offers; ``backend``: what is left of it after driver and core.
    """
    known = NONE
    for feature in Feature:
        known |= feature
    offered = offered_features(backend)
    return [
        Offered(bit, bool(bit & offered), "" if bit & offered else _why_not(bit, device, backend))
        for bit in bits(known | device)
    ]


def by_reason(offers: Iterable[Offered]) -> dict[str, list[str]]:
    """Names of the features that are not offered, under the reason why; the reasons with fewest names first."""
    found: dict[str, list[str]] = {}
    for offer in offers:
        if not offer.offered:
            found.setdefault(offer.why, []).append(offer.name)
    return dict(sorted(found.items(), key=lambda reason: len(reason[1])))


def _why_not(bit: Feature, device: Feature, backend: Feature) -> str:
    if not bit & device and bit is not F.VHOST_LOG_ALL:
        return "the device does not have it"
    for not_carried, why in _NOT_CARRIED:
        if bit & not_carried:
            return why
    needs = [need for need in REQUIRES.get(bit, ()) if not need & backend]
    if needs:
        return "it needs " + " and ".join(" or ".join(names(need)) for need in needs)
    return "vfiodpa's driver does not carry it"
