"""Virtqueues by hand: each descriptor, index and flag is the check's to write, right or wrong.

    ring.offer([Buf(gpa, 72)])            # a readable buffer, made available
    ring.wait_used(1.0)                   # [UsedBuf(id=0, length=0)]

Unlike the guest half's driver this keeps no rules, and trusts the device with nothing.
Ref: virtio 1.3, 2.7 (split) and 2.8 (packed).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from ..guest.memory import GuestMemory, GuestRegion
from ..memory import PAGE_SIZE
from ..spec.virtio_ring import DescFlag, PackedDesc, SplitDesc, UsedElem, packed_sizes, split_sizes

AVAIL_USED = DescFlag.AVAIL | DescFlag.USED
POISON = 0xA5


@dataclass(frozen=True, slots=True)
class Buf:
    """One descriptor's worth: ``flags`` beyond NEXT and WRITE are added as they are."""

    gpa: int
    length: int
    writable: bool = False
    flags: int = 0


@dataclass(frozen=True, slots=True)
class UsedBuf:
    """A buffer that the device gave back: its id, and the bytes that it says it wrote."""

    id: int
    length: int


class Ring(ABC):
    """One queue's three areas, each in pages of its own: the device may be given less than read and write.

    ``desc``, ``driver`` and ``device`` are their addresses, ``size`` counts entries. ``read_only``: a region that
    the device can only read; descriptors and driver area go there, where the layout allows.
    """

    packed = False

    def __init__(self, memory: GuestMemory, index: int, size: int, read_only: GuestRegion | None = None) -> None:
        self.memory = memory
        self.index = index
        self.size = size
        sizes = packed_sizes(size) if self.packed else split_sizes(size)
        read = (None if self.packed else read_only, read_only, None)
        areas = [
            memory.alloc(-(-length // PAGE_SIZE) * PAGE_SIZE, PAGE_SIZE, region=region)
            for length, region in zip(sizes, read, strict=True)
        ]
        self.desc, self.driver, self.device = areas
        for area, length in zip(areas, sizes, strict=True):
            memory.write(area, bytes(length))

    def close(self) -> None:
        """Give the areas back."""
        for area in (self.desc, self.driver, self.device):
            self.memory.free(area)

    @abstractmethod
    def offer(self, chain: Sequence[Buf], *, publish: bool = True) -> int:
        """Put a chain into the ring; returns its id. Unpublished ones become available with the next that is."""

    @abstractmethod
    def publish(self) -> None:
        """Make available what was offered unpublished."""

    @abstractmethod
    def used(self) -> list[UsedBuf]:
        """What the device gave back since the last call, in its order."""

    @abstractmethod
    def interrupts(self, on: bool) -> None:
        """Ask for used buffer notifications, or for none (without EVENT_IDX; 2.7.7, 2.8.14)."""

    @abstractmethod
    def image(self) -> bytes:
        """All that the device could write of the ring: to see whether anything moved."""

    def whole(self, image: bytes) -> bytes:
        """All of an image."""
        return image

    @abstractmethod
    def used_part(self, image: bytes) -> bytes:
        """Of an image, what tells of used buffers."""

    def untouched(self) -> bytes:
        """The image as it will be after the next ``publish``, should the device do nothing."""
        return self.image()


class SplitRing(Ring):
    """2.7. The chain's id is its head; heads are taken in turn, so at most ``size`` descriptors are on their way."""

    def __init__(self, memory: GuestMemory, index: int, size: int, read_only: GuestRegion | None = None) -> None:
        super().__init__(memory, index, size, read_only)
        self.next_desc = 0
        self.avail_idx = 0  # as offered; in memory since the last publish
        self.seen = 0

    def offer(self, chain: Sequence[Buf], *, publish: bool = True) -> int:
        head = self.next_desc
        for at, buf in enumerate(chain):
            slot = (head + at) % self.size
            last = at == len(chain) - 1
            flags = buf.flags | (DescFlag.WRITE if buf.writable else 0) | (0 if last else DescFlag.NEXT)
            self.put_desc(slot, SplitDesc(addr=buf.gpa, len=buf.length, flags=int(flags), next=(slot + 1) % self.size))
        self.next_desc = (head + len(chain)) % self.size
        self.put_head(head)
        if publish:
            self.publish()
        return head

    def put_desc(self, slot: int, desc: SplitDesc) -> None:
        """Write one entry of the descriptor table."""
        self.memory.write(self.desc + slot * SplitDesc.size, desc.pack())

    def put_head(self, head: int) -> None:
        """Write the next entry of the available ring; ``publish`` makes it count."""
        self.memory.write(self.driver + 4 + 2 * (self.avail_idx % self.size), head.to_bytes(2, "little"))
        self.avail_idx = self.avail_idx + 1 & 0xFFFF

    def publish(self) -> None:
        self.memory.store16(self.driver + 2, self.avail_idx)

    @property
    def used_idx(self) -> int:
        """As the device wrote it."""
        return self.memory.load16(self.device + 2)

    @property
    def used_flags(self) -> int:
        """As the device wrote it: bit 0 asks for no doorbells (2.7.10)."""
        return self.memory.load16(self.device)

    @property
    def avail_event(self) -> int:
        """With EVENT_IDX: the available index that the device wants to be told of."""
        return self.memory.load16(self.device + 4 + UsedElem.size * self.size)

    def used_elem(self, slot: int) -> UsedBuf:
        """One entry of the used ring."""
        raw = self.memory.read(self.device + 4 + UsedElem.size * (slot % self.size), UsedElem.size)
        elem = UsedElem.unpack(raw)
        return UsedBuf(int(elem.id), int(elem.len))

    def used(self) -> list[UsedBuf]:
        now = self.used_idx
        count = now - self.seen & 0xFFFF
        found = [self.used_elem(self.seen + at) for at in range(min(count, self.size))]
        self.seen = now
        return found

    def interrupts(self, on: bool) -> None:
        self.memory.store16(self.driver, 0 if on else 1)

    def set_used_event(self, index: int) -> None:
        """With EVENT_IDX: notify once the used index passes ``index`` (2.7.7)."""
        self.memory.store16(self.driver + 4 + 2 * self.size, index & 0xFFFF)

    def image(self) -> bytes:
        desc, _, used = split_sizes(self.size)
        return self.memory.read(self.desc, desc) + self.memory.read(self.device, used)

    def used_part(self, image: bytes) -> bytes:
        flags = split_sizes(self.size)[0]
        return image[:flags] + image[flags + 2 : -2]  # not flags and avail_event


class PackedRing(Ring):
    """2.8. Ids are counted, modulo the ring's size."""

    packed = True

    def __init__(self, memory: GuestMemory, index: int, size: int, read_only: GuestRegion | None = None) -> None:
        super().__init__(memory, index, size, read_only)
        self.next_slot, self.wrap = 0, 1
        self.used_slot, self.used_wrap = 0, 1
        self.next_id = 0
        self._lengths: dict[int, int] = {}  # descriptors of each chain by id: how far a used one skips
        self._writable: dict[int, bool] = {}  # has the chain writable buffers?
        self._first: tuple[int, int] | None = None  # slot and flags that publish writes, last

    def offer(self, chain: Sequence[Buf], *, publish: bool = True) -> int:
        id = self.next_id
        self.next_id = (id + 1) % self.size
        self._lengths[id] = len(chain)
        self._writable[id] = any(buf.writable or buf.flags & DescFlag.INDIRECT for buf in chain)
        for at, buf in enumerate(chain):
            last = at == len(chain) - 1
            flags = buf.flags | (DescFlag.WRITE if buf.writable else 0) | (0 if last else DescFlag.NEXT)
            flags |= DescFlag.AVAIL if self.wrap else DescFlag.USED
            self._put(PackedDesc(addr=buf.gpa, len=buf.length, id=id, flags=int(flags)))
        if publish:
            self.publish()
        return id

    def _put(self, desc: PackedDesc) -> None:
        """The first unpublished one keeps its flags back, so that the device stops there (2.8.21)."""
        held = self._first is None
        if held:
            self._first = (self.next_slot, int(desc.flags))
            at = self.desc + self.next_slot * PackedDesc.size
            self.memory.write(at, desc.pack()[:14])
        else:
            self.put_desc(self.next_slot, desc)
        self.next_slot = (self.next_slot + 1) % self.size
        self.wrap ^= self.next_slot == 0

    def put_desc(self, slot: int, desc: PackedDesc) -> None:
        """Write one descriptor: the flags last."""
        at = self.desc + slot * PackedDesc.size
        self.memory.write(at, desc.pack()[:14])
        self.memory.store16(at + 14, int(desc.flags))

    def get_desc(self, slot: int) -> PackedDesc:
        """One descriptor as it stands."""
        return PackedDesc.unpack(self.memory.read(self.desc + slot * PackedDesc.size, PackedDesc.size))

    def publish(self) -> None:
        if self._first is not None:
            slot, flags = self._first
            self._first = None
            self.memory.store16(self.desc + slot * PackedDesc.size + 14, flags)

    def used(self) -> list[UsedBuf]:
        found = []
        while (one := self._next_used()) is not None:
            found.append(one)
        return found

    def _next_used(self) -> UsedBuf | None:
        flags = self.memory.load16(self.desc + self.used_slot * PackedDesc.size + 14)
        both = AVAIL_USED if self.used_wrap else 0
        if flags & AVAIL_USED != both:
            return None
        desc = self.get_desc(self.used_slot)
        behind = self.used_slot + self._lengths.get(int(desc.id), 1)
        self.used_wrap ^= behind >= self.size
        self.used_slot = behind % self.size
        # Strictly the length counts with WRITE only (2.8.4); QEMU never sets that, and Linux does not look at it.
        return UsedBuf(int(desc.id), int(desc.len) if self._writable.get(int(desc.id)) else 0)

    def interrupts(self, on: bool) -> None:
        self.memory.store16(self.driver + 2, 0 if on else 1)

    def set_event(self, off_wrap: int, flags: int) -> None:
        """The driver's event suppression structure (2.8.14)."""
        self.memory.store16(self.driver, off_wrap)
        self.memory.store16(self.driver + 2, flags)

    @property
    def device_event(self) -> tuple[int, int]:
        """The device's event suppression structure: off_wrap and flags."""
        return self.memory.load16(self.device), self.memory.load16(self.device + 2)

    def image(self) -> bytes:
        return self.memory.read(self.desc, 16 * self.size) + self.memory.read(self.device, 4)

    def used_part(self, image: bytes) -> bytes:
        return image[:-4]

    def untouched(self) -> bytes:
        image = bytearray(self.image())
        if self._first is not None:
            slot, flags = self._first
            image[slot * PackedDesc.size + 14 : (slot + 1) * PackedDesc.size] = flags.to_bytes(2, "little")
        return bytes(image)


def make_ring(
    packed: bool, memory: GuestMemory, index: int, size: int, read_only: GuestRegion | None = None
) -> SplitRing | PackedRing:
    """A ring of either layout."""
    return (PackedRing if packed else SplitRing)(memory, index, size, read_only)
