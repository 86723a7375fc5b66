"""Datapath: joins a front end and a device.

Validated memory -> IOMMU maps -> features -> queues -> interrupts -> DRIVER_OK -> doorbells, and the
same in reverse. Teardown order is fixed: doorbells off, interrupts off, device quiesced, IOMMU
unmapped; then the front end unmaps the memory, closes its fds and replies.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from enum import Enum

from ..drivers.device import QueueState, VdpaDevice
from ..errors import DeviceError, DeviceGone, StateError, Unsupported, UsageError, VfiodpaError
from ..frontends.frontend import Backend, Frontend, Region, Ring
from ..spec.features import NONE, Feature, names
from ..spec.virtio_net import MAX_MTU
from ..spec.virtio_pci import DeviceStatus
from .doorbell import DoorbellChoice, DoorbellMode, Doorbells, in_words
from .guest_map import GuestMap, holds_part_of
from .runner import Runner, Slot, drain

log = logging.getLogger(__name__)


class State(Enum):
    """Where a datapath stands."""

    IDLE = "no guest"
    ATTACHED = "a guest is there, the device is reset"
    RUNNING = "the device works on the guest's queues"
    FAILED = "the device failed and was reset; the guest must set its queues up again"
    CLOSED = "closed"


MOVES: dict[State, frozenset[State]] = {
    State.IDLE: frozenset({State.ATTACHED, State.CLOSED}),
    State.ATTACHED: frozenset({State.RUNNING, State.FAILED, State.IDLE}),
    State.RUNNING: frozenset({State.ATTACHED, State.FAILED}),
    State.FAILED: frozenset({State.ATTACHED, State.IDLE}),
    State.CLOSED: frozenset(),
}


FIRST_OPTIONAL = 2  # the first pair is always in use


class Datapath(Backend):
    """One device and at most one guest. All calls come from one thread, the event loop's."""

    def __init__(
        self,
        device: VdpaDevice,
        on_lost: Callable[[DeviceGone], None] = lambda _error: None,
        doorbell: DoorbellMode = DoorbellMode.NOTIFIER,
    ) -> None:
        """``on_lost`` is told when the device is gone, or must be given back, whenever that is found out.

        ``doorbell``: the best way that may be used.
        """
        self.device = device
        self.state = State.IDLE
        self._on_lost = on_lost
        self._frontend: Frontend | None = None
        self._features = NONE
        self._driver_ok = False
        self._config: Mapping[str, int | list[int]] = {}
        self._memory = GuestMap(device.name, device.function.dma, device.reserved)
        self._runner = Runner(device, self._memory, Doorbells(device, doorbell))

    def __repr__(self) -> str:
        return f"<Datapath {self.device.name}: {self.state.value}, queues {sorted(self.running)}>"

    # What may be offered to the guest

    @property
    def features(self) -> Feature:
        """Feature bits that device and core can carry."""
        return self.device.features

    @property
    def queue_pairs(self) -> int:
        """Receive/transmit pairs."""
        return self.device.queue_pairs

    @property
    def mtu(self) -> int:
        """Largest MTU that the device carries, in bytes."""
        mtu = self.device.read_config().get("mtu", MAX_MTU)
        return mtu if isinstance(mtu, int) else MAX_MTU

    @property
    def can_announce(self) -> bool:
        """Can a RARP be sent on the guest's behalf?"""
        return self.device.can_announce

    @property
    def shares_doorbells(self) -> bool:
        """May guests ring the device by themselves?"""
        return self._runner.doorbells.can_share

    @property
    def doorbells(self) -> dict[int, DoorbellChoice]:
        """How the kicks of each running queue reach the device, and why that way."""
        return self._runner.doorbells.choices

    @property
    def running(self) -> frozenset[int]:
        """Queues that the device works on."""
        return frozenset(self._runner.running)

    # The guest comes and goes

    def attach(self, frontend: Frontend) -> None:
        """A guest is there."""
        self._move(State.ATTACHED)
        self._frontend = self._runner.doorbells.frontend = frontend

    def detach(self) -> None:
        """The guest is gone: stop, unmap and reset everything. Never raises."""
        if self.state in (State.IDLE, State.CLOSED):
            return
        self._stop()
        for region in list(self._memory.regions):
            try:
                self._memory.remove(region)
            except VfiodpaError as error:
                log.warning("%s: unmap failed while stopping: %s", self.device.name, error)
        self._runner.slots.clear()
        self._features = NONE
        self._driver_ok = False
        self._frontend = self._runner.doorbells.frontend = None
        self._move(State.IDLE)

    def reset(self) -> None:
        """The guest reset its device: queues are forgotten, memory is kept."""
        self._stop()
        self._runner.slots.clear()
        self._driver_ok = False
        self._recover()

    def close(self) -> None:
        """Detach whoever is there and give the device back; harmless when already closed."""
        if self.state is State.CLOSED:
            return
        self.detach()
        self._runner.close()
        self._move(State.CLOSED)

    def set_features(self, features: Feature) -> None:
        """Features that the guest accepted; refused while queues run."""
        if extra := int(features) & ~int(self.features):
            raise UsageError(f"features that were not offered: {', '.join(names(extra))}", device=self.device.name)
        if features != self._features and self.state is State.RUNNING:
            raise StateError("features cannot change while queues run", device=self.device.name)
        self._features = features

    def set_driver_ok(self, driver_ok: bool) -> None:
        """The guest's driver is (no longer) ready."""
        self._driver_ok = driver_ok
        if not driver_ok:
            self._stop()
        self._settle()

    # Memory

    def check_regions(self, regions: list[Region]) -> None:
        """Raise when the device's IOMMU could not take the regions."""
        self._memory.check(regions)

    def add_region(self, region: Region) -> None:
        """Map a region for the device (IOVA = GPA); queues go on."""
        self._memory.add(region)
        self._settle()

    def remove_region(self, region: Region) -> None:
        """Unmap a region; queues whose rings lie in it are stopped first."""
        for queue in sorted(self._runner.running):
            ring = self._slot(queue).ring
            if ring is not None and holds_part_of(region, ring):
                self._halt(queue)
                self._slot(queue).ring = None
        self._memory.remove(region)

    # Queues

    def set_ring(self, queue: int, ring: Ring) -> None:
        """Where the queue is."""
        most = self.device.queue_size_max(queue)
        if ring.size > most:
            raise DeviceError(
                f"queue {queue} has {ring.size} entries, the device takes {most} at most", device=self.device.name
            )
        self._slot(queue).ring = ring
        self._settle()

    def set_base(self, queue: int, state: QueueState) -> None:
        """Where the queue starts."""
        self._slot(queue).base = state

    def set_kick(self, queue: int, fd: int | None) -> None:
        """Eventfd that the guest signals."""
        self._slot(queue).kick = fd
        if queue in self.running:
            self._runner.connect(queue)

    def set_call(self, queue: int, fd: int | None) -> None:
        """Eventfd to signal to the guest."""
        self._slot(queue).call = fd
        if queue in self.running:
            self._runner.set_call(queue)

    def start_queue(self, queue: int) -> None:
        """The guest started the queue."""
        self._slot(queue).started = True
        self._settle()

    def stop_queue(self, queue: int) -> QueueState:
        """Stop the queue and return its position."""
        slot = self._slot(queue)
        self._halt(queue)
        slot.started = False
        slot.kick = slot.call = None
        if not any(other.started for other in self._runner.slots.values()):
            self._recover()
        self._settle()
        return slot.base or QueueState.first(self._features)

    def enable_queue(self, queue: int, on: bool) -> None:
        """Let a started queue carry frames, or not."""
        self._slot(queue).enabled = on
        if not on and not self._idle(queue):
            self._halt(queue)
        self._settle()

    def set_mtu(self, mtu: int) -> None:
        """The guest will use this MTU; refused when the device carries less."""
        if mtu > self.mtu:
            raise Unsupported(f"MTU {mtu} is more than the device's {self.mtu}", device=self.device.name)

    def announce(self, mac: bytes) -> None:
        """Send a RARP for the guest."""
        self.device.announce(mac)

    # Events of the device

    def events(self) -> list[tuple[int, Callable[[], None]]]:
        """The fds to watch and what to call when one is readable."""
        function = self.device.function
        return [
            (self._runner.config_event, self._on_config_event),
            (function.error_event, self._on_error_event),
            (function.release_event, self._on_release_event),
        ]

    def check(self) -> None:
        """Find out what no event told: to be called now and then. A device may go, or stop, in silence."""
        if self.state is State.RUNNING:
            self._is_well()

    def _on_config_event(self) -> None:
        drain(self._runner.config_event)
        if self.state is State.RUNNING and self._is_well() and self._config_moved() and self._frontend is not None:
            self._frontend.config_changed()

    def _config_moved(self) -> bool:
        """Is it worth telling? Where queues share the interrupt, mostly not."""
        if not self.device.shares_config_irq:
            return True
        before, self._config = self._config, self.device.read_config()
        return self._config != before

    def _on_error_event(self) -> None:
        drain(self.device.function.error_event)
        if self._is_well():
            self._fail(DeviceError("the function reports an error", device=self.device.name))

    def _on_release_event(self) -> None:
        drain(self.device.function.release_event)
        self._fail(DeviceGone("the function is wanted back", device=self.device.name, cause="unbound or unplugged"))

    def _is_well(self) -> bool:
        """Is the device there and at work? If not, that is dealt with."""
        try:
            if not self.device.status & DeviceStatus.NEEDS_RESET:
                return True
            self._fail(DeviceError("the device needs a reset", device=self.device.name))
        except DeviceError as error:
            self._fail(error)
        return False

    def _fail(self, error: VfiodpaError) -> None:
        """Stop everything and tell the front end; the guest may set up again after a reset."""
        if self.state in (State.ATTACHED, State.RUNNING):
            self._stop_failed(error)
        if isinstance(error, DeviceGone):
            self._on_lost(error)

    def _stop_failed(self, error: VfiodpaError) -> None:
        reason, why = str(error), self.device.function.diagnose()
        if why not in reason:
            reason += f": {why}"
        queues = sorted(self.running)
        self._stop()
        self._move(State.FAILED)
        whose = self._frontend.name if self._frontend is not None else "no guest"
        log.warning("%s (%s): stopped: %s", self.device.name, whose, reason)
        if self._frontend is not None:
            for queue in queues:
                self._frontend.queue_error(queue, reason)
            self._frontend.device_failed(reason)

    # The machine

    def _move(self, to: State) -> None:
        if to not in MOVES[self.state]:
            raise StateError(f"{self.state.name} cannot become {to.name}: {self.state.value}", device=self.device.name)
        log.debug("%s: %s -> %s", self.device.name, self.state.name, to.name)
        self.state = to

    def _recover(self) -> None:
        if self.state is State.FAILED:
            self._move(State.ATTACHED)

    def _slot(self, queue: int) -> Slot:
        if not 0 <= queue < 2 * self.queue_pairs:
            raise UsageError(f"queue {queue}: there are {2 * self.queue_pairs}", device=self.device.name)
        return self._runner.slots.setdefault(queue, Slot())

    def _settle(self) -> None:
        """Make the device do what the guest wants by now. The first pair must be complete to start."""
        if not self._driver_ok or self.state not in (State.ATTACHED, State.RUNNING):
            return
        slots = self._runner.slots.items()
        wanted = {queue for queue, slot in slots if slot.wanted}
        try:
            if self.state is State.ATTACHED and {0, 1} <= wanted:
                if self.device.queues_come_first:
                    wanted |= {queue for queue, slot in slots if slot.started and slot.ring is not None}
                self._start(sorted(wanted))
            elif self.state is State.RUNNING:
                self._runner.start_more(sorted(wanted - self.running))
        except VfiodpaError as error:
            self._fail(error)

    def _start(self, queues: list[int]) -> None:
        self._move(State.RUNNING)
        self._runner.start(self._features, queues)
        log.info("%s: started, queues %s, features %s", self.device.name, queues, " ".join(names(self._features)))
        if self.device.shares_config_irq:
            self._config = self.device.read_config()
        log.info("%s: interrupts: %s", self.device.name, self.device.interrupts)
        for choice, which in in_words(self.doorbells).items():
            log.info("%s: doorbells of %s: %s", self.device.name, which, choice)

    def _idle(self, queue: int) -> bool:
        """Leave a disabled queue with the device where it can be without frames: then it need not be stopped."""
        if queue not in self.running or queue < FIRST_OPTIONAL or not self.device.queues_come_first:
            return False
        try:
            self._runner.set_active_pairs()
        except VfiodpaError as error:
            self._fail(error)
        return not self.device.can_stop_queue

    def _halt(self, queue: int) -> None:
        """Take one queue from the device."""
        if queue not in self.running:
            return
        if not self.device.can_stop_queue:
            self._stop()  # all or nothing; the others start again when they are still wanted
            return
        try:
            self._runner.halt(queue)
        except VfiodpaError as error:
            self._fail(error)
            return
        if not self.running:
            self._stop()

    def _stop(self) -> None:
        """Take everything from the device."""
        if self.state is State.RUNNING:
            self._runner.stop()
            self._move(State.ATTACHED)
