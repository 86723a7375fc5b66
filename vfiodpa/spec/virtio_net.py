"""The network device.

Ref: virtio 1.3 and 1.4, section 5.1.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from ..layout import Layout, array, le8, le16, le32, le64
from ..registers import RegisterBlock, reg, reg_array
from .features import Feature

MIN_MTU = 68  # 5.1.4.1
MAX_MTU = 65535
SPEED_UNKNOWN = 0xFFFF_FFFF
DUPLEX_FULL = 0x01  # as the field text and Linux say; the 1.4 clause has them swapped
DUPLEX_UNKNOWN = 0xFF


class NetStatus(IntFlag):
    """``status`` field of the device configuration (5.1.4)."""

    LINK_UP = 1
    ANNOUNCE = 2


class NetConfig(RegisterBlock, size=0x1C, ref="virtio 1.3, 5.1.4"):
    """Read-only to the driver; a field exists when its feature is offered."""

    # fmt: off
    mac                             = reg_array(0x00, 8, 6, mode="ro")
    status                          = reg(0x06, 16, NetStatus, mode="ro")
    max_virtqueue_pairs             = reg(0x08, 16, mode="ro")
    mtu                             = reg(0x0A, 16, mode="ro")
    speed                           = reg(0x0C, 32, mode="ro")  # Mbit/s
    duplex                          = reg(0x10, 8, mode="ro")
    rss_max_key_size                = reg(0x11, 8, mode="ro")
    rss_max_indirection_table_length = reg(0x12, 16, mode="ro")
    supported_hash_types            = reg(0x14, 32, mode="ro")
    supported_tunnel_types          = reg(0x18, 32, mode="ro")
    # fmt: on


class HdrFlag(IntFlag):
    """``flags`` of the net header (5.1.6)."""

    NEEDS_CSUM = 1
    DATA_VALID = 2
    RSC_INFO = 4
    UDP_TUNNEL_CSUM = 8


class GsoBit(IntFlag):
    """What may be set beside a ``GsoType``; tunnels by the version of the inner IP header."""

    UDP_TUNNEL_IPV4 = 0x20
    UDP_TUNNEL_IPV6 = 0x40
    ECN = 0x80


class GsoType(IntEnum):
    """``gso_type`` of the net header (5.1.6), without a ``GsoBit``."""

    NONE = 0
    TCPV4 = 1
    UDP = 3
    TCPV6 = 4
    UDP_L4 = 5


class NetHdr(Layout, size=12, ref="virtio 1.3, 5.1.6"):
    flags = le8
    gso_type = le8
    hdr_len = le16
    gso_size = le16
    csum_start = le16
    csum_offset = le16
    num_buffers = le16


class NetHdrHash(NetHdr, size=20, ref="virtio 1.3, 5.1.6, with VIRTIO_NET_F_HASH_REPORT"):
    hash_value = le32
    hash_report = le16
    padding_reserved = le16


class NetHdrTunnel(NetHdrHash, size=24, ref="virtio 1.4, 5.1.6, with VIRTIO_NET_F_{HOST,GUEST}_UDP_TUNNEL_GSO"):
    """The hash's place is there without HASH_REPORT, too."""

    outer_th_offset = le16
    inner_nh_offset = le16


class NetHdrOuter(NetHdrTunnel, size=32, ref="virtio 1.4, 5.1.6, with VIRTIO_NET_F_OUT_NET_HEADER"):
    outer_nh_offset = le16
    padding_reserved_2 = array(le8, 6)


def header_of(features: int) -> type[NetHdr]:
    """The header that frames have when these features are negotiated (virtio 1.4, 5.1.6.3.1)."""
    if features & Feature.NET_OUT_NET_HEADER:
        return NetHdrOuter
    if features & (Feature.NET_HOST_UDP_TUNNEL_GSO | Feature.NET_GUEST_UDP_TUNNEL_GSO):
        return NetHdrTunnel
    return NetHdrHash if features & Feature.NET_HASH_REPORT else NetHdr


