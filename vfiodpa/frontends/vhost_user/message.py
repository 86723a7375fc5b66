"""One vhost-user message: header rules, payload and fds.

Ref: vhost-user, "Message Specification". What each message must look like stands in spec.vhost_user.RULES.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ...errors import ProtocolViolation
from ...layout import Layout
from ...spec.vhost_user import MAX_PAYLOAD, RULES, VERSION, Header, HeaderFlag, MemRegion, MemTableHeader, Request
from .fds import close_all

# Told of each message that goes by: its way (<- a request, -> our answer, => a request of ours, <= its
# acknowledgement), its bytes, and how many fds came with it.
Tap = Callable[[str, bytes, int], None]

_KNOWN = {int(request): request for request in Request}


class Malformed(ProtocolViolation):
    """The framing or the shape of a message is wrong: what follows on the socket cannot be trusted."""


@dataclass(slots=True)
class Message:
    """A complete message. Owns its fds until they are taken."""

    header: Header
    payload: bytes = b""
    fds: list[int] = field(default_factory=list)

    @property
    def request(self) -> Request | None:
        """``None`` for an id that no specification defines (or that is newer than this table)."""
        return _KNOWN.get(self.header.request)

    @property
    def name(self) -> str:
        """Name of the request, for people."""
        return request_name(self.header.request)

    @property
    def need_reply(self) -> bool:
        """Does the front end ask for an acknowledgement?"""
        return bool(self.header.flags & HeaderFlag.NEED_REPLY)

    def take_fd(self) -> int:
        """Hand the only fd over; -1 when there is none."""
        return self.fds.pop(0) if self.fds else -1

    def take_fds(self) -> list[int]:
        """Hand all fds over."""
        fds, self.fds = self.fds, []
        return fds

    def close(self) -> None:
        """Close the fds that nobody took."""
        close_all(self.take_fds())


def no_tap(_way: str, _data: bytes, _fds: int) -> None:
    """The default: nobody listens."""


def request_name(number: int) -> str:
    """``'SET_OWNER'``, or ``'request 99'``."""
    request = _KNOWN.get(number)
    return f"request {number}" if request is None else request.name


def check_header(header: Header) -> None:
    """Raises ``Malformed``; checked before the payload is read, so that its size can be believed."""
    name = request_name(header.request)
    version = header.flags & HeaderFlag.VERSION_MASK
    if version != VERSION:
        raise Malformed(f"{name}: version {version}, the protocol has {VERSION}")
    if header.flags & HeaderFlag.REPLY:
        raise Malformed(f"{name}: the reply bit is set in a request")
    low, high = 0, MAX_PAYLOAD
    if header.request in _KNOWN:
        rule = RULES[_KNOWN[header.request]]
        low, high = rule.payload.size, rule.payload.size + rule.more
    if not low <= header.length <= high:
        expected = str(low) if low == high else f"{low} to {high}"
        raise Malformed(f"{name}: payload of {header.length} bytes, expected {expected}")


def check_fds(message: Message) -> None:
    """Raises ``Malformed`` when a known message came with too few or too many fds."""
    if message.request is None:
        return
    low, high = RULES[message.request].fds
    if not low <= len(message.fds) <= high:
        expected = str(low) if low == high else f"{low} to {high}"
        raise Malformed(f"{message.name}: {len(message.fds)} fds, expected {expected}")


def decode(message: Message) -> Layout:
    """The fixed part of the payload of a known message."""
    if message.request is None:
        raise ValueError(f"{message.name} has no layout")
    return RULES[message.request].payload.unpack(message.payload)


def decode_table(message: Message) -> list[MemRegion]:
    """The regions of SET_MEM_TABLE. Raises ``Malformed`` when count, size and fds disagree."""
    count = MemTableHeader.unpack(message.payload).count
    rest = message.payload[MemTableHeader.size :]
    if len(rest) != count * MemRegion.size or len(message.fds) != count:
        raise Malformed(f"{message.name}: {count} regions in {len(rest)} bytes with {len(message.fds)} fds")
    return [MemRegion.unpack(rest[i : i + MemRegion.size]) for i in range(0, len(rest), MemRegion.size)]


def reply(to: Message, payload: bytes) -> bytes:
    """The bytes of a reply: same request, reply bit, no need_reply."""
    header = Header(request=to.header.request, flags=VERSION | HeaderFlag.REPLY, length=len(payload))
    return header.pack() + payload
