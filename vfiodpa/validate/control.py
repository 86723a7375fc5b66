"""The control queue by hand: commands whole or in pieces, and what the device writes behind them.

    control = Control.start(bench, Feature.NET_CTRL_RX)
    control.set(CtrlClass.RX, RxCommand.PROMISC, b"\\1")      # or REJECT: the check goes no further without it
    control.ask(CtrlClass.RX, 77).ack                        # Ack.ERR

Ref: virtio 1.3, 5.1.6.5: class, command and data are read by the device; it writes an ack, and its result behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..spec.features import Feature
from ..spec.virtio_net import (
    Ack,
    CtrlClass,
    GuestOffloadsCommand,
    MacCommand,
    MqCommand,
    VlanCommand,
    VqPairs,
    offload_bits,
)
from .bench import RX, SIZE, TX, Bench
from .rings import POISON, Buf, UsedBuf
from .verdict import Refused

CONTROL_SIZE = 64
MARGIN = 16  # bytes behind what a command writes: nobody is to touch them


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``ack`` is ``None`` when nothing was written; ``length``: bytes that the device says it wrote.

    ``written``: the writable part, poisoned before, with ``MARGIN`` bytes that the device was not given.
    """

    ack: int | None
    result: bytes
    length: int
    written: bytes

    @property
    def ok(self) -> bool:
        """Acknowledged as done."""
        return self.ack == Ack.OK

    def __str__(self) -> str:
        return "no ack" if self.ack is None else f"ack {self.ack}"


@dataclass(frozen=True, slots=True)
class Pending:
    """A command on its way."""

    id: int
    gpa: int
    room: int  # bytes that the device may write


class Control:
    """The control queue of a running device, or (``index``) another queue that takes commands."""

    def __init__(self, bench: Bench, index: int | None = None) -> None:
        self.bench = bench
        self.index = bench.control_queue if index is None else index
        self.ring: Any = bench.ring(self.index)

    @classmethod
    def start(cls, bench: Bench, extra: int = 0, queues: tuple[int, ...] = (RX, TX), size: int = SIZE) -> Control:
        """A running device with ``queues`` and the control queue; ``extra`` features as far as they are offered."""
        bench.needs(Feature.NET_CTRL_VQ)
        bench.negotiate(int(extra) | int(Feature.NET_CTRL_VQ))
        for queue in queues:
            bench.add_queue(queue, size)
        bench.add_queue(bench.control_queue, CONTROL_SIZE)
        bench.device.go()
        return cls(bench)

    # One command

    def ask(self, klass: int, command: int, data: bytes = b"", result: int = 0) -> Answer:
        """Send a command and wait for its answer; ``result``: bytes that may follow the ack."""
        return self.ask_raw([bytes([klass, command]) + data], [1 + result])

    def set(self, klass: int, command: int, data: bytes = b"", result: int = 0) -> Answer:
        """The same where the check cannot go on without: raises ``Refused``."""
        answer = self.ask(klass, command, data, result)
        if not answer.ok:
            raise Refused(f"the device answered class {klass}, command {command} with {answer}")
        return answer

    def ask_raw(self, readable: Sequence[bytes], writable: Sequence[int]) -> Answer:
        """The same from buffers of any arrangement: pieces of the command, and lengths to write into."""
        return self.answers([self.offer(readable, writable)])[0]

    # Several

    def offer(self, readable: Sequence[bytes], writable: Sequence[int]) -> Pending:
        """Put a command into the ring, unseen until ``answers``."""
        chain = [Buf(self.bench.alloc(len(piece), piece, align=1), len(piece)) for piece in readable]
        room = sum(writable)
        at = gpa = self.bench.alloc(room + MARGIN, bytes([POISON]) * (room + MARGIN))
        for length in writable:
            chain.append(Buf(at, length, writable=True))
            at = type(gpa)(at + length)
        return Pending(self.ring.offer(chain, publish=False), gpa, room)

    def answers(self, pending: Sequence[Pending]) -> list[Answer]:
        """Ring the doorbell, and wait for all of these; raises ``Deviation`` when they do not come."""
        self.ring.publish()
        self.bench.device.bell(self.index)
        used = {one.id: one for one in self.bench.wait_used(self.ring, len(pending))}
        return [self._answer(one, used) for one in pending]

    def _answer(self, pending: Pending, used: dict[int, UsedBuf]) -> Answer:
        self.bench.must(pending.id in used, f"a command's buffer {pending.id} was not given back, but {sorted(used)}")
        written = self.bench.memory.read(pending.gpa, pending.room + MARGIN)
        length = used[pending.id].length
        self.bench.must(
            length <= pending.room,
            f"the device says it wrote {length} bytes of an answer for which there are {pending.room}",
        )
        ack = None if not pending.room or written[0] == POISON else written[0]
        return Answer(ack, written[1 : max(length, 1)], length, written)

    # Commands that many checks need

    def mode(self, mode: int, on: bool) -> None:
        """A receive mode (5.1.6.5.1)."""
        self.set(CtrlClass.RX, mode, bytes([on]))

    def mac_table(self, unicast: Sequence[bytes] = (), multicast: Sequence[bytes] = ()) -> None:
        """The addresses to receive besides the device's own (5.1.6.5.2)."""
        self.set(CtrlClass.MAC, MacCommand.TABLE_SET, mac_table(unicast, multicast))

    def vlan(self, vlan: int, *, add: bool = True) -> None:
        """Let a VLAN in, or no longer (5.1.6.5.3)."""
        self.set(CtrlClass.VLAN, VlanCommand.ADD if add else VlanCommand.DEL, vlan.to_bytes(2, "little"))

    def pairs(self, pairs: int) -> None:
        """Use so many queue pairs (5.1.6.5.5)."""
        self.set(CtrlClass.MQ, MqCommand.VQ_PAIRS_SET, VqPairs(virtqueue_pairs=pairs).pack())

    def guest_offloads(self, offloads: int) -> None:
        """The offloads that the driver takes from now on (5.1.6.5.8)."""
        self.set(CtrlClass.GUEST_OFFLOADS, GuestOffloadsCommand.SET, offload_bits(int(offloads)).to_bytes(8, "little"))


def mac_table(unicast: Sequence[bytes], multicast: Sequence[bytes]) -> bytes:
    """The data of MAC_TABLE_SET: two tables, each a le32 count and its addresses."""
    return b"".join(len(table).to_bytes(4, "little") + b"".join(table) for table in (unicast, multicast))
