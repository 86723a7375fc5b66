"""Opens packet sockets on an interface of the host for the software NIC, one for each pair.

Ref: packet(7); Linux, Documentation/networking/packet_mmap.rst and uapi linux/if_packet.h.
"""

from __future__ import annotations

import errno
import socket
import struct

from .._native import lib
from ..errors import DeviceError, LimitError, NoDevice, VfiodpaError, errno_name
from .wire_spread import SOL_PACKET, spread

_ADD_MEMBERSHIP, _RX_RING, _COPY_THRESH, _VERSION = 1, 5, 7, 10
_VNET_HDR, _FANOUT, _IGNORE_OUTGOING = 15, 18, 23
_TPACKET_V2, _PROMISCUOUS, _ETH_P_ALL = 1, 1, 3
_FANOUT_CBPF, _FANOUT_UNIQUE = 6, 0x2000


def open_packet(interface: str, pairs: int, device: str) -> list[int]:
    """A non-blocking fd for each pair, owned by the caller; frames are spread over them by their flow."""
    sockets: list[socket.socket] = []
    try:
        index = _index(interface, device)
        for _ in range(pairs):
            sockets.append(_open(index, interface))  # noqa: PERF401 - those before a failure are closed
        if pairs > 1:
            _fan_out(sockets)
    except OSError as error:
        _close(sockets)
        raise _explain(interface, device, error) from error
    except BaseException:
        _close(sockets)
        raise
    return [one.detach() for one in sockets]


def _index(interface: str, device: str) -> int:
    try:
        return socket.if_nametoindex(interface)
    except OSError as error:
        have = ", ".join(name for _, name in socket.if_nameindex())
        raise NoDevice(f"there is no interface {interface}", device=device, cause=f"there are {have}") from error


def _open(index: int, interface: str) -> socket.socket:
    """Bound last: what comes before the ring is there would be left in the socket."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
    try:
        for option, value in (
            (_VERSION, _TPACKET_V2),
            (_VNET_HDR, 1),
            (_COPY_THRESH, 1),  # what does not fit the ring's slots can be read
            (_IGNORE_OUTGOING, 1),
        ):
            made.setsockopt(SOL_PACKET, option, value)
        made.setsockopt(SOL_PACKET, _RX_RING, _ring())
        made.bind((interface, _ETH_P_ALL))
        promiscuous = struct.pack("iHH8x", index, _PROMISCUOUS, 0)
        made.setsockopt(SOL_PACKET, _ADD_MEMBERSHIP, promiscuous)
    except BaseException:
        made.close()
        raise
    return made


def _ring() -> bytes:
    """struct tpacket_req, as csrc/port_packet.c walks it."""
    block, blocks, frame = int(lib.VDP_PACKET_BLOCK), int(lib.VDP_PACKET_BLOCKS), int(lib.VDP_PACKET_FRAME)
    return struct.pack("4I", block, blocks, frame, block // frame * blocks)


def _fan_out(sockets: list[socket.socket]) -> None:
    group = (_FANOUT_UNIQUE | _FANOUT_CBPF) << 16
    for one in sockets:
        one.setsockopt(SOL_PACKET, _FANOUT, group)
        group = _FANOUT_CBPF << 16 | one.getsockopt(SOL_PACKET, _FANOUT) & 0xFFFF
    spread(sockets[0].fileno(), range(len(sockets)))


def _close(sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.close()


def _explain(interface: str, device: str, error: OSError) -> VfiodpaError:
    what, cause = f"cannot listen on {interface}", errno_name(error.errno or 0)
    if error.errno in (errno.EPERM, errno.EACCES):
        return LimitError(what, device=device, cause=f"{cause}: wants CAP_NET_RAW", remedy="run it as root")
    if error.errno == errno.ENOMEM:
        return LimitError(what, device=device, cause=f"{cause}: no memory for the ring")
    return DeviceError(what, device=device, cause=cause)
