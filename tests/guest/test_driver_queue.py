"""The driver's side of a queue; the device's side is played by hand, byte by byte."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfiodpa.errors import DeviceError, DeviceTimeout, LimitError, StateError, UsageError
from vfiodpa.guest.memory import GuestMemory
from vfiodpa.guest.queue import DriverQueue, Fault, Used
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_ring import DescFlag, SplitDesc, UsedElem

SIZE = 8


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    with GuestMemory(1 << 20) as memory:
        yield memory


@pytest.fixture
def queue(memory: GuestMemory) -> Iterator[DriverQueue]:
    queue = DriverQueue(memory, SIZE)
    yield queue
    queue.close()


def desc(queue: DriverQueue, index: int) -> SplitDesc:
    return SplitDesc.unpack(queue.memory.read(queue.desc + index * SplitDesc.size, SplitDesc.size))


def use(queue: DriverQueue, head: int, length: int = 0) -> None:
    """What a device does with a chain."""
    at = queue.memory.load16(queue.used_idx_gpa)
    queue.memory.write(queue.device + 4 + at % queue.size * 8, UsedElem(id=head, len=length).pack())
    queue.memory.store16(queue.used_idx_gpa, (at + 1) % (1 << 16))


def test_chain_in_memory(queue: DriverQueue) -> None:
    head = queue.add(readable=[(0x1000, 12), (0x2000, 64)], writable=[(0x3000, 1500)])
    first = desc(queue, head)
    second = desc(queue, first.next)
    third = desc(queue, second.next)
    assert (first.addr, first.len, first.flags) == (0x1000, 12, DescFlag.NEXT)
    assert (second.addr, second.len, second.flags) == (0x2000, 64, DescFlag.NEXT)
    assert (third.addr, third.len, third.flags) == (0x3000, 1500, DescFlag.WRITE)


def test_nothing_is_available_before_publish(queue: DriverQueue) -> None:
    queue.add(readable=[(0x1000, 1)])
    assert queue.memory.load16(queue.avail_idx_gpa) == 0
    assert queue.publish() == 1
    assert queue.memory.load16(queue.avail_idx_gpa) == 1
    assert queue.publish() == 0


def test_cookies_come_back(queue: DriverQueue) -> None:
    heads = [queue.add(writable=[(0x1000, 100)], cookie=name) for name in "abc"]
    queue.publish()
    use(queue, heads[2], 7)
    use(queue, heads[0])
    assert queue.pop_all() == [Used("c", 7), Used("a", 0)]
    assert queue.pop() is None
    assert (queue.outstanding, queue.free, queue.position) == (1, SIZE - 1, 2)


def test_indirect_table(memory: GuestMemory) -> None:
    queue = DriverQueue(memory, SIZE, Feature.INDIRECT_DESC)
    for _ in range(SIZE):
        head = queue.add(readable=[(0x1000, 12), (0x2000, 64)])
    pointer = desc(queue, head)
    assert pointer.flags == DescFlag.INDIRECT
    assert pointer.len == 2 * SplitDesc.size
    table = memory.read(pointer.addr, pointer.len)
    assert SplitDesc.unpack(table) == SplitDesc(addr=0x1000, len=12, flags=DescFlag.NEXT, next=1)
    assert SplitDesc.unpack(table[16:]) == SplitDesc(addr=0x2000, len=64)
    queue.close()


def test_full_ring(queue: DriverQueue) -> None:
    queue.add(readable=[(0x1000, 1)] * SIZE)
    with pytest.raises(LimitError, match="1 descriptors needed, 0 free"):
        queue.add(readable=[(0x1000, 1)])


def test_empty_chain(queue: DriverQueue) -> None:
    with pytest.raises(DeviceError, match="empty chain"):
        queue.add()


@pytest.mark.parametrize("size", [0, 3, 65535, 65536])
def test_bad_size(memory: GuestMemory, size: int) -> None:
    with pytest.raises(UsageError, match="power of two"):
        DriverQueue(memory, size)


@pytest.mark.parametrize(
    ("head", "length", "fault"),
    [(SIZE, 0, Fault.BAD_ID), (1 << 31, 0, Fault.BAD_ID), (5, 0, Fault.NOT_OUTSTANDING), (0, 11, Fault.BAD_LENGTH)],
)
def test_faulty_device(queue: DriverQueue, head: int, length: int, fault: Fault) -> None:
    queue.add(readable=[(0x1000, 100)], writable=[(0x2000, 10)])
    queue.publish()
    use(queue, head, length)
    with pytest.raises(DeviceError, match="the used ring"):
        queue.pop()
    assert fault.name in repr(queue)


@given(st.integers(2, 65535))
@settings(deadline=None, max_examples=20)
def test_used_index_jumps(jump: int) -> None:
    with GuestMemory(1 << 20) as memory:
        queue = DriverQueue(memory, SIZE)
        queue.add(readable=[(0x1000, 1)])
        queue.publish()
        memory.store16(queue.used_idx_gpa, jump)
        with pytest.raises(DeviceError, match=f"moved by {jump}"):
            queue.pop()


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=8, max_size=8), st.integers(0, 65535), st.integers(1, SIZE))
def test_no_used_ring_crashes_us(element: bytes, index: int, chains: int) -> None:
    with GuestMemory(1 << 20) as memory:
        queue = DriverQueue(memory, SIZE, start=65533)
        for i in range(chains):
            queue.add(writable=[(0x1000, 100)], cookie=i)
        queue.publish()
        memory.write(queue.device + 4, element * SIZE)
        memory.store16(queue.used_idx_gpa, index)
        try:
            popped = queue.pop_all()
        except DeviceError:
            return
        assert len(popped) == (index - 65533) % 65536 <= 1


def test_kick_only_when_wanted(memory: GuestMemory) -> None:
    bell = os.eventfd(0, os.EFD_NONBLOCK)
    queue = DriverQueue(memory, SIZE, ring_bell=lambda: os.eventfd_write(bell, 1))
    queue.send(readable=[(0x1000, 1)])
    assert os.eventfd_read(bell) == 1
    memory.store16(queue.device, 1)  # NO_NOTIFY
    queue.send(readable=[(0x1000, 1)])
    assert not queue.kick()
    with pytest.raises(BlockingIOError):
        os.eventfd_read(bell)
    assert queue.kick(force=True)
    assert os.eventfd_read(bell) == 1
    os.close(bell)


def test_kick_without_a_guest(queue: DriverQueue) -> None:
    with pytest.raises(StateError, match="no doorbell"):
        queue.send(readable=[(0x1000, 1)])


def test_wait_wakes_up_by_the_call(memory: GuestMemory) -> None:
    call = os.eventfd(0, os.EFD_NONBLOCK)
    queue = DriverQueue(memory, SIZE, Feature.EVENT_IDX, call_fd=call)
    head = queue.add(readable=[(0x1000, 1)], cookie="x")
    queue.publish()
    queue.calls(False)
    with pytest.raises(DeviceTimeout, match="nothing used within"):
        queue.wait(0.01)
    used_event = memory.load16(queue.driver + 4 + 2 * SIZE)
    assert used_event == 0  # it asked for the next one
    use(queue, head)
    os.eventfd_write(call, 1)
    assert queue.wait(1) == Used("x", 0)
    os.close(call)


def test_close_frees_the_memory(memory: GuestMemory) -> None:
    queue = DriverQueue(memory, 128, Feature.INDIRECT_DESC)
    queue.pool(2048)
    queue.close()
    queue.close()
    assert memory.regions[0].taken == []
    assert "closed" in repr(queue)
    with pytest.raises(StateError):
        queue.add(readable=[(0x1000, 1)])


def test_pool_is_not_pulled_from_under_the_device(queue: DriverQueue) -> None:
    first = queue.pool(2048)
    assert queue.pool(2048) == first
    queue.pool(4096)
    queue.add(writable=[(0x1000, 100)])
    queue.publish()
    with pytest.raises(StateError, match="by hand"):
        queue.pool(4096)
