"""SoftFunction: a PciFunction in software.

    with SoftFunction("soft:port=echo,queues=2") as nic:
        ConfigHeader(nic.config).command = Command.MEMORY | Command.BUS_MASTER
        CommonCfg(nic.bar(0)).device_status = DeviceStatus.ACKNOWLEDGE

A driver meets here what it meets on hardware, and ``DriverBreach`` where hardware would misbehave.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable
from typing import Any

from .._native import ffi, lib
from ..errors import DeviceError, DeviceGone, StateError, Unsupported, UsageError
from ..pci.function import Doorbell, PciFunction, SharedPage
from ..registers import Window
from ..spec.pci import Command
from ..spec.virtio_net import MAX_MTU, MIN_MTU
from . import layout_pci, rules
from .carrier import Carrier
from .config_space import ConfigSpace
from .device_string import parse_options
from .diagnosis import explain
from .domain import SoftDomain
from .engine import Engine
from .faults import Fault
from .flood import Flood
from .guarded import GuardedWindow
from .irq import NONE, Vectors, close_fd, take_eventfd
from .layout_pci import VIRTIO_BAR
from .mutants import mutant_of
from .options import Port, SoftOptions
from .virtio_net import NOTIFY_OFFSET, VirtioNet, signal
from .workers import SHARED, WorkerPool

log = logging.getLogger(__name__)

_names = itertools.count()


class SoftFunction(PciFunction):
    """The software NIC. ``domain``: the DMA domain to join; without one it has its own."""

    def __init__(
        self, options: SoftOptions | str = "soft", domain: SoftDomain | None = None, pool: WorkerPool = SHARED
    ) -> None:
        """``options``: a device string or its meaning. ``pool``: of ``workers=shared``. Raises ``UsageError``."""
        self.options = parse_options(options) if isinstance(options, str) else options
        self.name = f"soft{next(_names)}"
        self.gone = False
        self._closed = False
        self._own_domain = domain is None
        self._dma = domain or SoftDomain(bits=self.options.iova, msi_hole=self.options.msi_hole)
        self.lock = self._dma.lock
        self._kicks: dict[int, int] = {}
        self._irqs = Vectors(self.name, self.options.vectors)
        self._error_event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._release_event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._engine: Engine | None = None
        self._carrier: Carrier | None = None
        self._flood: Flood | None = None
        try:
            mutant = mutant_of(self.options.mutant) if self.options.mutant else None
            self._engine = Engine(self.name, self.options, self.lock, pool, mutant.native if mutant else 0)
            self._dma.attach(self._engine)
            self._build(self._engine)
            if self._engine.wire.event != NONE:
                self._carrier = Carrier(self.name, self.options, self._engine, self._carrier_changed)
        except BaseException:
            self.close()
            raise

    def _build(self, engine: Engine) -> None:
        options = self.options
        self.device = VirtioNet(self.name, options, engine, self._irqs, self._is_bus_master)
        notify = self.device.notify
        bars = layout_pci.bars(options, notify.length)
        caps = layout_pci.capabilities(options, notify.length, notify.multiplier)
        self._config = ConfigSpace(self, layout_pci.subsystem(options), bars, caps)
        mutant = self.device.mutant
        if mutant and mutant.config:
            self._config.edit(mutant.config)
        around = mutant.around if mutant else None
        self._shown_config: Window = around(self.device, self._config) if around else self._config
        makers: dict[int | None, Callable[[], Window]] = {
            VIRTIO_BAR: lambda: self.device.bar0(bars[0].size),
            layout_pci.vendor_bar(options): self.device.vendor.window,
            layout_pci.msix_bar(options): lambda: layout_pci.msix_window(self.name, options.vectors),
        }
        self._bars = {bar.index: makers[bar.index]() for bar in bars}
        if self.device.mutant and self.device.mutant.patch:
            self.device.mutant.patch(self.device)
        if options.fault:
            self.inject_fault(options.fault)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "unplugged" if self.gone else self.device.state.status.name or "reset"
        return f"<SoftFunction {self.name} port={self.options.port.name.lower()}, {state}>"

    # PciFunction

    @property
    def config(self) -> Window:
        return GuardedWindow(self, self._shown_config, "config", memory=False)

    def bar(self, index: int) -> Window:
        return GuardedWindow(self, self.bar_window(index), f"BAR {index}", memory=True)

    @property
    def dma(self) -> SoftDomain:
        return self._dma

    @property
    def vectors(self) -> int:
        return self.options.vectors

    def set_irq(self, vector: int, fd: int | None) -> None:
        with self.lock:
            self._check_usable(taking_back=fd is None)
            old = self._irqs.swap(vector, fd)
            try:
                self.device.vectors_changed()
            except BaseException:  # the worker still signals the old one
                close_fd(self._irqs.put(vector, old))
                raise
            close_fd(old)

    def ioeventfd(self, bar: int, offset: int, width: int, value: int, fd: int | None) -> None:
        if not self.options.ioeventfd:
            raise Unsupported("no doorbell can be bound to an eventfd", device=self.name, cause="ioeventfd=off")
        with self.lock:
            self._check_usable(taking_back=fd is None)
            queue = self._doorbell_queue(bar, offset, width, value)
            if fd is None:
                self._unbind(queue)
            else:
                self._bind(queue, fd)

    def doorbell(self, bar: int, offset: int, width: int, value: int) -> Doorbell:
        with self.lock:
            self._check_usable()
            queue = self._doorbell_queue(bar, offset, width, value)
            fd = self._running_engine.doorbell_fd(queue)
            native = ffi.new("struct vdp_doorbell *", {"kind": lib.VDP_DOORBELL_EVENTFD, "value": value, "fd": fd})
            return Doorbell(native, self)

    def doorbell_page(self, bar: int, offset: int) -> SharedPage:
        with self.lock:
            self._check_usable()
            notify = self.device.notify
            stored = notify.state.notification((offset - NOTIFY_OFFSET) // notify.multiplier)
            return self._running_engine.doorbell_page(self._doorbell_queue(bar, offset, 16, stored))

    def reset(self) -> None:
        """Function level reset; as well as the registers, vectors and doorbell bindings are gone."""
        with self.lock:
            self._check_usable()
            if self.device.faulty.function_reset():
                self.device.common.reset()
                self.device.vendor.power_on()
                self.device.state.reset_unread = False
            self._config.reset()
            self._detach_fds()

    @property
    def error_event(self) -> int:
        return self._error_event

    @property
    def release_event(self) -> int:
        return self._release_event

    def diagnose(self) -> str:
        with self.lock:
            if self._engine is None or self._closed:
                return ""
            if self.gone:
                return "the function was unplugged"
            fault = self.device.faulty.fault
            if fault:
                return f"fault={fault.value}"
            error = explain(self.device.error(), self._dma.last_fault())
            return error or self.device.failed or self.device.state.refusal or self.wire_trouble()

    def wire_trouble(self) -> str:
        """What keeps the wire from carrying frames; nothing: it does, and the driver was told so."""
        return self._carrier.trouble() if self._carrier else ""

    def close(self) -> None:
        self._stop_flood()
        if self._carrier:
            self._carrier.close()  # outside the lock, which its threads take
        with self.lock:
            if self._closed:
                return
            self._closed = True
            if self._engine is not None:
                self._engine.close()
                self._dma.detach(self._engine)
            for fd in [*self._irqs.take_all(), *self._kicks.values(), self._error_event, self._release_event]:
                os.close(fd)
            self._kicks.clear()
            if self._own_domain:
                self._dma.close()

    # Counters

    def queue_stats(self, queue: int) -> dict[str, int]:
        """Counters of a queue (stats.py, ``QueueStats``)."""
        if not 0 <= queue < 2 * self.options.queues:
            raise UsageError(f"there is no queue {queue}", device=self.name)
        return self._running_engine.queue_stats(queue)

    def worker_stats(self) -> dict[str, int]:
        """Counters of its workers together (stats.py, ``WorkerStats``)."""
        each = self._running_engine.worker_stats()
        return {name: sum(worker[name] for worker in each) for name in each[0]}

    def counters(self) -> dict[str, Any]:
        """``workers``, ``queues`` and ``tsc_hz`` (what ``busy_cycles`` counts in a second)."""
        queues = [
            {"queue": i, "kind": ("rx", "tx")[i % 2], **self.queue_stats(i)} for i in range(2 * self.options.queues)
        ]
        engine = self._running_engine
        workers = [{"pairs": engine.pairs_of(i), **stats} for i, stats in enumerate(engine.worker_stats())]
        counted = {"tsc_hz": int(lib.vdp_tsc_hz()), "workers": workers, "queues": queues}
        lost = engine.capture_lost()
        return counted if lost is None else {**counted, "capture_lost": lost}

    # What a test does to the device

    def pull_wire(self, out: bool) -> None:
        """Leave the wire of ``link=``, or come back: a carrier change for both sides. Raises ``StateError``."""
        if self._carrier is None or self.options.port is not Port.LINK:
            raise StateError("it is on no link", device=self.name)
        (self._carrier.leave if out else self._carrier.join)()

    def set_link(self, up: bool) -> None:
        """Carrier on or off: a configuration change."""
        with self.lock:
            self._check_usable()
            self.device.set_link(up)

    def ask_to_announce(self) -> None:
        """Ask the driver for gratuitous packets, as after a migration: a configuration change."""
        with self.lock:
            self._check_usable()
            self.device.ask_to_announce()

    def set_mtu(self, mtu: int) -> None:
        """Another MTU: a configuration change."""
        if not MIN_MTU <= mtu <= MAX_MTU:
            raise UsageError(f"MTU {mtu} is not within {MIN_MTU} to {MAX_MTU}", device=self.name)
        with self.lock:
            self._check_usable()
            self.device.set_mtu(mtu)

    def fail(self, why: str = "a test made it fail") -> None:
        """The device enters its error state: NEEDS_RESET."""
        with self.lock:
            self._check_usable()
            self.device.fail(why)

    def be_busy(self) -> None:
        """The next administration command is answered EAGAIN (2.12.1)."""
        with self.lock:
            self._check_usable()
            if self.device.admin:
                self.device.admin.busy = 1

    def unplug(self, *, silently: bool = False) -> None:
        """Surprise removal: no DMA, all registers read as ones, ``error_event`` is signalled unless ``silently``."""
        with self.lock:
            self._check_usable()
            self.device.device_reset()
            self.gone = True
            if not silently:
                signal(self._error_event)

    def inject_fault(self, fault: Fault | None) -> None:
        """From now on the device misbehaves that way, or (``None``, not after ``ALL_ONES``) behaves again."""
        if fault is Fault.ALL_ONES:
            self.unplug(silently=True)
            return
        with self.lock:
            self._check_usable()
            self.device.faulty.fault = fault
        self._stop_flood()
        if fault is Fault.IRQ_FLOOD:
            self._flood = Flood(self._irqs, self.lock, self.name)

    def _stop_flood(self) -> None:
        """Outside the lock, which its thread takes."""
        flood, self._flood = self._flood, None
        if flood:
            flood.close()

    def request_release(self) -> None:
        """Somebody wants the function back: ``release_event`` is signalled."""
        with self.lock:
            self._check_usable()
            signal(self._release_event)

    # What configuration space asks (config_space.Host)

    def bar_window(self, index: int) -> Window:
        """A BAR whatever the command register says; raises ``DeviceError`` when it is not implemented."""
        if index not in self._bars:
            have = ", ".join(str(i) for i in self._bars)
            raise DeviceError(f"BAR {index} is not implemented", device=self.name, cause=f"there are BARs {have}")
        return self._bars[index]

    @property
    def command(self) -> Command:
        """The command register."""
        return self._config.command

    def command_changed(self, before: Command, now: Command) -> None:
        """React to the Bus Master bit."""
        if (before ^ now) & Command.BUS_MASTER:
            self.device.bus_master_changed(bool(now & Command.BUS_MASTER))

    def interrupt_pending(self) -> bool:
        """Interrupt Status mirrors the ISR while MSI-X is off (virtio 1.3, 4.1.4.5.1)."""
        return not self._irqs.enabled and bool(self.device.isr.pending)

    def msix_enabled(self) -> bool:
        """As the kernel does under VFIO: on with the first vector attached."""
        return self._irqs.enabled

    def check_open(self) -> None:
        """Raises ``StateError`` after close."""
        if self._closed:
            raise StateError("the function is closed", device=self.name)

    # Private

    def _carrier_changed(self, up: bool) -> None:
        with self.lock:
            if not self.gone and not self._closed:
                self.device.set_link(up)

    @property
    def _running_engine(self) -> Engine:
        self.check_open()
        if self._engine is None:
            raise StateError("the function is closed", device=self.name)
        return self._engine

    def _is_bus_master(self) -> bool:
        return bool(self.command & Command.BUS_MASTER)

    def _check_usable(self, *, taking_back: bool = False) -> None:
        """Taking things back works on an unplugged function too."""
        self.check_open()
        if self.gone and not taking_back:
            raise DeviceGone("the function was unplugged", device=self.name)

    def _doorbell_queue(self, bar: int, offset: int, width: int, value: int) -> int:
        if bar != VIRTIO_BAR or offset < NOTIFY_OFFSET:
            raise rules.NOTIFY.breach(self.name, f"BAR {bar}+{offset:#x}", "taken for a doorbell")
        queue = self.device.notify.check(offset - NOTIFY_OFFSET, width, value)
        if queue >= 2 * self.options.queues:
            raise Unsupported("the control queue's doorbell is a register only", device=self.name)
        return queue

    def _bind(self, queue: int, fd: int) -> None:
        if queue in self._kicks:
            cause = "EEXIST: take the other eventfd back first"
            raise DeviceError(f"the doorbell of queue {queue} is already bound", device=self.name, cause=cause)
        own = take_eventfd(fd, f"doorbell of queue {queue}", self.name)
        try:
            self._running_engine.set_kick(queue, own)
        except BaseException:
            os.close(own)
            raise
        self._kicks[queue] = own

    def _unbind(self, queue: int) -> None:
        if queue not in self._kicks:
            raise DeviceError(f"the doorbell of queue {queue} is not bound", device=self.name, cause="ENODEV")
        self._running_engine.set_kick(queue, -1)
        os.close(self._kicks.pop(queue))

    def _detach_fds(self) -> None:
        for queue in list(self._kicks):
            self._unbind(queue)
        old = self._irqs.take_all()
        self.device.vectors_changed()
        for fd in old:
            os.close(fd)
