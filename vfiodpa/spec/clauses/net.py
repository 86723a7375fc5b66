"""Network device.

Ref: virtio 1.4, the device requirements of these chapters, in our own words.
"""

from __future__ import annotations

from ..features import Feature
from .clause import Block, row

F = Feature

# fmt: off
N_CFG = Block("N-CFG", "Network Device / Device configuration layout", (
    row(1, "MUST", "1.0", "D", "MQ offered: max_virtqueue_pairs 1..0x8000", F.NET_MQ),
    row(2, "MUST", "1.1", "D", "MTU offered: mtu 68..65535", F.NET_MTU),
    row(3, "SHOULD", "1.1", "D", "MTU offered: mtu >= 1280", F.NET_MTU),
    row(4, "MUST_NOT", "1.1", "H", "modify mtu once set", F.NET_MTU),
    row(5, "MUST_NOT", "1.1", "W",
        "MTU negotiated: pass received packets above mtu+L2 hdr with gso NONE/ECN", F.NET_MTU),
    row(6, "MUST", "1.1", "W",
        "MTU negotiated: forward TX packets up to mtu+L2 hdr without fragmentation", F.NET_MTU),
    row(7, "MUST", "1.2", "D", "RSS or HASH_REPORT offered: rss_max_key_size >= 40"),
    row(8, "MUST", "1.2", "D", "RSS offered: rss_max_indirection_table_length >= 128", F.NET_RSS),
    row(9, "MAY", "1.1", "N", "STANDBY negotiated: act as standby for a primary with the same MAC", F.NET_STANDBY),
    row(10, "MUST", "1.2", "D",
        "SPEED_DUPLEX negotiated: speed is in Mbit/s, 0..INT_MAX, or unknown", F.NET_SPEED_DUPLEX),
    row(11, "MUST", "1.2", "D", "SPEED_DUPLEX negotiated: duplex is full/half/unknown(0xff)", F.NET_SPEED_DUPLEX),
    row(12, "SHOULD_NOT", "1.2", "H", "change speed/duplex while LINK_UP (with STATUS)", F.NET_SPEED_DUPLEX),
    row(13, "SHOULD_NOT", "1.3", "D", "offer HASH_REPORT without CTRL_VQ", F.NET_HASH_REPORT),
    row(14, "SHOULD_NOT", "1.3", "D", "offer CTRL_RX_EXTRA without CTRL_VQ", F.NET_CTRL_RX_EXTRA),
))

N_TX = Block("N-TX", "Device Operation / Packet Transmission", (
    row(1, "MUST", "1.0", "W", "ignore flag bits it does not recognise"),
    row(2, "MUST_NOT", "1.0", "W", "no NEEDS_CSUM: use csum_start/csum_offset"),
    row(3, "MAY", "1.4", "N", "OUT_NET_HEADER: use outer_nh_offset if nonzero", F.NET_OUT_NET_HEADER),
    row(4, "MUST_NOT", "1.4", "W", "otherwise use outer_nh_offset"),
    row(5, "MAY", "1.2", "N",
        "GUEST_HDRLEN and gso != NONE: use hdr_len as transport header size", F.NET_GUEST_HDRLEN),
    row(6, "MAY", "1.2", "N", "otherwise hdr_len only as a hint"),
    row(7, "MUST_NOT", "1.0", "W", "rely on hdr_len being correct (no GUEST_HDRLEN)"),
    row(8, "MUST_NOT", "1.4", "W", "both UDP_TUNNEL bits set: accept the packet", F.NET_HOST_UDP_TUNNEL_GSO),
    row(9, "MUST_NOT", "1.4", "W", "no tunnel bits: use outer_th_offset/inner_nh_offset"),
    row(10, "MUST_NOT", "1.4", "W",
        "tunnel bit set and (no NEEDS_CSUM | DATA_VALID | inner gso NONE): accept the packet",
        F.NET_HOST_UDP_TUNNEL_GSO),
    row(11, "MUST_NOT", "1.4", "W",
        "UDP_TUNNEL_CSUM set with no tunnel bit (text: \"both not set\"): accept the packet",
        F.NET_HOST_UDP_TUNNEL_GSO_CSUM),
    row(12, "MUST_NOT", "1.0", "W", "no NEEDS_CSUM: rely on the packet checksum being correct"),
    row(13, "MUST_NOT", "1.4", "W", "no SECURITY flag: use resource_id/resource_type"),
))

N_RXB = Block("N-RXB", "Device Operation / Setting Up Receive Buffers", (
    row(1, "MUST", "1.0", "W", "set num_buffers to the number of descriptors (read: buffers) used for the packet"),
    row(2, "MUST", "1.0", "W", "no MRG_RXBUF: use a single descriptor chain per packet"),
))

