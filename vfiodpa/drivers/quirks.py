"""Quirk records: what one vendor's virtio NIC does beside, or other than, the specification.

A vendor driver is a ``Quirks`` record over the generic driver: where its ring positions are, how many
pairs it spreads frames over, how a queue is stopped. The generic driver itself is the empty record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from ..pci.function import IovaRange, PciFunction
from ..registers import Register, RegisterBlock
from ..spec.features import NONE, Feature
from ..spec.pci import ConfigHeader
from ..spec.virtio_pci import VENDOR_ID
from .device import QueueState

ANY = None


@dataclass(frozen=True, slots=True)
class PciId:
    """PCI ids of a function; as a pattern, ``ANY`` fits every value."""

    vendor: int
    device: int
    subsystem_vendor: int | None = ANY
    subsystem: int | None = ANY

    @classmethod
    def of(cls, function: PciFunction) -> PciId:
        """The ids that a function shows."""
        header = ConfigHeader(function.config)
        return cls(header.vendor_id, header.device_id, header.subsystem_vendor_id, header.subsystem_id)

    def __str__(self) -> str:
        parts = (self.vendor, self.device, self.subsystem_vendor, self.subsystem)
        return ":".join("*" if part is ANY else f"{part:04x}" for part in parts)

    def matches(self, ids: PciId) -> bool:
        """Does this pattern fit?"""
        return (
            (self.vendor, self.device) == (ids.vendor, ids.device)
            and self.subsystem_vendor in (ANY, ids.subsystem_vendor)
            and self.subsystem in (ANY, ids.subsystem)
        )

    @property
    def specificity(self) -> int:
        """How many subsystem ids the pattern fixes; the highest wins."""
        return (self.subsystem_vendor is not ANY) + (self.subsystem is not ANY)


@dataclass(frozen=True, slots=True)
class VendorRegister:
    """A register outside the virtio structures: byte ``offset`` in BAR ``bar``, ``width`` in bits."""

    bar: int
    offset: int
    width: int

    @classmethod
    def of(cls, bar: int, register: Register[int]) -> VendorRegister:
        """A register of a block that starts at byte 0 of the BAR."""
        return cls(bar, register.offset, register.width)


class ReadPoint(Enum):
    """When a queue's position can be read."""

    WHEN_STOPPED = auto()  # after the queue stopped and before the device is reset (a reset clears it)
    AFTER_RESET = auto()  # after the queue or the device was reset


@dataclass(frozen=True, slots=True)
class RingState:
    """Vendor registers that hold queue positions.

    ``where`` gives the register of a queue. ``encode`` makes the value that is written before the
    queue is enabled; ``decode`` is the index rule: which part of what is read the queue goes on from
    (``None``: none of it, the guest's used index tells). ``always`` writes the first position too.
    """

    where: Callable[[int], VendorRegister]
    encode: Callable[[QueueState], int] = lambda state: state.avail
    decode: Callable[[int], QueueState | None] = lambda value: QueueState(value & 0xFFFF)
    read_at: ReadPoint = ReadPoint.WHEN_STOPPED
    always: bool = True
    packed: bool = False  # holds those of packed queues too


@dataclass(frozen=True, slots=True)
class Quirks:
    """One vendor's record; each default is what the specification says."""

    name: str
    ids: tuple[PciId, ...]
    ring_state: RingState | None = None
    active_pairs: VendorRegister | None = None  # takes the number of pairs to spread frames over
    announce: Callable[[PciFunction, bytes], None] | None = None  # sends a RARP for a MAC
    dirty_log: Callable[[PciFunction, IovaRange | None], None] | None = None  # logs writes to a bitmap, or stops
    stop_by_enable: bool = False  # queue_enable = 0 stops the queue; poll until it reads 0
    doorbell_width: int = 16  # bits
    max_pairs: int = 0x8000  # queue pairs that work, whatever the device says
    blocks: Mapping[int, tuple[str, type[RegisterBlock]]] = field(default_factory=dict)  # by BAR, for people
    feature_words: int = 4  # 32-bit feature words that the device decodes
    hidden: Feature = NONE  # offered by the device, but it does not work
    adapt: Callable[[Quirks, PciFunction], Quirks] | None = None  # after a reset: drop what this very device lacks


GENERIC = Quirks("virtio_pci", ids=(PciId(VENDOR_ID, 0x1041), PciId(VENDOR_ID, 0x1000)))
