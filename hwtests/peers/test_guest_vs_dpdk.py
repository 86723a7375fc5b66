"""Our own guest half against DPDK's vhost back end, which we did not write: frames circulate, none is harmed.

Needs no root: testpmd runs on ordinary memory.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hwtests.peers.backend import EchoBackend, start_backend
from hwtests.peers.testpmd import two_cpus
from vfiodpa.guest.traffic import Plan, Verdict, run
from vfiodpa.guest.vhost_user import WANTED, VhostUserGuest
from vfiodpa.spec.features import Feature
from vfiodpa.spec.vhost_user import Protocol

pytestmark = pytest.mark.timeout(120)

COUNT = 50_000  # half a second
SECONDS = 30  # at most: on a busy machine a side may get no CPU for a second
PATIENCE_S = 5.0
PLAIN = Feature.VERSION_1
EVERYTHING = PLAIN | Feature.NET_MRG_RXBUF | Feature.EVENT_IDX | Feature.INDIRECT_DESC
FEATURES = {
    "plain": PLAIN,
    "event_idx": PLAIN | Feature.EVENT_IDX,
    "indirect": PLAIN | Feature.INDIRECT_DESC | Feature.EVENT_IDX,
    "mergeable": PLAIN | Feature.NET_MRG_RXBUF,
    "everything": EVERYTHING,
    "in-order": PLAIN | Feature.IN_ORDER,
    "in-order-everything": EVERYTHING | Feature.IN_ORDER,
    "packed": PLAIN | Feature.RING_PACKED,
    "packed-everything": EVERYTHING | Feature.RING_PACKED,
    "packed-in-order": PLAIN | Feature.RING_PACKED | Feature.IN_ORDER,
    "packed-in-order-everything": EVERYTHING | Feature.RING_PACKED | Feature.IN_ORDER,
}
PLANS = {
    "60": Plan(sizes=60),
    "64-1518": Plan(sizes=[*range(64, 1519, 91)]),
    "1518-chained": Plan(sizes=1518, segments=3),
    "9000": Plan(sizes=9000),
}


@pytest.fixture(scope="module")
def dpdk() -> Iterator[EchoBackend]:
    if shutil.which("dpdk-testpmd") is None:
        pytest.skip("dpdk-testpmd is not installed: apt-get install dpdk-dev")
    with tempfile.TemporaryDirectory(prefix="vfiodpa-") as directory:
        backend = start_backend("dpdk", Path(directory), cpu=two_cpus()[0])
        try:
            yield backend
            backend.stop()
        finally:
            if backend.program.running:
                backend.program.kill()


@pytest.fixture
def guest(dpdk: EchoBackend) -> Iterator[VhostUserGuest]:
    with VhostUserGuest(dpdk.socket) as guest:
        yield guest


def probe(guest: VhostUserGuest) -> None:
    """testpmd lets a burst fall while it starts to forward; wait until frames come round."""
    for _ in range(50):
        if run(guest, Plan(count=1, stall=0.1, drain=0.1), seconds=1).clean:
            return
    raise AssertionError("no frame came back within 5 s")


def move(guest: VhostUserGuest, plan: Plan | None = None) -> Verdict:
    """COUNT frames out and back."""
    plan = replace(plan or Plan(), count=COUNT, stall=PATIENCE_S, drain=PATIENCE_S)
    return run(guest, plan, seconds=SECONDS)


def check(verdict: Verdict) -> None:
    assert verdict.clean, str(verdict)
    assert verdict.total.received == COUNT
    assert verdict.total.foreign == 0


@pytest.mark.parametrize("plan", PLANS.values(), ids=list(PLANS))
@pytest.mark.parametrize("features", FEATURES.values(), ids=list(FEATURES))
def test_frames_circulate(guest: VhostUserGuest, features: Feature, plan: Plan) -> None:
    guest.start(features)
    probe(guest)
    # The buffers of the probe stay in the ring: other sizes need another start.
    guest.stop()
    guest.start(features)
    assert guest.negotiated == features
    verdict = move(guest, plan)
    positions = guest.stop()
    check(verdict)
    assert positions == [queue.position for queue in guest.queues]


def test_counters_agree(dpdk: EchoBackend, guest: VhostUserGuest) -> None:
    guest.start()
    probe(guest)
    before = dpdk.settled()
    total = run(guest, Plan(count=50_000), seconds=60).total
    after = dpdk.settled()
    assert total.received == total.sent == 50_000
    assert after.from_guest - before.from_guest == 50_000
    assert after.to_guest - before.to_guest == 50_000


def test_without_protocol_extras(dpdk: EchoBackend) -> None:
    """No acknowledgements, no status, no memory slots: the protocol of old."""
    with VhostUserGuest(dpdk.socket, protocol=WANTED & Protocol.MQ) as guest:
        guest.start()
        probe(guest)
        check(move(guest))


def test_rings_that_begin_elsewhere(guest: VhostUserGuest) -> None:
    """SET_VRING_BASE: indices near the end of 16 bits."""
    guest.start(base=65500)
    probe(guest)
    check(move(guest))


def test_small_rings(guest: VhostUserGuest) -> None:
    guest.start(size=64)
    probe(guest)
    check(move(guest))
