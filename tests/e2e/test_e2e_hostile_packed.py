"""Packed rings of a guest that breaks their rules: its own device stops, once, with one clear line, until it resets.

What is odd but no breach is served: the same id twice, any id, events from nowhere.
"""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Connect, Serve
from tests.e2e.hostile import HEADER, WRITE, Case
from tests.e2e.hostile_packed import PACKED_CASES, TURNED, USED, PackedAttack
from tests.e2e.rig import BASIC, PLAIN, Served, Stream, move, wait_for, warnings
from tests.e2e.test_e2e_hostile_rings import check_recovers, check_stopped
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_ring import EventSuppress
from vfiodpa.vdpa.datapath import State

PACKED = BASIC | Feature.RING_PACKED | Feature.INDIRECT_DESC
SIZE = 16


def start(serve: Serve, connect: Connect, features: Feature = PACKED) -> tuple[Served, VhostUserGuest, PackedAttack]:
    served = serve()
    guest = connect(served)
    guest.start(features, size=SIZE)
    return served, guest, PackedAttack(guest)


@pytest.mark.parametrize("case", PACKED_CASES, ids=str)
def test_a_broken_ring(
    serve: Serve, connect: Connect, neighbour: Stream, case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    served, guest, attack = start(serve, connect)
    case.act(attack)
    attack.tx.kick()
    check_stopped(served, guest, case.queue, case.reason, caplog)
    neighbour.flows()
    check_recovers(served, guest)
    assert len(warnings(caplog.records)) == 1


def test_indirect_without_the_feature(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    served, guest, attack = start(serve, connect, PLAIN | Feature.RING_PACKED)
    attack.indirect(16, (attack.frame, 100, 0, 0))
    attack.tx.kick()
    check_stopped(served, guest, 1, "bad indirect table", caplog)
    check_recovers(served, guest)


@pytest.mark.parametrize("lie", [TURNED, int(USED), TURNED ^ int(USED)], ids=["other lap", "used", "none"])
def test_what_is_not_offered_is_left_alone(serve: Serve, connect: Connect, lie: int) -> None:
    """Wrap bits that lie are no offer: nothing happens until they are right."""
    served, _guest, attack = start(serve, connect)
    attack.tx.write(attack.frame, 100, attack.tx.lap ^ lie, 3)
    before = attack.tx.read(0)
    attack.tx.kick()
    wait_for(lambda: served.function.queue_stats(1)["kicks"] > 0)
    assert served.datapath.state is State.RUNNING
    assert attack.tx.read(0) == before
    attack.transmit((attack.frame, 100, 0, 3))
    attack.tx.kick()
    wait_for(lambda: served.packets(1) == 1)
    assert attack.tx.read(0).id == 3


@pytest.mark.parametrize("ids", [[5, 5, 5, 5], [0xFFFF, SIZE, 0, 7], [3, 2, 1, 0]], ids=["reused", "any", "backwards"])
def test_ids_are_the_guests_affair(serve: Serve, connect: Connect, ids: list[int]) -> None:
    """They come back as they were given, each once and in order: no table of ours has them for an index."""
    served, _guest, attack = start(serve, connect)
    for ident in ids:
        attack.rx.put((attack.frame + 4096 * (ident % SIZE), 2048, WRITE, ident))
        attack.transmit((attack.frame, HEADER + 60, 0, ident))
    attack.tx.kick()
    wait_for(lambda: served.packets(0) == len(ids))
    for raw in (attack.rx, attack.tx):
        wait_for(lambda raw=raw: raw.read(len(ids) - 1).flags & TURNED == TURNED)  # type: ignore[misc]
        assert [raw.read(at).id for at in range(len(ids))] == ids
    assert [attack.rx.read(at).len for at in range(len(ids))] == [HEADER + 60] * len(ids)
    assert served.datapath.state is State.RUNNING


def test_a_table_of_dpdk_is_sent(serve: Serve, connect: Connect) -> None:
    """Its driver leaves WRITE in the entry of the header, of frames of two to seven pieces. Nobody writes there."""
    served, _guest, attack = start(serve, connect)
    attack.rx.put((attack.frame + 4096, 2048, WRITE, 0))
    guest_bytes = bytes(HEADER) + bytes(range(100))
    attack.memory.write(attack.frame, guest_bytes)
    attack.indirect(32, (attack.frame, HEADER, WRITE, 0), (attack.frame + HEADER, 100, 0, 1))
    attack.tx.kick()
    wait_for(lambda: served.packets(0) == 1)
    assert attack.memory.read(attack.frame, len(guest_bytes)) == guest_bytes
    assert attack.memory.read(attack.frame + 4096 + HEADER, 100) == guest_bytes[HEADER:]
    assert served.datapath.state is State.RUNNING


@pytest.mark.parametrize("event", [(0xFFFF, 2), (SIZE, 2), (0x8000 | SIZE, 2), (0, 3), (0xFFFF, 0xFFFF)])
def test_events_from_nowhere(serve: Serve, connect: Connect, event: tuple[int, int]) -> None:
    """A place that is not in the ring, flags that do not exist; and the device's own area written over."""
    served, guest, attack = start(serve, connect)
    word = EventSuppress(off_wrap=event[0], flags=event[1]).pack()
    for raw in (attack.rx, attack.tx):
        raw.memory.write(raw.queue.driver, word)
        raw.memory.write(raw.queue.device, word)
    for ident in range(4):
        attack.rx.put((attack.frame, 2048, WRITE, ident))
        attack.transmit((attack.frame, HEADER + 60, 0, ident))
        attack.tx.kick()
        wait_for(lambda n=ident: served.packets(0) == n + 1)  # type: ignore[misc]
    guest.reset()
    guest.start(PACKED)
    move(guest, count=200)


def test_a_broken_ring_in_the_middle_of_traffic(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    served, guest, _attack = start(serve, connect)
    move(guest)
    queue = guest.queues[1]
    at, wrap = queue.position & 0x7FFF, queue.position & 0x8000
    flags = (int(USED) ^ TURNED if wrap else int(USED)) | WRITE
    queue.memory.write(queue.desc + 16 * at, bytes(8) + (100).to_bytes(4, "little") + bytes(2))
    queue.memory.store16(queue.desc + 16 * at + 14, flags)
    assert queue.ring_bell is not None
    queue.ring_bell()
    check_stopped(served, guest, 1, "wrong direction", caplog)
    check_recovers(served, guest)
