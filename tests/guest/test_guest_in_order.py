"""IN_ORDER in our driver half: by hand, and back to back with the software NIC, whose used entries tell of batches."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from vfiodpa.drivers.registry import driver_for
from vfiodpa.errors import DeviceError
from vfiodpa.guest.direct import DirectGuest
from vfiodpa.guest.memory import GuestMemory
from vfiodpa.guest.queue import DriverQueue, Used
from vfiodpa.guest.traffic import Offload, Plan, run
from vfiodpa.soft.device_string import parse_options
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_ring import DescFlag, PackedDesc, UsedElem

F = Feature
ORDER = F.VERSION_1 | F.IN_ORDER
LAYOUTS = {"split": F(0), "packed": F.RING_PACKED}
SIZE = 16
BATCH = 5
Layout = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))


@pytest.fixture
def memory() -> Iterator[GuestMemory]:
    with GuestMemory(1 << 20) as memory:
        yield memory


@pytest.fixture
def guest() -> Iterator[DirectGuest]:
    function = SoftFunction(parse_options("soft:port=echo,poll=0"))
    with DirectGuest(driver_for(function)) as guest:
        yield guest
    function.close()


def use(queue: DriverQueue, at: int, chain: int, length: int, index: int) -> None:
    """An entry at ``at``; in a split ring the used index then says ``index``."""
    if queue.packed:
        flags = DescFlag.WRITE | DescFlag.AVAIL | DescFlag.USED
        queue.memory.write(queue.desc + 16 * at, PackedDesc(addr=0, len=length, id=chain, flags=flags).pack())
        return
    queue.memory.write(queue.device + 4 + 8 * at, UsedElem(id=chain, len=length).pack())
    queue.memory.store16(queue.used_idx_gpa, index)


@Layout
def test_one_entry_for_a_batch(memory: GuestMemory, layout: Feature) -> None:
    """The chains before the last were used in full; the next entry is where the next batch begins."""
    queue = DriverQueue(memory, SIZE, ORDER | layout)
    chains = [queue.add(writable=[(0x1000, 100)], cookie=name) for name in "abc"]
    queue.publish()
    use(queue, 0, chains[1], 7, 2)
    assert queue.pop_all() == [Used("a", 100), Used("b", 7)]
    use(queue, 2, chains[2], 8, 3)
    assert queue.pop_all() == [Used("c", 8)]
    queue.close()


def test_a_device_that_skips_a_chain(memory: GuestMemory) -> None:
    queue = DriverQueue(memory, SIZE, ORDER)
    for _ in range(2):
        queue.add(writable=[(0x1000, 100)])
    queue.publish()
    use(queue, 0, 1, 7, 1)
    with pytest.raises(DeviceError, match="names descriptor 1 before older ones, which IN_ORDER forbids"):
        queue.pop()
    queue.close()


@Layout
def test_a_device_that_goes_back(memory: GuestMemory, layout: Feature) -> None:
    queue = DriverQueue(memory, SIZE, ORDER | layout)
    for _ in range(3):
        queue.add(writable=[(0x1000, 100)])
    queue.publish()
    use(queue, 0, 1, 7, 2)
    assert len(queue.pop_all()) == 2
    use(queue, 2, 0, 7, 3)
    with pytest.raises(DeviceError, match="descriptor 0, which the device did not own"):
        queue.pop()
    queue.close()


def entries_written(queue: DriverQueue) -> int:
    """How many used entries the device wrote in the first lap; they were zero, or offered."""
    if queue.packed:
        descs = (PackedDesc.unpack(queue.memory.read(queue.desc + 16 * at, 16)) for at in range(SIZE))
        return sum(desc.flags & DescFlag.USED != 0 for desc in descs)
    table = queue.memory.read(queue.device + 4, 8 * SIZE)
    return sum(entry != (0, 0) for entry in struct.iter_unpack("<II", table))


@Layout
def test_the_software_nic_writes_one_entry_for_a_batch(guest: DirectGuest, layout: Feature) -> None:
    """Of frames that it takes at once; without IN_ORDER each has its own."""
    for features, entries in ((ORDER, 1), (F.VERSION_1, BATCH)):
        guest.start(features | layout, size=SIZE)
        transmit = guest.queues[1]
        frame = guest.memory.alloc(128)
        transmit.add([(frame, 72)], cookie="first")  # its id is 0, which an entry of zeros says too
        transmit.publish()
        transmit.kick()
        assert transmit.wait(5).cookie == "first"
        before = entries_written(transmit)
        for number in range(BATCH):
            transmit.add([(frame, 72)], cookie=number)
        transmit.publish()
        transmit.kick()
        assert [transmit.wait(5).cookie for _ in range(BATCH)] == list(range(BATCH))
        assert entries_written(transmit) - before == entries


@Layout
@pytest.mark.parametrize("segments", [1, 4])
@pytest.mark.parametrize("more", [F(0), F.EVENT_IDX | F.INDIRECT_DESC | F.NET_MRG_RXBUF], ids=["plain", "all"])
def test_every_frame_comes_back(guest: DirectGuest, layout: Feature, segments: int, more: Feature) -> None:
    guest.start(ORDER | layout | more)
    verdict = run(guest, Plan(sizes=[60, 1514, 9000], count=1500, segments=segments), seconds=20)
    assert verdict.clean, str(verdict)
    assert verdict.total.received == 1500
    assert guest.stop() == [queue.position for queue in guest.queues]


@Layout
def test_segments_of_a_frame_in_order(guest: DirectGuest, layout: Feature) -> None:
    """One chain sent, many received: the rings' batches are not alike."""
    guest.start(ORDER | layout | F.NET_MRG_RXBUF | F.NET_CSUM | F.NET_HOST_TSO4)
    verdict = run(guest, Plan(1448, count=900, offload=Offload.TSO, together=30), seconds=10)
    assert verdict.clean, str(verdict)
    assert verdict.total.received == 900
