"""Virtio over PCI bus.

Ref: virtio 1.3 and 1.4, section 4.1; device status: section 2.1.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from ..layout import array, le8, le16, le32
from ..registers import RegisterBlock, reg
from .pci import CapHeader

VENDOR_ID = 0x1AF4
MODERN_ID_BASE = 0x1040  # device id = 0x1040 + virtio device type (4.1.2)
TRANSITIONAL_IDS = range(0x1000, 0x1040)
TRANSITIONAL_NET = 0x1000
NO_VECTOR = 0xFFFF  # VIRTIO_MSI_NO_VECTOR (4.1.5.1.2)
DEVICE_TYPE_NET = 1


class DeviceStatus(IntFlag):
    """Device status field (2.1)."""

    ACKNOWLEDGE = 1
    DRIVER = 2
    DRIVER_OK = 4
    FEATURES_OK = 8
    SUSPEND = 16  # since 1.4
    NEEDS_RESET = 64
    FAILED = 128


class CfgType(IntEnum):
    """Which structure a virtio capability points to (4.1.4)."""

    COMMON = 1
    NOTIFY = 2
    ISR = 3
    DEVICE = 4
    PCI = 5
    SHARED_MEMORY = 8
    VENDOR = 9


class VirtioPciCap(CapHeader, size=16, ref="virtio 1.3, 4.1.4"):
    """``offset`` and ``length`` in bytes within BAR ``bar``."""

    cap_len = le8
    cfg_type = le8
    bar = le8
    id = le8
    padding = array(le8, 2)
    offset = le32
    length = le32


class NotifyCap(VirtioPciCap, size=20, ref="virtio 1.3, 4.1.4.4"):
    notify_off_multiplier = le32


class PciCfgCap(VirtioPciCap, size=20, ref="virtio 1.3, 4.1.4.9"):
    pci_cfg_data = array(le8, 4)


class VendorDataCap(CapHeader, size=6, ref="virtio 1.3, 4.1.4.10"):
    cap_len = le8
    cfg_type = le8
    vendor_id = le16


class CommonCfg(RegisterBlock, size=0x40, ref="virtio 1.4, 4.1.4.3"):
    """Devices of older specifications present fewer bytes: 0x38 (1.0), 0x3c (1.2)."""

    # fmt: off
    device_feature_select   = reg(0x00, 32)
    device_feature          = reg(0x04, 32, mode="ro")
    driver_feature_select   = reg(0x08, 32)
    driver_feature          = reg(0x0C, 32)
    config_msix_vector      = reg(0x10, 16)
    num_queues              = reg(0x12, 16, mode="ro")
    device_status           = reg(0x14, 8, DeviceStatus)
    config_generation       = reg(0x15, 8, mode="ro")
    queue_select            = reg(0x16, 16)
    queue_size              = reg(0x18, 16)
    queue_msix_vector       = reg(0x1A, 16)
    queue_enable            = reg(0x1C, 16)
    queue_notify_off        = reg(0x1E, 16, mode="ro")
    queue_desc              = reg(0x20, 64)
    queue_driver            = reg(0x28, 64)
    queue_device            = reg(0x30, 64)
    queue_notif_config_data = reg(0x38, 16, mode="ro")  # since 1.2
    queue_reset             = reg(0x3A, 16)             # since 1.2
    admin_queue_index       = reg(0x3C, 16, mode="ro")  # since 1.3
    admin_queue_num         = reg(0x3E, 16, mode="ro")  # since 1.3
    # fmt: on


COMMON_CFG_MIN = 0x38  # what virtio 1.0 defines


class IsrStatus(IntFlag):
    """ISR status bits (4.1.4.5); reading clears them."""

    QUEUE = 1
    CONFIG = 2


class IsrCfg(RegisterBlock, size=1, ref="virtio 1.3, 4.1.4.5"):
    isr = reg(0, 8, IsrStatus, mode="rc")
