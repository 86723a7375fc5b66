"""Every frame verified, over every shape of queue, buffer and notification."""

from __future__ import annotations

import time

import pytest

from tests.e2e.conftest import Connect, Serve
from tests.e2e.rig import BASIC, COUNT, PLAIN, move, needs_reset, wait_for, warnings
from vfiodpa.frontends.vhost_user.session import Session
from vfiodpa.guest.memory import GuestMemory
from vfiodpa.guest.traffic import Mode
from vfiodpa.spec.features import Feature
from vfiodpa.vdpa.datapath import State

SMALL = (60, 61, 64, 127, 128, 512, 1024, 1500, 1514, 1518)
MRG, EVENT, INDIRECT = Feature.NET_MRG_RXBUF, Feature.EVENT_IDX, Feature.INDIRECT_DESC
PACKED, ORDER = Feature.RING_PACKED, Feature.IN_ORDER


every_feature = pytest.mark.parametrize(
    "features",
    [PLAIN, PLAIN | MRG, PLAIN | EVENT, PLAIN | INDIRECT, PLAIN | MRG | EVENT, PLAIN | MRG | EVENT | INDIRECT],
    ids=["plain", "mrg", "event", "indirect", "mrg+event", "all"],
)


@every_feature
@pytest.mark.parametrize("segments", [1, 3])
def test_every_frame_comes_back(serve: Serve, connect: Connect, features: Feature, segments: int) -> None:
    served = serve()
    guest = connect(served)
    guest.start(features)
    move(guest, sizes=SMALL, segments=segments)
    chains = served.function.queue_stats(1)["indirect"]
    assert chains == (COUNT if segments > 1 and features & INDIRECT else 0)


@every_feature
@pytest.mark.parametrize("segments", [1, 3])
@pytest.mark.parametrize("rings", [ORDER, PACKED, PACKED | ORDER], ids=["split-in-order", "packed", "packed-in-order"])
def test_every_frame_comes_back_on_other_rings(
    serve: Serve, connect: Connect, features: Feature, rings: Feature, segments: int
) -> None:
    guest = connect(serve())
    guest.start(features | rings, size=250 if rings & PACKED else 256)
    move(guest, sizes=SMALL, segments=segments)


@pytest.mark.parametrize("sizes", [(9000, 60, 9014, 2036, 2037), (65535, 64)], ids=["jumbo", "largest"])
def test_large_frames_spread_over_mergeable_buffers(serve: Serve, connect: Connect, sizes: tuple[int, ...]) -> None:
    guest = connect(serve("soft:mtu=9000"))
    guest.start(BASIC, size=128)
    move(guest, count=200, sizes=sizes)


def test_large_frames_in_one_buffer_each(serve: Serve, connect: Connect) -> None:
    guest = connect(serve("soft:mtu=9000"))
    guest.start(PLAIN, size=128)
    move(guest, count=200, sizes=(9000, 60, 9014))


@pytest.mark.parametrize("size", [1, 2, 64, 1024])
def test_queue_sizes(serve: Serve, connect: Connect, size: int) -> None:
    guest = connect(serve())
    guest.start(size=size)
    move(guest, count=200 if size < 64 else 3 * size)


def test_indices_wrap_around(serve: Serve, connect: Connect) -> None:
    guest = connect(serve())
    guest.start(base=65500)
    move(guest)


@pytest.mark.parametrize("doorbell", ["on", "off"])
def test_several_pairs(serve: Serve, connect: Connect, doorbell: str) -> None:
    served = serve(f"soft:queues=4,ioeventfd={doorbell}")
    guest = connect(served)
    guest.start(BASIC | Feature.NET_MQ, pairs=4, size=64)
    move(guest, sizes=SMALL)
    assert {choice.mode.value for choice in served.datapath.doorbells.values()} == {
        "ioeventfd" if doorbell == "on" else "relay"
    }


@pytest.mark.parametrize("pairs", [1, 2, 8, 16])
def test_pairs_up_to_sixteen(serve: Serve, connect: Connect, pairs: int) -> None:
    """Of sixteen; each carries frames of its own, and those that are not used rest."""
    served = serve("soft:queues=16,workers=shared")
    guest = connect(served)
    guest.start(BASIC | Feature.NET_MQ, pairs=pairs, size=64)
    move(guest, count=100, sizes=SMALL)
    assert [served.packets(queue) for queue in range(32)] == [100] * 2 * pairs + [0] * (32 - 2 * pairs)


