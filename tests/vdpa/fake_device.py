"""A VdpaDevice and a Frontend that write down what is done to them, in one journal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from vfiodpa.drivers.device import DoorbellAddress, QueueSetup, QueueState, VdpaDevice
from vfiodpa.errors import DeviceTimeout, Unsupported
from vfiodpa.frontends.frontend import Frontend
from vfiodpa.memory import Iova
from vfiodpa.memory import Mapping as SharedMemory
from vfiodpa.pci.function import DmaDomain, DmaFault, Doorbell, IovaRange, PciFunction, Perm
from vfiodpa.registers import RegisterBlock, Window
from vfiodpa.spec.features import NONE, Feature
from vfiodpa.spec.virtio_net import NetConfig
from vfiodpa.spec.virtio_pci import DeviceStatus


class FakeDomain(DmaDomain):
    kind = "fake"

    def __init__(self, journal: list[str]) -> None:
        self.journal = journal
        self.ranges: tuple[IovaRange, ...] = (IovaRange(0, (1 << 48) - 1),)

    @property
    def iova_ranges(self) -> Sequence[IovaRange]:
        return self.ranges

    def map(
        self, iova: Iova, memory: SharedMemory, offset: int = 0, length: int | None = None, perm: Perm = Perm.RW
    ) -> None:
        self.journal.append(f"map {iova:#x}+{length:#x}")

    def unmap(self, iova: Iova, length: int) -> None:
        self.journal.append(f"unmap {iova:#x}+{length:#x}")

    def faults(self) -> Sequence[DmaFault]:
        return ()

    def close(self) -> None:
        pass


class FakeFunction(PciFunction):
    name = "fake0"

    def __init__(self, journal: list[str]) -> None:
        self.journal = journal
        self.domain = FakeDomain(journal)
        self.error, self.release = (os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2))

    @property
    def config(self) -> Window:
        raise Unsupported("no config space")

    def bar(self, index: int) -> Window:
        raise Unsupported("no BAR")

    @property
    def dma(self) -> DmaDomain:
        return self.domain

    @property
    def vectors(self) -> int:
        return 3

    def set_irq(self, vector: int, fd: int | None) -> None:
        raise Unsupported("not through here")

    def ioeventfd(self, bar: int, offset: int, width: int, value: int, fd: int | None) -> None:
        self.journal.append(f"doorbell {value} {'off' if fd is None else 'on'}")

    def doorbell(self, bar: int, offset: int, width: int, value: int) -> Doorbell:
        raise Unsupported("no doorbell")

    def reset(self) -> None:
        self.journal.append("function reset")

    @property
    def error_event(self) -> int:
        return self.error

    @property
    def release_event(self) -> int:
        return self.release

    def close(self) -> None:
        os.close(self.error)
        os.close(self.release)


class FakeDevice(VdpaDevice):
    driver = "fake"

    def __init__(self, *, stops_queues: bool = True, restores: bool = True) -> None:
        self.journal: list[str] = []
        self.function: FakeFunction = FakeFunction(self.journal)
        self.stops_queues, self.restores = stops_queues, restores
        self.positions: dict[int, QueueState] = {}
        self.started: dict[int, QueueSetup] = {}
        self.irqs: dict[int, int | None] = {}
        self.fail_on = ""
        self.now = DeviceStatus(0)
        self.accepted = NONE

    def note(self, text: str) -> None:
        if self.fail_on and text.startswith(self.fail_on):
            raise DeviceTimeout(f"{text} did not finish", device="fake0")
        self.journal.append(text)

    @property
    def features(self) -> Feature:
        return Feature.VERSION_1 | Feature.NET_MAC | Feature.NET_MRG_RXBUF

    @property
    def device_features(self) -> Feature:
        return self.features | Feature.RING_RESET

    @property
    def negotiated(self) -> Feature:
        return self.accepted

    @property
    def blocks(self) -> Mapping[str, RegisterBlock]:
        return {}

    @property
    def config(self) -> NetConfig:
        raise Unsupported("no configuration")

    def read_config(self) -> Mapping[str, int | list[int]]:
        return {"mtu": 1500}

    @property
    def queue_pairs(self) -> int:
        return 2

    def queue_size_max(self, queue: int) -> int:
        return 256

    @property
    def status(self) -> DeviceStatus:
        return self.now

    @property
    def can_stop_queue(self) -> bool:
        return self.stops_queues

    @property
    def can_restore_state(self) -> bool:
        return self.restores

    @property
    def can_announce(self) -> bool:
        return True

    @property
    def can_log_dirty(self) -> bool:
        return False

    def reset(self) -> None:
        self.note("reset")

    def negotiate(self, features: Feature) -> None:
        self.note("negotiate")
        self.accepted = features

    def start(self) -> None:
        self.note("driver_ok")

    def start_queue(self, queue: int, setup: QueueSetup) -> None:
        if setup.state and setup.state.avail and not self.restores:
            raise Unsupported(f"queue {queue} cannot start at {setup.state.avail}")
        self.note(f"start {queue}")
        self.started[queue] = setup

    def stop_queue(self, queue: int) -> QueueState | None:
        self.note(f"stop {queue}")
        return self.positions.get(queue)

    def suspend(self) -> dict[int, QueueState | None]:
        self.note("suspend")
        return {queue: self.positions.get(queue) for queue in self.started}

    def set_active_pairs(self, pairs: int) -> None:
        self.note(f"pairs {pairs}")

    def set_queue_irq(self, queue: int, fd: int | None) -> None:
        self.note(f"irq {queue} {'off' if fd is None else 'on'}")
        self.irqs[queue] = fd

    def set_config_irq(self, fd: int | None) -> None:
        self.note(f"config irq {'off' if fd is None else 'on'}")

    def doorbell_address(self, queue: int) -> DoorbellAddress:
        return DoorbellAddress(0, 0x3000 + 4 * queue, 16, queue)

    def doorbell(self, queue: int) -> Doorbell:
        raise Unsupported("no doorbell")

    def kick(self, queue: int) -> None:
        self.note(f"kick {queue}")

    def announce(self, mac: bytes) -> None:
        self.note(f"announce {mac.hex()}")

    def start_dirty_log(self, where: IovaRange) -> None:
        raise Unsupported(f"no dirty log at {where}")

    def stop_dirty_log(self) -> None:
        pass

    def stats(self) -> Mapping[str, int]:
        return {}


class FakeFrontend(Frontend):
    name = "fake.sock"

    def __init__(self) -> None:
        self.told: list[Any] = []

    def queue_error(self, queue: int, reason: str) -> None:
        self.told.append(("queue", queue, reason))

    def device_failed(self, reason: str) -> None:
        self.told.append(("device", reason))

    def config_changed(self) -> None:
        self.told.append(("config",))
