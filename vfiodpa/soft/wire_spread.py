"""The program by which the kernel spreads the frames of an interface over the software NIC's packet sockets.

Only over those of pairs that receive. Both directions of a flow go to the same one: by the sum of its addresses, and of
its ports where there are any. Ref: packet(7), PACKET_FANOUT_CBPF; Linux, Documentation/networking/filter.rst
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

from .._native import ffi

SOL_PACKET = 263
_FANOUT_DATA = 22

# Frames stand at their network header here; loads at these offsets are relative to it, or to no byte of the frame.
_NET, _PROTOCOL = 0xFFF0_0000, 0xFFFF_F000
_IPV4, _IPV6, _TCP, _UDP = 0x0800, 0x86DD, 6, 17
_FRAGMENT = 0x3FFF  # more of them, or an offset
_GOLDEN = 0x9E37_79B1

_WORD, _HALF, _BYTE = 0x20, 0x28, 0x30  # loads to the accumulator A
_HALF_AT_X = 0x48
_LDX_CONST, _TAX, _STORE, _RECALL = 0x01, 0x07, 0x02, 0x60
_ADD_X, _MUL, _MOD, _AND, _SHIFT_LEFT, _SHIFT_RIGHT = 0x0C, 0x24, 0x94, 0x54, 0x64, 0x74
_JUMP, _IF_EQUAL, _IF_BIT, _RETURN = 0x05, 0x15, 0x45, 0x06


class Step(NamedTuple):
    """struct sock_filter; ``yes`` and ``no``: how many steps a condition skips."""

    code: int
    k: int = 0
    yes: int = 0
    no: int = 0


_PORTS = (
    Step(_HALF_AT_X, _NET),
    Step(_STORE, 1),
    Step(_HALF_AT_X, _NET + 2),
    Step(_TAX),
    Step(_RECALL, 1),
    Step(_ADD_X),
    Step(_TAX),
    Step(_RECALL, 0),
    Step(_ADD_X),
    Step(_STORE, 0),
)


def _addresses(source: int, destination: int) -> tuple[Step, ...]:
    """A word of each; the sum is stored."""
    return Step(_WORD, _NET + source), Step(_TAX), Step(_WORD, _NET + destination), Step(_ADD_X), Step(_STORE, 0)


_IPV6_FLOW = (
    *_addresses(20, 36),
    Step(_BYTE, _NET + 6),
    Step(_IF_EQUAL, _TCP, yes=1),
    Step(_IF_EQUAL, _UDP, no=1 + len(_PORTS)),
    Step(_LDX_CONST, 40),
    *_PORTS,
)
_IPV4_FLOW = (
    *_addresses(12, 16),
    Step(_HALF, _NET + 6),
    Step(_IF_BIT, _FRAGMENT, yes=7 + len(_PORTS)),
    Step(_BYTE, _NET + 9),
    Step(_IF_EQUAL, _TCP, yes=1),
    Step(_IF_EQUAL, _UDP, no=4 + len(_PORTS)),
    Step(_BYTE, _NET),  # the header's length, in words
    Step(_AND, 0xF),
    Step(_SHIFT_LEFT, 2),
    Step(_TAX),
    *_PORTS,
)
_FLOW = (
    Step(_HALF, _PROTOCOL),
    Step(_STORE, 0),  # of what is not IP
    Step(_IF_EQUAL, _IPV4, no=len(_IPV4_FLOW) + 1),
    *_IPV4_FLOW,
    Step(_JUMP, len(_IPV6_FLOW) + 1),
    Step(_IF_EQUAL, _IPV6, no=len(_IPV6_FLOW)),
    *_IPV6_FLOW,
    Step(_RECALL, 0),
)


def program(pairs: Sequence[int]) -> tuple[Step, ...]:
    """Returns the number of one of these pairs, of which there is at least one."""
    *others, last = pairs
    if not others:
        return (Step(_RETURN, last),)
    choice = [step for at, pair in enumerate(others) for step in (Step(_IF_EQUAL, at, no=1), Step(_RETURN, pair))]
    mix = (Step(_MUL, _GOLDEN), Step(_SHIFT_RIGHT, 16), Step(_MOD, len(pairs)))
    return (*_FLOW, *mix, *choice, Step(_RETURN, last))


def spread(fd: int, pairs: Sequence[int]) -> None:
    """Have the fan-out group of a packet socket spread over the sockets of these pairs. Raises ``OSError``."""
    steps = program(pairs)
    code = ffi.from_buffer(b"".join(struct.pack("=HBBI", s.code, s.yes, s.no, s.k) for s in steps))
    fprog = struct.pack("@HP", len(steps), int(ffi.cast("uintptr_t", code)))  # the kernel copies it
    with socket.socket(fileno=fd) as borrowed:
        try:
            borrowed.setsockopt(SOL_PACKET, _FANOUT_DATA, fprog)
        finally:
            borrowed.detach()