N_RX = Block("N-RX", "Device Operation / Processing of Incoming Packets", (
    row(1, "MUST", "1.0", "W", "no MRG_RXBUF: num_buffers = 1"),
    row(2, "MUST", "1.0", "W", "MRG_RXBUF: num_buffers = buffers the packet spans", F.NET_MRG_RXBUF),
    row(3, "MUST", "1.1", "W", "MRG_RXBUF: all buffers but the last completely filled", F.NET_MRG_RXBUF),
    row(4, "MUST", "1.1", "H",
        "use the buffers of one packet together (driver sees at least num_buffers used)", F.NET_MRG_RXBUF),
    row(5, "MUST", "1.0", "W", "no GUEST_CSUM: flags = 0"),
    row(6, "SHOULD", "1.0", "W", "...and supply a fully checksummed packet"),
    row(7, "MUST_NOT", "1.0", "W", "no GUEST_TSO4: gso_type TCPV4"),
    row(8, "MUST_NOT", "1.0", "W", "no GUEST_UFO (text: GUEST_UDP): gso_type UDP"),
    row(9, "MUST_NOT", "1.0", "W", "no GUEST_TSO6: gso_type TCPV6"),
    row(10, "MUST_NOT", "1.3", "W", "no GUEST_USO4/6: gso_type UDP_L4"),
    row(11, "MUST_NOT", "1.4", "W", "no GUEST_UDP_TUNNEL_GSO: tunnel gso bits"),
    row(12, "MUST_NOT", "1.4", "W", "no ..._GSO_CSUM: UDP_TUNNEL_CSUM flag"),
    row(13, "SHOULD_NOT", "1.0", "W", "no GUEST_ECN: pass TCP GSO packets with ECN"),
    row(14, "MUST", "1.0", "W", "GUEST_ECN: set GSO_ECN for those", F.NET_GUEST_ECN),
    row(15, "MAY", "1.4", "N", "OUT_NET_HEADER: set outer_nh_offset", F.NET_OUT_NET_HEADER),
    row(16, "MUST_NOT", "1.4", "W", "no OUT_NET_HEADER: use outer_nh_offset"),
    row(17, "MAY", "1.0", "N", "GUEST_CSUM: set NEEDS_CSUM", F.NET_GUEST_CSUM),
    row(18, "MUST", "1.0", "W",
        "...then validate the packet checksum at csum_start and all preceding offsets", F.NET_GUEST_CSUM),
    row(19, "MUST", "1.0", "W", "...store the pseudo-header sum in the buffer", F.NET_GUEST_CSUM),
    row(20, "MUST", "1.0", "W", "...csum_start/csum_offset complete the packet", F.NET_GUEST_CSUM),
    row(21, "MUST_NOT", "1.4", "W", "no GUEST_UDP_TUNNEL_GSO: pass UDP-tunnel GSO packets"),
    row(22, "MUST", "1.4", "W",
        "with it: set the tunnel bit per inner L3, outer_th_offset, inner_nh_offset; outer UDP "
        "needs no csum offload", F.NET_GUEST_UDP_TUNNEL_GSO),
    row(23, "MUST_NOT", "1.4", "W", "no ..._GSO_CSUM: pass tunnel GSO packets needing outer checksum"),
    row(24, "MUST", "1.0", "W", "no GUEST_TSO4/6/UFO/USO4/6: gso_type = NONE"),
    row(25, "MUST", "1.1", "W", "gso != NONE: set NEEDS_CSUM and gso_size"),
    row(26, "MUST", "1.1", "W",
        "gso != NONE with RSC_EXT: RSC_INFO flag, csum_start = coalesced segments, csum_offset = "
        "dup ACKs", F.NET_RSC_EXT),
    row(27, "MUST_NOT", "1.1", "W", "no RSC_EXT: set RSC_INFO"),
    row(28, "SHOULD", "1.0", "W", "GSO negotiated: hdr_len >= all headers incl. (inner) transport"),
    row(29, "MAY", "1.4", "N", "GUEST_CSUM: set DATA_VALID", F.NET_GUEST_CSUM),
    row(30, "MUST", "1.4", "W",
        "...only if the (outermost, or both with tunnel csum) checksum was validated", F.NET_GUEST_CSUM),
    row(31, "MUST_NOT", "1.4", "W", "tunnel gso bits set: set DATA_VALID", F.NET_GUEST_UDP_TUNNEL_GSO),
    row(32, "MAY", "1.4", "N",
        "tunnel csum negotiated and tunnel bit: set UDP_TUNNEL_CSUM", F.NET_GUEST_UDP_TUNNEL_GSO_CSUM),
    row(33, "MUST", "1.4", "W",
        "...then outer UDP checksum is the outer pseudo-header sum", F.NET_GUEST_UDP_TUNNEL_GSO_CSUM),
    row(34, "MUST", "1.4", "W", "...else outer UDP checksum is zero or complete", F.NET_GUEST_UDP_TUNNEL_GSO),
    row(35, "MUST", "1.4", "W", "set SECURITY if the packet went through IPsec", F.NET_IPSEC),
    row(36, "MUST", "1.4", "W", "else clear SECURITY", F.NET_IPSEC),
    row(37, "MUST", "1.4", "W", "SECURITY independent of ERR / SOFT_EXPIRY", F.NET_IPSEC),
    row(38, "MUST", "1.4", "W", "set SECURITY_ERR on any IPsec error", F.NET_IPSEC),
    row(39, "MUST", "1.4", "W", "else clear it", F.NET_IPSEC),
    row(40, "MUST", "1.4", "W", "SECURITY_ERR independent of SOFT_EXPIRY", F.NET_IPSEC),
    row(41, "MUST", "1.4", "W", "set SOFT_EXPIRY_WARN when the SA reaches a soft limit", F.NET_IPSEC),
))

