"""A back end in a thread that speaks the protocol, records what it hears and moves no frames."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path
from typing import Self

from vfiodpa.errors import VfiodpaError
from vfiodpa.guest.channel import Channel, Message, PeerClosed
from vfiodpa.layout import Layout
from vfiodpa.spec.features import Feature
from vfiodpa.spec.vhost_user import (
    RULES,
    U64,
    HeaderFlag,
    MemRegion,
    MemTableHeader,
    Protocol,
    Request,
    SingleRegion,
    VringState,
)

OFFERED = Feature.VERSION_1 | Feature.EVENT_IDX | Feature.INDIRECT_DESC | Feature.NET_MRG_RXBUF
PROTOCOL = Protocol.MQ | Protocol.REPLY_ACK | Protocol.STATUS | Protocol.CONFIGURE_MEM_SLOTS | Protocol.RESET_DEVICE


class FakeBackend:
    """``heard`` lists requests in order; ``refuse`` makes a request's acknowledgement an error."""

    def __init__(self, path: Path, *, protocol: Protocol | None = PROTOCOL, offered: Feature = OFFERED) -> None:
        self.path = path
        self.protocol = protocol
        self.offered = offered
        self.heard: list[Message] = []
        self.fds: list[int] = []
        self.refuse: set[Request] = set()
        self.mute: set[Request] = set()
        self.hang_up: set[Request] = set()
        self.positions: dict[int, int] = {}
        self.status = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()
        for fd in self.fds:
            os.close(fd)
        assert not self._thread.is_alive()

    def join(self) -> None:
        """Wait until the connection is over."""
        self._thread.join(5)

    # What was heard

    def names(self) -> list[str]:
        return [Request(message.request).name for message in self.heard]

    def payloads(self, request: Request, kind: type[Layout]) -> list[Layout]:
        return [kind.unpack(message.payload) for message in self.heard if message.request == request]

    def regions(self) -> list[tuple[int, int]]:
        """GPA and length of each region told, by table or one by one."""
        found = []
        for message in self.heard:
            if message.request == Request.SET_MEM_TABLE:
                count = MemTableHeader.unpack(message.payload).count
                at = [MemTableHeader.size + MemRegion.size * i for i in range(count)]
                found += [MemRegion.unpack(message.payload[offset:]) for offset in at]
            elif message.request == Request.ADD_MEM_REG:
                single = SingleRegion.unpack(message.payload)
                found.append(MemRegion(gpa=single.gpa, length=single.length))
        return [(region.gpa, region.length) for region in found]

    # The thread

    def _serve(self) -> None:
        with contextlib.suppress(OSError, VfiodpaError):
            sock, _ = self._listener.accept()
            with Channel(sock, "fake back end", timeout=10) as channel:
                while True:
                    self._answer(channel, channel.recv())

    def _answer(self, channel: Channel, message: Message) -> None:
        self.heard.append(message)
        self.fds += message.fds
        request = Request(message.request)
        if request in self.hang_up:
            raise PeerClosed("on demand")
        if request in self.mute:
            return
        if request is Request.SET_STATUS:
            self.status = message.u64
        if RULES[request].reply:
            channel.reply(message, self._reply(request, message))
        elif message.flags & HeaderFlag.NEED_REPLY:
            channel.reply(message, U64(value=int(request in self.refuse)))

    def _reply(self, request: Request, message: Message) -> Layout:
        if request is Request.GET_VRING_BASE:
            index = VringState.unpack(message.payload).index
            return VringState(index=index, num=self.positions.get(index, 0))
        features = self.offered
        if self.protocol is not None:
            features |= Feature.VHOST_PROTOCOL_FEATURES
        values = {
            Request.GET_FEATURES: features,
            Request.GET_PROTOCOL_FEATURES: self.protocol or 0,
            Request.GET_QUEUE_NUM: 4,
            Request.GET_MAX_MEM_SLOTS: 32,
            Request.GET_STATUS: self.status,
        }
        return U64(value=values[request])
