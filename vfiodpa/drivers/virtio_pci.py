"""The generic virtio-PCI network driver; a quirk record makes it a vendor's.

Ref: virtio 1.3, 3.1.1 (initialisation), 4.1.5 (PCI), 2.6 (queues), 2.6.1 (queue reset).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import IntEnum

from ..errors import DeviceError, DeviceTimeout, FeaturesRefused, StateError, Unsupported, UsageError
from ..pci.function import Doorbell, IovaRange, PciFunction, SharedPage
from ..registers import RegisterBlock
from ..spec.features import NONE, Feature, names
from ..spec.pci import Command, ConfigHeader
from ..spec.virtio_net import NetConfig
from ..spec.virtio_pci import CommonCfg, DeviceStatus
from . import feature_policy as policy
from .device import DoorbellAddress, QueueSetup, QueueState, VdpaDevice
from .device_reset import DeviceReset
from .doorbell_page import can_tell_doorbells, check_page_of_its_own
from .feature_words import read_features, write_features
from .interrupts import CONFIG, Interrupts
from .net_config import OfferedConfig, read_config
from .pairs import Pairs, Switch, with_control
from .queue import Queue
from .queue_layout import QueueLayout, Survey
from .queue_start import check_first, set_up
from .queue_stop import StopBy, halt
from .quirks import GENERIC, PciId, Quirks, ReadPoint
from .session import Counters, Session
from .transport import Transport, check_present
from .vendor import Vendor
from .waiting import Deadlines

log = logging.getLogger(__name__)

F = Feature
S = DeviceStatus


class VirtioPci(VdpaDevice):
    """A virtio network device on PCI. Opening it resets the device and reads what it can do.

    Raises ``DeviceGone``, ``DeviceError`` (what is wrong with its structures), ``DeviceTimeout`` and
    ``Unsupported`` (not a network device, or none of virtio 1.0 or later).
    """

    def __init__(self, function: PciFunction, quirks: Quirks = GENERIC, deadlines: Deadlines | None = None) -> None:
        self.function = function
        self.driver = quirks.name
        self.deadlines = deadlines or Deadlines()
        self.commanded = NONE  # negotiated besides, where it is offered, for who sends commands
        self._counters = Counters()
        self._state = Session()
        self._header = ConfigHeader(function.config)
        check_present(function)
        self._check_ids(quirks)
        self._command(Command.MEMORY)
        self._transport = Transport.find(function)
        self._common: CommonCfg = self._transport.common
        self.irqs = Interrupts(function)
        self._reset_device = DeviceReset(function, self._common, self.deadlines.reset, self.irqs.rearm)
        self._vendor = Vendor(function, quirks)
        self._pairs = Pairs(self._vendor)
        self._acknowledge()
        self.quirks = quirks.adapt(quirks, function) if quirks.adapt else quirks
        self._vendor = Vendor(function, self.quirks)
        self._offered = read_features(self._common, self.quirks.feature_words)
        self._config = OfferedConfig(self._transport.net, self._offered)
        self._surveyed, control = with_control(function, self._survey(), self.deadlines.command)
        self._layout = self._surveyed
        self._pairs = Pairs(self._vendor, control)

    def __repr__(self) -> str:
        return f"<{self.driver} {self.name}: {self.queue_pairs} queue pairs, {len(self._state.running)} queues running>"

    # What it is

    @property
    def features(self) -> Feature:
        return policy.offerable(self._usable, multiqueue=self.queue_pairs > 1)

    @property
    def device_features(self) -> Feature:
        return self._offered

    @property
    def negotiated(self) -> Feature:
        return self._state.negotiated

    @property
    def blocks(self) -> Mapping[str, RegisterBlock]:
        found = self._transport
        standard = {"pci": self._header, "common": found.common, "isr": found.isr, "net": self._config}
        return standard | self._vendor.blocks

    @property
    def config(self) -> NetConfig:
        return self._config

    def read_config(self) -> Mapping[str, int | list[int]]:
        return read_config(self._common, self._config, self.deadlines.config_reads, self.name)

    @property
    def queue_pairs(self) -> int:
        return self._layout.pairs

    def queue_size_max(self, queue: int) -> int:
        queues = self._layout.queues
        return queues[queue].size_max if 0 <= queue < len(queues) else 0

    @property
    def status(self) -> DeviceStatus:
        return self._common.device_status

    @property
    def can_stop_queue(self) -> bool:
        return self.quirks.stop_by_enable or bool(self._usable & F.RING_RESET)

    @property
    def can_restore_state(self) -> bool:
        return self.quirks.ring_state is not None

    @property
    def can_restore_packed(self) -> bool:
        """Does ``can_restore_state`` hold for packed queues too?"""
        return self.quirks.ring_state is not None and self.quirks.ring_state.packed

    @property
    def queues_come_first(self) -> bool:
        return self._pairs.switch is Switch.CONTROL_QUEUE

    @property
    def reserved(self) -> Sequence[IovaRange]:
        return self._pairs.reserved

    @property
    def can_announce(self) -> bool:
        return self.quirks.announce is not None

    @property
    def can_log_dirty(self) -> bool:
        return self.quirks.dirty_log is not None

    # Life cycle

    def reset(self) -> None:
        was, self._state = self._state, Session()
        self._pairs.forget()
        try:
            done = self._reset_device()
        finally:
            if was.logging:  # last: until the reset is done the device may write, and a reset is not said to stop it
                self._vendor.log_dirty(None)
        self._counters.resets += 1
        self._counters.reset_us = round(done.seconds * 1e6)
        self._counters.function_resets += done.by_function

    def negotiate(self, features: Feature) -> None:
        self._acknowledge()
        try:
            self._offered = self._config.offered = read_features(
                self._common, self.quirks.feature_words
            )  # 3.1.1 step 4
            wanted = self._choose(features)
            write_features(self._common, self.quirks.feature_words, wanted)
            self._common.device_status |= S.FEATURES_OK  # step 5
            self._check_accepted(wanted)  # step 6
            self._layout = self._surveyed.told(self._transport, wanted)
            self._state.negotiated = wanted | (features & F.NET_MQ)  # in force by whatever switches pairs
            self.irqs.map(self._common, CONFIG)  # step 7, 4.1.5.1.2
            self._pairs.begin(self._common, self._layout.control, self._state.negotiated)
        except DeviceError:
            self._give_up()
            raise

    def start(self) -> None:
        self._need_features("start")
        self._common.device_status |= S.DRIVER_OK  # 3.1.1 step 8
        self._pairs.go()

    def start_queue(self, queue: int, setup: QueueSetup) -> None:
        self._need_features(f"start queue {queue}")
        self._check_setup(queue, setup)
        set_up(self._common, queue, setup, self.irqs, self.name)
        if self._has_state:
            first = QueueState.first(self._state.negotiated)
            self._vendor.write_state(queue, setup.state or first, first)
        self._common.queue_enable = 1  # last (4.1.4.3.2)
        self._state.running[queue] = setup
        self._counters.queue_starts += 1

    def stop_queue(self, queue: int) -> QueueState | None:
        if queue not in self._state.running:
            raise StateError(f"queue {queue} does not run", device=self.name)
        return self._stop_within(queue, self.deadlines.queue_stop)

    def suspend(self) -> dict[int, QueueState | None]:
        queues = sorted(self._state.running)
        rule = self.quirks.ring_state if self._has_state else None
        positions: dict[int, QueueState | None] = dict.fromkeys(queues)
        try:
            if rule and rule.read_at is ReadPoint.WHEN_STOPPED and self.can_stop_queue and not self._state.stuck:
                end = time.monotonic() + self.deadlines.queue_stop  # for all of them together
                positions = {queue: self._stop_within(queue, end - time.monotonic()) for queue in queues}
        finally:
            self.reset()  # whatever happened: the caller is about to take the memory away
        if rule and rule.read_at is ReadPoint.AFTER_RESET:
            positions = {queue: self._vendor.read_state(queue) for queue in queues}
        return positions

    def set_active_pairs(self, pairs: int) -> None:
        if not 1 <= pairs <= self.queue_pairs:
            raise UsageError(f"{pairs} active queue pairs: the device has 1 to {self.queue_pairs}", device=self.name)
        self._pairs.set(pairs)

    def command(self, kind: IntEnum, command: IntEnum, data: bytes = b"", room: int = 0) -> bytes:
        """Send a command for ``commanded`` over the driver's control queue; see ``ControlQueue.send``."""
        return self._pairs.command(kind, command, data, room)

    def close(self) -> None:
        """Reset the device and take its DMA and its interrupts away."""
        try:
            self.reset()
        finally:
            try:
                self._header.command = self._header.command & ~Command.BUS_MASTER
                self.irqs.detach_all()
            finally:
                self._pairs.close()

    # Notifications

    def vector_of(self, queue: int) -> int:
        """MSI-X vector of a queue; ``NO_VECTOR`` when the function has none."""
        return self.irqs.vector_of(queue)

    def set_queue_irq(self, queue: int, fd: int | None) -> None:
        self._queue(queue)
        self.irqs.set(queue, fd)

    def set_config_irq(self, fd: int | None) -> None:
        self.irqs.set(CONFIG, fd)

    @property
    def interrupts(self) -> str:
        return self.irqs.in_words(2 * self.queue_pairs)

    @property
    def shares_config_irq(self) -> bool:
        return self.irqs.vectors == 1

    def doorbell_address(self, queue: int) -> DoorbellAddress:
        return self._queue(queue).doorbell

    def doorbell(self, queue: int) -> Doorbell:
        bell = self.doorbell_address(queue)
        return self.function.doorbell(bell.bar, bell.offset, bell.width, bell.value)

    def doorbell_page(self, queue: int) -> SharedPage:
        check_page_of_its_own(self._queue(queue), self._layout.all, self._transport.notify, self.name)
        bell = self.doorbell_address(queue)
        return self.function.doorbell_page(bell.bar, bell.offset)

    def kick(self, queue: int) -> None:
        bell = self.doorbell_address(queue)
        self.function.bar(bell.bar).write(bell.offset, bell.width, bell.value)  # 4.1.5.2
        self._counters.kicks += 1

    # Dirty log

    def start_dirty_log(self, where: IovaRange) -> None:
        self._need_features("log dirty pages")
        self._vendor.log_dirty(where)
        self._state.logging = True

    def stop_dirty_log(self) -> None:
        if self._state.logging:
            self._vendor.log_dirty(None)
            self._state.logging = False

    # Other

    def announce(self, mac: bytes) -> None:
        self._vendor.announce(mac)

    def stats(self) -> Mapping[str, int]:
        return asdict(self._counters)

    # How

    @property
    def _usable(self) -> Feature:
        """What is offered and can be used: a queue reset needs its register (since 1.2)."""
        lacking = NONE if self._common.has(CommonCfg.queue_reset) else F.RING_RESET
        return policy.without(self._offered, self.quirks.hidden | lacking)

    @property
    def _stops_by(self) -> StopBy:
        if self.quirks.stop_by_enable:
            return StopBy.ENABLE
        return StopBy.RESET if self._state.negotiated & F.RING_RESET else StopBy.NOTHING

    @property
    def _has_state(self) -> bool:
        """Can positions be read and written, with the features in force?"""
        return self.can_restore_packed if self._state.negotiated & F.RING_PACKED else self.can_restore_state

    def _check_ids(self, quirks: Quirks) -> None:
        ids = PciId.of(self.function)
        if not any(pattern.matches(ids) for pattern in quirks.ids):
            raise Unsupported(f"not a network device that {quirks.name} drives: PCI ids {ids}", device=self.name)

    def _command(self, bits: Command) -> None:
        self._header.command = self._header.command | bits

    def _acknowledge(self) -> None:
        """Steps 1 to 3 of 3.1.1. DMA is let through only once the device is known to be quiet."""
        self._command(Command.MEMORY)
        self.reset()
        self._command(Command.BUS_MASTER)
        self._common.device_status |= S.ACKNOWLEDGE
        self._common.device_status |= S.DRIVER

    def _give_up(self) -> None:
        """3.1.1: a driver that cannot go on sets FAILED. The error under way matters more than a new one."""
        self._state = Session()
        try:
            self._common.device_status |= S.FAILED
        except (DeviceError, OSError) as error:
            log.warning("%s: cannot set FAILED: %s", self.name, error)

    def _choose(self, features: Feature) -> Feature:
        """What is asked of the device when a guest negotiated ``features``."""
        unknown = policy.not_offered(features, self.features, self._usable)
        if unknown:
            raise UsageError(f"not offered: {', '.join(names(unknown))}", device=self.name)
        if not features & F.VERSION_1:
            raise UsageError(
                "VERSION_1 must be negotiated: this is a driver for virtio 1.0 and later", device=self.name
            )
        chosen = policy.for_device(features, self._usable, self._layout.control is not None)
        told = can_tell_doorbells(self.function, self._surveyed.all, self._transport.notify)
        return policy.without(chosen | (self.commanded & self._usable), NONE if told else F.NOTIF_CONFIG_DATA)

    def _check_accepted(self, wanted: Feature) -> None:
        if not self.status & S.FEATURES_OK:
            what = f"the device refused the features {', '.join(names(wanted))}"
            raise FeaturesRefused(what, device=self.name, cause=f"it offered {', '.join(names(self._offered))}")

    def _survey(self) -> QueueLayout:
        survey = Survey(self.name, self._transport, self.quirks, self._usable, self._config)
        layout = survey.read()
        if self.status & S.FEATURES_OK:
            self._acknowledge()
        return layout

    def _queue(self, queue: int) -> Queue:
        if not self.queue_size_max(queue):
            raise UsageError(f"there is no queue {queue}: the device has {2 * self.queue_pairs}", device=self.name)
        return self._layout.queues[queue]

    def _need_features(self, what: str) -> None:
        if not self._state.negotiated:
            raise StateError(f"cannot {what} before the features are negotiated", device=self.name)

    def _check_setup(self, queue: int, setup: QueueSetup) -> None:
        if queue in self._state.running:
            raise StateError(f"queue {queue} runs already", device=self.name)
        self._queue(queue).check(setup, bool(self._state.negotiated & F.RING_PACKED), self.name)
        if setup.state and not self._has_state:
            check_first(queue, setup.state, self._state.negotiated, self.name)

    def _stop_within(self, queue: int, seconds: float) -> QueueState | None:
        try:
            halt(self.function, self._common, queue, self._stops_by, max(seconds, 0.0))
        except DeviceTimeout:
            self._state.stuck = True
            raise
        del self._state.running[queue]
        self._counters.queue_stops += 1
        return self._vendor.read_state(queue) if self._has_state else None