N_IHH = Block("N-IHH", "Control Virtqueue / Inner Header Hash", (
    row(1, "MUST", "1.3", "W",
        "outer header matches no enabled tunnel type: hash on the outer header", F.NET_HASH_TUNNEL),
    row(2, "SHOULD", "1.3", "D",
        "unsupported bits in enabled_tunnel_types: answer VIRTIO_NET_ERR", F.NET_HASH_TUNNEL),
    row(3, "MUST", "1.3", "W", "enabled types = 0, or reset: disable the inner hash", F.NET_HASH_TUNNEL),
))

N_RXF = Block("N-RXF", "Control Virtqueue / Packet Receive Filtering", (
    row(1, "MUST", "1.0", "D", "CTRL_RX: support PROMISC and ALLMULTI (1 byte, 0/1)", F.NET_CTRL_RX),
    row(2, "SHOULD", "1.0", "W", "promiscuous: receive all packets", F.NET_CTRL_RX),
    row(3, "SHOULD", "1.0", "W", "...even with another RX mode on", F.NET_CTRL_RX_EXTRA),
    row(4, "SHOULD", "1.0", "W", "allmulti: allow all multicast", F.NET_CTRL_RX),
    row(5, "MUST", "1.0", "D", "CTRL_RX_EXTRA: support ALLUNI, NOMULTI, NOUNI, NOBCAST", F.NET_CTRL_RX_EXTRA),
    row(6, "SHOULD", "1.0", "W", "alluni: allow all unicast", F.NET_CTRL_RX_EXTRA),
    row(7, "SHOULD_NOT", "1.0", "W", "nomulti: pass multicast", F.NET_CTRL_RX_EXTRA),
    row(8, "SHOULD", "1.0", "W", "nomulti wins over allmulti", F.NET_CTRL_RX_EXTRA),
    row(9, "SHOULD_NOT", "1.0", "W", "nomulti applies to broadcast", F.NET_CTRL_RX_EXTRA),
    row(10, "SHOULD_NOT", "1.0", "W", "nouni: pass unicast", F.NET_CTRL_RX_EXTRA),
    row(11, "SHOULD", "1.0", "W", "nouni wins over alluni", F.NET_CTRL_RX_EXTRA),
    row(12, "SHOULD_NOT", "1.0", "W", "nobcast: pass broadcast", F.NET_CTRL_RX_EXTRA),
    row(13, "SHOULD", "1.0", "W", "nobcast wins over allmulti", F.NET_CTRL_RX_EXTRA),
))

N_MAC = Block("N-MAC", "Control Virtqueue / Setting MAC Address Filtering", (
    row(1, "MUST", "1.0", "W", "empty MAC table on reset", F.NET_CTRL_RX),
    row(2, "MUST", "1.0", "W", "table updated before MAC_TABLE_SET is used", F.NET_CTRL_RX),
    row(3, "MUST", "1.0", "D",
        "mac config updated before MAC_ADDR_SET is used (with VIRTIO_NET_F_MAC)", F.NET_CTRL_MAC_ADDR),
    row(4, "SHOULD", "1.0", "W", "drop packets matching neither mac nor table", F.NET_CTRL_RX),
))