@pytest.mark.parametrize("device", ["model=plain", "msix=3,queues=4", "page_per_vq=on", "reset=off", "poll=0"])
def test_kinds_of_device(serve: Serve, connect: Connect, device: str) -> None:
    guest = connect(serve(f"soft:{device}"))
    guest.start()
    move(guest, sizes=SMALL)


def test_notifications_carry_traffic_that_polls_nowhere(serve: Serve, connect: Connect) -> None:
    guest = connect(serve("soft:poll=0"))
    guest.start()
    verdict = move(guest, poll_us=0, window=1)
    assert verdict.sleeps
    assert verdict.total.calls


def test_generate(serve: Serve, connect: Connect) -> None:
    guest = connect(serve("soft:port=generate,frame=128,queues=2"))
    guest.start(BASIC | Feature.NET_MQ, pairs=2)
    verdict = move(guest, mode=Mode.RECEIVE)
    assert verdict.total.received_bytes == 128 * verdict.total.received


def test_discard(serve: Serve, connect: Connect) -> None:
    served = serve("soft:port=discard")
    guest = connect(served)
    guest.start()
    move(guest, mode=Mode.TRANSMIT, sizes=SMALL)
    assert (served.packets(0), served.packets(1)) == (0, COUNT)


def test_both_sides_count_the_same(serve: Serve, connect: Connect) -> None:
    served = serve("soft:queues=2")
    guest = connect(served)
    guest.start(BASIC | Feature.NET_MQ, pairs=2)
    verdict = move(guest, sizes=SMALL)
    for index, pair in enumerate(verdict.pairs):
        rx, tx = (served.function.queue_stats(queue) for queue in (2 * index, 2 * index + 1))
        assert (tx["packets"], tx["bytes"]) == (pair.sent, pair.sent_bytes)
        assert (rx["packets"], rx["bytes"]) == (pair.received, pair.received_bytes)
        assert (rx["dropped"], rx["errors"], tx["errors"]) == (0, 0, 0)


def test_buffers_across_regions(serve: Serve, connect: Connect) -> None:
    """Rings in one region, buffers in another."""
    guest = connect(serve(), memory=GuestMemory(1 << 16, 8 << 20))
    guest.start(BASIC)
    move(guest, sizes=SMALL)
    rings, buffers = guest.memory.regions
    assert all(rings.holds(queue.desc, 1) for queue in guest.queues)
    assert buffers.taken


def test_an_idle_guest_costs_no_processor_time(serve: Serve, connect: Connect) -> None:
    guest = connect(serve("soft:queues=2"))
    guest.start(BASIC | Feature.NET_MQ, pairs=2)
    move(guest)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(1.0)
    assert time.process_time() - before < 0.02


@pytest.mark.parametrize("msix", [1, 2, 3, 4])
def test_queues_share_vectors_when_there_are_too_few(
    serve: Serve, connect: Connect, msix: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Every queue's interrupt comes: nothing polls here."""
    caplog.set_level("INFO")
    served = serve(f"soft:msix={msix},queues=2,poll=0")
    guest = connect(served)
    guest.start(BASIC | Feature.NET_MQ, pairs=2)
    verdict = move(guest, poll_us=0, window=1)
    assert all(pair.received for pair in verdict.pairs)
    assert verdict.total.calls
    assert f"interrupts: {msix} MSI-X vector" in caplog.text


def test_the_guest_is_not_told_of_changes_that_are_none(serve: Serve, connect: Connect) -> None:
    """With one vector, each frame signals the configuration eventfd too."""
    served = serve("soft:msix=1")
    guest = connect(served)
    told: list[str] = []
    guest.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "config_changed", lambda session: told.append(session.name))
        move(guest)
        assert told == []
        served.function.set_link(False)
        wait_for(lambda: bool(told), "the news of the link")


def test_no_vectors_are_a_clear_failure(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    served = serve("soft:msix=0")
    guest = connect(served)
    guest.start()
    served.wait_state(State.FAILED)
    assert needs_reset(guest)
    (line,) = warnings(caplog.records)
    assert "MSI-X vectors" in line
