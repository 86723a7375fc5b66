"""The vhost-user protocol.

Ref: QEMU docs/interop/vhost-user.rst (10.2, and the additions of 2026 where marked).
Headers and payloads are in the host's byte order.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from ..layout import Layout, array, u8, u16, u32, u64
from .features import Feature

VERSION = 1
MAX_FDS = 8  # per message
MAX_PAYLOAD = 4096
VRING_INDEX_MASK = 0xFF
VRING_NO_FD = 1 << 8
TABLE_SLOTS = 8  # regions of one SET_MEM_TABLE
MAX_MEM_SLOTS = 509  # what QEMU and the KVM memory slots allow


class HeaderFlag(IntFlag):
    """Bits 0-1 hold the version."""

    VERSION_MASK = 0x3
    REPLY = 1 << 2
    NEED_REPLY = 1 << 3


class Header(Layout, size=12):
    """``length``: bytes of payload that follow (the protocol calls it size)."""

    request = u32
    flags = u32
    length = u32


class Protocol(IntFlag):
    """Protocol feature bits (masks)."""

    NONE = 0
    MQ = 1 << 0
    LOG_SHMFD = 1 << 1
    RARP = 1 << 2
    REPLY_ACK = 1 << 3
    MTU = 1 << 4
    BACKEND_REQ = 1 << 5
    CROSS_ENDIAN = 1 << 6
    CRYPTO_SESSION = 1 << 7
    PAGEFAULT = 1 << 8
    CONFIG = 1 << 9
    BACKEND_SEND_FD = 1 << 10
    HOST_NOTIFIER = 1 << 11
    INFLIGHT_SHMFD = 1 << 12
    RESET_DEVICE = 1 << 13
    INBAND_NOTIFICATIONS = 1 << 14
    CONFIGURE_MEM_SLOTS = 1 << 15
    STATUS = 1 << 16
    XEN_MMAP = 1 << 17
    SHARED_OBJECT = 1 << 18
    DEVICE_STATE = 1 << 19
    GET_VRING_BASE_INFLIGHT = 1 << 20
    GPA_ADDRESSES = 1 << 21
    SHMEM = 1 << 22
    GET_VRING_BASE_SKIP_DRAIN = 1 << 23


# Everything that a host notifier needs; the acknowledgement (REPLY_ACK) is welcome.
HOST_NOTIFIERS = Protocol.BACKEND_REQ | Protocol.BACKEND_SEND_FD | Protocol.HOST_NOTIFIER


class Empty(Layout, size=0):
    """A message without payload."""


class U64(Layout, size=8):
    value = u64


class VringState(Layout, size=8):
    index = u32
    num = u32


class VringAddr(Layout, size=40):
    """Ring addresses are the front end's virtual addresses; flag bit 0 asks for a dirty log."""

    index = u32
    flags = u32
    desc = u64
    used = u64
    avail = u64
    log = u64


class MemTableHeader(Layout, size=8):
    """Followed by ``count`` regions."""

    count = u32
    padding = u32


class MemRegion(Layout, size=32):
    """Guest physical address, bytes, front end's virtual address, offset in the fd."""

    gpa = u64
    length = u64
    uaddr = u64
    mmap_offset = u64


class SingleRegion(Layout, size=40):
    padding = u64
    gpa = u64
    length = u64
    uaddr = u64
    mmap_offset = u64


class LogBase(Layout, size=16):
    mmap_size = u64
    mmap_offset = u64


class Iotlb(Layout, size=32):
    iova = u64
    length = u64
    uaddr = u64
    perm = u8
    type = u8
    padding = array(u8, 6)


class ConfigHeader(Layout, size=12):
    """Followed by ``length`` bytes of device configuration."""

    offset = u32
    length = u32
    flags = u32


class VringArea(Layout, size=24):
    index = u64
    length = u64
    offset = u64


class Inflight(Layout, size=24):
    mmap_size = u64
    mmap_offset = u64
    num_queues = u16
    queue_size = u16
    padding = u32


class Transfer(Layout, size=8):
    direction = u32
    phase = u32


class Uuid(Layout, size=16):
    uuid = array(u8, 16)


