"""The VdpaDevice contract: what a driver must do for the core.

A superset of DPDK's rte_vdpa_dev_ops and of the parts of Linux's vdpa_config_ops that make sense in
user space, with explicit per-queue state and reset. Queues are virtqueues, counted from 0: receive
queue of pair p is 2p, transmit queue 2p + 1 (virtio 1.3, 5.1.2).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from ..errors import Unsupported
from ..memory import Iova
from ..pci.function import Doorbell, IovaRange, PciFunction, SharedPage
from ..registers import RegisterBlock
from ..spec.features import Feature
from ..spec.virtio_net import NetConfig
from ..spec.virtio_pci import DeviceStatus
from ..spec.virtio_ring import PACKED_START


@dataclass(frozen=True, slots=True)
class QueueState:
    """Where a queue stands: the next available entry to take, 16 bits.

    Of a split queue a free-running index; of a packed one the descriptor in bits 0 to 14 and the wrap
    counter in bit 15 (2.8.1). Used entries are written in the same order, so this says both.
    """

    avail: int = 0

    @classmethod
    def first(cls, features: Feature) -> QueueState:
        """Where a queue stands that was never used."""
        return cls(PACKED_START if features & Feature.RING_PACKED else 0)

    @classmethod
    def lost(cls) -> Self:
        """Where a packed queue stands on a device that keeps no positions: nothing in memory tells.

        Not the first position, so that a guest that wants to go on from it is refused and not served wrongly.
        """
        return cls(0)


@dataclass(frozen=True, slots=True)
class QueueSetup:
    """Everything a queue needs to be started. ``size`` in entries; addresses as the device sees them."""

    size: int
    desc: Iova
    driver: Iova  # available ring, or driver event suppression area
    device: Iova  # used ring, or device event suppression area
    state: QueueState | None = None  # None: never used


@dataclass(frozen=True, slots=True)
class DoorbellAddress:
    """Where a queue's doorbell is: BAR, byte offset in it, access width in bits, value to write."""

    bar: int
    offset: int
    width: int
    value: int


