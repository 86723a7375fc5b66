"""The virtio network device behind the BARs: registers on one side, the data path on the other.

Where the structures lie: BAR 0 holds common configuration, ISR, device configuration and doorbells,
each in pages of its own; BAR 2 the vendor registers.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any, Protocol

from ..errors import StateError
from ..registers import RegisterBlock, Window
from ..spec.features import Feature
from ..spec.virtio_net import NetConfig, NetStatus
from ..spec.virtio_pci import CommonCfg, IsrCfg, IsrStatus
from ..spec.virtio_ring import PACKED_START
from . import rules
from .access import Sections, StrictWindow
from .admin import AdminQueue
from .common import Common
from .control_queue import SIZE as CONTROL_SIZE
from .control_queue import ControlQueue
from .effects import NicEffects
from .engine import Engine, EngineError
from .faults import FaultyCommon
from .ifcvf import IfcvfCommon, LmBlock
from .irq import NONE, Vectors
from .mutants import Mutant, MutantWindow, mutant_of
from .netconfig import NET_CONFIG_LENGTH, Isr, NetConfigModel
from .options import Model, SoftOptions
from .settings import NetState
from .state import CommonState, Queue
from .vendor import Vendor

PAGE = 0x1000
COMMON_OFFSET = 0x0000
ISR_OFFSET = 0x1000
DEVICE_OFFSET = 0x2000
NOTIFY_OFFSET = 0x3000


class NotifyArea:
    """The doorbells (a ``Window``): queue ``q`` at ``q * multiplier``."""

    def __init__(self, device: str, state: CommonState, multiplier: int, ring: Callable[[int], None]) -> None:
        self.device = device
        self.state = state
        self.multiplier = multiplier
        self.length = len(state.queues) * multiplier
        self.on_bell = ring

    def read(self, offset: int, width: int) -> int:
        raise rules.NOTIFY.breach(self.device, f"notify+{offset:#x}", f"{width}-bit read")

    def write(self, offset: int, width: int, value: int) -> None:
        self.on_bell(self.check(offset, width, value))

    def check(self, offset: int, width: int, value: int) -> int:
        """The queue whose doorbell this write rings; raises ``DriverBreach`` for any other write."""
        queue, rest = divmod(offset, self.multiplier)
        rule, right, told = rules.NOTIFY, 16, value
        if Feature.NOTIFICATION_DATA in self.state.driver_features:  # where the ring ends is only a hint to us
            rule, right, told = rules.NOTIFY_DATA, 32, value & 0xFFFF
        if told == queue != self.state.notification(queue):
            rule = rules.NOTIFY_CONFIG
        if rest or width != right or not 0 <= offset < self.length or told != self.state.notification(queue):
            raise rule.breach(self.device, f"notify+{offset:#x}", f"{width}-bit write of {value:#x}")
        return queue


class VendorBlock(Protocol):
    """What a vendor adds: registers, and what they need to know of the virtio side."""

    running: bool

    @property
    def active_pairs(self) -> int:
        """Pairs that received frames are spread over."""

    def window(self) -> Window:
        """Its BAR."""

    def start_of(self, queue: int, first: int) -> int:
        """Where the queue is to start, ``first`` unless it was told; raises ``DriverBreach``."""

    def queue_on(self, queue: int) -> None: ...

    def queue_off(self, queue: int) -> None: ...

    def reset(self) -> None:
        """Device reset."""

    def power_on(self) -> None:
        """Function level reset: also what a device reset leaves."""


class VirtioNet:
    """Registers, data path and what joins them (``Behind`` of the common configuration)."""

    def __init__(
        self, name: str, options: SoftOptions, engine: Engine, irqs: Vectors, bus_master: Callable[[], bool]
    ) -> None:
        self.name = name
        self.options: SoftOptions = options
        self.engine: Engine = engine
        self.irqs = irqs
        self.bus_master = bus_master
        self.running: bool = False  # DRIVER_OK
        self.suspended = False
        self._held: dict[str, Any] = {}  # changes of the configuration meanwhile (NetConfigModel.change)
        self.failed = ""  # a failure that a test asked for
        self._error_shown = False  # the ISR bit of the data path's error was set
        queues = [Queue(index, options.size) for index in range(2 * options.queues)]
        if options.features & Feature.NET_CTRL_VQ:
            queues.append(Queue(len(queues), CONTROL_SIZE))
        if options.admin:
            queues.append(Queue(len(queues), CONTROL_SIZE))
        self.mutant: Mutant | None = mutant_of(options.mutant) if options.mutant else None
        offered = options.features
        if self.mutant and self.mutant.features:
            offered = Feature(self.mutant.features(int(offered)))
        self.state: CommonState = CommonState(offered, queues, options.vectors, int(options.admin))
        self.net = NetConfigModel(name, options.features, options.mac, options.mtu, options.queues, options.speed)
        self.settings: NetState = NetState(options.queues, NicEffects(engine, self.net, self.state))
        has_control = bool(options.features & Feature.NET_CTRL_VQ)
        self.control = ControlQueue(name, self.settings) if has_control else None
        self.admin = AdminQueue(name, self.settings, steers=options.workers <= 1) if options.admin else None
        ifcvf = options.model is Model.IFCVF
        self.common = (IfcvfCommon if ifcvf else Common)(name, self.state, self, strict=options.strict)
        self.faulty = FaultyCommon(StrictWindow(name, self.common, CommonCfg.size))
        self.isr = Isr(self._look_behind)
        self.vendor: VendorBlock = (
            LmBlock(name, options.queues, options.lm, engine) if ifcvf else Vendor(name, options.queues, engine)
        )
        self.notify = NotifyArea(name, self.state, PAGE if options.own_pages else 4, self.doorbell)

    def bar0(self, length: int) -> Window:
        """The virtio structures."""
        parts: tuple[tuple[int, Window], ...] = (
            (COMMON_OFFSET, self._shown(self.faulty, CommonCfg)),
            (ISR_OFFSET, self._shown(StrictWindow(self.name, self.isr, IsrCfg.size), IsrCfg)),
            (DEVICE_OFFSET, self._shown(StrictWindow(self.name, self.net, NET_CONFIG_LENGTH), NetConfig)),
            (NOTIFY_OFFSET, self.notify),
        )
        return Sections(self.name, "BAR 0", length, parts)

    def _shown(self, inner: Window, block: type[RegisterBlock]) -> Window:
        return MutantWindow(inner, block, self, self.mutant) if self.mutant else inner

    # Behind

    def negotiated(self, features: Feature) -> None:
        self.engine.set_features(features)
        self.settings.features = features
        self._limit_frames()
        if features & (Feature.NET_MQ | Feature.NET_RSS):
            self.engine.set_active_pairs(1)  # until the driver asks for more (5.1.6.5.6)
        if features & Feature.NET_CTRL_VLAN:
            self.settings.effects.set_filter(self.settings)  # no tag is let in yet (5.1.6.5.3)

    def go(self) -> None:
        self.engine.run(True)
        self.running = self.vendor.running = True

    def suspend(self) -> None:
        """Between two polls of the workers: what they took is used, and notified (virtio 1.4, 3.5)."""
        self.engine.run(False)
        self.running = self.vendor.running = False
        self.suspended = True

    def resume(self) -> None:
        self.suspended = False
        self.go()
        self._serve_commands()
        if self._held:
            self.change_config()

    def change_config(self, **fields: Any) -> None:
        """Change fields and notify the driver; while it is suspended both have to wait."""
        self._held |= fields
        if not self.suspended:
            self._take_held()
            self.notify_config()

    def _take_held(self) -> None:
        if self._held:
            self.net.change(**self._held)
            self._held = {}
            self._limit_frames()

    def device_reset(self) -> None:
        with self.engine.paused():  # between reading a position and stopping nothing may move
            self.vendor.reset()
            self.engine.reset()
            self.engine.set_active_pairs(self.vendor.active_pairs)
            self._forget_settings()
        self.running = self.vendor.running = self.suspended = False
        self._take_held()
        self.failed = ""
        self._error_shown = False
        self.isr.clear()

    def queue_on(self, queue: Queue) -> None:
        commands = self._command_queue(queue.index)
        if commands:
            commands.enable(queue, self.engine.dma, self.state.driver_features)
            return
        self.settings.queue_enabled(queue.index)
        first = PACKED_START if self.state.packed else 0
        self.engine.enable(queue, self.vendor.start_of(queue.index, first))
        self.vendor.queue_on(queue.index)

    def queue_off(self, queue: Queue) -> None:
        commands = self._command_queue(queue.index)
        if commands:
            commands.disable()
            return
        with self.engine.paused():
            self.vendor.queue_off(queue.index)
            self.engine.disable(queue.index)

    def vectors_changed(self) -> None:
        """Tell the workers whom to signal now."""
        calls = {queue.index: self.irqs.fd(queue.vector) for queue in self.state.queues}
        self.engine.set_calls(calls, self.irqs.fd(self.state.config_vector))

    def is_broken(self) -> bool:
        return bool(self.failed) or bool(self.error())

    def error(self) -> EngineError:
        """The first error of the queues; false when there is none."""
        errors = (queue.error() for queue in (self.control, self.admin) if queue)
        return self.engine.error() or next(filter(None, errors), EngineError(0, 0, 0))

    def generation(self) -> int:
        return self.net.generation

    # Events

    def doorbell(self, queue: int) -> None:
        """A driver's doorbell write."""
        if not self.running:
            raise rules.EARLY_BELL.breach(self.name, f"doorbell of queue {queue}", "rung before DRIVER_OK")
        commands = self._command_queue(queue)
        if commands:
            self._serve(commands, queue)
        else:
            self.engine.kick(queue)

    def bus_master_changed(self, on: bool) -> None:
        """Without Bus Master there is no DMA; with it the device goes on."""
        if self.running:
            self.engine.run(on and not self.failed)
            if on:
                self._serve_commands()

    def set_link(self, up: bool) -> None:
        """Carrier of the wire; a configuration change."""
        rest = self._status_to_be & ~NetStatus.LINK_UP
        self.change_config(status=rest | NetStatus.LINK_UP if up else rest)

    def ask_to_announce(self) -> None:
        """Ask the driver for gratuitous packets (5.1.6.5.4); a configuration change.

        Raises ``StateError`` when the driver does not do that.
        """
        if not self.settings.features & Feature.NET_GUEST_ANNOUNCE:
            raise StateError("the driver did not negotiate GUEST_ANNOUNCE", device=self.name)
        self.change_config(status=self._status_to_be | NetStatus.ANNOUNCE)

    def set_mtu(self, mtu: int) -> None:
        """Another MTU; a configuration change."""
        self.change_config(mtu=mtu)

    def fail(self, why: str) -> None:
        """Enter the error state (2.1.2)."""
        self.failed = why
        if self.running:
            self.engine.run(False)
            self.notify_config()

    def notify_config(self) -> None:
        """Configuration change notification (4.1.5.4); the ISR bit comes first (4.1.4.5.1)."""
        self.isr.add(IsrStatus.CONFIG)
        fd = self.irqs.fd(self.state.config_vector)
        if fd != NONE:
            signal(fd)

    @property
    def _status_to_be(self) -> NetStatus:
        """``status``, once a suspension has ended."""
        return NetStatus(self._held.get("status", self.net.status))

    @property
    def _control_index(self) -> int | None:
        return self.settings.control_index

    def _command_queue(self, index: int) -> ControlQueue | None:
        """The control or administration queue of that index."""
        if self.control and index == self._control_index:
            return self.control
        return self.admin if index == self.state.admin_index else None

    def _serve_commands(self) -> None:
        """What came while nobody looked."""
        for index in (self._control_index, self.state.admin_index):
            commands = None if index is None else self._command_queue(index)
            if commands and index is not None:
                self._serve(commands, index)

    def _serve(self, commands: ControlQueue, index: int) -> None:
        if self.failed or not self.bus_master():
            return
        if commands.serve():
            self._call(self.state.queues[index].vector)
        if commands.error():
            self.notify_config()

    def _forget_settings(self) -> None:
        self.settings.clear()
        if self.control:
            self.control.disable()
        if self.admin:
            self.admin.disable()
            self.admin.admin.clear()
            self.admin.busy = 0
        if self.net.mac != self.options.mac or self.net.status & NetStatus.ANNOUNCE:
            self.net.change(mac=self.options.mac, status=self.net.status & ~NetStatus.ANNOUNCE)

    def _limit_frames(self) -> None:
        """A driver that takes the MTU gets no frames beyond it (5.1.4.1)."""
        if self.settings.features & Feature.NET_MTU:
            self.engine.set_mtu(self.net.mtu)

    def _call(self, vector: int) -> None:
        """Notify the driver of used buffers: by a vector or, without MSI-X, in the ISR (4.1.4.5.1)."""
        if self.irqs.fd(vector) != NONE:
            signal(self.irqs.fd(vector))
        elif not self.irqs.enabled:
            self.isr.add(IsrStatus.QUEUE)

    def _look_behind(self) -> None:
        if self.engine.take_unheard() and not self.irqs.enabled:
            self.isr.add(IsrStatus.QUEUE)
        self._look_for_error()

    def _look_for_error(self) -> None:
        if not self._error_shown and self.error():
            self._error_shown = True
            self.isr.add(IsrStatus.CONFIG)


def signal(fd: int) -> None:
    """Signal an eventfd that does not block; a full one already says what there is to say."""
    with contextlib.suppress(BlockingIOError):
        os.eventfd_write(fd, 1)