class Request(IntEnum):
    """Front end to back end."""

    GET_FEATURES = 1
    SET_FEATURES = 2
    SET_OWNER = 3
    RESET_OWNER = 4
    SET_MEM_TABLE = 5
    SET_LOG_BASE = 6
    SET_LOG_FD = 7
    SET_VRING_NUM = 8
    SET_VRING_ADDR = 9
    SET_VRING_BASE = 10
    GET_VRING_BASE = 11
    SET_VRING_KICK = 12
    SET_VRING_CALL = 13
    SET_VRING_ERR = 14
    GET_PROTOCOL_FEATURES = 15
    SET_PROTOCOL_FEATURES = 16
    GET_QUEUE_NUM = 17
    SET_VRING_ENABLE = 18
    SEND_RARP = 19
    NET_SET_MTU = 20
    SET_BACKEND_REQ_FD = 21
    IOTLB_MSG = 22
    SET_VRING_ENDIAN = 23
    GET_CONFIG = 24
    SET_CONFIG = 25
    CREATE_CRYPTO_SESSION = 26
    CLOSE_CRYPTO_SESSION = 27
    POSTCOPY_ADVISE = 28
    POSTCOPY_LISTEN = 29
    POSTCOPY_END = 30
    GET_INFLIGHT_FD = 31
    SET_INFLIGHT_FD = 32
    GPU_SET_SOCKET = 33
    RESET_DEVICE = 34
    VRING_KICK = 35
    GET_MAX_MEM_SLOTS = 36
    ADD_MEM_REG = 37
    REM_MEM_REG = 38
    SET_STATUS = 39
    GET_STATUS = 40
    GET_SHARED_OBJECT = 41
    SET_DEVICE_STATE_FD = 42
    CHECK_DEVICE_STATE = 43


class BackendRequest(IntEnum):
    """Back end to front end, on the socket of SET_BACKEND_REQ_FD."""

    IOTLB_MSG = 1
    CONFIG_CHANGE_MSG = 2
    VRING_HOST_NOTIFIER_MSG = 3
    VRING_CALL = 4
    VRING_ERR = 5


@dataclass(frozen=True, slots=True)
class Rule:
    """What one message must look like.

    ``payload``: its layout; with ``more`` bytes may follow it. ``fds``: how many descriptors it
    takes at least and at most. ``gate``: the protocol feature that must be negotiated.
    ``reply``: has a reply of its own; the others are acknowledged when need_reply asks for it.
    """

    payload: type[Layout] = Empty
    fds: tuple[int, int] = (0, 0)
    more: int = 0
    reply: bool = False
    gate: Protocol = Protocol.NONE


_R = Request
_P = Protocol
_TABLE_BYTES = TABLE_SLOTS * MemRegion.size