class CtrlClass(IntEnum):
    """Classes of control queue commands (5.1.6.5)."""

    RX = 0
    MAC = 1
    VLAN = 2
    ANNOUNCE = 3
    MQ = 4
    GUEST_OFFLOADS = 5
    NOTF_COAL = 6
    HASH_TUNNEL = 7
    STATS = 8  # since 1.4
    RSS_CONTEXT = 9  # since 1.4


class RxCommand(IntEnum):
    """Receive modes; the data is one byte, 0 or 1 (5.1.6.5.1)."""

    PROMISC = 0
    ALLMULTI = 1
    ALLUNI = 2
    NOMULTI = 3
    NOUNI = 4
    NOBCAST = 5


class MacCommand(IntEnum):
    """Filtering by MAC address (5.1.6.5.2)."""

    TABLE_SET = 0  # two tables, each a le32 count and the addresses: unicast, multicast
    ADDR_SET = 1  # six bytes


class VlanCommand(IntEnum):
    """Filtering by VLAN; the data is a le16 id (5.1.6.5.3)."""

    ADD = 0
    DEL = 1


class AnnounceCommand(IntEnum):
    """Gratuitous packets were sent (5.1.6.5.4)."""

    ACK = 0


class MqCommand(IntEnum):
    """Receive steering (5.1.6.5.6, 5.1.6.5.7)."""

    VQ_PAIRS_SET = 0
    RSS_CONFIG = 1
    HASH_CONFIG = 2


class GuestOffloadsCommand(IntEnum):
    """The data is a le64 of the feature bits of GUEST_CSUM and the GUEST_* segmentation (5.1.6.5.8)."""

    SET = 0


# Feature bits that are others there (virtio 1.4, 5.1.6.5.9): by the number in the command.
OFFLOAD_BITS = {46: 65, 47: 66}


def offloads_of(bits: int) -> int:
    """The features that the data of GUEST_OFFLOADS_SET tells of."""
    found = bits & ~sum(1 << bit for bit in OFFLOAD_BITS)
    return found | sum(1 << feature for bit, feature in OFFLOAD_BITS.items() if bits >> bit & 1)


def offload_bits(features: int) -> int:
    """The data of GUEST_OFFLOADS_SET for these features."""
    found = int(features) & ~sum(1 << feature for feature in OFFLOAD_BITS.values())
    return found | sum(1 << bit for bit, feature in OFFLOAD_BITS.items() if features >> feature & 1)


class CoalescingCommand(IntEnum):
    """Coalescing of notifications (5.1.6.5.9)."""

    TX_SET = 0
    RX_SET = 1
    VQ_SET = 2
    VQ_GET = 3


class HashTunnelCommand(IntEnum):
    """Hashes of inner headers; the data is a le32 of ``TunnelType`` (5.1.6.5.5)."""

    SET = 0


class StatsCommand(IntEnum):
    """Device statistics (virtio 1.4, 5.1.6.5.10)."""

    QUERY = 0
    GET = 1


class RssContextCommand(IntEnum):
    """RSS configurations besides the default one (virtio 1.4, 5.1.6.5.8)."""

    CAP_GET = 0
    ADD = 1
    MOD = 2
    DEL = 3


class HashType(IntFlag):
    """What a hash is of: ``supported_hash_types``, ``hash_types`` (5.1.6.4.3.1)."""

    IPV4 = 1 << 0
    TCPV4 = 1 << 1
    UDPV4 = 1 << 2
    IPV6 = 1 << 3
    TCPV6 = 1 << 4
    UDPV6 = 1 << 5
    IP_EX = 1 << 6
    TCP_EX = 1 << 7
    UDP_EX = 1 << 8


class TunnelType(IntFlag):
    """Tunnels whose inner headers can be hashed: ``supported_tunnel_types``, ``enabled_tunnel_types`` (5.1.6.5.5)."""

    GRE_2784 = 1 << 0
    GRE_2890 = 1 << 1
    GRE_7676 = 1 << 2
    GRE_UDP = 1 << 3
    VXLAN = 1 << 4
    VXLAN_GPE = 1 << 5
    GENEVE = 1 << 6
    IPIP = 1 << 7
    NVGRE = 1 << 8


