"""The software NIC's rules by each header that it can match, on frames from the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.validate.validate_rig import a_runner, make_check
from vfiodpa.conformance.flow_filter_frames import Directed
from vfiodpa.conformance.steering import FIRST, SECOND
from vfiodpa.spec.virtio_flow_filter import FfHeader, FfMaskFlag, FfObject, Selector
from vfiodpa.validate.bench import Bench
from vfiodpa.validate.frames import EXPERIMENT, IPV4, IPV6, OTHER, TCP, UDP, Flow, fresh_mark, plain
from vfiodpa.validate.runner import Runner
from vfiodpa.validate.traffic import own_mac
from vfiodpa.validate.verdict import Verdict

PARTIAL = int(FfMaskFlag.PARTIAL_MASK)
TYPE = Selector(FfHeader.ETH, bytes(12) + b"\xff\xff")
PROTOCOL = Selector(FfHeader.IPV4, bytes(9) + b"\xff" + bytes(10))
NEXT = Selector(FfHeader.IPV6, bytes(6) + b"\xff" + bytes(33))
HOST4 = Selector(FfHeader.IPV4, bytes(15) + b"\x01" + bytes(4), PARTIAL)  # odd hosts, or even ones
HOST6 = Selector(FfHeader.IPV6, bytes(20) + b"\xff" * 4 + bytes(16))
PORT = Selector(FfHeader.UDP, bytes(2) + b"\xff\xff" + bytes(4))
V4, V6 = bytes(12) + IPV4, bytes(12) + IPV6
UDP4, UDP6 = bytes(9) + bytes([UDP]) + bytes(10), bytes(6) + bytes([UDP]) + bytes(33)
TO_53 = bytes(2) + (53).to_bytes(2, "big") + bytes(4)
BASE = Flow(destination_port=53, host=7)
BY_TCP = Flow(source_port=4242, protocol=TCP)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with a_runner() as runner:
        yield runner


def passes(runner: Runner, run: Callable[[Bench], None]) -> None:
    outcome = runner.run_one(make_check(run))
    assert outcome.verdict is Verdict.PASS, outcome.reason


@pytest.mark.parametrize(
    ("selectors", "keys", "like", "unlike"),
    [
        ((TYPE,), (V6,), replace(BASE, ipv6=True), BASE),
        ((TYPE, HOST4), (V4, bytes(15) + b"\xff" + bytes(4)), BASE, replace(BASE, host=8)),
        ((TYPE, PROTOCOL), (V4, UDP4), BASE, replace(BASE, protocol=TCP)),
        ((TYPE, PROTOCOL, PORT), (V4, UDP4, TO_53), BASE, replace(BASE, destination_port=54)),
        ((TYPE, HOST6), (V6, bytes(20) + b"\0\0\0\7" + bytes(16)), replace(BASE, ipv6=True), BASE),
        ((TYPE, NEXT), (V6, UDP6), replace(BASE, ipv6=True), replace(BASE, ipv6=True, protocol=OTHER)),
        ((TYPE, NEXT, PORT), (V6, UDP6, TO_53), replace(BASE, ipv6=True), BASE),
    ],
)
def test_a_rule_by_header(
    runner: Runner, selectors: tuple[Selector, ...], keys: tuple[bytes, ...], like: Flow, unlike: Flow
) -> None:
    def run(bench: Bench) -> None:
        flows = Directed(bench)
        flows.put(selectors, keys, SECOND)
        assert (flows.where(like), flows.where(unlike)) == (SECOND, FIRST)

    passes(runner, run)


def test_a_tag_is_what_lies_at_the_ethertype(runner: Runner) -> None:
    def run(bench: Bench) -> None:
        flows = Directed(bench)
        flows.put((TYPE,), (bytes(12) + EXPERIMENT,), SECOND)
        for vlan, queue in ((None, SECOND), (5, FIRST)):
            mark = fresh_mark()
            bench.wire.send(plain(mark, to=own_mac(bench), vlan=vlan))
            assert flows.receiver.must_get(mark, "a frame").queue == queue

    passes(runner, run)


def test_rules_change_while_frames_flow(runner: Runner) -> None:
    """Each change counts from the next frame on."""

    def run(bench: Bench) -> None:
        flows = Directed(bench)
        for attempt in range(20):
            flows.rule(BY_TCP, SECOND)
            assert flows.where(BY_TCP) == SECOND, attempt
            assert flows.filter.destroy(FfObject.RULE, flows.rules - 1).ok
            assert flows.where(BY_TCP) == FIRST, attempt

    passes(runner, run)
