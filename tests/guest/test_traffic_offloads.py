"""Traffic that asks for offloads, over the software NIC: carried, or done by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from vfiodpa.drivers.registry import driver_for
from vfiodpa.errors import UsageError
from vfiodpa.guest.direct import DirectGuest
from vfiodpa.guest.traffic import Offload, Plan, Traffic, run
from vfiodpa.soft.device_string import parse_options
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.features import Feature

F = Feature
BASIC = F.VERSION_1 | F.NET_MRG_RXBUF | F.EVENT_IDX | F.INDIRECT_DESC | F.NET_CSUM
TSO = BASIC | F.NET_HOST_TSO4
TAKES = F.NET_GUEST_CSUM | F.NET_GUEST_TSO4
COUNT = 450
Start = Callable[[Feature], DirectGuest]


@pytest.fixture
def start() -> Iterator[Start]:
    function = SoftFunction(parse_options("soft:port=echo"))
    with DirectGuest(driver_for(function)) as guest:

        def begin(features: Feature) -> DirectGuest:
            guest.start(features)
            return guest

        yield begin
    function.close()


@pytest.mark.parametrize("layout", [F(0), F.RING_PACKED], ids=["split", "packed"])
@pytest.mark.parametrize("segments", [1, 3])
@pytest.mark.parametrize("features", [BASIC, BASIC | TAKES], ids=["mended", "carried"])
def test_checksums(start: Start, features: Feature, segments: int, layout: Feature) -> None:
    plan = Plan((60, 61, 1400), count=COUNT, offload=Offload.CSUM, segments=segments)
    verdict = run(start(features | layout), plan, seconds=10)
    assert verdict.clean, verdict
    assert verdict.total.received == COUNT
    assert verdict.total.offloaded == (COUNT if features & TAKES else 0)


@pytest.mark.parametrize("layout", [F(0), F.RING_PACKED], ids=["split", "packed"])
@pytest.mark.parametrize("together", [3, 45])
@pytest.mark.parametrize("features", [TSO, TSO | TAKES], ids=["cut", "carried"])
def test_segmentation(start: Start, features: Feature, together: int, layout: Feature) -> None:
    plan = Plan(1448, count=COUNT, offload=Offload.TSO, together=together)
    verdict = run(start(features | layout), plan, seconds=10)
    assert verdict.clean, verdict
    assert verdict.total.received == COUNT
    assert verdict.total.offloaded == (COUNT if features & TAKES else 0)


def test_what_was_not_negotiated_is_not_sent(start: Start) -> None:
    guest = start(BASIC)
    with pytest.raises(UsageError, match="TSO needs NET_HOST_TSO4"):
        Traffic(guest, Plan(offload=Offload.TSO))
