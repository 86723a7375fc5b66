"""Mutants of the flow filter (virtio 1.4, 5.1.9.6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..._native import ffi, lib
from ...spec.virtio_admin import AdminOpcode, AdminStatus, ObjectCommand
from ...spec.virtio_flow_filter import FfAction, FfCapability, FfMaskFlag, FfObject, FfRule, unpack_selectors
from ..admin import AdminQueue
from ..flow_filter import Match, Rank
from ..refusal import IN_USE, INVALID_FIELD, INVALID_OPCODE, NO_ROOM, Failed
from .commands import CarryOut, commands
from .mutant import Mutant, around
from .objects import flows_of, key_of, when_failing

if TYPE_CHECKING:
    from ..settings import Rss
    from ..state import Queue
    from ..virtio_net import VirtioNet

Op, S = AdminOpcode, AdminStatus
NO_QUEUE = 0xFFFF


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
        if rule.action == FfAction.DIRECT_RX_VQ and (rule.vq_index % 2 or rule.vq_index == NO_QUEUE):
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


# On the data path: another order of rules, other rules


def _published(twist: Callable[[VirtioNet, list[Match]], Iterable[Match]]) -> Callable[[VirtioNet], None]:
    """Rules reach the data path as ``twist`` gives them."""

    def patch(nic: VirtioNet) -> None:
        flows = flows_of(nic)
        if flows:
            around(flows, "publish", lambda real, rules: real(list(twist(nic, list(rules)))))

    return patch


def _ranked(twist: Callable[[list[tuple[Rank, Match]]], list[tuple[Rank, Match]]]) -> Callable[[VirtioNet], None]:
    """Rules have other ranks."""

    def patch(nic: VirtioNet) -> None:
        flows = flows_of(nic)
        if flows:
            around(flows, "ranked", lambda real: twist(real()))

    return patch


def _with_rss(stays: Callable[[Match], bool]) -> Callable[[VirtioNet], None]:
    """While RSS is configured only some rules are in force."""

    def patch(nic: VirtioNet) -> None:
        flows = flows_of(nic)
        if flows:

            def set_rss(real: Callable[[Rss], None], rss: Rss) -> None:
                real(rss)
                flows.publish(flows.rules())

            _published(lambda nic, rules: [one for one in rules if stays(one) or not nic.settings.rss.table])(nic)
            around(nic.settings.effects, "set_rss", set_rss)

    return patch


def _only_the_first_group(ranked: list[tuple[Rank, Match]]) -> list[tuple[Rank, Match]]:
    highest = max((group for (group, _), _ in ranked), default=0)
    return [one for one in ranked if one[0][0] == highest]


def _or_the_first_pair(_nic: VirtioNet, rules: list[Match]) -> list[Match]:
    return [*rules, Match((), (), 0)] if rules else []


def _first_pair_when_reset(nic: VirtioNet) -> None:
    """Rules that direct to a queue that is reset direct to the first."""
    flows = flows_of(nic)
    if flows:

        def queue_off(real: Callable[[Queue], None], queue: Queue) -> None:
            real(queue)
            gone = queue.index // 2
            flows.publish([replace(one, pair=0) if one.pair == gone else one for one in flows.rules()])

        around(nic, "queue_off", queue_off)


def _opens_filters(nic: VirtioNet, rules: list[Match]) -> list[Match]:
    if rules:
        nic.engine.set_filter(ffi.new("struct vdp_filter *"))
    return rules


_PATCHED: tuple[tuple[str, str, tuple[str, ...], Callable[[VirtioNet], None]], ...] = (
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
    ("N-FF-10", "what is for a queue that is reset goes to the first", (), _first_pair_when_reset),
    (
        "N-FF-11",
        "RSS has the last word on what a rule directs",
        ("N-FF-18",),
        _with_rss(lambda one: one.pair is None),
    ),
    (
        "N-FF-12",
        "the group of the lowest priority comes first",
        ("N-FF-13",),
        _ranked(lambda ranked: [((-group, rule), match) for (group, rule), match in ranked]),
    ),
    (
        "N-FF-13",
        "what one rule drops, no other directs",
        (),
        _published(lambda _nic, rules: sorted(rules, key=lambda one: one.pair is not None)),
    ),
    ("N-FF-14", "of several groups only the first is asked", (), _ranked(_only_the_first_group)),
    (
        "N-FF-15",
        "the rule of the lowest priority comes first",
        ("N-FF-11",),
        _ranked(lambda ranked: [((group, -rule), match) for (group, rule), match in ranked]),
    ),
    ("N-FF-18", "what no rule matches goes to the first pair", (), _published(_or_the_first_pair)),
    (
        "N-FF-19",
        "RSS steers what a rule drops",
        (),
        _with_rss(lambda one: one.pair is not None),
    ),
    ("N-FF-20", "with rules, filters stop nothing", ("N-FF-18",), _published(_opens_filters)),
    ("N-FF-21", "whole masks must not be marked as partial", (), commands(_whole_is_not_partial)),
)

MUTANTS: tuple[Mutant, ...] = (
    *(Mutant(clause, does, also, "admin=on", patch=patch) for clause, does, also, patch in _PATCHED),
    Mutant("N-FF-16", "what rules look at is delivered twice", options="admin=on", native=lib.VDP_MUTANT_ACTS_TWICE),
)
