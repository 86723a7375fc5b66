"""Vendor registers of the software NIC: what a vendor adds beside the virtio structures.

Ref: docs/reference/software-nic.md. They exist so that vendor means (queue positions, an active-pairs
register) have a device to be tested on; ``soft:model=plain`` leaves them out.
"""

from __future__ import annotations

from ..registers import RegisterBlock, reg, reg_array

SUBSYSTEM_VENDOR_ID = 0x1AF4
SUBSYSTEM_ID = 0x5D1C
PLAIN_SUBSYSTEM_ID = 0x1100
VENDOR_BAR = 2
MAGIC = 0x5D1C0001
MAX_QUEUES = 257


class VendorCfg(RegisterBlock, size=0x1000, ref="docs/reference/software-nic.md"):
    """In BAR 2. ``ring_state[q]``: position of a stopped queue; written before the queue is enabled."""

    magic = reg(0x00, 32, mode="ro")
    active_pairs = reg(0x04, 16)
    announce_mac_low = reg(0x08, 32)  # first four bytes of the MAC, little-endian
    announce_mac_high = reg(0x0C, 16)  # the last two; the write sends the RARP
    ring_state = reg_array(0x100, 16, MAX_QUEUES, stride=4)
