"""IFCVF served by its own driver passes the same tests as the software NIC's own identity."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e import test_e2e_changes as changes
from tests.e2e import test_e2e_traffic as traffic
from tests.e2e.conftest import Connect, Serve
from tests.e2e.rig import BASIC, Served, move
from vfiodpa._native import ffi, lib
from vfiodpa.memory import Iova, Mapping
from vfiodpa.pci.function import IovaRange
from vfiodpa.spec.features import Feature
from vfiodpa.spec.ifcvf import DIRTY_PAGE


@pytest.fixture
def serve(serve: Serve) -> Serve:
    """The same, with the other identity and so the other driver."""

    def make(device: str = "soft", **how: Any) -> Served:
        others = [key for key in device.removeprefix("soft").strip(":").split(",") if key and key != "reset=off"]
        served = serve("soft:" + ",".join(["model=ifcvf", *others]), **how)
        assert served.nic.device.driver == "ifcvf"
        return served

    return make


test_every_frame_comes_back = traffic.test_every_frame_comes_back
test_large_frames_spread_over_mergeable_buffers = traffic.test_large_frames_spread_over_mergeable_buffers
test_queue_sizes = traffic.test_queue_sizes
test_indices_wrap_around = traffic.test_indices_wrap_around
test_several_pairs = traffic.test_several_pairs
test_notifications_carry_traffic_that_polls_nowhere = traffic.test_notifications_carry_traffic_that_polls_nowhere
test_generate = traffic.test_generate
test_discard = traffic.test_discard
test_both_sides_count_the_same = traffic.test_both_sides_count_the_same

test_queues_are_disabled_and_enabled_under_traffic = changes.test_queues_are_disabled_and_enabled_under_traffic
test_a_disabled_queue_moves_nothing = changes.test_a_disabled_queue_moves_nothing
test_queues_are_paused_and_resumed_under_traffic = changes.test_queues_are_paused_and_resumed_under_traffic
test_one_pair_stops_while_the_other_goes_on = changes.test_one_pair_stops_while_the_other_goes_on
test_a_restart_continues_at_the_position = changes.test_a_restart_continues_at_the_position
test_a_reset_under_traffic = changes.test_a_reset_under_traffic
test_guests_come_back = changes.test_guests_come_back
test_no_notification_is_lost = changes.test_no_notification_is_lost_while_eventfds_are_exchanged
test_memory_comes_and_goes_under_traffic = changes.test_memory_comes_and_goes_under_traffic
test_a_table_that_replaces_the_rings_memory = (
    changes.test_a_table_that_replaces_the_rings_memory_keeps_the_queues_and_their_calls
)


@pytest.mark.parametrize("layout", ["queues", "none"])
def test_other_layouts_of_the_lm_block(serve: Serve, connect: Connect, layout: str) -> None:
    """No register tells the used index: the guest's memory does."""
    served = serve(f"soft:lm={layout},queues=2")
    assert served.nic.device.queue_pairs == 1
    guest = connect(served)
    guest.start()
    move(guest, count=300)
    assert guest.stop() == [300, 300]
    if layout == "queues":
        guest.start(base=300)
        move(guest)


def test_a_guest_moves_to_another_card(serve: Serve, connect: Connect) -> None:
    """As at the end of a live migration: positions go along, the card at the other end is new."""
    positions = [0, 0]
    for _ in range(2):
        guest = connect(serve("soft:queues=2"))
        guest.start(BASIC | Feature.NET_MQ, pairs=2, base=positions[0])
        move(guest, count=300)
        positions = guest.stop()[:2]
        guest.close()
    assert positions == [600, 600]


def test_received_frames_are_in_the_dirty_log(serve: Serve, connect: Connect) -> None:
    """The pages of every receive buffer, and none that only the driver writes."""
    served = serve()
    guest = connect(served)
    guest.start()
    log = IovaRange(1 << 40, (1 << 40) + 0xFFFF)
    with Mapping.create(0x10000) as memory:
        served.function.dma.map(Iova(log.first), memory)
        served.nic.device.start_dirty_log(log)
        move(guest, count=600)
        served.nic.device.stop_dirty_log()
        dirty = dirty_pages(memory)
        served.function.dma.unmap(Iova(log.first), 0x10000)
        move(guest, count=100)
    assert dirty
    assert not dirty & {queue.desc // DIRTY_PAGE for queue in guest.queues}
    assert all(any(r.holds(page * DIRTY_PAGE, 1) for r in guest.memory.regions) for page in dirty)


def dirty_pages(memory: Mapping) -> set[int]:
    out = ffi.new("char[]", memory.length)
    assert lib.vdp_guest_copy_in(out, ffi.cast("void *", memory.address), memory.length) == 0
    data = int.from_bytes(bytes(ffi.buffer(out)), "little")
    return {bit for bit in range(data.bit_length()) if data >> bit & 1}
