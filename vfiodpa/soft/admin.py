"""The software NIC's administration queue: the self group, with the commands that ask what there is.

Ref: virtio 1.3, 2.12 and 2.13. The ring is a control queue's (csrc/control_ring.h).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..spec.virtio_admin import (
    AdminCommand,
    AdminOpcode,
    AdminQualifier,
    AdminReply,
    AdminStatus,
    CapabilityId,
    GroupType,
    opcode_list,
)
from .control_queue import ControlQueue
from .settings import NetState

Q, S = AdminQualifier, AdminStatus


class Failed(Exception):
    """The command is answered with this status and qualifier; nothing has changed."""

    def __init__(self, status: AdminStatus, qualifier: AdminQualifier) -> None:
        super().__init__(f"{status.name}, {qualifier.name}")
        self.status = status
        self.qualifier = qualifier


INVALID_GROUP = (S.EINVAL, Q.INVALID_GROUP)
INVALID_OPCODE = (S.EINVAL, Q.INVALID_OPCODE)
INVALID_FIELD = (S.EINVAL, Q.INVALID_FIELD)


@dataclass(slots=True)
class Admin:
    """What commands did. ``used``: the opcodes of LIST_USE, by group, as a bitmap; a device reset forgets them."""

    used: dict[int, int] = field(default_factory=dict)

    def clear(self) -> None:
        """As after a reset: only the two commands that ask and tell what is used (2.12.1.2)."""
        self.used.clear()

    def legal(self, group: int) -> int:
        """What the driver may use now."""
        return self.used.get(group, ALWAYS)


def _list_query(_admin: Admin, _group: int, _data: bytes) -> bytes:
    return opcode_list(SUPPORTED)


def _list_use(admin: Admin, group: int, data: bytes) -> bytes:
    wanted = int.from_bytes(data, "little")
    if wanted & ~SUPPORTED:
        raise Failed(*INVALID_FIELD)
    admin.used[group] = wanted
    return b""


def _cap_list(_admin: Admin, _group: int, _data: bytes) -> bytes:
    return bytes(8)  # there is none


def _no_cap(_admin: Admin, _group: int, _data: bytes) -> bytes:
    raise Failed(S.ENXIO, Q.INVALID_FIELD)


COMMANDS: dict[AdminOpcode, Callable[[Admin, int, bytes], bytes]] = {
    AdminOpcode.LIST_QUERY: _list_query,
    AdminOpcode.LIST_USE: _list_use,
    AdminOpcode.CAP_ID_LIST_QUERY: _cap_list,
    AdminOpcode.DEVICE_CAP_GET: _no_cap,
    AdminOpcode.DRIVER_CAP_SET: _no_cap,
}
# What a command reads of its data; missing bytes are zeroes, what is too much is ignored (2.13.1).
DATA_BYTES = {AdminOpcode.LIST_USE: 8, AdminOpcode.DEVICE_CAP_GET: CapabilityId.size}
SUPPORTED = sum(1 << opcode for opcode in COMMANDS)
ALWAYS = 1 << AdminOpcode.LIST_QUERY | 1 << AdminOpcode.LIST_USE


class AdminQueue(ControlQueue):
    """Takes administration commands from the ring, and answers."""

    def __init__(self, device: str, state: NetState, admin: Admin) -> None:
        super().__init__(device, state)
        self.admin = admin
        self.busy = 0  # so many commands more are answered EAGAIN: a test wants it so

    def answer(self, command: bytes, _length: int) -> bytes:
        """The reply to one command, result and all."""
        head = AdminCommand.unpack(command[: AdminCommand.size].ljust(AdminCommand.size, b"\0"))
        try:
            result = self.carry_out(int(head.opcode), int(head.group_type), command[AdminCommand.size :])
        except Failed as error:
            return AdminReply(status=error.status, status_qualifier=error.qualifier).pack()
        return AdminReply(status=S.OK, status_qualifier=Q.OK).pack() + result

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
        wanted = DATA_BYTES.get(known, 0)
        return COMMANDS[known](self.admin, group, data[:wanted].ljust(wanted, b"\0"))
