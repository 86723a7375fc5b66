"""From a message to its handler and to its answer: the one place that decides about refusals.

A malformed message ends the connection: what follows it cannot be trusted. A well-formed message that is
refused (not negotiated, out of order, bad values, the device cannot) is answered with a non-zero
acknowledgement when the front end asked for one; otherwise it cannot learn of the refusal, so the
connection ends. Front ends reconnect after that.

Ref: vhost-user, "REPLY_ACK".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ProtocolViolation, StateError, Unsupported, VfiodpaError
from ...layout import Layout
from ...spec.features import Feature
from ...spec.vhost_user import BEFORE_FEATURES, RULES, U64, Protocol, Request
from .message import Malformed, Message, decode, reply

log = logging.getLogger(__name__)

Handler = Callable[[Any, Message], Layout | None]  # gets the decoded payload; returns its own reply


@dataclass(slots=True)
class Negotiated:
    """What both sides agreed on; ``features`` is ``None`` before SET_FEATURES."""

    features: Feature | None = None
    protocol: Protocol = Protocol.NONE


class Dispatcher:
    """Checks that a message may come now, calls its handler and makes the answer."""

    def __init__(self, name: str, handlers: Mapping[Request, Handler], negotiated: Negotiated) -> None:
        self._name = name
        self._handlers = handlers
        self._negotiated = negotiated

    def answer(self, message: Message) -> bytes:
        """The bytes to send back, possibly none. Raises what ends the connection. Closes unused fds."""
        # Asked before the handler runs: SET_PROTOCOL_FEATURES may change it for the messages after it.
        acknowledge = message.need_reply and Protocol.REPLY_ACK in self._negotiated.protocol
        try:
            own = self._call(message)
        except Malformed:
            raise
        except VfiodpaError as error:
            if not acknowledge or _has_own_reply(message):
                raise VfiodpaError(f"{message.name} refused: {error}") from error
            log.warning("%s: %s refused: %s", self._name, message.name, error)
            return reply(message, U64(value=1).pack())
        finally:
            message.close()
        if own is not None:
            return reply(message, own.pack())
        return reply(message, U64(value=0).pack()) if acknowledge else b""

    def _call(self, message: Message) -> Layout | None:
        if message.request is None:
            raise ProtocolViolation("no specification that is known here defines it")
        body = decode(message)
        log.debug("%s: %s %r, %d fds", self._name, message.name, body, len(message.fds))
        self._check_allowed(message.request)
        return self._handlers[message.request](body, message)

    def _check_allowed(self, request: Request) -> None:
        gate = RULES[request].gate
        if gate not in self._negotiated.protocol:
            raise ProtocolViolation(f"the protocol feature {gate.name} was not negotiated")
        if request not in self._handlers:
            raise Unsupported("a network back end does not have it")
        if self._negotiated.features is None:
            if request not in BEFORE_FEATURES:
                raise StateError("it comes before SET_FEATURES")
        elif request is Request.SET_VRING_ENABLE and Feature.VHOST_PROTOCOL_FEATURES not in self._negotiated.features:
            raise ProtocolViolation("the feature VHOST_PROTOCOL_FEATURES was not negotiated")


def _has_own_reply(message: Message) -> bool:
    return message.request is not None and RULES[message.request].reply
