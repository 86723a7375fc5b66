"""The driver's side of a packed queue; the device's side is played by hand, byte by byte."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vfiodpa.errors import DeviceError, UsageError
from vfiodpa.guest.memory import GuestMemory
from vfiodpa.guest.queue import DriverQueue, Used
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_ring import PACKED_START, DescFlag, PackedDesc, packed_base

PACKED = Feature.RING_PACKED
SIZE = 5  # of no power of two


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    with GuestMemory(1 << 20) as memory:
        yield memory


@pytest.fixture
def queue(memory: GuestMemory) -> Iterator[DriverQueue]:
    queue = DriverQueue(memory, SIZE, PACKED)
    yield queue
    queue.close()


def desc(queue: DriverQueue, index: int) -> PackedDesc:
    return PackedDesc.unpack(queue.memory.read(queue.desc + index * PackedDesc.size, PackedDesc.size))


def use(queue: DriverQueue, at: int, buffer: int, length: int, wrap: bool = True) -> None:
    """What a device does with a chain."""
    flags = DescFlag.WRITE | (DescFlag.AVAIL | DescFlag.USED if wrap else 0)
    queue.memory.write(queue.desc + at * PackedDesc.size, PackedDesc(addr=0, len=length, id=buffer, flags=flags).pack())


def test_chain_in_memory(queue: DriverQueue) -> None:
    head = queue.add(readable=[(0x1000, 12)], writable=[(0x3000, 1500)])
    assert desc(queue, 0).flags == 0  # not before publish
    queue.publish()
    first, second = desc(queue, 0), desc(queue, 1)
    assert (first.addr, first.len, first.flags) == (0x1000, 12, DescFlag.NEXT | DescFlag.AVAIL)
    assert (second.addr, second.len, second.flags) == (0x3000, 1500, DescFlag.WRITE | DescFlag.AVAIL)
    assert second.id == head


def test_used_chain_comes_back(queue: DriverQueue) -> None:
    head = queue.add(readable=[(0x1000, 12)], writable=[(0x3000, 1500)], cookie="ping")
    queue.publish()
    assert queue.pop() is None
    use(queue, 0, head, 700)
    assert queue.pop() == Used("ping", 700)
    assert queue.position == 2 | PACKED_START


def test_position_wraps(queue: DriverQueue) -> None:
    for at in range(SIZE):
        queue.add(writable=[(0x1000, 64)])
        queue.publish()
        use(queue, at, at, 1)
        assert queue.pop()
    assert queue.position == 0  # descriptor 0 under wrap counter 0
    queue.add(writable=[(0x1000, 64)])
    queue.publish()
    assert desc(queue, 0).flags == DescFlag.WRITE | DescFlag.USED


def test_begins_where_it_is_told(memory: GuestMemory) -> None:
    queue = DriverQueue(memory, SIZE, PACKED, start=3)
    queue.add(readable=[(0x1000, 12)])
    queue.publish()
    assert desc(queue, 3).flags == DescFlag.USED
    assert packed_base(queue.position) == 0x00030003
    queue.close()


def test_breach_is_an_error(queue: DriverQueue) -> None:
    queue.add(writable=[(0x1000, 64)])
    queue.publish()
    use(queue, 0, 0, 65)
    with pytest.raises(DeviceError, match="65 bytes"):
        queue.pop()


@pytest.mark.parametrize("size", [0, 32769])
def test_impossible_size(memory: GuestMemory, size: int) -> None:
    with pytest.raises(UsageError, match="up to 32768"):
        DriverQueue(memory, size, PACKED)
