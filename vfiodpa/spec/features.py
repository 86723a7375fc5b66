"""Feature bits: names, what each requires, and why one is missing.

Ref: virtio 1.4, sections 2.2, 5.1.3 and 6. Bit 26 and 30 belong to vhost-user.
Masks are wider than 64 bits: network bits 64 to 70 exist since 1.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntFlag


class Feature(IntFlag):
    """Masks (not numbers) of the common and the network feature bits. Unknown bits are kept."""

    # fmt: off
    # Network device, 5.1.3
    NET_CSUM                      = 1 << 0
    NET_GUEST_CSUM                = 1 << 1
    NET_CTRL_GUEST_OFFLOADS       = 1 << 2
    NET_MTU                       = 1 << 3
    NET_MAC                       = 1 << 5
    NET_GSO                       = 1 << 6   # legacy
    NET_GUEST_TSO4                = 1 << 7
    NET_GUEST_TSO6                = 1 << 8
    NET_GUEST_ECN                 = 1 << 9
    NET_GUEST_UFO                 = 1 << 10
    NET_HOST_TSO4                 = 1 << 11
    NET_HOST_TSO6                 = 1 << 12
    NET_HOST_ECN                  = 1 << 13
    NET_HOST_UFO                  = 1 << 14
    NET_MRG_RXBUF                 = 1 << 15
    NET_STATUS                    = 1 << 16
    NET_CTRL_VQ                   = 1 << 17
    NET_CTRL_RX                   = 1 << 18
    NET_CTRL_VLAN                 = 1 << 19
    NET_CTRL_RX_EXTRA             = 1 << 20
    NET_GUEST_ANNOUNCE            = 1 << 21
    NET_MQ                        = 1 << 22
    NET_CTRL_MAC_ADDR             = 1 << 23
    NET_DEVICE_STATS              = 1 << 50
    NET_HASH_TUNNEL               = 1 << 51
    NET_VQ_NOTF_COAL              = 1 << 52
    NET_NOTF_COAL                 = 1 << 53
    NET_GUEST_USO4                = 1 << 54
    NET_GUEST_USO6                = 1 << 55
    NET_HOST_USO                  = 1 << 56
    NET_HASH_REPORT               = 1 << 57
    NET_GUEST_HDRLEN              = 1 << 59
    NET_RSS                       = 1 << 60
    NET_RSC_EXT                   = 1 << 61
    NET_STANDBY                   = 1 << 62
    NET_SPEED_DUPLEX              = 1 << 63
    NET_RSS_CONTEXT               = 1 << 64
    NET_GUEST_UDP_TUNNEL_GSO      = 1 << 65
    NET_GUEST_UDP_TUNNEL_GSO_CSUM = 1 << 66
    NET_HOST_UDP_TUNNEL_GSO       = 1 << 67
    NET_HOST_UDP_TUNNEL_GSO_CSUM  = 1 << 68
    NET_OUT_NET_HEADER            = 1 << 69
    NET_IPSEC                     = 1 << 70

    # Reserved feature bits, 6
    NOTIFY_ON_EMPTY               = 1 << 24  # legacy
    VHOST_LOG_ALL                 = 1 << 26  # vhost-user
    ANY_LAYOUT                    = 1 << 27  # legacy
    INDIRECT_DESC                 = 1 << 28
    EVENT_IDX                     = 1 << 29
    VHOST_PROTOCOL_FEATURES       = 1 << 30  # vhost-user
    VERSION_1                     = 1 << 32
    ACCESS_PLATFORM               = 1 << 33
    RING_PACKED                   = 1 << 34
    IN_ORDER                      = 1 << 35
    ORDER_PLATFORM                = 1 << 36
    SR_IOV                        = 1 << 37
    NOTIFICATION_DATA             = 1 << 38
    NOTIF_CONFIG_DATA             = 1 << 39
    RING_RESET                    = 1 << 40
    ADMIN_VQ                      = 1 << 41
    SUSPEND                       = 1 << 43
    # fmt: on


F = Feature
NONE = Feature(0)

# Each entry: all of the masks must be there, of each mask any one bit (5.1.3.1).
REQUIRES: Mapping[Feature, tuple[Feature, ...]] = {
    F.NET_GUEST_TSO4: (F.NET_GUEST_CSUM,),
    F.NET_GUEST_TSO6: (F.NET_GUEST_CSUM,),
    F.NET_GUEST_ECN: (F.NET_GUEST_TSO4 | F.NET_GUEST_TSO6,),
    F.NET_GUEST_UFO: (F.NET_GUEST_CSUM,),
    F.NET_GUEST_USO4: (F.NET_GUEST_CSUM,),
    F.NET_GUEST_USO6: (F.NET_GUEST_CSUM,),
    F.NET_HOST_TSO4: (F.NET_CSUM,),
    F.NET_HOST_TSO6: (F.NET_CSUM,),
    F.NET_HOST_ECN: (F.NET_HOST_TSO4 | F.NET_HOST_TSO6,),
    F.NET_HOST_UFO: (F.NET_CSUM,),
    F.NET_HOST_USO: (F.NET_CSUM,),
    F.NET_CTRL_RX: (F.NET_CTRL_VQ,),
    F.NET_CTRL_VLAN: (F.NET_CTRL_VQ,),
    F.NET_CTRL_RX_EXTRA: (F.NET_CTRL_VQ,),
    F.NET_GUEST_ANNOUNCE: (F.NET_CTRL_VQ,),
    F.NET_MQ: (F.NET_CTRL_VQ,),
    F.NET_CTRL_MAC_ADDR: (F.NET_CTRL_VQ,),
    F.NET_NOTF_COAL: (F.NET_CTRL_VQ,),
    F.NET_VQ_NOTF_COAL: (F.NET_CTRL_VQ,),
    F.NET_RSS: (F.NET_CTRL_VQ,),
    F.NET_HASH_TUNNEL: (F.NET_CTRL_VQ, F.NET_RSS | F.NET_HASH_REPORT),
    # The table says HOST_TSO; receive coalescing can only mean GUEST_TSO (known erratum).
    F.NET_RSC_EXT: (F.NET_GUEST_TSO4 | F.NET_GUEST_TSO6 | F.NET_HOST_TSO4 | F.NET_HOST_TSO6,),
    F.NET_RSS_CONTEXT: (F.NET_CTRL_VQ, F.NET_RSS),
    F.NET_GUEST_UDP_TUNNEL_GSO: (F.NET_GUEST_TSO4, F.NET_GUEST_TSO6, F.NET_GUEST_USO4, F.NET_GUEST_USO6),
    F.NET_GUEST_UDP_TUNNEL_GSO_CSUM: (F.NET_GUEST_UDP_TUNNEL_GSO,),
    F.NET_HOST_UDP_TUNNEL_GSO: (F.NET_HOST_TSO4, F.NET_HOST_TSO6, F.NET_HOST_USO),
    F.NET_HOST_UDP_TUNNEL_GSO_CSUM: (F.NET_HOST_UDP_TUNNEL_GSO,),
}

# Negotiated between the vDPA driver and the device only; a guest behind vhost-user never sees them
# because it neither does the device's DMA addressing nor writes its registers.
TRANSPORT = F.ACCESS_PLATFORM | F.ORDER_PLATFORM | F.SR_IOV | F.NOTIF_CONFIG_DATA | F.ADMIN_VQ | F.SUSPEND


def bits(features: int) -> list[Feature]:
    """The single bits of a mask, lowest first, unknown ones included."""
    return [Feature(1 << n) for n in range(int(features).bit_length()) if features >> n & 1]


def name(bit: Feature) -> str:
    """``'NET_MAC'``, or ``'BIT_58'`` for a bit that no specification defines."""
    return bit.name or f"BIT_{int(bit).bit_length() - 1}"


def names(features: int) -> list[str]:
    """Names of all bits of a mask, lowest first."""
    return [name(bit) for bit in bits(features)]


def parse(text: str) -> Feature:
    """The feature of a name, in any case and with or without ``VIRTIO_``, ``F_`` and ``NET_``."""
    key = text.upper().removeprefix("VIRTIO_").replace("NET_F_", "NET_").removeprefix("F_")
    for candidate in (key, f"NET_{key}"):
        if candidate in Feature.__members__:
            return Feature[candidate]
    raise ValueError(f"no feature is called {text!r}")


def unmet(features: int) -> dict[Feature, list[Feature]]:
    """For each bit whose requirements are not in the mask: the masks of which one bit is needed."""
    lacking = {bit: [need for need in REQUIRES.get(bit, ()) if not need & features] for bit in bits(features)}
    return {bit: needs for bit, needs in lacking.items() if needs}


def closed(features: int) -> Feature:
    """The mask without all bits whose requirements are not in it (2.2.1: never offer those)."""
    mask = int(features)
    while lacking := unmet(mask):
        for bit in lacking:
            mask &= ~int(bit)  # of ints: ~ of a flag loses unknown high bits
    return Feature(mask)


def why_not(wanted: Feature, layers: Iterable[tuple[str, int]]) -> str:
    """Why ``wanted`` is not in the intersection of the named masks; empty when it is.

    ``layers`` go from the device upwards, for example ``[("the device", 0x...), ("vhost-user", ...)]``.
    """
    offered = -1
    for who, mask in layers:
        if not wanted & mask:
            return f"{who} does not have it"
        offered &= int(mask)
    if wanted & closed(offered):
        return ""
    needs = unmet(offered).get(wanted) or [need for need in REQUIRES.get(wanted, ()) if not need & closed(offered)]
    return "it needs " + " and ".join(" or ".join(names(need)) for need in needs)
