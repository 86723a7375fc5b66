"""Mutants of administration (2.12, 2.13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...spec.virtio_admin import AdminCommand, AdminOpcode, AdminQualifier, AdminReply, AdminStatus, GroupType
from ..admin import SUPPORTED, AdminQueue
from ..refusal import INVALID_FIELD, Failed
from .commands import CarryOut, WithQueue, commands
from .mutant import Mutant

if TYPE_CHECKING:
    from ..virtio_net import VirtioNet

Op, Q, S = AdminOpcode, AdminQualifier, AdminStatus
WithReply = Callable[[bytes, bytes, int], bytes]  # of a command, its reply, and the room for that


def _done_and_again(queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    if queue.busy:
        queue.busy = 0
        right(opcode, group, data)
        raise Failed(S.EAGAIN, Q.TRYAGAIN)
    return right(opcode, group, data)


def _replies(twist: WithReply) -> Callable[[VirtioNet], None]:
    """Answer with other bytes."""

    def patch(nic: VirtioNet) -> None:
        queue = nic.admin
        if queue:
            right = queue.answer
            replacement: Any = lambda command, length: twist(command, right(command, length), queue.room)  # noqa: E731
            queue.answer = replacement  # type: ignore[method-assign]

    return patch


def _offers(bits: int) -> WithQueue:
    """LIST_QUERY lists other opcodes."""

    def twist(_queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
        result = right(opcode, group, data)
        return bits.to_bytes(8, "little") if opcode == Op.LIST_QUERY else result

    return twist


def _shrinks(queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    result = right(opcode, group, data)
    used = queue.admin.used.get(group, SUPPORTED)
    return used.to_bytes(8, "little") if opcode == Op.LIST_QUERY else result


def _no_order_of_looks(_queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    if group != GroupType.SELF:
        raise Failed(S.EINVAL, Q.INVALID_OPCODE)
    return right(opcode, group, data)


def _unknown_is_invalid_command(_queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    if group == GroupType.SELF and not SUPPORTED >> opcode & 1:
        raise Failed(S.EINVAL, Q.INVALID_COMMAND)
    return right(opcode, group, data)


def _left_out_is_invalid_command(queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    if opcode == Op.DRIVER_CAP_SET and not queue.admin.legal(group) >> opcode & 1:
        raise Failed(S.EINVAL, Q.INVALID_COMMAND)
    return right(opcode, group, data)


def _done_but_try_again(_queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    result = right(opcode, group, data)
    if opcode == Op.LIST_USE:
        raise Failed(S.EAGAIN, Q.TRYAGAIN)
    return result


def _unknown_ends_all_use(queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    if not SUPPORTED >> opcode & 1:
        queue.admin.clear()
    return right(opcode, group, data)


def _failed_use_counts(queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    if opcode == Op.LIST_USE and int.from_bytes(data, "little") & ~SUPPORTED:
        queue.admin.clear()
    return right(opcode, group, data)


def _all_is_legal_at_first(queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    queue.admin.used.setdefault(group, SUPPORTED)
    return right(opcode, group, data)


def _use_only_adds(queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    before = queue.admin.used.get(group, 0)
    result = right(opcode, group, data)
    if opcode == Op.LIST_USE:
        queue.admin.used[group] |= before
    return result


def _use_is_late(queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    before = dict(queue.admin.used)
    result = right(opcode, group, data)
    if opcode == Op.LIST_USE:  # seen by the command after the next one
        late, queue.admin.used = queue.admin.used, before
        queue.admin.used[-1] = late[group]
    elif -1 in queue.admin.used:
        queue.admin.used[group] = queue.admin.used.pop(-1)
    return result


class _Remembers:
    """Refuses, after a reset, the lists that were used before it."""

    def __init__(self, failure: tuple[AdminStatus, AdminQualifier]) -> None:
        self.failure = failure
        self.old: set[bytes] = set()
        self.new: set[bytes] = set()

    def __call__(self, queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
        if not queue.admin.used:  # the first LIST_USE since a reset
            self.old |= self.new
        if opcode == Op.LIST_USE and data in self.old:
            raise Failed(*self.failure)
        result = right(opcode, group, data)
        if opcode == Op.LIST_USE:
            self.new.add(data)
        return result


def _no_such_capability_is_einval(_queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    try:
        return right(opcode, group, data)
    except Failed as error:
        if opcode in (Op.DEVICE_CAP_GET, Op.DRIVER_CAP_SET) and error.status == S.ENXIO:
            raise Failed(*INVALID_FIELD) from error
        raise


def _refuses_again(failure: tuple[AdminStatus, AdminQualifier]) -> Callable[[VirtioNet], None]:
    def patch(nic: VirtioNet) -> None:
        commands(_Remembers(failure))(nic)  # each NIC remembers for itself

    return patch


def _invalid_field() -> bytes:
    return AdminReply(status=S.EINVAL, status_qualifier=Q.INVALID_FIELD).pack()


def _short_lists_fail(command: bytes, reply: bytes, _room: int) -> bytes:
    is_list = command[:2] == Op.LIST_USE.to_bytes(2, "little")
    return _invalid_field() if is_list and len(command) < AdminCommand.size + 8 else reply


def _long_commands_fail(command: bytes, reply: bytes, _room: int) -> bytes:
    return _invalid_field() if len(command) > 1024 else reply


def _zeroes_where_short(_command: bytes, reply: bytes, room: int) -> bytes:
    return reply[: AdminReply.size].ljust(len(reply), b"\0") if room < len(reply) else reply


def _fill(_command: bytes, reply: bytes, room: int) -> bytes:
    return reply.ljust(room, b"\0")


def _stripped(_command: bytes, reply: bytes, _room: int) -> bytes:
    return reply[: AdminReply.size] + reply[AdminReply.size :].rstrip(b"\0")


def _all_is_well(_command: bytes, reply: bytes, _room: int) -> bytes:
    return AdminReply(status=S.OK, status_qualifier=Q.OK).pack() if int.from_bytes(reply[:2], "little") else reply


def _excess_counts(command: bytes, reply: bytes, _room: int) -> bytes:
    return (
        reply[: AdminReply.size].ljust(len(reply), b"\0")
        if any(command[AdminCommand.size :]) and command[:2] == b"\0\0"
        else reply
    )


def _cut(length: int) -> WithReply:
    """Of a failure's reply so much is written."""
    return lambda _command, reply, _room: reply[:length] if reply[:2] != b"\0\0" else reply


