"""Virtio over PCI.

Ref: virtio 1.4, the device requirements of these chapters, in our own words.
"""

from __future__ import annotations

from ..features import Feature
from .clause import Block, row

F = Feature

# fmt: off
P_BUS = Block("P-BUS", "Virtio Transport Options / Virtio Over PCI Bus", (
    row(1, "MUST", "1.0", "D", "expose an interface that meets the PCI / PCIe specifications"),
))

P_ID = Block("P-ID", "Virtio Over PCI Bus / PCI Device Discovery", (
    row(1, "MUST", "1.0", "D", "PCI Vendor ID 0x1AF4"),
    row(2, "MUST", "1.0", "D", "PCI Device ID = 0x1040 + virtio id, or the transitional ID"),
    row(3, "MAY", "1.0", "N", "Subsystem IDs reflect the environment"),
    row(4, "SHOULD", "1.0", "D", "non-transitional: Device ID in 0x1040..0x107f"),
    row(5, "SHOULD", "1.0", "D", "non-transitional: Revision >= 1"),
    row(6, "SHOULD", "1.0", "D", "non-transitional: Subsystem Device ID >= 0x40"),
))

P_LAY = Block("P-LAY", "Virtio Over PCI Bus / PCI Device Layout", (
    row(1, "MUST", "1.0", "D", "64-bit device-config fields: independent access to the two 32-bit halves"),
))

P_CAP = Block("P-CAP", "Virtio Over PCI Bus / Virtio Structure PCI Capabilities", (
    row(1, "MUST", "1.0", "D", "cap_len covers everything from cap_vndr to the last extra-data byte"),
    row(2, "MAY", "1.0", "N", "append data/padding beyond"),
    row(3, "SHOULD", "1.0", "D", "several structures of one type: best first"),
))

P_COM = Block("P-COM", "PCI Device Layout / Common configuration structure layout", (
    row(1, "MUST", "1.0", "D", "cap.offset 4-byte aligned"),
    row(2, "MUST", "1.0", "D", "at least one common-cfg capability"),
    row(3, "MUST", "1.0", "D", "device_feature shows bits from select*32, for any select written"),
    row(4, "MUST", "1.0", "D", "driver_feature reads back the valid bits written, for any select"),
    row(5, "MAY", "1.0", "N", "also show invalid bits written"),
    row(6, "MUST", "1.0", "F", "config_generation changes after the driver read a value that has changed"),
    row(7, "MUST", "1.0", "D", "writing 0 to device_status resets; status reads 0 once done"),
    row(8, "MUST", "1.0", "D", "queue_enable == 0 on reset (every queue)"),
    row(9, "MUST", "1.2", "D", "RING_RESET: queue_reset == 0 on reset", F.RING_RESET),
    row(10, "MUST", "1.2", "D", "RING_RESET: queue_reset == 0 after queue_enable", F.RING_RESET),
    row(11, "MUST", "1.2", "D", "writing 1 to queue_reset resets the queue", F.RING_RESET),
    row(12, "MUST", "1.2", "H", "queue_reset reads 1 while the reset is ongoing", F.RING_RESET),
    row(13, "MUST", "1.2", "D", "queue_reset and queue_enable both read 0 on completion", F.RING_RESET),
    row(14, "MUST", "1.0", "D", "queue_size reads 0 for an unavailable queue"),
    row(15, "MUST", "1.1", "D", "no RING_PACKED: queue_size is 0 or a power of two"),
    row(16, "MUST", "1.4", "D", "ADMIN_VQ: admin_queue_index >= num_queues", F.ADMIN_VQ),
    row(17, "MUST", "1.4", "D", "ADMIN_VQ: admin_queue_num <= 0x10000 - admin_queue_index", F.ADMIN_VQ),
))

P_NTF = Block("P-NTF", "PCI Device Layout / Notification capability", (
    row(1, "MUST", "1.0", "D", "at least one notification capability"),
    row(2, "MUST", "1.0", "D", "not offering NOTIFICATION_DATA: cap.offset 2-byte aligned"),
    row(3, "MUST", "1.0", "D", "not offering: notify_off_multiplier is 0 or \"an even power of 2\""),
    row(4, "MUST", "1.0", "D", "not offering: cap.length >= 2 and covers every queue in every configuration"),
    row(5, "MUST", "1.0", "D", "not offering: cap.length >= queue_notify_off * multiplier + 2, each queue"),
    row(6, "MUST", "1.1", "D",
        "offering NOTIFICATION_DATA: multiplier is 0 or a power of two that is a multiple of 4", F.NOTIFICATION_DATA),
    row(7, "MUST", "1.0", "D", "offering: cap.offset 4-byte aligned", F.NOTIFICATION_DATA),
    row(8, "MUST", "1.0", "D", "offering: cap.length >= 4 and covers every queue", F.NOTIFICATION_DATA),
    row(9, "MUST", "1.0", "D",
        "offering: cap.length >= queue_notify_off * multiplier + 4, each queue", F.NOTIFICATION_DATA),
))

