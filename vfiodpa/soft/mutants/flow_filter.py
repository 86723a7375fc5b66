"""Mutants of the flow filter (virtio 1.4, 5.1.9.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...spec.virtio_admin import AdminOpcode, AdminStatus, ObjectCommand
from ...spec.virtio_flow_filter import FfAction, FfCapability, FfMaskFlag, FfObject, FfRule, unpack_selectors
from ..admin import AdminQueue
from ..refusal import IN_USE, INVALID_FIELD, INVALID_OPCODE, NO_ROOM, Failed
from .commands import CarryOut, commands
from .mutant import Mutant
from .objects import key_of, when_failing

if TYPE_CHECKING:
    from ..virtio_net import VirtioNet

Op, S = AdminOpcode, AdminStatus


def _no_actions(_queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    result = right(opcode, group, data)
    if opcode == Op.CAP_ID_LIST_QUERY:
        bits = int.from_bytes(result, "little") & ~(1 << FfCapability.ACTION)
        return bits.to_bytes(len(result), "little")
    return result


def _rules_stay_as_they_are(_queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    if opcode == Op.OBJECT_MODIFY and key_of(data)[0] == FfObject.RULE:
        raise Failed(*INVALID_OPCODE)
    return right(opcode, group, data)


def _disabled_is_invalid_field(queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    try:
        return right(opcode, group, data)
    except Failed as error:
        if queue.admin.legal(group) >> opcode & 1 and (error.status, error.qualifier) == INVALID_OPCODE:
            raise Failed(*INVALID_FIELD) from error
        raise


def _groups_limit_alone(queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    try:
        return right(opcode, group, data)
    except Failed as error:
        flows = queue.admin.flow_filter
        room = len(flows.objects.of(FfObject.GROUP)) < flows.resources.groups_limit
        if opcode == Op.OBJECT_CREATE and key_of(data)[0] == FfObject.GROUP and error.status == S.ENOSPC and room:
            return b""
        raise


def _any_queue(_queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    if opcode == Op.OBJECT_CREATE and key_of(data)[0] == FfObject.RULE:
        at = ObjectCommand.size
        rule = FfRule.unpack(data[at:].ljust(FfRule.size, b"\0"))
        if rule.action == FfAction.DIRECT_RX_VQ:
            rule.vq_index = 0
        data = data[:at] + rule.pack() + data[at + FfRule.size :]
    return right(opcode, group, data)


def _whole_is_not_partial(_queue: AdminQueue, right: CarryOut, opcode: int, group: int, data: bytes) -> bytes:
    if opcode == Op.OBJECT_CREATE and key_of(data)[0] == FfObject.CLASSIFIER:
        flags = ObjectCommand.unpack(data).flags
        for one in unpack_selectors(data[ObjectCommand.size :]):
            if (one.flags | flags) & FfMaskFlag.PARTIAL_MASK and set(one.mask) == {0xFF}:
                raise Failed(*INVALID_FIELD)
    return right(opcode, group, data)


_CONTROL: tuple[tuple[str, str, tuple[str, ...], Callable[[VirtioNet], None]], ...] = (
    ("N-FF-1", "the capability of actions is not listed", (), commands(_no_actions)),
    ("N-FF-2", "rules cannot be modified", (), commands(_rules_stay_as_they_are)),
    ("N-FF-3", "commands of a disabled capability are an invalid field", (), commands(_disabled_is_invalid_field)),
    (
        "N-FF-4",
        "groups may have the same priority",
        (),
        commands(when_failing(Op.OBJECT_CREATE, INVALID_FIELD, [FfObject.GROUP])),
    ),
    ("N-FF-5", "groups_limit alone counts", (), commands(_groups_limit_alone)),
    (
        "N-FF-6",
        "a classifier too many is an invalid field",
        (),
        commands(when_failing(Op.OBJECT_CREATE, NO_ROOM, [FfObject.CLASSIFIER], still=True)),
    ),
    (
        "N-FF-7",
        "groups with rules are destroyed, it says",
        (),
        commands(when_failing(Op.OBJECT_DESTROY, IN_USE, [FfObject.GROUP])),
    ),
    (
        "N-FF-8",
        "classifiers with rules are destroyed, it says",
        (),
        commands(when_failing(Op.OBJECT_DESTROY, IN_USE, [FfObject.CLASSIFIER])),
    ),
    ("N-FF-9", "rules that direct to no receive queue are created", (), commands(_any_queue)),
    ("N-FF-21", "whole masks must not be marked as partial", (), commands(_whole_is_not_partial)),
)

MUTANTS: tuple[Mutant, ...] = tuple(
    Mutant(clause, does, also, "admin=on", patch=patch) for clause, does, also, patch in _CONTROL
)
