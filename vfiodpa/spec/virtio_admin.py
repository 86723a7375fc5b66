"""Device groups and their administration commands.

Ref: virtio 1.3, 2.12 and 2.13; the self group, capabilities and resource objects: virtio 1.4, 2.12.1.
"""

from __future__ import annotations

from enum import IntEnum

from ..layout import Layout, array, le8, le16, le32, le64


class GroupType(IntEnum):
    """Whom a command is for (2.12)."""

    SELF = 0  # the device that has the queue; since 1.4
    SRIOV = 1


class AdminOpcode(IntEnum):
    """What a command does (2.12.1)."""

    LIST_QUERY = 0x0
    LIST_USE = 0x1
    LEGACY_COMMON_CFG_WRITE = 0x2
    LEGACY_COMMON_CFG_READ = 0x3
    LEGACY_DEV_CFG_WRITE = 0x4
    LEGACY_DEV_CFG_READ = 0x5
    LEGACY_NOTIFY_INFO = 0x6
    CAP_ID_LIST_QUERY = 0x7  # since 1.4
    DEVICE_CAP_GET = 0x8
    DRIVER_CAP_SET = 0x9
    # As their sections and Linux say; the table of 2.12.1 has MODIFY and QUERY the other way round.
    OBJECT_CREATE = 0xA
    OBJECT_MODIFY = 0xB
    OBJECT_QUERY = 0xC
    OBJECT_DESTROY = 0xD


class AdminStatus(IntEnum):
    """How it went; the numbers are those of errno (2.12.1)."""

    OK = 0
    ENXIO = 6  # since 1.4
    EAGAIN = 11
    ENOMEM = 12
    EBUSY = 16
    EEXIST = 17
    EINVAL = 22
    ENOSPC = 28


class AdminQualifier(IntEnum):
    """What was wrong (2.12.1)."""

    OK = 0
    INVALID_COMMAND = 1
    INVALID_OPCODE = 2
    INVALID_FIELD = 3
    INVALID_GROUP = 4
    INVALID_MEMBER = 5
    NORESOURCE = 6
    TRYAGAIN = 7


class AdminCommand(Layout, size=24, ref="virtio 1.3, 2.12.1, struct virtio_admin_cmd, what the device reads"):
    """Followed by the command's own data."""

    opcode = le16
    group_type = le16
    reserved1 = array(le8, 12)
    group_member_id = le64


class AdminReply(Layout, size=8, ref="virtio 1.3, 2.12.1, struct virtio_admin_cmd, what the device writes"):
    """Followed by the command's own result."""

    status = le16
    status_qualifier = le16
    reserved2 = array(le8, 4)


class CapabilityId(
    Layout, size=8, ref="virtio 1.4, 2.12.1, the data of DEVICE_CAP_GET, and the head of DRIVER_CAP_SET's"
):
    id = le16
    reserved = array(le8, 6)


class ObjectHeader(Layout, size=8, ref="virtio 1.4, 2.12.1, struct virtio_admin_cmd_resource_obj_cmd_hdr"):
    """All of OBJECT_DESTROY's data. Ids are the driver's, unique within a type, from 0 to below the type's limit."""

    type = le16
    reserved = array(le8, 2)
    id = le32


class ObjectCommand(ObjectHeader, size=16, ref="virtio 1.4, 2.12.1, the data of OBJECT_CREATE, MODIFY and QUERY"):
    """Followed by the object's own data, but for OBJECT_QUERY."""

    flags = le64


def opcode_list(bits: int) -> bytes:
    """The data of LIST_USE, and the result of LIST_QUERY: a bitmap in 64-bit words."""
    words = max(-(-bits.bit_length() // 64), 1)
    return bits.to_bytes(8 * words, "little")
