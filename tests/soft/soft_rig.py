"""A software NIC with memory and the steps of a driver, one by one."""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.settle import wait_asleep
from vfiodpa._native import ffi, lib
from vfiodpa.drivers.feature_policy import LONG_HEADERS
from vfiodpa.memory import Iova, Mapping
from vfiodpa.registers import SubWindow
from vfiodpa.soft.function import SoftFunction
from vfiodpa.soft.options import CONTROL
from vfiodpa.soft.virtio_net import DEVICE_OFFSET, ISR_OFFSET, NOTIFY_OFFSET
from vfiodpa.soft.workers import SHARED, WorkerPool
from vfiodpa.spec.features import Feature
from vfiodpa.spec.pci import Command, ConfigHeader
from vfiodpa.spec.softnic import VendorCfg
from vfiodpa.spec.virtio_net import NetConfig
from vfiodpa.spec.virtio_pci import CommonCfg, DeviceStatus, IsrCfg
from vfiodpa.spec.virtio_ring import DescFlag, PackedDesc, SplitDesc

S = DeviceStatus
RINGS = 0x10000  # iova of queue 0's rings; each queue has 64 KiB
RING_BYTES = 0x10000


class Nic:
    """A SoftFunction with its register blocks; ``bring_up`` and parts of it are what a driver does."""

    def __init__(self, text: str, pool: WorkerPool = SHARED) -> None:
        self.f = SoftFunction(text, pool=pool)
        self.header = ConfigHeader(self.f.config)
        self.memory = Mapping.create(RING_BYTES * 2 * self.f.options.queues)
        self.f.dma.map(Iova(RINGS), self.memory)
        self.header.command = Command.MEMORY | Command.BUS_MASTER

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
        # With all that is offered, but split rings, short doorbells and no control queue unless a test wants them.
        usual = self.offered() & ~(Feature.RING_PACKED | Feature.NOTIFICATION_DATA | CONTROL | LONG_HEADERS)
        self.write_features(usual if features is None else features)
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

    def wait_asleep(self) -> None:
        """Until its workers have seen to all that was rung so far, and sleep."""
        wait_asleep(self.f)

    def wait_needs_reset(self, seconds: float = 5.0) -> bool:
        end = time.monotonic() + seconds
        while not self.common.device_status & S.NEEDS_RESET and time.monotonic() < end:
            time.sleep(0.0005)
        return bool(self.common.device_status & S.NEEDS_RESET)

    def close(self) -> None:
        self.f.close()
        self.memory.close()


def fired(fd: int) -> int:
    """How often an eventfd was signalled since the last look."""
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0


def wait_for(fd: int, seconds: float = 5.0) -> int:
    """Wait until an eventfd is signalled; returns how often, 0 when it was not in time."""
    select.select([fd], [], [], seconds)
    return fired(fd)


@contextmanager
def nics() -> Iterator[Callable[[str], Nic]]:
    """Makes NICs, and closes them at the end."""
    made: list[Nic] = []

    def make(text: str) -> Nic:
        made.append(Nic(text))
        return made[-1]

    yield make
    for nic in made:
        nic.close()


class StuckLib:
    """``lib`` with a NIC that does not come to rest."""

    def __getattr__(self, name: str) -> object:
        return (lambda *_: -errno.ETIMEDOUT) if name == "vdp_nic_pause" else getattr(lib, name)


class RecordingLib:
    """``lib`` that keeps the names of what is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> object:
        self.calls.append(name)
        return getattr(lib, name)


class Ring:
    """The driver's half of one queue in ``Nic`` memory, as slow as can be: one entry at a time."""

    def __init__(self, nic: Nic, queue: int, size: int = 8) -> None:
        self.nic, self.queue, self.size = nic, queue, size
        self.base = RINGS + queue * RING_BYTES
        self.avail = 0
        self.buffers = 0x4000  # offset of the data buffers from the ring's base

    def put(self, offset: int, data: bytes) -> None:
        if offset >= RING_BYTES:
            return  # the test wants a buffer where no memory of ours is
        address = self.nic.memory.address + self.base - RINGS + offset
        assert lib.vdp_guest_copy_out(ffi.cast("void *", address), data, len(data)) == 0

    def get(self, offset: int, length: int) -> bytes:
        out = ffi.new("char[]", length)
        address = self.nic.memory.address + self.base - RINGS + offset
        assert lib.vdp_guest_copy_in(out, ffi.cast("void *", address), length) == 0
        return bytes(ffi.buffer(out))

    def offer(self, data: bytes, *, writable: bool = False, next_of: int | None = None) -> None:
        """Make one buffer available: descriptor and entry number ``avail % size``."""
        slot = self.avail % self.size
        at = self.buffers + slot * 0x400
        flags = (DescFlag.WRITE if writable else 0) | (DescFlag.NEXT if next_of is not None else 0)
        desc = SplitDesc(addr=self.base + at, len=len(data), flags=int(flags), next=next_of or 0)
        self.put(at, data)
        self.put(slot * SplitDesc.size, desc.pack())
        self.put(0x8000 + 4 + 2 * slot, slot.to_bytes(2, "little"))
        self.put(0x8000 + 4 + 2 * self.size, self.avail.to_bytes(2, "little"))  # used_event: this very one
        self.avail = self.avail + 1 & 0xFFFF
        self.put(0x8000 + 2, self.avail.to_bytes(2, "little"))

    @property
    def used(self) -> int:
        return int.from_bytes(self.get(0xA000 + 2, 2), "little")

    def buffer(self, slot: int, length: int) -> bytes:
        return self.get(self.buffers + slot * 0x400, length)

    def wait_used(self, count: int, seconds: float = 5.0) -> bool:
        end = time.monotonic() + seconds
        while self.used != count and time.monotonic() < end:
            time.sleep(0.0005)
        return self.used == count


class PackedRing(Ring):
    """The same for a packed ring: one buffer at a time, used before the next is offered."""

    def __init__(self, nic: Nic, queue: int, size: int = 8) -> None:
        super().__init__(nic, queue, size)
        self.wrap = 1

    def offer_packed(self, data: bytes, *, writable: bool = False, more: int = 0) -> None:
        """Make one buffer available, its slot for an id. ``more``: flags."""
        at = self.buffers + self.avail * 0x400
        flags = more | (DescFlag.WRITE if writable else 0) | (DescFlag.AVAIL if self.wrap else DescFlag.USED)
        self.put(at, data)
        desc = PackedDesc(addr=self.base + at, len=len(data), id=self.avail, flags=int(flags))
        self.put(self.avail * PackedDesc.size, desc.pack())

    def wait_packed(self, seconds: float = 5.0) -> tuple[int, int] | None:
        """The id and length that the device wrote for the buffer offered last; goes on to the next slot."""
        slot, want = self.avail, DescFlag.AVAIL | DescFlag.USED if self.wrap else 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            desc = PackedDesc.unpack(self.get(slot * PackedDesc.size, PackedDesc.size))
            if desc.flags & (DescFlag.AVAIL | DescFlag.USED) == want:
                self.avail = (slot + 1) % self.size
                self.wrap ^= self.avail == 0
                return desc.id, desc.len
            time.sleep(0.0005)
        return None
