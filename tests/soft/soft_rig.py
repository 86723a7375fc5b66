"""A software NIC with memory and the steps of a driver, one by one."""

from __future__ import annotations

import os
from typing import Any

from vfiodpa.memory import Iova, Mapping
from vfiodpa.registers import SubWindow
from vfiodpa.soft.function import SoftFunction
from vfiodpa.soft.virtio_net import DEVICE_OFFSET, ISR_OFFSET, NOTIFY_OFFSET
from vfiodpa.spec.features import Feature
from vfiodpa.spec.pci import Command, ConfigHeader
from vfiodpa.spec.softnic import VendorCfg
from vfiodpa.spec.virtio_net import NetConfig
from vfiodpa.spec.virtio_pci import CommonCfg, DeviceStatus, IsrCfg

S = DeviceStatus
RINGS = 0x10000  # iova of queue 0's rings; each queue has 64 KiB
RING_BYTES = 0x10000


class Nic:
    """A SoftFunction with its register blocks; ``bring_up`` and parts of it are what a driver does."""

    def __init__(self, text: str) -> None:
        self.f = SoftFunction(text)
        self.header = ConfigHeader(self.f.config)
        self.memory = Mapping.create(RING_BYTES * 2 * self.f.options.queues)
        self.f.dma.map(Iova(RINGS), self.memory)
        self.header.command = Command.MEMORY | Command.BUS_MASTER

    def block(self, offset: int, kind: Any) -> Any:
        return kind(SubWindow(self.f.bar(0), offset, kind.size))

    @property
    def common(self) -> CommonCfg:
        return CommonCfg(SubWindow(self.f.bar(0), 0, CommonCfg.size))

    @property
    def net(self) -> NetConfig:
        return NetConfig(SubWindow(self.f.bar(0), DEVICE_OFFSET, 0x0C))

    @property
    def isr(self) -> IsrCfg:
        return IsrCfg(SubWindow(self.f.bar(0), ISR_OFFSET, 1))

    @property
    def vendor(self) -> VendorCfg:
        return VendorCfg(self.f.bar(2))

    def bell(self, queue: int, value: int | None = None, width: int = 16, at: int | None = None) -> None:
        offset = NOTIFY_OFFSET + (queue * 4 if at is None else at)
        self.f.bar(0).write(offset, width, queue if value is None else value)

    def to_driver(self) -> None:
        self.common.device_status = 0
        assert self.common.device_status == 0
        self.common.device_status = S.ACKNOWLEDGE
        self.common.device_status = S.ACKNOWLEDGE | S.DRIVER

    def offered(self) -> Feature:
        words = []
        for i in range(4):
            self.common.device_feature_select = i
            words.append(self.common.device_feature)
        return Feature(sum(word << 32 * i for i, word in enumerate(words)))

    def write_features(self, features: int) -> None:
        for i in range(4):
            self.common.driver_feature_select = i
            self.common.driver_feature = features >> 32 * i & 0xFFFF_FFFF

    def to_features_ok(self, features: int | None = None) -> bool:
        self.to_driver()
        self.write_features(self.offered() if features is None else features)
        self.common.device_status |= S.FEATURES_OK
        return bool(self.common.device_status & S.FEATURES_OK)

    def set_up(self, queue: int, size: int = 8) -> None:
        common, base = self.common, RINGS + queue * RING_BYTES
        common.queue_select = queue
        common.queue_size = size
        common.queue_desc = base
        common.queue_driver = base + 0x8000
        common.queue_device = base + 0xA000

    def enable(self, queue: int, size: int = 8) -> None:
        self.set_up(queue, size)
        self.common.queue_enable = 1

    def bring_up(self, features: int | None = None) -> None:
        assert self.to_features_ok(features)
        for queue in range(2 * self.f.options.queues):
            self.enable(queue)
        self.common.device_status |= S.DRIVER_OK

    def close(self) -> None:
        self.f.close()
        self.memory.close()


def fired(fd: int) -> int:
    """How often an eventfd was signalled since the last look."""
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0