# fmt: off
RULES: dict[Request, Rule] = {
    _R.GET_FEATURES:          Rule(reply=True),
    _R.SET_FEATURES:          Rule(U64),
    _R.SET_OWNER:             Rule(),
    _R.RESET_OWNER:           Rule(),
    _R.SET_MEM_TABLE:         Rule(MemTableHeader, fds=(0, TABLE_SLOTS), more=_TABLE_BYTES),
    _R.SET_LOG_BASE:          Rule(LogBase, fds=(1, 1), reply=True, gate=_P.LOG_SHMFD),
    _R.SET_LOG_FD:            Rule(fds=(1, 1), gate=_P.LOG_SHMFD),
    _R.SET_VRING_NUM:         Rule(VringState),
    _R.SET_VRING_ADDR:        Rule(VringAddr),
    _R.SET_VRING_BASE:        Rule(VringState),
    _R.GET_VRING_BASE:        Rule(VringState, reply=True),
    _R.SET_VRING_KICK:        Rule(U64, fds=(0, 1)),
    _R.SET_VRING_CALL:        Rule(U64, fds=(0, 1)),
    _R.SET_VRING_ERR:         Rule(U64, fds=(0, 1)),
    _R.GET_PROTOCOL_FEATURES: Rule(reply=True),
    _R.SET_PROTOCOL_FEATURES: Rule(U64),
    _R.GET_QUEUE_NUM:         Rule(reply=True, gate=_P.MQ),
    _R.SET_VRING_ENABLE:      Rule(VringState),
    _R.SEND_RARP:             Rule(U64, gate=_P.RARP),
    _R.NET_SET_MTU:           Rule(U64, gate=_P.MTU),
    _R.SET_BACKEND_REQ_FD:    Rule(fds=(1, 1), gate=_P.BACKEND_REQ),
    _R.IOTLB_MSG:             Rule(Iotlb, reply=True, gate=_P.BACKEND_REQ),
    _R.SET_VRING_ENDIAN:      Rule(VringState, gate=_P.CROSS_ENDIAN),
    _R.GET_CONFIG:            Rule(ConfigHeader, more=256, reply=True, gate=_P.CONFIG),
    _R.SET_CONFIG:            Rule(ConfigHeader, more=256, gate=_P.CONFIG),
    _R.CREATE_CRYPTO_SESSION: Rule(more=MAX_PAYLOAD, reply=True, gate=_P.CRYPTO_SESSION),
    _R.CLOSE_CRYPTO_SESSION:  Rule(U64, gate=_P.CRYPTO_SESSION),
    _R.POSTCOPY_ADVISE:       Rule(reply=True, gate=_P.PAGEFAULT),
    _R.POSTCOPY_LISTEN:       Rule(gate=_P.PAGEFAULT),
    _R.POSTCOPY_END:          Rule(reply=True, gate=_P.PAGEFAULT),
    _R.GET_INFLIGHT_FD:       Rule(Inflight, reply=True, gate=_P.INFLIGHT_SHMFD),
    _R.SET_INFLIGHT_FD:       Rule(Inflight, fds=(1, 1), gate=_P.INFLIGHT_SHMFD),
    _R.GPU_SET_SOCKET:        Rule(fds=(1, 1), gate=_P.NONE),
    _R.RESET_DEVICE:          Rule(gate=_P.RESET_DEVICE),
    _R.VRING_KICK:            Rule(VringState, gate=_P.INBAND_NOTIFICATIONS),
    _R.GET_MAX_MEM_SLOTS:     Rule(reply=True, gate=_P.CONFIGURE_MEM_SLOTS),
    _R.ADD_MEM_REG:           Rule(SingleRegion, fds=(1, 1), gate=_P.CONFIGURE_MEM_SLOTS),
    _R.REM_MEM_REG:           Rule(SingleRegion, fds=(0, 1), gate=_P.CONFIGURE_MEM_SLOTS),
    _R.SET_STATUS:            Rule(U64, gate=_P.STATUS),
    _R.GET_STATUS:            Rule(reply=True, gate=_P.STATUS),
    _R.GET_SHARED_OBJECT:     Rule(Uuid, reply=True, gate=_P.SHARED_OBJECT),
    _R.SET_DEVICE_STATE_FD:   Rule(Transfer, fds=(1, 1), reply=True, gate=_P.DEVICE_STATE),
    _R.CHECK_DEVICE_STATE:    Rule(reply=True, gate=_P.DEVICE_STATE),
}
# fmt: on

# Legal before SET_FEATURES. The protocol's text names GET_FEATURES, SET_FEATURES, SET_OWNER and the protocol
# features; real front ends need the rest: QEMU asks for queues and memory slots, hands over its channel
# and sets call and error fds when it creates the NIC, sets the MTU before the guest's driver has chosen,
# resets the device while it boots, enables rings first of all when it starts them, and asks for their bases
# after status 0 has taken the features back; DPDK's virtio-user sets call fds first.
BEFORE_FEATURES = frozenset(
    {
        _R.GET_FEATURES,
        _R.SET_FEATURES,
        _R.SET_OWNER,
        _R.RESET_OWNER,
        _R.GET_PROTOCOL_FEATURES,
        _R.SET_PROTOCOL_FEATURES,
        _R.GET_QUEUE_NUM,
        _R.GET_MAX_MEM_SLOTS,
        _R.SET_BACKEND_REQ_FD,
        _R.SET_VRING_CALL,
        _R.SET_VRING_ERR,
        _R.SET_VRING_ENABLE,
        _R.GET_VRING_BASE,
        _R.NET_SET_MTU,
        _R.RESET_DEVICE,
        _R.GET_STATUS,
        _R.SET_STATUS,
    }
)

# What a front end may negotiate at the virtio level only because the protocol carries it.
TRANSPORT_BITS = Feature.VHOST_PROTOCOL_FEATURES | Feature.VHOST_LOG_ALL
