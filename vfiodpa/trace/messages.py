"""Recorded vhost-user messages in words."""

from __future__ import annotations

from ..layout import Layout
from ..spec.features import names as feature_names
from ..spec.vhost_user import (
    RULES,
    U64,
    BackendRequest,
    Header,
    HeaderFlag,
    MemRegion,
    MemTableHeader,
    Protocol,
    Request,
    VringArea,
)
from ..spec.virtio_pci import DeviceStatus
from .records import Message

_FEATURES = (Request.GET_FEATURES, Request.SET_FEATURES)
_PROTOCOL = (Request.GET_PROTOCOL_FEATURES, Request.SET_PROTOCOL_FEATURES)
_STATUS = (Request.GET_STATUS, Request.SET_STATUS)


def describe(message: Message) -> tuple[str, str]:
    """Name of the request, and what it says."""
    raw = bytes.fromhex(message.data)
    if len(raw) < Header.size:
        return f"{message.way} a part of a header", message.data
    header, payload = Header.unpack(raw), raw[Header.size :]
    words = [_payload(message.way, header.request, payload)]
    if header.flags & HeaderFlag.NEED_REPLY:
        words.append("(to be acknowledged)")
    if message.fds:
        words.append(f"+{message.fds} fd{'s' * (message.fds > 1)}")
    return f"{message.way} {_name(message.way, header.request)}", " ".join(word for word in words if word)


def _name(way: str, number: int) -> str:
    kind = BackendRequest if "=" in way else Request
    return kind(number).name if number in kind.__members__.values() else f"request {number}"


def _payload(way: str, number: int, payload: bytes) -> str:
    if "=" in way:
        return _layout(VringArea if way == "=>" else U64, payload)
    if number not in Request.__members__.values():
        return payload.hex()
    request = Request(number)
    if way == "->" and not RULES[request].reply:
        return _acknowledged(payload)
    if len(payload) == U64.size and request in _FEATURES + _PROTOCOL + _STATUS:
        return _flags(request, U64.unpack(payload).value)
    if request is Request.SET_MEM_TABLE:
        return _table(payload)
    layout = RULES[request].payload
    return _layout(layout if layout.size else U64, payload) if payload else ""


def _acknowledged(payload: bytes) -> str:
    code = U64.unpack(payload).value if len(payload) == U64.size else -1
    return {0: "acknowledged"}.get(code, "refused")


def _flags(request: Request, value: int) -> str:
    if request in _FEATURES:
        return " ".join(feature_names(value)) or "none"
    kind = Protocol if request in _PROTOCOL else DeviceStatus
    return " ".join(flag.name or "" for flag in kind if flag & value) or "none"


def _table(payload: bytes) -> str:
    rest = payload[MemTableHeader.size :]
    regions = [MemRegion.unpack(rest[i : i + MemRegion.size]) for i in range(0, len(rest) // 32 * 32, MemRegion.size)]
    return f"{len(regions)} regions: " + "; ".join(_fields(one) for one in regions)


def _layout(layout: type[Layout], payload: bytes) -> str:
    if len(payload) < layout.size:
        return payload.hex()
    more = payload[layout.size :]
    return " ".join(word for word in (_fields(layout.unpack(payload)), more.hex()) if word)


def _fields(one: Layout) -> str:
    return " ".join(
        f"{name}={value:#x}" if isinstance(value, int) else f"{name}={value}" for name, value in one.values.items()
    )
