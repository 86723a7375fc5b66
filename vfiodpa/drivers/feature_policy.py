"""Which features a guest is offered and which the driver negotiates for itself."""

from __future__ import annotations

from functools import reduce
from operator import or_

from ..spec.features import NONE, TRANSPORT, Feature, closed

F = Feature

KNOWN = reduce(or_, F.__members__.values())

# The guest's control queue lives in its front end; what is configured over it (or over the admin
# queue) never reaches us. What REQUIRES the control queue goes with it.
CONTROL_QUEUE = F.NET_CTRL_VQ | F.NET_CTRL_GUEST_OFFLOADS | F.NET_DEVICE_STATS | F.NET_HASH_REPORT | F.NET_IPSEC

# What makes headers of frames longer: no guest can be told of it, vhost-user has 64 feature bits.
LONG_HEADERS = (
    F.NET_GUEST_UDP_TUNNEL_GSO
    | F.NET_GUEST_UDP_TUNNEL_GSO_CSUM
    | F.NET_HOST_UDP_TUNNEL_GSO
    | F.NET_HOST_UDP_TUNNEL_GSO_CSUM
    | F.NET_OUT_NET_HEADER
)

# What the driver's own control queue needs.
MULTIQUEUE = F.NET_CTRL_VQ | F.NET_MQ

# Bits of vhost-user: no device has them, whatever it shows there.
VHOST = F.VHOST_LOG_ALL | F.VHOST_PROTOCOL_FEATURES

# What the driver takes for itself when it is offered: DMA through the IOMMU, ordering, queue reset, what doorbells say.
OWN = F.ACCESS_PLATFORM | F.ORDER_PLATFORM | F.RING_RESET | F.NOTIF_CONFIG_DATA

# What a front end may have told its guest on its own account; the device is not asked for it.
FRONT_END = VHOST | F.NET_GUEST_ANNOUNCE


def offerable(offered: Feature, multiqueue: bool) -> Feature:
    """What a guest can be offered over a device that offers ``offered``.

    ``multiqueue``: the driver can switch pairs on, by the vendor's register or by a control queue of its
    own, so MQ works although the guest's control queue never reaches the device.
    """
    ours = TRANSPORT | F.NOTIFICATION_DATA | CONTROL_QUEUE | VHOST | LONG_HEADERS
    features = closed(offered & KNOWN & ~ours)
    return features | F.NET_MQ if multiqueue else features


def for_device(wanted: Feature, offered: Feature, control_queue: bool) -> Feature:
    """What is written to the device when a guest negotiated ``wanted``.

    ``control_queue``: the driver has one of its own, which is what MQ is for then.
    """
    features = without(wanted, FRONT_END | F.NET_MQ) | (OWN & offered)
    return features | MULTIQUEUE if control_queue and wanted & F.NET_MQ else features


def for_survey(offered: Feature) -> Feature:
    """What shows the queues as they are with MQ: before it is negotiated, devices may show others (5.1.2)."""
    return F.VERSION_1 | MULTIQUEUE | (OWN & offered)


def not_offered(wanted: Feature, features: Feature, offered: Feature) -> Feature:
    """Bits of ``wanted`` that a guest could not have been offered."""
    return without(wanted, features | FRONT_END | (OWN & offered))


def without(features: Feature, mask: Feature) -> Feature:
    """``features`` minus ``mask``, unknown high bits kept (``~`` of an IntFlag only covers named bits)."""
    return Feature(int(features) & ~int(mask)) if features else NONE
