"""Several queue pairs: each sends, and receives the flows that it sends."""

from __future__ import annotations

import pytest

from hwtests.device.udp_flow import Pair, frame, wait_for
from vfiodpa.errors import UsageError
from vfiodpa.spec.features import Feature
from vfiodpa.vdpa.nic import Nic

FRAMES = 20
FLOWS = 4  # of each pair
BASIC = Feature.VERSION_1 | Feature.NET_MRG_RXBUF | Feature.NET_MQ

pytestmark = pytest.mark.usefixtures("echo")


@pytest.fixture
def two_pairs(nic: Nic) -> Nic:
    if nic.device.queue_pairs < 2:
        pytest.skip("the NIC has one queue pair")
    return nic


@pytest.fixture(params=["split", "packed"])
def features(request: pytest.FixtureRequest, two_pairs: Nic) -> Feature:
    """The control queue's ring has the layout of the others."""
    if request.param == "split":
        return BASIC
    if not two_pairs.features.guest & Feature.RING_PACKED:
        pytest.skip("the NIC has no packed rings")
    return BASIC | Feature.RING_PACKED


def test_each_pair_carries_its_flows(two_pairs: Nic, features: Feature) -> None:
    with two_pairs.guest() as guest:
        guest.start(features, pairs=2)
        pairs = [Pair(guest, 0), Pair(guest, 1)]
        for number in range(FRAMES):
            for pair in pairs:
                sent = frame(pair.pair * FLOWS + number % FLOWS, number)
                pair.send(sent)
                assert wait_for(pairs, sent) == pair.pair


def test_one_pair_is_enough(two_pairs: Nic, features: Feature) -> None:
    """MQ is in force, but nobody asked for a second pair: all flows go to the first (5.1.6.5.5)."""
    with two_pairs.guest() as guest:
        guest.start(features, pairs=1)
        pair = Pair(guest, 0)
        for number in range(FRAMES):
            sent = frame(number % FLOWS, number)
            pair.send(sent)
            assert wait_for([pair], sent) == 0


def test_fewer_and_more_pairs_while_it_runs(two_pairs: Nic, features: Feature) -> None:
    with two_pairs.guest() as guest:
        guest.start(features, pairs=2)
        pairs = [Pair(guest, 0), Pair(guest, 1)]
        for active in (1, 2, 1, 2):
            two_pairs.device.set_active_pairs(active)
            for flow in range(FLOWS):
                sender = pairs[flow % active]
                sent = frame(flow, active)
                sender.send(sent)
                assert wait_for(pairs, sent) == sender.pair
                pairs[0].seen.clear()
                pairs[1].seen.clear()


def test_there_are_only_so_many(two_pairs: Nic) -> None:
    with two_pairs.guest() as guest:
        guest.start(BASIC, pairs=2)
        with pytest.raises(UsageError):
            two_pairs.device.set_active_pairs(two_pairs.device.queue_pairs + 1)