class VdpaDevice(ABC):
    """One network device, driven through a PciFunction. Leaving the context resets the device."""

    function: PciFunction
    driver: str  # name of the driver, for people

    @property
    def name(self) -> str:
        """Name of the function underneath."""
        return self.function.name

    # What it is

    @property
    @abstractmethod
    def features(self) -> Feature:
        """Features that can be negotiated by a guest (closed under their requirements)."""

    @property
    @abstractmethod
    def device_features(self) -> Feature:
        """Features that the device itself offers, transport bits included."""

    @property
    @abstractmethod
    def negotiated(self) -> Feature:
        """Features in force; 0 before ``negotiate``."""

    @property
    @abstractmethod
    def blocks(self) -> Mapping[str, RegisterBlock]:
        """The device's register blocks by name (``pci``, ``common``, ``isr``, ``net``, vendor blocks)."""

    @property
    @abstractmethod
    def config(self) -> NetConfig:
        """Device configuration space as registers (single fields; see ``read_config``)."""

    @abstractmethod
    def read_config(self) -> Mapping[str, int | list[int]]:
        """All configuration fields that exist, read under one configuration generation (2.5.3)."""

    @property
    @abstractmethod
    def queue_pairs(self) -> int:
        """Receive/transmit pairs that can be used."""

    @abstractmethod
    def queue_size_max(self, queue: int) -> int:
        """Largest size of a queue, in entries; 0 when the queue is not there."""

    @property
    @abstractmethod
    def status(self) -> DeviceStatus:
        """Device status; raises ``DeviceGone`` when the device no longer answers."""

    # What can be done with it

    @property
    @abstractmethod
    def can_stop_queue(self) -> bool:
        """Can a single queue be stopped while the others run (RING_RESET or vendor means)?"""

    @property
    def queues_come_first(self) -> bool:
        """Should all queues be set up before ``start``, also those that a guest enables later only?

        So the specification has it (3.1.1); ``set_active_pairs`` then says which of them are used.
        """
        return False

    @property
    def reserved(self) -> Sequence[IovaRange]:
        """I/O addresses that the driver uses itself: no guest's memory can lie there."""
        return ()

    @property
    @abstractmethod
    def can_restore_state(self) -> bool:
        """Can a queue start at a position other than 0?"""

    @property
    @abstractmethod
    def can_announce(self) -> bool:
        """Can the device send a RARP on the guest's behalf?"""

    @property
    @abstractmethod
    def can_log_dirty(self) -> bool:
        """Can the device log which pages it writes packets to?"""

    # Life cycle

    @abstractmethod
    def reset(self) -> None:
        """Device reset, if need be by a reset of the function; however it ends, no DMA. Raises ``DeviceTimeout``."""

    @abstractmethod
    def negotiate(self, features: Feature) -> None:
        """Reset, acknowledge, write the features, check FEATURES_OK (3.1.1). Raises ``FeaturesRefused``."""

    @abstractmethod
    def start(self) -> None:
        """Set DRIVER_OK. Queues are set up before; more may be started later."""

    @abstractmethod
    def start_queue(self, queue: int, setup: QueueSetup) -> None:
        """Program and enable a queue. Raises ``Unsupported`` for a state the device cannot start from."""

    @abstractmethod
    def stop_queue(self, queue: int) -> QueueState | None:
        """Stop one queue; returns its position, or ``None`` when the device cannot tell it.

        Raises ``Unsupported`` when only the whole device can be stopped.
        """

    @abstractmethod
    def suspend(self) -> dict[int, QueueState | None]:
        """Stop the device with its queues (a reset); returns the position of each queue that ran.

        Takes no longer than the deadlines of one queue stop and one reset, and ends with no DMA
        also when it raises.
        """

    @abstractmethod
    def set_active_pairs(self, pairs: int) -> None:
        """How many queue pairs the device spreads received frames over, from the first one on.

        Of a device that does not run yet: once it does. Raises ``Unsupported``, ``CommandRefused``, ``DeviceTimeout``.
        """

    # Notifications

    @abstractmethod
    def set_queue_irq(self, queue: int, fd: int | None) -> None:
        """Eventfd to signal when the queue has used buffers."""

    @abstractmethod
    def set_config_irq(self, fd: int | None) -> None:
        """Eventfd to signal when configuration or status changes."""

    @property
    def interrupts(self) -> str:
        """How interrupts reach the queues' eventfds, for people; empty when there is nothing to say."""
        return ""

    @property
    def shares_config_irq(self) -> bool:
        """Is the eventfd for configuration changes also signalled when queues have used buffers?"""
        return False

    @abstractmethod
    def doorbell_address(self, queue: int) -> DoorbellAddress:
        """Where the queue's doorbell is."""

    @abstractmethod
    def doorbell(self, queue: int) -> Doorbell:
        """The doorbell as a handle for C threads."""

    def doorbell_page(self, queue: int) -> SharedPage:
        """A page with nothing in it but the queue's doorbell, at its start, for the guest to ring by itself.

        Raises ``Unsupported`` with the reason where there is none.
        """
        raise Unsupported(f"the doorbell of queue {queue} cannot be given away", device=self.name)

    @abstractmethod
    def kick(self, queue: int) -> None:
        """Ring the queue's doorbell once."""

    # Dirty log, for live migration

    @abstractmethod
    def start_dirty_log(self, where: IovaRange) -> None:
        """Set the bit of each page that packets are written to, until ``stop_dirty_log`` or a reset.

        ``where``: a bitmap that the caller has mapped in the device's DMA domain; bit n (of byte n / 8)
        is page n of 4 KiB, counted from IOVA 0. Nobody clears bits. Used rings are not logged: they are
        the caller's to mark. Raises ``Unsupported``.
        """

    @abstractmethod
    def stop_dirty_log(self) -> None:
        """On return the device does not touch the bitmap; harmless when off."""

    # Other

    @abstractmethod
    def announce(self, mac: bytes) -> None:
        """Send a RARP for ``mac`` (6 bytes) on the wire. Raises ``Unsupported``."""

    @abstractmethod
    def stats(self) -> Mapping[str, int]:
        """Counters that the driver keeps or the device offers, by name."""

    def close(self) -> None:
        """Reset the device; the function is closed by who opened it."""
        self.reset()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