_SET_MISSING = commands(_offers(SUPPORTED & ~(1 << Op.DRIVER_CAP_SET)))

MUTANTS: tuple[Mutant, ...] = tuple(
    Mutant(clause, does, also, "admin=on", patch=patch)
    for clause, does, also, patch in (
        ("ADC-2", "an unknown group is called an invalid opcode", (), commands(_no_order_of_looks)),
        ("ADC-3", "an unknown opcode is called an invalid command", (), commands(_unknown_is_invalid_command)),
        ("ADC-5", "LIST_USE is done, and answered with EAGAIN", (), commands(_done_but_try_again)),
        (
            "ADC-6",
            "failures are answered with OK",
            ("ADC-2", "ADC-3", "ADC-12", "ADC-13", "ADC-14"),
            _replies(_all_is_well),
        ),
        ("ADC-7", "an unknown opcode ends the use of all others", (), commands(_unknown_ends_all_use)),
        ("ADC-8", "a LIST_USE that fails counts", ("ADC-7",), commands(_failed_use_counts)),
        ("ADC-12", "all opcodes are legal after a reset", (), commands(_all_is_legal_at_first)),
        ("ADC-13", "LIST_USE adds to what is in use", ("ADC-14",), commands(_use_only_adds)),
        (
            "ADC-14",
            "one opcode that is left out is called an invalid command",
            (),
            commands(_left_out_is_invalid_command),
        ),
        ("ADC-15", "LIST_QUERY lists what is in use", (), commands(_shrinks)),
        (
            "ADC-16",
            "lists that were used before a reset are put off",
            ("ADC-5",),
            _refuses_again((S.EAGAIN, Q.TRYAGAIN)),
        ),
        (
            "ADC-17",
            "lists that were used before a reset are invalid",
            ("ADC-5", "ADC-16"),
            _refuses_again(INVALID_FIELD),
        ),
        ("ADQ-1", "a list that is cut off is invalid", (), _replies(_short_lists_fail)),
        ("ADQ-2", "a result that does not fit is all zeroes", (), _replies(_zeroes_where_short)),
        ("ADQ-3", "what follows a command hides the result", (), _replies(_excess_counts)),
        ("ADQ-4", "replies fill the room that they have", ("ADQ-5",), _replies(_fill)),
        ("ADQ-5", "zeroes at the end of a result are left out", (), _replies(_stripped)),
        ("ADQ-6", "commands of more than 1024 bytes fail", (), _replies(_long_commands_fail)),
        ("ADQ-7", "failures have no reserved bytes", (), _replies(_cut(4))),
        ("ADQ-8", "failures have no qualifier", ("ADQ-7",), _replies(_cut(2))),
        ("ADQ-9", "LIST_USE takes effect one command later", (), commands(_use_is_late)),
        ("ADQ-11", "a command is carried out and answered EAGAIN", (), commands(_done_and_again)),
        ("CAP-1", "DRIVER_CAP_SET is missing", ("CAP-2", "CAP-3"), _SET_MISSING),
        ("CAP-8", "a capability that is not there is an invalid field", (), commands(_no_such_capability_is_einval)),
    )
)