N_VLAN = Block("N-VLAN", "Control Virtqueue / VLAN Filtering", (
    row(1, "MUST", "1.3", "W", "no CTRL_VLAN: accept all tagged packets"),
    row(2, "MUST", "1.3", "W", "CTRL_VLAN: accept VIDs in the table", F.NET_CTRL_VLAN),
    row(3, "SHOULD", "1.3", "W", "CTRL_VLAN: drop VIDs not in the table", F.NET_CTRL_VLAN),
))

N_GARP = Block("N-GARP", "Control Virtqueue / Gratuitous Packet Sending", (
    row(1, "MUST", "1.0", "F",
        "GUEST_ANNOUNCE: clear S_ANNOUNCE on ANNOUNCE_ACK before the buffer is used", F.NET_GUEST_ANNOUNCE),
))

N_MQ = Block("N-MQ", "Control Virtqueue / Automatic receive steering in multiqueue mode", (
    row(1, "MUST", "1.2", "W", "after initialisation or reset, receive only on receiveq1", F.NET_MQ),
    row(2, "MUST_NOT", "1.0", "W",
        "once VQ_PAIRS_SET is used: queue packets on receive queues above virtqueue_pairs", F.NET_MQ),
    row(3, "SHOULD", "1.3", "W", "destination queue being reset: pick another queue", F.NET_MQ | F.RING_RESET),
    row(4, "MUST", "1.3", "W", "all receive queues being reset: drop", F.NET_MQ | F.RING_RESET),
))

N_RSS = Block("N-RSS", "Receive-side scaling (RSS) / RSS processing", (
    row(1, "MUST", "1.2", "W", "queue = indirection_table[hash & mask]; no hash => unclassified_queue", F.NET_RSS),
    row(2, "MUST", "1.3", "W", "destination queue being reset: drop", F.NET_RSS | F.RING_RESET),
))

N_RCTX = Block("N-RCTX", "Control Virtqueue / RSS Context", (
    row(1, "MUST", "1.4", "D", "RSS_CONTEXT offered: max_rss_contexts >= 1", F.NET_RSS_CONTEXT),
    row(2, "MUST", "1.4", "D", "reset clears all RSS contexts", F.NET_RSS_CONTEXT),
))

N_COAL = Block("N-COAL", "Control Virtqueue / Notifications Coalescing", (
    row(1, "MUST", "1.3", "D", "ignore `reserved`", F.NET_NOTF_COAL),
    row(2, "SHOULD", "1.3", "D", "TX_SET/RX_SET that could not change => ERR", F.NET_NOTF_COAL),
    row(3, "MUST", "1.3", "D", "VQ_SET that could not change => ERR", F.NET_VQ_NOTF_COAL),
    row(4, "MUST", "1.3", "D",
        "VQ_SET/VQ_GET on a queue that is not an enabled TX/RX queue => ERR", F.NET_VQ_NOTF_COAL),
    row(5, "MUST", "1.3", "D",
        "re-enabled TX queue: parameters from the last TX_SET, or 0", F.NET_VQ_NOTF_COAL | F.RING_RESET),
    row(6, "MUST", "1.3", "D", "re-enabled RX queue: from the last RX_SET, or 0", F.NET_VQ_NOTF_COAL | F.RING_RESET),
    row(7, "MAY", "1.3", "N", "best effort: more or fewer notifications", F.NET_NOTF_COAL),
    row(8, "SHOULD_NOT", "1.3", "D", "notify when suppressed even if coalescing is due", F.NET_NOTF_COAL),
    row(9, "MUST", "1.3", "D", "reset zeroes all parameters", F.NET_VQ_NOTF_COAL),
))

N_STAT = Block("N-STAT", "Control Virtqueue / Device Statistics", (
    row(1, "MUST", "1.4", "D", "DEVICE_STATS: answer STATS_QUERY with supported types", F.NET_DEVICE_STATS),
    row(2, "MUST", "1.4", "D",
        "bad request (vq index, unknown type, type not valid for vq, feature not negotiated) => "
        "ERR for the whole command", F.NET_DEVICE_STATS),
    row(3, "MUST", "1.4", "D", "hdr.size = bytes of the reply", F.NET_DEVICE_STATS),
    row(4, "MUST", "1.4", "D", "set type and vq_index of the statistics header", F.NET_DEVICE_STATS),
    row(5, "MUST", "1.4", "D",
        "fill only the valid bytes when the result buffer is smaller/bigger", F.NET_DEVICE_STATS),
    row(6, "MUST", "1.4", "N", "counters wrap to zero", F.NET_DEVICE_STATS),
))