class HashReport(IntEnum):
    """``hash_report`` of the net header (5.1.6.4.3.4)."""

    NONE = 0
    IPV4 = 1
    TCPV4 = 2
    UDPV4 = 3
    IPV6 = 4
    TCPV6 = 5
    UDPV6 = 6


class StatsType(IntEnum):
    """Groups of statistics: bit numbers of a types bitmap, and ``type`` of a reply (virtio 1.4, 5.1.6.5.10)."""

    RX_BASIC = 0
    TX_BASIC = 16
    CVQ = 32


class Ack(IntEnum):
    """The device's answer to a command (5.1.6.5)."""

    OK = 0
    ERR = 1


class CtrlHeader(Layout, size=2, ref="virtio 1.3, 5.1.6.5, struct virtio_net_ctrl"):
    """The command's own data follows; the device writes the ack and what the command asks for."""

    command_class = le8
    command = le8


class RssHead(Layout, size=8, ref="virtio 1.3, 5.1.6.5.7.1, struct virtio_net_rss_config"):
    """Up to the table of ``indirection_table_mask`` + 1 receive queues (le16, of which bits 1 to 16 of the index)."""

    hash_types = le32
    indirection_table_mask = le16
    unclassified_queue = le16


class RssTail(Layout, size=3, ref="virtio 1.3, 5.1.6.5.7.1, struct virtio_net_rss_config"):
    """Behind the table; the key follows."""

    max_tx_vq = le16
    hash_key_length = le8


class RssContextCap(Layout, size=2, ref="virtio 1.4, 5.1.6.5.8.1, struct virtnet_rss_ctx_cap"):
    max_rss_contexts = le16


class RssContextHead(Layout, size=8, ref="virtio 1.4, 5.1.6.5.8.2, struct virtnet_rss_ctx_add_modify"):
    """``RssHead``, table, ``RssTail`` and key follow; DEL has the id alone."""

    rss_ctx_id = le16
    reserved = array(le8, 6)


class HashHead(Layout, size=13, ref="virtio 1.3, 5.1.6.5.7.4, struct virtio_net_hash_config"):
    """The key follows."""

    hash_types = le32
    reserved = array(le16, 4)
    hash_key_length = le8


class Coalescing(Layout, size=8, ref="virtio 1.3, 5.1.6.5.9, struct virtio_net_ctrl_coal"):
    max_packets = le32
    max_usecs = le32


class CoalescingQueue(Layout, size=4, ref="virtio 1.3, 5.1.6.5.9, struct virtio_net_ctrl_coal_vq"):
    """``Coalescing`` follows: from the driver to set it, from the device to get it."""

    vq_index = le16
    reserved = le16


class StatsQuery(Layout, size=16, ref="virtio 1.4, 5.1.6.5.10, struct virtio_net_ctrl_queue_stats"):
    """Which groups of one queue's statistics; the driver sends one or more."""

    vq_index = le16
    reserved0 = le16
    reserved1 = le32
    types_bitmap = le64


class StatsHeader(Layout, size=8, ref="virtio 1.4, 5.1.6.5.10, struct virtio_net_stats_reply_hdr"):
    """``size``: bytes of the group, this header included."""

    type = le8
    reserved = le8
    vq_index = le16
    reserved1 = le16
    length = le16


class VqPairs(Layout, size=2, ref="virtio 1.3, 5.1.6.5.5, struct virtio_net_ctrl_mq"):
    virtqueue_pairs = le16


def rx_queue(pair: int) -> int:
    """Index of the receive queue of a queue pair, counted from 0 (5.1.2)."""
    return 2 * pair


def tx_queue(pair: int) -> int:
    """Index of the transmit queue of a queue pair, counted from 0 (5.1.2)."""
    return 2 * pair + 1


def control_queue(pairs: int, multiqueue: bool) -> int:
    """Index of the control queue; ``pairs`` is max_virtqueue_pairs, which counts with MQ or RSS only (5.1.2)."""
    return 2 * pairs if multiqueue else 2
