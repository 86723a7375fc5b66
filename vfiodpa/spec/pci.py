"""PCI configuration space.

Ref: PCI Local Bus Specification 3.0, chapter 6 and section 6.8.2 (MSI-X).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from ..layout import Layout, array, le8, le16, le32
from ..registers import RegisterBlock, reg, reg_array

CONFIG_SIZE = 256
CAPABILITIES_START = 0x40
MAX_CAPABILITIES = 48  # (256 - 64) / 4: more means that the list loops


class Command(IntFlag):
    """Command register, section 6.2.2."""

    IO = 1 << 0
    MEMORY = 1 << 1
    BUS_MASTER = 1 << 2
    INTX_DISABLE = 1 << 10


class Status(IntFlag):
    """Status register, section 6.2.3."""

    INTERRUPT = 1 << 3
    CAPABILITIES = 1 << 4
    MASTER_DATA_PARITY_ERROR = 1 << 8
    SIGNALED_TARGET_ABORT = 1 << 11
    RECEIVED_TARGET_ABORT = 1 << 12
    RECEIVED_MASTER_ABORT = 1 << 13
    SIGNALED_SYSTEM_ERROR = 1 << 14
    DETECTED_PARITY_ERROR = 1 << 15


class BarFlag(IntFlag):
    """Low bits of a base address register, section 6.2.5.1."""

    IO = 1 << 0
    MEM_64 = 1 << 2
    PREFETCHABLE = 1 << 3


class ConfigHeader(RegisterBlock, size=0x40, ref="PCI 3.0, 6.1, type 0 header"):
    """The first 64 bytes of configuration space, as registers."""

    vendor_id = reg(0x00, 16, mode="ro")
    device_id = reg(0x02, 16, mode="ro")
    command = reg(0x04, 16, Command)
    status = reg(0x06, 16, Status)
    revision_id = reg(0x08, 8, mode="ro")
    class_code = reg_array(0x09, 8, 3, mode="ro")  # interface, subclass, class
    cache_line_size = reg(0x0C, 8)
    latency_timer = reg(0x0D, 8)
    header_type = reg(0x0E, 8, mode="ro")
    bist = reg(0x0F, 8)
    bars = reg_array(0x10, 32, 6)
    cardbus_cis = reg(0x28, 32, mode="ro")
    subsystem_vendor_id = reg(0x2C, 16, mode="ro")
    subsystem_id = reg(0x2E, 16, mode="ro")
    expansion_rom = reg(0x30, 32)
    capabilities = reg(0x34, 8, mode="ro")
    interrupt_line = reg(0x3C, 8)
    interrupt_pin = reg(0x3D, 8, mode="ro")


class ConfigHeaderLayout(Layout, size=0x40, ref="PCI 3.0, 6.1, type 0 header"):
    """The same header as bytes: what a software function presents."""

    vendor_id = le16
    device_id = le16
    command = le16
    status = le16
    revision_id = le8
    class_code = array(le8, 3)
    cache_line_size = le8
    latency_timer = le8
    header_type = le8
    bist = le8
    bars = array(le32, 6)
    cardbus_cis = le32
    subsystem_vendor_id = le16
    subsystem_id = le16
    expansion_rom = le32
    capabilities = le8
    reserved = array(le8, 7)
    interrupt_line = le8
    interrupt_pin = le8
    min_gnt = le8
    max_lat = le8


class CapId(IntEnum):
    """Capability identifiers, PCI code and ID assignment."""

    POWER_MANAGEMENT = 0x01
    MSI = 0x05
    VENDOR = 0x09
    PCI_EXPRESS = 0x10
    MSIX = 0x11


class CapHeader(Layout, size=2, ref="PCI 3.0, 6.7"):
    cap_id = le8
    cap_next = le8


class MsixCap(CapHeader, size=12, ref="PCI 3.0, 6.8.2"):
    """Message control holds the table size minus one in its low 11 bits."""

    control = le16
    table = le32  # offset | BAR number in the low 3 bits
    pba = le32

    @property
    def vectors(self) -> int:
        """How many vectors the function has."""
        return (self.control & 0x7FF) + 1


MSIX_ENABLE = 1 << 15
MSIX_FUNCTION_MASK = 1 << 14


class MsixEntry(Layout, size=16, ref="PCI 3.0, 6.8.2.6"):
    address_low = le32
    address_high = le32
    data = le32
    control = le32