N_FF = Block("N-FF", "Device Operation / Flow filter", (
    row(1, "MUST", "1.4", "D", "report FF_RESOURCE, FF_SELECTOR, FF_ACTION capabilities", F.ADMIN_VQ),
    row(2, "MUST", "1.4", "D", "support OBJ CREATE/MODIFY/QUERY/DESTROY for FF group, classifier, rule", F.ADMIN_VQ),
    row(3, "SHOULD", "1.4", "D", "a capability disabled => Q_INVALID_OPCODE for those commands", F.ADMIN_VQ),
    row(4, "SHOULD", "1.4", "D", "group with an existing priority => EINVAL", F.ADMIN_VQ),
    row(5, "SHOULD", "1.4", "D", "groups above min(groups_limit, rules_per_group_limit) => ENOSPC", F.ADMIN_VQ),
    row(6, "SHOULD", "1.4", "D", "classifiers above classifiers_limit => ENOSPC", F.ADMIN_VQ),
    row(7, "SHOULD", "1.4", "D", "DESTROY group with rules => EBUSY", F.ADMIN_VQ),
    row(8, "SHOULD", "1.4", "D", "DESTROY classifier with rules => EBUSY", F.ADMIN_VQ),
    row(9, "SHOULD", "1.4", "D",
        "rule CREATE fails on bad vq_index, priority >= last, id >= limits, key/mask length "
        "mismatch, unsupported action", F.ADMIN_VQ),
    row(10, "MUST", "1.4", "W", "rule directs to a queue that is reset: drop", F.ADMIN_VQ),
    row(11, "MUST", "1.4", "W", "applied rule ends all further rules and steering", F.ADMIN_VQ),
    row(12, "MUST", "1.4", "W", "groups applied from the highest priority", F.ADMIN_VQ),
    row(13, "MUST", "1.4", "W", "rule applied in a group: ignore the remaining groups", F.ADMIN_VQ),
    row(14, "MUST", "1.4", "W", "no match: go on to the next group until match or end", F.ADMIN_VQ),
    row(15, "MUST", "1.4", "W",
        "rules in a group from highest to lowest priority; take the action of the match", F.ADMIN_VQ),
    row(16, "MUST_NOT", "1.4", "W", "take any other action for that packet", F.ADMIN_VQ),
    row(17, "MAY", "1.4", "N", "equal rule_priority in any order", F.ADMIN_VQ),
    row(18, "MUST", "1.4", "W",
        "order: ctrl RX/MAC/VLAN filters, flow filter, then RSS/automatic steering", F.ADMIN_VQ),
    row(19, "MUST", "1.4", "W", "a packet dropped at a stage skips the rest", F.ADMIN_VQ),
    row(20, "MUST", "1.4", "W", "dropped by RX/MAC/VLAN filter => flow filter rules skipped", F.ADMIN_VQ),
    row(21, "MUST", "1.4", "D",
        "support classifier objects with PARTIAL_MASK even when all mask bits are set", F.ADMIN_VQ),
))

N_IPS = Block("N-IPS", "Device Operation / IPsec Operation", (
    row(1, "MUST", "1.4", "D", "report IPSEC_RESOURCE and IPSEC_SA capabilities", F.NET_IPSEC),
    row(2, "MUST", "1.4", "D", "support OBJ CREATE/MODIFY/QUERY/DESTROY for outbound/inbound SA", F.NET_IPSEC),
    row(3, "MUST", "1.4", "D", "a capability disabled => Q_INVALID_OPCODE", F.NET_IPSEC),
    row(4, "MUST", "1.4", "D", "CREATE with an existing id => EEXIST (text: EEXIT)", F.NET_IPSEC),
    row(5, "MUST", "1.4", "D", "outbound SA: id >= outb_sa_limit or unsupported parameters => fail", F.NET_IPSEC),
    row(6, "MUST", "1.4", "D", "inbound SA: id >= inb_sa_limit or unsupported parameters => fail", F.NET_IPSEC),
    row(7, "SHOULD", "1.4", "W", "keep an SA lookup table by id", F.NET_IPSEC),
    row(8, "MUST", "1.4", "D", "re-CREATE after DESTROY without reset", F.NET_IPSEC),
    row(9, "MAY", "1.4", "N", "same SPI => EINVAL", F.NET_IPSEC),
    row(10, "MUST", "1.4", "D", "reset destroys all SA objects", F.NET_IPSEC),
))

# fmt: on

BLOCKS = (
    N_CFG,
    N_TX,
    N_RXB,
    N_RX,
    N_IHH,
    N_RXF,
    N_MAC,
    N_VLAN,
    N_GARP,
    N_MQ,
    N_RSS,
    N_RCTX,
    N_COAL,
    N_STAT,
    N_FF,
    N_IPS,
)
