"""A recording core, and a peer that says whatever a test wants."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vfiodpa.drivers.device import QueueState
from vfiodpa.errors import StateError
from vfiodpa.frontends.frontend import Backend, Frontend, Region, Ring
from vfiodpa.frontends.loop import Loop
from vfiodpa.layout import Layout
from vfiodpa.spec.features import Feature
from vfiodpa.spec.vhost_user import U64, Header, HeaderFlag, Request, SingleRegion, VringAddr, VringState

F = Feature
FEATURES = F.VERSION_1 | F.EVENT_IDX | F.INDIRECT_DESC | F.NET_MRG_RXBUF | F.NET_MAC | F.NET_STATUS | F.NET_MTU

GUEST_BASE = 0x1_0000_0000  # where the tests put guest memory ...
USER_BASE = 0x7F00_0000_0000  # ... and where their front end has it
MEMORY = 0x40_0000

HASTY = 0.1  # seconds that a stalled peer is given, where that matters


class FakeBackend(Backend):
    """Records calls as ``(name, *arguments)``; ``fail[name]`` is raised once by the call of that name."""

    features = FEATURES
    queue_pairs = 2
    mtu = 1500
    can_announce = True

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.fail: dict[str, Exception] = {}
        self.frontend: Frontend | None = None
        self.regions: list[Region] = []
        self.kicks: dict[int, int | None] = {}
        self.call_fds: dict[int, int | None] = {}
        self.position: dict[int, int] = {}

    def names(self) -> list[str]:
        return [call[0] for call in self.calls]

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == name]

    def _record(self, *call: Any) -> None:
        if call[0] in self.fail:
            raise self.fail.pop(call[0])
        self.calls.append(call)

    def attach(self, frontend: Frontend) -> None:
        if self.frontend is not None:
            raise StateError("another guest is attached")
        self._record("attach")
        self.frontend = frontend

    def detach(self) -> None:
        for region in self.regions:
            assert region.memory.fd >= 0, "memory was unmapped under the device"
        self.calls.append(("detach",))
        self.frontend = None
        self.regions = []

    def reset(self) -> None:
        self._record("reset")

    def set_features(self, features: Feature) -> None:
        self._record("set_features", features)

    def set_driver_ok(self, driver_ok: bool) -> None:
        self._record("set_driver_ok", driver_ok)

    def check_regions(self, regions: list[Region]) -> None:
        self._record("check_regions", [(region.gpa, region.length) for region in regions])

    def add_region(self, region: Region) -> None:
        self._record("add_region", region.gpa, region.length)
        for other in self.regions:
            assert region.gpa > other.last or region.last < other.gpa, "overlap"
        self.regions.append(region)

    def remove_region(self, region: Region) -> None:
        self._record("remove_region", region.gpa, region.length)
        assert region.memory.fd >= 0, "memory was unmapped under the device"
        self.regions.remove(region)

    def set_ring(self, queue: int, ring: Ring) -> None:
        self._record("set_ring", queue, ring)

    def set_base(self, queue: int, state: QueueState) -> None:
        self._record("set_base", queue, state.avail)
        self.position[queue] = state.avail

    def set_kick(self, queue: int, fd: int | None) -> None:
        self._record("set_kick", queue, fd is not None)
        self.kicks[queue] = fd

    def set_call(self, queue: int, fd: int | None) -> None:
        self._record("set_call", queue, fd is not None)
        self.call_fds[queue] = fd

    def start_queue(self, queue: int) -> None:
        self._record("start_queue", queue)

    def stop_queue(self, queue: int) -> QueueState:
        self._record("stop_queue", queue)
        return QueueState(self.position.get(queue, 0))

    def enable_queue(self, queue: int, on: bool) -> None:
        self._record("enable_queue", queue, on)

    def set_mtu(self, mtu: int) -> None:
        self._record("set_mtu", mtu)

    def announce(self, mac: bytes) -> None:
        self._record("announce", mac)


def settle(loop: Loop) -> None:
    """Run the loop until nothing is left to do now."""
    while loop.run_once(0):
        pass


class Peer:
    """A front end that can break every rule. Steps the loop itself, so tests are single-threaded."""

    def __init__(self, loop: Loop, path: Path | str, sock: socket.socket | None = None) -> None:
        self.loop = loop
        self.sock = sock or socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if sock is None:
            self.sock.connect(str(path))
        self.sock.setblocking(False)
        self.fds: list[int] = []
        settle(loop)

    def close(self) -> None:
        self.sock.close()
        for fd in self.fds:
            os.close(fd)
        self.fds = []
        settle(self.loop)

    def eventfd(self) -> int:
        self.fds.append(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
        return self.fds[-1]

    def memfd(self, size: int = MEMORY) -> int:
        fd = os.memfd_create("guest", os.MFD_CLOEXEC)
        os.ftruncate(fd, size)
        self.fds.append(fd)
        return fd

    def raw(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send bytes as they are."""
        socket.send_fds(self.sock, [data], list(fds)) if fds else self.sock.sendall(data)
        settle(self.loop)

    def send(
        self, request: int, body: Layout | bytes = b"", fds: Sequence[int] = (), *, ack: bool = False, flags: int = 1
    ) -> None:
        """Send one message."""
        payload = body.pack() if isinstance(body, Layout) else body
        flags |= HeaderFlag.NEED_REPLY if ack else 0
        self.raw(Header(request=request, flags=flags, length=len(payload)).pack() + payload, fds)

    def reply(self) -> tuple[int, bytes]:
        """Request id and payload of the next reply."""
        header = Header.unpack(self.sock.recv(Header.size))
        assert header.flags == 1 | HeaderFlag.REPLY
        return header.request, self.sock.recv(header.length) if header.length else b""

    def ask(self, request: int, body: Layout | bytes = b"", fds: Sequence[int] = (), *, ack: bool = False) -> int:
        """Send and return the number that comes back (or a ring's base)."""
        self.send(request, body, fds, ack=ack)
        got, payload = self.reply()
        assert got == request
        assert len(payload) == 8
        if request == Request.GET_VRING_BASE:
            return VringState.unpack(payload).num
        return U64.unpack(payload).value

    def acked(self, request: int, body: Layout | bytes = b"", fds: Sequence[int] = ()) -> bool:
        """Send with need_reply: accepted?"""
        return self.ask(request, body, fds, ack=True) == 0

    @property
    def alive(self) -> bool:
        """Is the connection still open, with nothing left to read?"""
        settle(self.loop)
        try:
            return self.sock.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except ConnectionResetError:
            return False

    # The usual sequences

    def negotiate(self, features: int = FEATURES | F.VHOST_PROTOCOL_FEATURES, protocol: int | None = None) -> None:
        """Owner, protocol features and features; ``protocol``: all that is offered unless given."""
        self.send(Request.SET_OWNER)
        offered = self.ask(Request.GET_PROTOCOL_FEATURES)
        self.send(Request.SET_PROTOCOL_FEATURES, U64(value=offered if protocol is None else protocol))
        self.send(Request.SET_FEATURES, U64(value=int(features)))
        assert self.alive

    def add_memory(self, gpa: int = GUEST_BASE, uaddr: int = USER_BASE, size: int = MEMORY, fd: int = -1) -> None:
        assert self.acked(Request.ADD_MEM_REG, region(gpa, uaddr, size), [self.memfd(size) if fd < 0 else fd])

    def describe(self, queue: int, size: int = 256, base: int = 0) -> None:
        """NUM, BASE and ADDR of a queue."""
        assert self.acked(Request.SET_VRING_NUM, VringState(index=queue, num=size))
        assert self.acked(Request.SET_VRING_BASE, VringState(index=queue, num=base))
        assert self.acked(Request.SET_VRING_ADDR, ring_at(queue))

    def start(self, queue: int) -> None:
        self.describe(queue)
        assert self.acked(Request.SET_VRING_KICK, U64(value=queue), [self.eventfd()])
        assert self.acked(Request.SET_VRING_CALL, U64(value=queue), [self.eventfd()])
        assert self.acked(Request.SET_VRING_ENABLE, VringState(index=queue, num=1))


def region(gpa: int = GUEST_BASE, uaddr: int = USER_BASE, size: int = MEMORY, offset: int = 0) -> SingleRegion:
    return SingleRegion(gpa=gpa, length=size, uaddr=uaddr, mmap_offset=offset)


def table(*regions: SingleRegion) -> bytes:
    """Payload of SET_MEM_TABLE."""
    return struct.pack("=II", len(regions), 0) + b"".join(one.pack()[8:] for one in regions)


def ring_at(queue: int, uaddr: int = USER_BASE) -> VringAddr:
    """Parts of a ring of up to 1024 entries, 64 KiB for each queue."""
    start = uaddr + queue * 0x10000
    return VringAddr(index=queue, desc=start, avail=start + 0x4000, used=start + 0x5000)


def open_fds() -> set[tuple[int, str]]:
    """What this process holds open."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add((int(entry.name), str(entry.readlink())))
        except FileNotFoundError:  # the directory's own fd
            continue
    return found
