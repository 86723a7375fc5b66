"""The Frontend contract: between whoever owns the guest and the core.

The front end translates and validates (addresses are Gpa by the time they come here, regions are
checked, fds are eventfds); the core (``Backend``, implemented by vdpa.datapath) decides and acts.
All calls come from one thread: the event loop's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from ..drivers.device import QueueState
from ..errors import Unsupported
from ..memory import Gpa, Mapping
from ..pci.function import SharedPage
from ..spec.features import Feature


@dataclass(frozen=True, slots=True)
class Region:
    """Guest memory at ``gpa``: ``length`` bytes of ``memory`` from its start."""

    gpa: Gpa
    length: int
    memory: Mapping

    @property
    def last(self) -> int:
        """Address of the last byte."""
        return self.gpa + self.length - 1


@dataclass(frozen=True, slots=True)
class Ring:
    """A queue's size in entries and the three parts of its ring, in guest physical addresses."""

    size: int
    desc: Gpa
    driver: Gpa
    device: Gpa


class Backend(ABC):
    """What a front end tells the core. Every call raises a ``VfiodpaError`` when it is refused.

    Refused calls change nothing. fds handed over are borrowed: the core keeps what it needs and the
    front end goes on owning its own.
    """

    # What may be offered to the guest

    @property
    @abstractmethod
    def features(self) -> Feature:
        """Feature bits that device and core can carry."""

    @property
    @abstractmethod
    def queue_pairs(self) -> int:
        """Receive/transmit pairs."""

    @property
    @abstractmethod
    def mtu(self) -> int:
        """Largest MTU that the device carries, in bytes."""

    @property
    @abstractmethod
    def can_announce(self) -> bool:
        """Can a RARP be sent on the guest's behalf?"""

    @property
    def shares_doorbells(self) -> bool:
        """May guests be given doorbell pages (``Frontend.share_doorbell``)?"""
        return False

    # The guest comes and goes

    @abstractmethod
    def attach(self, frontend: Frontend) -> None:
        """A guest is there. Raises ``StateError`` when another one still is."""

    @abstractmethod
    def detach(self) -> None:
        """The guest is gone: everything is stopped and unmapped, the device reset. Never raises."""

    @abstractmethod
    def reset(self) -> None:
        """The guest reset its device: queues are stopped and forgotten, memory and fds are kept."""

    @abstractmethod
    def set_features(self, features: Feature) -> None:
        """Features that the guest accepted."""

    @abstractmethod
    def set_driver_ok(self, driver_ok: bool) -> None:
        """The guest's driver is (no longer) ready; called only by front ends that know."""

    # Memory

    @abstractmethod
    def check_regions(self, regions: list[Region]) -> None:
        """Raises before anything is mapped when the device's IOMMU could not take these new regions.

        They may lie where regions are that will be removed before they are added.
        """

    @abstractmethod
    def add_region(self, region: Region) -> None:
        """Map a region for the device; queues go on."""

    @abstractmethod
    def remove_region(self, region: Region) -> None:
        """Unmap a region; queues whose rings lie in it are stopped. On return nobody uses it."""

    # Queues

    @abstractmethod
    def set_ring(self, queue: int, ring: Ring) -> None:
        """Where the queue is."""

    @abstractmethod
    def set_base(self, queue: int, state: QueueState) -> None:
        """Where the queue starts."""

    @abstractmethod
    def set_kick(self, queue: int, fd: int | None) -> None:
        """Eventfd that the guest signals. ``None``: it polls, or there is none any more."""

    @abstractmethod
    def set_call(self, queue: int, fd: int | None) -> None:
        """Eventfd to signal to the guest; may change at any time, and is told again at each start."""

    @abstractmethod
    def start_queue(self, queue: int) -> None:
        """The guest started the queue; it runs once it is also enabled and the driver is ready."""

    @abstractmethod
    def stop_queue(self, queue: int) -> QueueState:
        """Stop the queue and return its position, also when an error stopped it before.

        On return the device touches no guest memory for it.
        """

    @abstractmethod
    def enable_queue(self, queue: int, on: bool) -> None:
        """Let a started queue carry frames, or not. May come first of all; a reset forgets it, a stop does not."""

    # Other

    @abstractmethod
    def set_mtu(self, mtu: int) -> None:
        """The guest will use this MTU."""

    @abstractmethod
    def announce(self, mac: bytes) -> None:
        """Send a RARP for the guest."""


class Frontend(ABC):
    """What the core tells a front end."""

    name: str  # for people: the socket's path

    @abstractmethod
    def queue_error(self, queue: int, reason: str) -> None:
        """A queue was stopped because of an error."""

    @abstractmethod
    def device_failed(self, reason: str) -> None:
        """The device failed and was stopped; the guest must reset it."""

    @abstractmethod
    def config_changed(self) -> None:
        """The device configuration changed (link, MTU)."""

    def share_doorbell(self, queue: int, page: SharedPage, answer: Callable[[str], None]) -> None:  # noqa: ARG002
        """Have the guest ring the queue by itself, by storing to ``page`` (borrowed for the call).

        Returns at once. ``answer`` is called later, at most once, out of the event loop: with an empty text when the
        guest does so from now on, else with the reason why not. Until then, and afterwards too when the guest's
        side so decides, the kick eventfd is signalled. Raises ``Unsupported`` with the reason when it cannot be asked.
        """
        raise Unsupported("the front end takes no doorbell pages")

    def withdraw_doorbell(self, queue: int) -> None:
        """Take a page back that was shared: the guest is to use the eventfd again.

        Returns at once, nothing is waited for; an ``answer`` not yet given never is.
        """
        raise Unsupported(f"the doorbell of queue {queue} was not shared")
