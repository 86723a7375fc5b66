"""How an administration command fails."""

from __future__ import annotations

from ..spec.virtio_admin import AdminQualifier, AdminStatus

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
NO_SUCH = (S.ENXIO, Q.INVALID_FIELD)
EXISTS = (S.EEXIST, Q.INVALID_FIELD)
NO_ROOM = (S.ENOSPC, Q.NORESOURCE)
IN_USE = (S.EBUSY, Q.INVALID_FIELD)
