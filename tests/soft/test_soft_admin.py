"""The administration queue of the software NIC: registers, and each answer of its table."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.soft.soft_rig import Nic
from tests.soft.test_soft_commands import Told
from vfiodpa.soft.admin import SUPPORTED, AdminQueue
from vfiodpa.soft.settings import NetState
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_admin import (
    AdminCommand,
    AdminOpcode,
    AdminQualifier,
    AdminReply,
    AdminStatus,
    GroupType,
    opcode_list,
)

Op = AdminOpcode
LISTS = 1 << Op.LIST_QUERY | 1 << Op.LIST_USE


class Asked:
    def __init__(self) -> None:
        self.queue = AdminQueue("soft", NetState(1, Told()), steers=False)
        self.admin = self.queue.admin

    def ask(
        self, opcode: int, data: bytes = b"", group: int = GroupType.SELF
    ) -> tuple[AdminStatus, AdminQualifier, bytes]:
        command = AdminCommand(opcode=opcode, group_type=group).pack() + data
        answer = self.queue.answer(command, len(command))
        head = AdminReply.unpack(answer[: AdminReply.size])
        return AdminStatus(head.status), AdminQualifier(head.status_qualifier), answer[AdminReply.size :]


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def nic() -> Iterator[Nic]:
    made = Nic("soft:admin=on,queues=2")
    yield made
    made.close()


def test_where_the_queue_is(nic: Nic) -> None:
    assert nic.offered() & Feature.ADMIN_VQ
    assert (nic.common.num_queues, nic.common.admin_queue_index, nic.common.admin_queue_num) == (5, 5, 1)
    nic.common.queue_select = 5
    assert nic.common.queue_size


def test_without_it() -> None:
    plain = Nic("soft")
    assert not plain.offered() & Feature.ADMIN_VQ
    assert (plain.common.admin_queue_index, plain.common.admin_queue_num) == (0, 0)
    plain.close()


def test_what_there_is(asked: Asked) -> None:
    status, _, result = asked.ask(Op.LIST_QUERY)
    assert (status, int.from_bytes(result, "little")) == (AdminStatus.OK, SUPPORTED)


def test_only_what_is_used_is_legal(asked: Asked) -> None:
    assert asked.ask(Op.CAP_ID_LIST_QUERY)[:2] == (AdminStatus.EINVAL, AdminQualifier.INVALID_OPCODE)
    assert asked.ask(Op.LIST_USE, opcode_list(SUPPORTED))[:2] == (AdminStatus.OK, AdminQualifier.OK)
    assert asked.ask(Op.CAP_ID_LIST_QUERY) == (AdminStatus.OK, AdminQualifier.OK, bytes(8))
    assert asked.ask(Op.LIST_USE, opcode_list(LISTS))[:2] == (AdminStatus.OK, AdminQualifier.OK)
    assert asked.ask(Op.CAP_ID_LIST_QUERY)[:2] == (AdminStatus.EINVAL, AdminQualifier.INVALID_OPCODE)


def test_a_list_with_what_there_is_not(asked: Asked) -> None:
    assert asked.ask(Op.LIST_USE, opcode_list(SUPPORTED | 1 << 40))[:2] == (
        AdminStatus.EINVAL,
        AdminQualifier.INVALID_FIELD,
    )
    assert asked.admin.legal(GroupType.SELF) == LISTS


@pytest.mark.parametrize(
    ("opcode", "group", "qualifier"),
    [
        (Op.LIST_QUERY, GroupType.SRIOV, AdminQualifier.INVALID_GROUP),
        (0xFFFF, 2, AdminQualifier.INVALID_GROUP),
        (0xFFFF, GroupType.SELF, AdminQualifier.INVALID_OPCODE),
    ],
)
def test_what_is_refused_first(asked: Asked, opcode: int, group: int, qualifier: AdminQualifier) -> None:
    assert asked.ask(opcode, group=group) == (AdminStatus.EINVAL, qualifier, b"")


def test_no_capability(asked: Asked) -> None:
    asked.ask(Op.LIST_USE, opcode_list(SUPPORTED))
    assert asked.ask(Op.DEVICE_CAP_GET, bytes(8))[0] == asked.ask(Op.DRIVER_CAP_SET, bytes(16))[0] == AdminStatus.ENXIO


def test_commands_that_are_cut_off_or_too_long(asked: Asked) -> None:
    reply = AdminReply(status=AdminStatus.OK).pack() + opcode_list(SUPPORTED)
    assert asked.queue.answer(b"", 0) == asked.queue.answer(bytes(4000), 9000) == reply
