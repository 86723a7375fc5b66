"""Any sequence of messages: no exception gets out, no fd is lost, and the next guest is served."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.frontends.fakes import (
    GUEST_BASE,
    MEMORY,
    USER_BASE,
    FakeBackend,
    Peer,
    open_fds,
    region,
    ring_at,
    settle,
    table,
)
from vfiodpa.frontends.loop import Loop
from vfiodpa.frontends.vhost_user.server import Server
from vfiodpa.layout import Layout
from vfiodpa.spec.vhost_user import RULES, U64, Header, Request, VringState

indices = st.sampled_from([0, 0, 0, 1, 1, 3, 4, 255])
numbers = st.sampled_from([0, 1, 3, 256, 65535, 65536, 0xFFFFFFFF])
slots = st.builds(
    lambda gpa, uaddr, size, offset: region(GUEST_BASE + gpa * MEMORY, USER_BASE + uaddr * MEMORY, size, offset),
    st.integers(-1, 3),
    st.integers(-1, 3),
    st.sampled_from([0, 0x1000, MEMORY, MEMORY, MEMORY + 1, (1 << 64) - 0x1000]),
    st.sampled_from([0, 0, 0x1000, 1]),
)

plausible: dict[Request, st.SearchStrategy[Layout | bytes]] = {
    Request.SET_FEATURES: st.sampled_from([U64(value=0x150008000), U64(value=0x100000000), U64(value=1 << 63)]),
    Request.SET_PROTOCOL_FEATURES: st.sampled_from([U64(value=0x1A03D), U64(value=0x8), U64(value=0)]),
    Request.SET_MEM_TABLE: st.lists(slots, max_size=3).map(lambda regions: table(*regions)),
    Request.ADD_MEM_REG: slots,
    Request.REM_MEM_REG: slots,
    Request.SET_VRING_NUM: st.builds(lambda i, n: VringState(index=i, num=n), indices, numbers),
    Request.SET_VRING_BASE: st.builds(lambda i, n: VringState(index=i, num=n), indices, numbers),
    Request.GET_VRING_BASE: st.builds(lambda i: VringState(index=i), indices),
    Request.SET_VRING_ENABLE: st.builds(lambda i, n: VringState(index=i, num=n), indices, st.integers(0, 2)),
    Request.SET_VRING_ADDR: st.builds(lambda i, at: ring_at(i, USER_BASE + at * MEMORY), indices, st.integers(-1, 2)),
    Request.SET_VRING_KICK: st.builds(lambda i, f: U64(value=i | f), indices, st.sampled_from([0, 0, 0, 256, 512])),
    Request.SET_VRING_CALL: st.builds(lambda i, f: U64(value=i | f), indices, st.sampled_from([0, 0, 256])),
    Request.SET_VRING_ERR: st.builds(lambda i: U64(value=i), indices),
    Request.SET_STATUS: st.sampled_from([0, 3, 11, 15, 128, 256]).map(lambda value: U64(value=value)),
}

messages = st.one_of(
    # well-formed ones that may be out of order, over and over
    st.sampled_from(sorted(plausible)).flatmap(
        lambda request: st.tuples(st.just(int(request)), plausible[request], st.just(-1), st.booleans())
    ),
    # any id, any payload, any number of fds
    st.tuples(
        st.one_of(st.integers(0, 50), st.integers(0, 0xFFFFFFFF)),
        st.binary(max_size=48),
        st.integers(0, 9),
        st.booleans(),
    ),
)


def fds_for(request: int, body: bytes, count: int, fds: dict[str, int]) -> list[int]:
    """Fitting fds for -1, else ``count`` of whatever there is."""
    if count >= 0:
        return (list(fds.values()) * 9)[:count]
    if request == Request.SET_MEM_TABLE:
        return [fds["memory"]] * (body[0] if body else 0)
    if request == Request.ADD_MEM_REG:
        return [fds["memory"]]
    if request in (Request.SET_VRING_KICK, Request.SET_VRING_CALL, Request.SET_VRING_ERR):
        return [] if body[1] & 1 else [fds["event"]]
    return [fds["event"]] * RULES[Request(request)].fds[0]


def play(peer: Peer, sequence: list[tuple[int, Layout | bytes, int, bool]]) -> None:
    """Until the sequence or the connection ends."""
    pipe = os.pipe()
    peer.fds += pipe
    fds = {"memory": peer.memfd(), "event": peer.eventfd(), "pipe": pipe[0]}
    for request, body, count, ack in sequence:
        payload = body.pack() if isinstance(body, Layout) else body
        header = Header(request=request, flags=9 if ack else 1, length=len(payload)).pack()
        try:
            socket.send_fds(peer.sock, [header + payload], fds_for(request, payload, count, fds))
            settle(peer.loop)
            if not peer.sock.recv(4096):
                return
        except BlockingIOError:
            continue
        except ConnectionError:
            return


@settings(max_examples=150, deadline=None)
@given(st.lists(messages, max_size=25), st.booleans())
def test_any_sequence(sequence: list[tuple[int, Layout | bytes, int, bool]], running: bool) -> None:
    before = open_fds()
    backend = FakeBackend()
    with (
        tempfile.TemporaryDirectory() as directory,
        Loop() as loop,
        Server(loop, Path(directory) / "s", backend) as server,
    ):
        peer = Peer(loop, server.path)
        if running:
            peer.negotiate()
            peer.add_memory()
            peer.start(0)
        play(peer, sequence)
        peer.close()
        assert not server.connected
        after = Peer(loop, server.path)
        assert after.ask(Request.GET_FEATURES)
        after.close()
    assert open_fds() == before
