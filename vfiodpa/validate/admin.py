"""The administration queue by hand: commands of any length, and what the device writes behind them.

    admin = Admin.start(bench)
    admin.ask(AdminOpcode.LIST_QUERY).bits

Ref: virtio 1.3, 2.12 and 2.13.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from ..spec.features import Feature
from ..spec.virtio_admin import (
    AdminCommand,
    AdminOpcode,
    AdminQualifier,
    AdminReply,
    AdminStatus,
    GroupType,
    opcode_list,
)
from .bench import RX, TX, Bench
from .control import CONTROL_SIZE, Answer, Control
from .verdict import NotApplicable, Refused

ROOM = AdminReply.size + 64  # bytes for a reply: opcodes up to 511
ROOM_FOR_ALL = 2048  # the same for a list of capabilities, or an object


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. ``written``: the writable part, poisoned before, and a margin that the device was not given.

    ``length``: bytes that the device says it wrote, ``room``: that it could.
    """

    status: int
    qualifier: int
    reserved: bytes
    result: bytes
    length: int
    room: int
    written: bytes

    @property
    def ok(self) -> bool:
        """Done."""
        return self.status == AdminStatus.OK

    @property
    def bits(self) -> int:
        """The result as a bitmap."""
        return int.from_bytes(self.result, "little")

    def is_error(self, status: AdminStatus, qualifier: AdminQualifier) -> bool:
        """Refused for that reason?"""
        return (self.status, self.qualifier) == (status, qualifier)

    def __str__(self) -> str:
        return f"status {_name(AdminStatus, self.status)}, qualifier {_name(AdminQualifier, self.qualifier)}"


def must_answer(bench: Bench, what: str, reply: Reply, status: AdminStatus) -> None:
    """The reply to ``what`` has that status."""
    bench.must(reply.status == status, f"{what} was answered with {reply}, not with {status.name}")


class Admin:
    """The administration queue of a running device."""

    def __init__(self, bench: Bench, index: int) -> None:
        self.bench = bench
        self.queue = Control(bench, index)

    @classmethod
    def start(cls, bench: Bench, extra: int = 0, queues: tuple[int, ...] = (RX, TX)) -> Admin:
        """A running device with its first administration queue, of a device that has a self group.

        ``extra`` features as far as they are offered; with CTRL_VQ the control queue is enabled, too.
        """
        bench.needs(Feature.ADMIN_VQ)
        bench.negotiate(int(Feature.ADMIN_VQ) | int(extra))
        common = bench.device.common
        if not common.has(type(common).admin_queue_num) or not common.admin_queue_num:
            raise NotApplicable("admin_queue_num reads 0: there is no administration queue")
        index = int(common.admin_queue_index)
        for queue in queues:
            bench.add_queue(queue)
        if bench.device.features & Feature.NET_CTRL_VQ:
            bench.add_queue(bench.control_queue, CONTROL_SIZE)
        bench.add_queue(index, CONTROL_SIZE)
        bench.device.go()
        admin = cls(bench, index)
        if admin.ask(AdminOpcode.LIST_QUERY).is_error(AdminStatus.EINVAL, AdminQualifier.INVALID_GROUP):
            raise NotApplicable("the device has no self group (virtio 1.3 knows only SR-IOV's)")
        return admin

    def ask(
        self, opcode: int, data: bytes = b"", *, group: int = GroupType.SELF, member: int = 0, room: int = ROOM
    ) -> Reply:
        """Send a command and wait for its reply; ``room``: bytes that the device may write."""
        return self.raw(command(opcode, data, group=group, member=member), room)

    def raw(self, data: bytes, room: int = ROOM) -> Reply:
        """Send bytes, a whole command or not."""
        return _reply(self.queue.ask_raw([data], [room] if room else []), room)

    def batch(self, commands: Sequence[bytes]) -> list[Reply]:
        """Send several with one doorbell."""
        return [_reply(one, ROOM) for one in self.queue.answers([self.queue.offer([c], [ROOM]) for c in commands])]

    def supported(self) -> int:
        """Opcodes that the device has, as a bitmap; raises ``Refused`` when it does not tell."""
        reply = self.ask(AdminOpcode.LIST_QUERY)
        if not reply.ok:
            raise Refused(f"LIST_QUERY was answered with {reply}")
        return reply.bits

    def capabilities(self) -> int:
        """Capability ids that the device has, as a bitmap, once CAP_ID_LIST_QUERY is in use; 0 without that."""
        reply = self.ask(AdminOpcode.CAP_ID_LIST_QUERY, room=ROOM_FOR_ALL)
        return reply.bits if reply.ok else 0

    def use(self, opcodes: int) -> Reply:
        """Tell which opcodes are going to be used."""
        return self.ask(AdminOpcode.LIST_USE, opcode_list(opcodes))

    def use_all(self) -> int:
        """Use all that there is; returns the opcodes. Raises ``Refused`` when the device does not let us."""
        supported = self.supported()
        reply = self.use(supported)
        if not reply.ok:
            raise Refused(f"LIST_USE of all that is supported ({supported:#x}) was answered with {reply}")
        return supported


def command(opcode: int, data: bytes = b"", *, group: int = GroupType.SELF, member: int = 0) -> bytes:
    """A command as it lies in memory."""
    return AdminCommand(opcode=opcode, group_type=group, group_member_id=member).pack() + data


def _reply(answer: Answer, room: int) -> Reply:
    head = AdminReply.unpack(answer.written[: AdminReply.size])
    result = answer.written[AdminReply.size : max(answer.length, AdminReply.size)]
    return Reply(
        int(head.status), int(head.status_qualifier), bytes(head.reserved2), result, answer.length, room, answer.written
    )


def _name(kind: type[IntEnum], value: int) -> str:
    return kind(value).name if value in kind.__members__.values() else f"{value:#x}"
