"""What a suite has to test though no device requirement says it, and rules outside those blocks.

``X``: rules in running text. ``U``: behaviour that drivers rely on. Legacy interfaces are not tested.
"""

from __future__ import annotations

from ..features import Feature
from .clause import Block, row

F = Feature

# fmt: off
X = Block("X", "Rules in running text", (
    row(1, "MUST", "1.0", "D", "at least one DEVICE_CFG capability for a device type that has device config"),
    row(2, "MUST_NOT", "1.0", "D", "vendor-data capability reads have side effects"),
    row(3, "MAY", "1.0", "N", "several structures of one type"),
    row(4, "MAY", "1.0", "N", "cap.length includes padding/unused fields"),
    row(5, "MAY", "1.0", "N", "one interrupt signals both queue and config change"),
    row(6, "SHOULD", "1.0", "D", "device offering IPSEC also offers OUT_NET_HEADER", F.NET_IPSEC),
    row(7, "MUST_NOT", "1.0", "W", "outer_nh_offset used without OUT_NET_HEADER"),
    row(8, "MUST", "1.0", "D",
        "HASH_REPORT offered (even with one pair): support RSS_CONFIG if RSS is offered, else "
        "HASH_CONFIG", F.NET_HASH_REPORT),
    row(9, "MUST", "1.0", "W", "VQ_PAIRS_SET => automatic receive steering by flow", F.NET_MQ),
    row(10, "SHOULD", "1.0", "W", "flow sent on transmitqX is steered to receiveqX", F.NET_MQ),
    row(11, "MAY", "1.0", "N", "uni-directional flows to any enabled queue", F.NET_MQ),
    row(12, "MUST", "1.0", "D", "(with the hash feature) support a hash-configuration command", F.NET_HASH_REPORT),
    row(13, "MAY", "1.0", "N", "device sees new buffers before the doorbell; may suppress doorbells"),
))

U = Block("U", "Behaviour without a clause", (
    row(1, "NOTE", "1.0", "D",
        "packed ring: AVAIL/USED polarity and wrap counter over >2 laps, ring sizes that are "
        "not powers of two (1..32768)", F.RING_PACKED),
    row(2, "NOTE", "1.0", "D",
        "packed event suppression: ENABLE / DISABLE / DESC(off_wrap) of the driver area, "
        "device area sampled for legal values; off_wrap across the wrap", F.RING_PACKED),
    row(3, "NOTE", "1.0", "W", "packed indirect (one INDIRECT descriptor, table of n, id from the outer one)",
        F.RING_PACKED | F.INDIRECT_DESC),
    row(4, "NOTE", "1.0", "W",
        "packed used batching: skipping of slots = chain length; buffer id echo; IN_ORDER "
        "single write for a batch (last id)", F.RING_PACKED),
    row(5, "NOTE", "1.0", "D",
        "NOTIFICATION_DATA: 32-bit doorbell {vq, next_off:15, next_wrap:1}; stale/ahead "
        "values must do no harm", F.NOTIFICATION_DATA),
    row(6, "NOTE", "1.0", "D", "NOTIF_CONFIG_DATA: doorbell carries queue_notif_config_data rather than the index",
        F.NOTIF_CONFIG_DATA),
    row(7, "NOTE", "1.0", "D",
        "ctrl vq: unknown class/command => ERR; short/long/fragmented command buffers; "
        "ack-only buffer; many commands batched", F.NET_CTRL_VQ),
    row(8, "NOTE", "1.0", "W",
        "CTRL_GUEST_OFFLOADS_SET toggles take effect on the next packet; bits not negotiated "
        "=> ERR", F.NET_CTRL_GUEST_OFFLOADS),
    row(9, "NOTE", "1.0", "D", "CTRL_MQ VQ_PAIRS_SET 0 and > max => ERR", F.NET_MQ),
    row(10, "NOTE", "1.0", "D",
        "device_status: no bit set by the device other than NEEDS_RESET; FAILED write; "
        "readback of each write"),
    row(11, "NOTE", "1.0", "D",
        "queue_size: driver may write a smaller size (power of two for split); readback; "
        "larger than max refused or ignored"),
    row(12, "NOTE", "1.0", "D",
        "queue_desc/driver/device above 2^32, at the top of the IOVA range, alignments "
        "16/2/4, non page-aligned"),
    row(13, "NOTE", "1.0", "I",
        "bad driver input: addr unmapped, next out of range, loop, indirect inside indirect, "
        "len 0, len 2^32-1, avail idx jump: device neither crosses to other memory nor takes "
        "the host down; recovers by reset"),
    row(14, "NOTE", "1.0", "I", "Bus Master off / D3hot / FLR in mid-traffic: silence, then clean re-init"),
    row(15, "NOTE", "1.0", "N",
        "reset time, FLR time (100 ms), DRIVER_OK -> first RX time (spec issue #250: no ready "
        "signal)"),
    row(16, "NOTE", "1.0", "D", "MSI-X: masked vector => pending bit, delivered on unmask; per-vector isolation"),
    row(17, "NOTE", "1.0", "D",
        "stop/save/restore: RING_RESET or SUSPEND, then re-enable at a base (split: avail "
        "idx; packed: off+wrap): no clause gives a way to set the index on PCI (fresh vq "
        "starts at 0) - the fact vp_vdpa lives with", F.RING_RESET),
))

# fmt: on

BLOCKS = (X, U)
