"""PCI configuration space.

Ref: PCI Local Bus Specification 3.0, chapter 6 and section 6.8.2 (MSI-X); PCI Express Base Specification
5.0, chapters 7 (capabilities) and 9 (SR-IOV); PCI Bus Power Management Interface Specification 1.2, chapter 3.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from ..layout import Layout, array, le8, le16, le32
from ..registers import RegisterBlock, reg, reg_array

CONFIG_SIZE = 256
EXTENDED_CONFIG_SIZE = 4096
CAPABILITIES_START = 0x40
MAX_CAPABILITIES = 48  # (256 - 64) / 4: more means that the list loops
MAX_EXTENDED_CAPABILITIES = 480  # (4096 - 256) / 8


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
    VPD = 0x03
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


class PmState(IntEnum):
    """Power states, the low 2 bits of ``control``."""

    D0 = 0
    D1 = 1
    D2 = 2
    D3_HOT = 3


class PmCap(CapHeader, size=8, ref="PCI PM 1.2, 3.2"):
    capabilities = le16
    control = le16
    bridge = le8
    data = le8

    @property
    def state(self) -> PmState:
        """Power state the function is in."""
        return PmState(self.control & 3)


class PortType(IntEnum):
    """Device/port type, bits 7:4 of the PCI Express capabilities register (7.5.3.2)."""

    ENDPOINT = 0
    LEGACY_ENDPOINT = 1
    ROOT_PORT = 4
    SWITCH_UPSTREAM = 5
    SWITCH_DOWNSTREAM = 6
    PCI_BRIDGE = 7
    PCIE_BRIDGE = 8
    ROOT_COMPLEX_ENDPOINT = 9
    EVENT_COLLECTOR = 10


LINK_SPEEDS = {1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0, 5: 32.0, 6: 64.0}  # GT/s by the code in 7.5.3.8


class ExpressCap(CapHeader, size=20, ref="PCIe 5.0, 7.5.3"):
    """The part that every PCI Express function has."""

    express = le16
    device_capabilities = le32
    device_control = le16
    device_status = le16
    link_capabilities = le32
    link_control = le16
    link_status = le16

    @property
    def port_type(self) -> int:
        """A ``PortType``, or a number that is none."""
        kind = self.express >> 4 & 0xF
        return PortType(kind) if kind in PortType.__members__.values() else kind

    @property
    def function_level_reset(self) -> bool:
        """Can this function be reset alone (bit 28, 7.5.3.3)?"""
        return bool(self.device_capabilities & 1 << 28)

    @property
    def link(self) -> tuple[float, int]:
        """Speed in GT/s per lane and lanes, as negotiated; 0 where there is no link."""
        return LINK_SPEEDS.get(self.link_status & 0xF, 0.0), self.link_status >> 4 & 0x3F


class ExtCapId(IntEnum):
    """Extended capability identifiers, PCI code and ID assignment."""

    AER = 0x01
    SERIAL_NUMBER = 0x03
    VENDOR = 0x0B
    ACS = 0x0D
    ARI = 0x0E
    ATS = 0x0F
    SRIOV = 0x10
    PRI = 0x13
    TPH = 0x17
    LTR = 0x18
    PASID = 0x1B
    DVSEC = 0x23


class ExtCapHeader(Layout, size=4, ref="PCIe 5.0, 7.6.3"):
    """Identifier in the low 16 bits, version in the next 4, offset of the next one in the high 12."""

    header = le32

    @property
    def cap_id(self) -> int:
        """An ``ExtCapId``, or one that we do not know."""
        return self.header & 0xFFFF

    @property
    def version(self) -> int:
        """Capability version."""
        return self.header >> 16 & 0xF

    @property
    def following(self) -> int:
        """Offset of the next capability; 0 ends the list."""
        return self.header >> 20 & 0xFFC


class AerError(IntFlag):
    """Uncorrectable errors (7.8.4.2)."""

    DATA_LINK_PROTOCOL = 1 << 4
    SURPRISE_DOWN = 1 << 5
    POISONED_TLP = 1 << 12
    FLOW_CONTROL = 1 << 13
    COMPLETION_TIMEOUT = 1 << 14
    COMPLETER_ABORT = 1 << 15
    UNEXPECTED_COMPLETION = 1 << 16
    RECEIVER_OVERFLOW = 1 << 17
    MALFORMED_TLP = 1 << 18
    ECRC = 1 << 19
    UNSUPPORTED_REQUEST = 1 << 20
    ACS_VIOLATION = 1 << 21


class AerCap(ExtCapHeader, size=0x2C, ref="PCIe 5.0, 7.8.4"):
    uncorrectable_status = le32
    uncorrectable_mask = le32
    uncorrectable_severity = le32
    correctable_status = le32
    correctable_mask = le32
    control = le32
    header_log = array(le32, 4)


class AcsFlag(IntFlag):
    """Access control: what keeps peer-to-peer traffic from going round the IOMMU (7.7.8)."""

    SOURCE_VALIDATION = 1 << 0
    TRANSLATION_BLOCKING = 1 << 1
    REQUEST_REDIRECT = 1 << 2
    COMPLETION_REDIRECT = 1 << 3
    UPSTREAM_FORWARDING = 1 << 4
    EGRESS_CONTROL = 1 << 5
    DIRECT_TRANSLATED = 1 << 6


class AcsCap(ExtCapHeader, size=8, ref="PCIe 5.0, 7.7.8"):
    capability = le16
    control = le16


class SriovControl(IntFlag):
    """SR-IOV control (9.3.3.3)."""

    VF_ENABLE = 1 << 0
    VF_MIGRATION_ENABLE = 1 << 1
    VF_MSE = 1 << 3
    ARI = 1 << 4


class SriovCap(ExtCapHeader, size=0x40, ref="PCIe 5.0, 9.3.3"):
    capabilities = le32
    control = le16
    status = le16
    initial_vfs = le16
    total_vfs = le16
    num_vfs = le16
    dependency = le8
    reserved = le8
    vf_offset = le16  # routing id of the first VF, from the PF's
    vf_stride = le16
    reserved2 = le16
    vf_device_id = le16
    supported_page_sizes = le32
    system_page_size = le32
    vf_bars = array(le32, 6)
    migration_state = le32