P_ISR = Block("P-ISR", "PCI Device Layout / ISR status capability", (
    row(1, "MUST", "1.0", "D", "at least one ISR capability"),
    row(2, "MUST", "1.0", "F", "set the config bit before a config-change notification"),
    row(3, "MUST", "1.0", "D", "MSI-X off: set the queue bit before a vq notification"),
    row(4, "MUST", "1.0", "D", "MSI-X off: PCI Status.Interrupt Status = OR of ISR bits"),
    row(5, "MUST", "1.0", "D", "ISR resets to 0 on read"),
))

P_DEV = Block("P-DEV", "PCI Device Layout / Device-specific configuration", (
    row(1, "MUST", "1.0", "D", "device-specific config offset 4-byte aligned"),
))

P_SHM = Block("P-SHM", "PCI Device Layout / Shared memory capability", (
    row(1, "MUST", "1.2", "D", "region lies inside its BAR"),
    row(2, "MUST", "1.2", "D", "cap.id unique"),
))

P_VND = Block("P-VND", "PCI Device Layout / Vendor data capability", (
    row(1, "NOTE", "1.2", "N", "vendor_id may differ from PCI vendor/subsystem ids"),
    row(2, "NOTE", "1.2", "N", "several vendor capabilities allowed"),
    row(3, "MUST_NOT", "1.2", "D", "vendor_id equal 0x1AF4"),
    row(4, "MUST", "1.2", "D", "size is a multiple of 4"),
    row(5, "MUST_NOT", "1.2", "D", "reads have side effects"),
))

P_PCA = Block("P-PCA", "PCI Device Layout / PCI configuration access capability", (
    row(1, "MUST", "1.0", "D", "at least one PCI_CFG access capability"),
    row(2, "MUST", "1.0", "D", "write of pci_cfg_data performs the BAR write"),
    row(3, "MUST", "1.0", "D", "read of pci_cfg_data performs the BAR read"),
))

P_MSX = Block("P-MSX", "Device Initialization / MSI-X Vector Configuration", (
    row(1, "SHOULD", "1.0", "D", "MSI-X device supports 2..0x800 vectors"),
    row(2, "MUST", "1.0", "D", "vector count reported in MSI-X Table Size"),
    row(3, "SHOULD", "1.0", "N", "Table Size restricted to a useful value"),
    row(4, "MUST", "1.0", "D", "any event can be mapped to any valid vector"),
    row(5, "MUST", "1.0", "D", "any event can be unmapped"),
    row(6, "MUST", "1.0", "D", "config_/queue_msix_vector read the current mapping (NO_VECTOR if none)"),
    row(7, "MUST", "1.0", "D", "all events unmapped on reset"),
    row(8, "SHOULD_NOT", "1.0", "D", "fail a mapping unless impossible"),
    row(9, "MUST", "1.0", "D", "report a failed mapping as NO_VECTOR"),
))

P_UBN = Block("P-UBN", "PCI-specific Initialization And Device Operation / Used Buffer Notifications", (
    row(1, "MUST_NOT", "1.0", "D", "MSI-X on and queue vector NO_VECTOR: no interrupt for that queue"),
))

P_CCN = Block("P-CCN", "Notification of Device Configuration Changes", (
    row(1, "MUST_NOT", "1.0", "F", "MSI-X on and config vector NO_VECTOR: no interrupt for config changes"),
))

P_LEG = Block("P-LEG", "Device Initialization / Non-transitional Device With Legacy Driver", (
    row(1, "SHOULD", "1.0", "D",
        "non-transitional device where a legacy driver for the same ID existed: I/O BAR in BAR0, "
        "and a one-byte 0 write to offset 18 of BAR0 makes all BARs read zero and ignore writes"),
))

# fmt: on

BLOCKS = (P_BUS, P_ID, P_LAY, P_CAP, P_COM, P_NTF, P_ISR, P_DEV, P_SHM, P_VND, P_PCA, P_MSX, P_UBN, P_CCN, P_LEG)
