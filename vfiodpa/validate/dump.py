"""Memory for people: a hexdump, and a ring around the place where it stands."""

from __future__ import annotations

from collections.abc import Iterator

from ..guest.memory import GuestMemory
from ..spec.virtio_ring import DescFlag, PackedDesc, SplitDesc
from .rings import PackedRing, Ring, SplitRing

ROW = 16
AROUND = 6  # entries shown before the place where the ring stands; three more behind it


def hexdump(data: bytes, base: int = 0) -> str:
    """Sixteen bytes a line, with their addresses; rows that repeat the one above are left out (``*``)."""
    lines: list[str] = []
    last = b""
    for at in range(0, len(data), ROW):
        row = data[at : at + ROW]
        if row == last and at + ROW < len(data):
            if lines[-1] != "*":
                lines.append("*")
            continue
        last = row
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"{base + at:#010x}  {row.hex(' '):<47}  {shown}")
    return "\n".join(lines)


def dump_memory(memory: GuestMemory, gpa: int, length: int) -> str:
    """A hexdump of shared memory, copied once."""
    return hexdump(memory.read(gpa, length), gpa)


def dump_ring(ring: Ring) -> str:
    """Indices and flags, and the entries around where the ring stands, in words and in hex."""
    head = f"queue {ring.index}, {'packed' if ring.packed else 'split'}, {ring.size} entries"
    body = _packed(ring) if isinstance(ring, PackedRing) else _split(ring) if isinstance(ring, SplitRing) else ()
    return "\n".join([head, *body])


def _split(ring: SplitRing) -> Iterator[str]:
    memory = ring.memory
    yield (
        f"available: flags {memory.load16(ring.driver)}, idx {memory.load16(ring.driver + 2)} "
        f"at {ring.driver:#x}; used: flags {ring.used_flags}, idx {ring.used_idx} "
        f"(taken up to {ring.seen}) at {ring.device:#x}"
    )
    for slot in _around(ring.next_desc, ring.size):
        raw = memory.read(ring.desc + slot * SplitDesc.size, SplitDesc.size)
        if any(raw):
            desc = SplitDesc.unpack(raw)
            yield f"desc[{slot}]  addr {desc.addr:#x}  len {desc.len}  {_flags(desc.flags)}  next {desc.next}"
            yield "  " + hexdump(raw, ring.desc + slot * SplitDesc.size)
    for slot in _around(ring.used_idx % ring.size, ring.size):
        elem = ring.used_elem(slot)
        if elem.id or elem.length or slot == 0:
            yield f"used[{slot}]  id {elem.id}  len {elem.length}"


def _packed(ring: PackedRing) -> Iterator[str]:
    off_wrap, flags = ring.device_event
    yield (
        f"next to fill: {ring.next_slot}, wrap {ring.wrap}; next used: {ring.used_slot}, wrap {ring.used_wrap}; "
        f"device event: off_wrap {off_wrap:#06x}, flags {flags}"
    )
    for slot in _around(ring.next_slot, ring.size):
        desc = ring.get_desc(slot)
        raw = desc.pack()
        if any(raw):
            yield f"desc[{slot}]  addr {desc.addr:#x}  len {desc.len}  id {desc.id}  {_flags(desc.flags)}"
            yield "  " + hexdump(raw, ring.desc + slot * PackedDesc.size)


def _around(place: int, size: int) -> list[int]:
    """Slots from a few before ``place`` to a few behind, each once, in the ring's order."""
    return list(dict.fromkeys((place + step) % size for step in range(-AROUND, 3)))


def _flags(flags: int) -> str:
    names = [flag.name for flag in DescFlag if flags & flag and flag.name]
    rest = flags & ~sum(DescFlag)
    return "flags " + (" ".join(names + ([f"{rest:#x}"] if rest else [])) or "0")
