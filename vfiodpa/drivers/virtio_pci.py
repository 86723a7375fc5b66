"""The generic virtio-PCI network driver; a quirk record makes it a vendor's.

Ref: virtio 1.3, 3.1.1 (initialisation), 4.1.5 (PCI), 2.6 (queues), 2.6.1 (queue reset).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from ..errors import DeviceError, DeviceTimeout, FeaturesRefused, StateError, Unsupported, UsageError
from ..pci.function import Doorbell, IovaRange, PciFunction, SharedPage
from ..registers import RegisterBlock
from ..spec.features import NONE, Feature, names
from ..spec.pci import Command, ConfigHeader
from ..spec.virtio_net import NetConfig
from ..spec.virtio_pci import NO_VECTOR, CommonCfg, DeviceStatus
from . import feature_policy as policy
from .device import DoorbellAddress, QueueSetup, QueueState, VdpaDevice
from .device_reset import DeviceReset
from .doorbell_page import check_page_of_its_own
from .feature_words import read_features, write_features
from .interrupts import CONFIG, Interrupts
from .net_config import OfferedConfig, read_config
from .queue import Queue
from .quirks import GENERIC, PciId, Quirks, ReadPoint
from .transport import Transport, check_present
from .vendor import Vendor
from .waiting import Deadlines, wait_until

log = logging.getLogger(__name__)

F = Feature
S = DeviceStatus


@dataclass(slots=True)
class Counters:
    """What the driver did since it was opened."""

    resets: int = 0
    reset_us: int = 0  # how long the last one took
    function_resets: int = 0  # those of them that needed a reset of the function
    queue_starts: int = 0
    queue_stops: int = 0
    kicks: int = 0


@dataclass(slots=True)
class _State:
    """What a reset forgets."""

    negotiated: Feature = NONE
    running: dict[int, QueueSetup] = field(default_factory=dict)
    stuck: bool = False  # a queue did not stop: no use in asking it again
    logging: bool = False  # the dirty log is on


class VirtioPci(VdpaDevice):
    """A virtio network device on PCI. Opening it resets the device and reads what it can do.

    Raises ``DeviceGone``, ``DeviceError`` (what is wrong with its structures), ``DeviceTimeout`` and
    ``Unsupported`` (not a network device, or none of virtio 1.0 or later).
    """

    def __init__(self, function: PciFunction, quirks: Quirks = GENERIC, deadlines: Deadlines | None = None) -> None:
        self.function = function
        self.driver = quirks.name
        self.deadlines = deadlines or Deadlines()
        self._counters = Counters()
        self._state = _State()
        self._header = ConfigHeader(function.config)
        check_present(function)
        self._check_ids(quirks)
        self._command(Command.MEMORY)
        self._transport = Transport.find(function)
        self._common: CommonCfg = self._transport.common
        self.irqs = Interrupts(function)
        self._reset_device = DeviceReset(function, self._common, self.deadlines.reset, self.irqs.rearm)
        self._acknowledge()
        self.quirks = quirks.adapt(quirks, function) if quirks.adapt else quirks
        self._vendor = Vendor(function, self.quirks)
        self._offered = read_features(self._common, self.quirks.feature_words)
        self._config = OfferedConfig(self._transport.net, self._offered)
        self._pairs = self._count_pairs()
        width = self.quirks.doorbell_width
        self._queues = [Queue.read(self._transport, queue, width, self.name) for queue in range(2 * self._pairs)]

    def __repr__(self) -> str:
        return f"<{self.driver} {self.name}: {self._pairs} queue pairs, {len(self._state.running)} queues running>"

    # What it is

    @property
    def features(self) -> Feature:
        return policy.offerable(self._usable, multiqueue=self._pairs > 1)

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
        return self._pairs

    def queue_size_max(self, queue: int) -> int:
        return self._queues[queue].size_max if 0 <= queue < len(self._queues) else 0

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
    def can_announce(self) -> bool:
        return self.quirks.announce is not None

    @property
    def can_log_dirty(self) -> bool:
        return self.quirks.dirty_log is not None

    # Life cycle

    def reset(self) -> None:
        was, self._state = self._state, _State()
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
            self._state.negotiated = wanted | (features & F.NET_MQ)  # in force by the vendor's register
            self._map_vector(CONFIG)  # step 7, 4.1.5.1.2
            self._vendor.set_active_pairs(1)  # 5.1.5: one pair until more are asked for
        except DeviceError:
            self._give_up()
            raise

    def start(self) -> None:
        self._need_features("start")
        self._common.device_status |= S.DRIVER_OK  # 3.1.1 step 8

    def start_queue(self, queue: int, setup: QueueSetup) -> None:
        self._need_features(f"start queue {queue}")
        self._check_setup(queue, setup)
        common = self._common
        common.queue_select = queue  # 4.1.5.1.3 step 1
        if not common.queue_size:  # step 2
            raise self._error(f"queue {queue} is no longer there: its size reads 0")
        common.queue_size = setup.size  # step 3
        self._map_vector(queue)  # step 5
        common.queue_desc = setup.desc
        common.queue_driver = setup.driver
        common.queue_device = setup.device
        if self._has_state:
            self._vendor.write_state(queue, setup.state)
        common.queue_enable = 1  # last (4.1.4.3.2)
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
        if not 1 <= pairs <= self._pairs:
            raise UsageError(f"{pairs} active queue pairs: the device has 1 to {self._pairs}", device=self.name)
        self._vendor.set_active_pairs(pairs)

    def close(self) -> None:
        """Reset the device and take its DMA and its interrupts away."""
        try:
            self.reset()
        finally:
            self._header.command = self._header.command & ~Command.BUS_MASTER
            self.irqs.detach_all()

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
        return self.irqs.in_words(len(self._queues))

    @property
    def shares_config_irq(self) -> bool:
        return self.irqs.vectors == 1

    def doorbell_address(self, queue: int) -> DoorbellAddress:
        return self._queue(queue).doorbell

    def doorbell(self, queue: int) -> Doorbell:
        bell = self.doorbell_address(queue)
        return self.function.doorbell(bell.bar, bell.offset, bell.width, bell.value)

    def doorbell_page(self, queue: int) -> SharedPage:
        check_page_of_its_own(self._queue(queue), self._queues, self._transport.notify, self.name)
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
    def _has_state(self) -> bool:
        """Can positions be read? The vendors' registers hold those of split rings."""
        return self.quirks.ring_state is not None and not self._state.negotiated & F.RING_PACKED

    def _error(self, what: str, cause: str = "") -> DeviceError:
        return DeviceError(what, device=self.name, cause=cause)

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
        self._state = _State()
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
        return policy.for_device(features, self._usable)

    def _check_accepted(self, wanted: Feature) -> None:
        if not self.status & S.FEATURES_OK:
            raise FeaturesRefused(
                f"the device refused the features {', '.join(names(wanted))}",
                device=self.name,
                cause=f"it offered {', '.join(names(self._offered))}",
            )

    def _count_pairs(self) -> int:
        pairs = min(self._common.num_queues // 2, self.quirks.max_pairs)
        if not pairs:
            raise self._error("the device has no queue pair", f"num_queues is {self._common.num_queues}")
        if self._offered & (F.NET_MQ | F.NET_RSS):
            pairs = min(pairs, self._config.max_virtqueue_pairs)
        if not self.quirks.active_pairs:  # nobody could tell the device to use a second one
            pairs = 1
        return max(pairs, 1)

    def _queue(self, queue: int) -> Queue:
        if not self.queue_size_max(queue):
            raise UsageError(f"there is no queue {queue}: the device has {len(self._queues)}", device=self.name)
        return self._queues[queue]

    def _need_features(self, what: str) -> None:
        if not self._state.negotiated:
            raise StateError(f"cannot {what} before the features are negotiated", device=self.name)

    def _check_setup(self, queue: int, setup: QueueSetup) -> None:
        if queue in self._state.running:
            raise StateError(f"queue {queue} runs already", device=self.name)
        packed = bool(self._state.negotiated & F.RING_PACKED)
        self._queue(queue).check(setup, packed, self.name)
        if setup.state != QueueState() and not self._has_state:
            raise Unsupported(
                f"queue {queue} cannot start at {setup.state.avail}: a virtio device starts at 0 after a reset",
                device=self.name,
                cause="packed positions are not kept" if packed else "the device has no ring-state registers",
            )

    def _map_vector(self, user: int) -> None:
        """Give the selected queue, or configuration changes, its vector; read back (4.1.5.1.2)."""
        vector = self.irqs.vector_of(user)
        if user == CONFIG:
            self._common.config_msix_vector = vector
            answer = self._common.config_msix_vector
        else:
            self._common.queue_msix_vector = vector
            answer = self._common.queue_msix_vector
        if answer != vector:
            who = "configuration changes" if user == CONFIG else f"queue {user}"
            shown = "NO_VECTOR" if answer == NO_VECTOR else str(answer)
            raise self._error(f"the device refused MSI-X vector {vector} for {who}", f"it reads back {shown}")

    def _stop_within(self, queue: int, seconds: float) -> QueueState | None:
        try:
            self._halt(queue, max(seconds, 0.0))
        except DeviceTimeout:
            self._state.stuck = True
            raise
        del self._state.running[queue]
        self._counters.queue_stops += 1
        return self._vendor.read_state(queue) if self._has_state else None

    def _halt(self, queue: int, seconds: float) -> None:
        """Stop one queue, by the vendor's means or by queue reset (2.6.1)."""
        common, what = self._common, f"the stop of queue {queue}"
        common.queue_select = queue
        if self.quirks.stop_by_enable:
            common.queue_enable = 0
            wait_until(lambda: common.queue_enable == 0, seconds, what, self.function)
            common.queue_msix_vector = NO_VECTOR
        elif self._state.negotiated & F.RING_RESET:
            common.queue_reset = 1
            wait_until(lambda: common.queue_reset == 0, seconds, what, self.function)
            if common.queue_enable:  # 2.6.1.1: both read 0
                raise self._error(f"queue {queue} is still enabled after its reset")
        else:
            raise Unsupported("a single queue cannot be stopped: the device has no RING_RESET", device=self.name)
