"""The software NIC's administration queue: the self group, its capabilities and resource objects.

Ref: virtio 1.3, 2.12 and 2.13; virtio 1.4, 2.12.1. The ring is a control queue's (csrc/control_ring.h).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..spec.features import Feature
from ..spec.virtio_admin import (
    AdminCommand,
    AdminOpcode,
    AdminQualifier,
    AdminReply,
    AdminStatus,
    CapabilityId,
    GroupType,
    ObjectCommand,
    ObjectHeader,
    opcode_list,
)
from .control_queue import ControlQueue
from .flow_filter import DEVICE, FlowFilter
from .refusal import INVALID_FIELD, INVALID_GROUP, INVALID_OPCODE, Failed
from .settings import NetState

Q, S = AdminQualifier, AdminStatus
WORD = 8  # bytes: what the device writes is a multiple of 64 bits (2.13.1)


@dataclass(slots=True)
class Admin:
    """What commands did. ``used``: the opcodes of LIST_USE, by group, as a bitmap; a device reset forgets all."""

    flow_filter: FlowFilter
    used: dict[int, int] = field(default_factory=dict)

    def clear(self) -> None:
        """As after a reset: only the two commands that ask and tell what is used (2.12.1.2)."""
        self.used.clear()
        self.flow_filter.clear()

    def legal(self, group: int) -> int:
        """What the driver may use now."""
        return self.used.get(group, ALWAYS)


def _list_query(_admin: Admin, _group: int, _data: bytes) -> bytes:
    return opcode_list(SUPPORTED)


def _list_use(admin: Admin, group: int, data: bytes) -> bytes:
    wanted = int.from_bytes(data[:8], "little")
    if wanted & ~SUPPORTED:
        raise Failed(*INVALID_FIELD)
    admin.used[group] = wanted
    return b""


def _cap_list(admin: Admin, _group: int, _data: bytes) -> bytes:
    return opcode_list(sum(1 << id for id in admin.flow_filter.device))


def _cap_get(admin: Admin, _group: int, data: bytes) -> bytes:
    return admin.flow_filter.capability(CapabilityId.unpack(data).id)


def _cap_set(admin: Admin, _group: int, data: bytes) -> bytes:
    admin.flow_filter.set(CapabilityId.unpack(data).id, data[CapabilityId.size :])
    return b""


def _create(admin: Admin, _group: int, data: bytes) -> bytes:
    head = ObjectCommand.unpack(data)
    admin.flow_filter.objects.create(head.type, head.id, data[ObjectCommand.size :])
    return b""


def _modify(admin: Admin, _group: int, data: bytes) -> bytes:
    head = ObjectCommand.unpack(data)
    admin.flow_filter.objects.modify(head.type, head.id, data[ObjectCommand.size :])
    return b""


def _query(admin: Admin, _group: int, data: bytes) -> bytes:
    head = ObjectHeader.unpack(data)
    return admin.flow_filter.objects.query(head.type, head.id)


def _destroy(admin: Admin, _group: int, data: bytes) -> bytes:
    head = ObjectHeader.unpack(data)
    admin.flow_filter.objects.destroy(head.type, head.id)
    return b""


COMMANDS: dict[AdminOpcode, Callable[[Admin, int, bytes], bytes]] = {
    AdminOpcode.LIST_QUERY: _list_query,
    AdminOpcode.LIST_USE: _list_use,
    AdminOpcode.CAP_ID_LIST_QUERY: _cap_list,
    AdminOpcode.DEVICE_CAP_GET: _cap_get,
    AdminOpcode.DRIVER_CAP_SET: _cap_set,
    AdminOpcode.OBJECT_CREATE: _create,
    AdminOpcode.OBJECT_MODIFY: _modify,
    AdminOpcode.OBJECT_QUERY: _query,
    AdminOpcode.OBJECT_DESTROY: _destroy,
}
# The least that a command reads of its data: missing bytes are zeroes, what is too much is ignored (2.13.1).
DATA_BYTES = {
    AdminOpcode.LIST_USE: 8,
    AdminOpcode.DEVICE_CAP_GET: CapabilityId.size,
    AdminOpcode.DRIVER_CAP_SET: CapabilityId.size,
    AdminOpcode.OBJECT_CREATE: ObjectCommand.size,
    AdminOpcode.OBJECT_MODIFY: ObjectCommand.size,
    AdminOpcode.OBJECT_QUERY: ObjectCommand.size,
    AdminOpcode.OBJECT_DESTROY: ObjectHeader.size,
}
SUPPORTED = sum(1 << opcode for opcode in COMMANDS)
ALWAYS = 1 << AdminOpcode.LIST_QUERY | 1 << AdminOpcode.LIST_USE


class AdminQueue(ControlQueue):
    """Takes administration commands from the ring, and answers. ``steers``: there is a flow filter."""

    def __init__(self, device: str, state: NetState, *, steers: bool = True) -> None:
        super().__init__(device, state)
        effects = state.effects
        self.admin = Admin(FlowFilter(self._pairs, effects.set_flow_rules, DEVICE if steers else {}))
        self.busy = 0  # so many commands more are answered EAGAIN: a test wants it so

    def _pairs(self) -> int:
        """That receive, as far as the driver knows them."""
        return self.state.max_pairs if self.state.features & (Feature.NET_MQ | Feature.NET_RSS) else 1

    def answer(self, command: bytes, _length: int) -> bytes:
        """The reply to one command, result and all."""
        head = AdminCommand.unpack(command[: AdminCommand.size].ljust(AdminCommand.size, b"\0"))
        try:
            result = self.carry_out(int(head.opcode), int(head.group_type), command[AdminCommand.size :])
        except Failed as error:
            return AdminReply(status=error.status, status_qualifier=error.qualifier).pack()
        whole = -(-len(result) // WORD) * WORD
        return AdminReply(status=S.OK, status_qualifier=Q.OK).pack() + result.ljust(whole, b"\0")

    def carry_out(self, opcode: int, group: int, data: bytes) -> bytes:
        """The result; raises ``Failed``. Group, then opcode, then data are looked at (2.12.1.2)."""
        if self.busy:
            self.busy -= 1
            raise Failed(S.EAGAIN, Q.TRYAGAIN)
        if group != GroupType.SELF:
            raise Failed(*INVALID_GROUP)
        if not SUPPORTED >> opcode & 1 or not self.admin.legal(group) >> opcode & 1:
            raise Failed(*INVALID_OPCODE)
        known = AdminOpcode(opcode)
        return COMMANDS[known](self.admin, group, data.ljust(DATA_BYTES.get(known, 0), b"\0"))
