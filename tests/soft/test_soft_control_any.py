"""Anything on a control queue: each command is answered with OK or ERR, or the ring is the device's error.

Never an exception, never silence; and nothing but the answer and the used ring is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import or_

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.e2e.hostile import RawQueue
from tests.e2e.hostile_packed import RawPacked
from tests.soft.soft_rig import Nic
from tests.soft.test_soft_control import BASIC, UNTOUCHED, Control
from vfiodpa.soft.commands import COMMANDS
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_net import Ack
from vfiodpa.spec.virtio_pci import DeviceStatus
from vfiodpa.spec.virtio_ring import DescFlag, PackedDesc, SplitDesc

WANTED = reduce(or_, (command.needs for command in COMMANDS.values()), BASIC)  # as far as it is offered
LAYOUTS = [Feature(0), Feature.RING_PACKED]
ROOM = 0x3000  # where answers go, from the command's address on
TABLE = 0x3800

small = st.integers(0, 8)
numbers = st.sampled_from([0, 1, 2, 4, 0xFF, 0x100, 0x8000, 0xFFFF, 0xFFFF_FFFF]) | st.integers(0, 1 << 16)
fields = st.builds(
    lambda n, size: (n & (1 << 8 * size) - 1).to_bytes(size, "little"), numbers, st.sampled_from([1, 2, 4])
)
payloads = st.one_of(
    st.binary(max_size=64),
    st.lists(fields | st.binary(max_size=12), max_size=12).map(b"".join),
    st.builds(
        lambda byte, count: bytes([byte]) * count, st.integers(0, 255), st.sampled_from([40, 1000, 4094, 4095, 8000])
    ),
)
heads = st.sampled_from(sorted(COMMANDS)).map(lambda key: bytes(key)) | st.binary(max_size=2)
bytes_of_commands = st.builds(lambda head, data: head + data, heads, payloads)


@dataclass(frozen=True)
class Chain:
    """A command cut into buffers, room for its answer, and maybe one descriptor that lies."""

    command: bytes
    cuts: list[int]
    rooms: list[int]
    indirect: bool
    lie: tuple[int, int, int, int] | None  # which descriptor, what of it, by what, flags

    def entries(self, at: int) -> list[tuple[int, int, int]]:
        """Address, length and flags (without NEXT) of each buffer; ``at``: of the command."""
        ends = [*sorted({c for c in self.cuts if c < len(self.command)}), len(self.command)]
        starts = [0, *ends[:-1]]
        readable = [(at + a, b - a, 0) for a, b in zip(starts, ends, strict=True)]
        places = [at + ROOM + sum(self.rooms[:i]) for i in range(len(self.rooms))]
        return readable + [(p, n, int(DescFlag.WRITE)) for p, n in zip(places, self.rooms, strict=True)]

    def lied(self, at: int) -> list[tuple[int, int, int]]:
        """The same, with the lie."""
        entries = self.entries(at)
        if self.lie is None:
            return entries
        which, what, by, flags = self.lie
        addr, length, old = entries[which % len(entries)]
        entries[which % len(entries)] = ((by << 16, length, old), (addr, by, old), (addr, length, flags))[what]
        return entries


chains = st.builds(
    Chain,
    bytes_of_commands,
    st.lists(st.integers(0, 70), max_size=4),
    st.lists(st.sampled_from([0, 1, 1, 2, 8, 64]), max_size=3),
    st.booleans(),
    st.none() | st.tuples(small, st.integers(0, 2), st.integers(0, (1 << 32) - 1), st.integers(0, 7)),
)


class Hand:
    """A control queue of one layout, its descriptors written by hand."""

    def __init__(self, control: Control, packed: bool) -> None:
        self.control = control
        self.memory = control.memory
        self.at = control.at
        self.packed = RawPacked(control.queue) if packed else None
        self.split = None if packed else RawQueue(control.queue)
        self.sent = 0

    def send(self, chain: Chain) -> int | None:
        """Returns the length of the answer; None: not answered."""
        self.memory.write(self.at, chain.command.ljust(ROOM, b"\0"))
        self.memory.write(self.at + ROOM, bytes([UNTOUCHED]) * (TABLE - ROOM))
        entries = chain.lied(self.at)
        if chain.indirect:
            self._table(entries)
            entries = [(self.at + TABLE, 16 * len(entries), int(DescFlag.INDIRECT))]
        return self._packed(entries) if self.packed else self._split(entries)

    def _table(self, entries: list[tuple[int, int, int]]) -> None:
        for i, (addr, length, flags) in enumerate(entries):
            more = DescFlag.NEXT if i + 1 < len(entries) else 0
            split = SplitDesc(addr=addr, len=length, flags=flags | more, next=i + 1).pack()
            packed = PackedDesc(addr=addr, len=length, flags=flags).pack()
            self.memory.write(self.at + TABLE + 16 * i, packed if self.packed else split)

    def _split(self, entries: list[tuple[int, int, int]]) -> int | None:
        ring, last = self.split, len(entries) - 1
        assert ring is not None
        ring.desc(0, *[(a, n, f | (DescFlag.NEXT if i < last else 0), i + 1) for i, (a, n, f) in enumerate(entries)])
        ring.offer(0)
        ring.kick()
        if ring.used != ring.next:
            return None
        element = ring.queue.device + 4 + 8 * ((ring.next - 1) % ring.size)
        assert self.memory.read(element, 4) == bytes(4)
        return int.from_bytes(self.memory.read(element + 4, 4), "little")

    def _packed(self, entries: list[tuple[int, int, int]]) -> int | None:
        ring, last = self.packed, len(entries) - 1
        assert ring is not None
        at, lap = ring.next & 0x7FFF, ring.lap
        ring.put(*[(a, n, f | (DescFlag.NEXT if i < last else 0), 7) for i, (a, n, f) in enumerate(entries)])
        ring.kick()
        used = ring.read(at)
        both = int(DescFlag.AVAIL | DescFlag.USED)
        if used.flags & both != (both if lap == DescFlag.AVAIL else 0):
            return None
        assert used.id == 7
        return int(used.len)


@contextmanager
def control_of(layout: Feature) -> Iterator[Hand]:
    nic = Nic("soft:model=plain,queues=2")
    try:
        features = (WANTED & nic.offered()) | BASIC | layout
        pairs = 2 if features & Feature.NET_MQ else 1
        control = Control(nic, features, index=2 * pairs)
        yield Hand(control, bool(layout))
        control.close()
    finally:
        nic.close()


def check(hand: Hand, chain: Chain) -> bool:
    """Send one; returns whether the device goes on."""
    used = hand.send(chain)
    nic = hand.control.nic
    failed = bool(nic.common.device_status & DeviceStatus.NEEDS_RESET)
    assert failed == (used is None)
    if used is None:
        assert f"queue {hand.control.queue.index}: " in nic.f.diagnose()
        assert chain.lie or (chain.indirect and len(chain.entries(0)) > hand.control.queue.size)
        return False
    after = hand.memory.read(hand.at + ROOM, TABLE - ROOM)
    if chain.lie is None:
        room = sum(chain.rooms)
        assert min(room, 1) <= used <= room
        assert not room or after[0] in (Ack.OK, Ack.ERR)
        assert set(after[used:]) <= {UNTOUCHED}
        assert hand.memory.read(hand.at, ROOM) == chain.command.ljust(ROOM, b"\0")
    return True


@pytest.mark.parametrize("layout", LAYOUTS, ids=["split", "packed"])
@settings(deadline=None, max_examples=60)
@given(sequence=st.lists(chains, min_size=1, max_size=8))
def test_any_sequence_of_commands(layout: Feature, sequence: list[Chain]) -> None:
    with control_of(layout) as hand:
        for chain in sequence:
            if not check(hand, chain):
                break


@pytest.mark.parametrize("layout", LAYOUTS, ids=["split", "packed"])
def test_the_property_can_see_answers_and_errors(layout: Feature) -> None:
    good = Chain(bytes(min(COMMANDS)) + b"\1", [2], [1], False, None)
    with control_of(layout) as hand:
        assert check(hand, good)
        assert hand.memory.read(hand.at + ROOM, 1)[0] == Ack.OK
        assert not check(hand, Chain(good.command, [2], [1], False, (0, 0, 0xDEAD, 0)))
