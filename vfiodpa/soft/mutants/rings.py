"""Mutants of the rings: variants of the C data path (csrc/mutant.h), and of what enables queues (2.6 to 2.9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..._native import lib
from ...spec.features import Feature
from .mutant import Mutant, around

if TYPE_CHECKING:
    from ..state import Queue
    from ..virtio_net import VirtioNet

STORM = 64  # spurious doorbells that a mutant puts up with


def _replace(part: object, name: str, method: object) -> None:
    """Give one NIC, or a part of it, another method."""
    setattr(part, name, method)


def _serves_reset_queues(nic: VirtioNet) -> None:
    """A queue reset does not reach the data path; only enabling it again does."""
    enable = nic.queue_on

    def queue_on(queue: Queue) -> None:
        nic.engine.disable(queue.index)
        enable(queue)

    _replace(nic, "queue_off", lambda _queue: None)
    _replace(nic, "queue_on", queue_on)


def _starts_at(nic: VirtioNet, begin: dict[int, int]) -> None:
    """Queues are enabled at ``begin``, by index, where it says so; a device reset forgets it."""
    start_of, reset = nic.vendor.start_of, nic.vendor.reset

    def forget() -> None:
        begin.clear()
        reset()

    _replace(nic.vendor, "start_of", lambda queue, first: begin.get(queue, start_of(queue, first)))
    _replace(nic.vendor, "reset", forget)


def _keeps_position(nic: VirtioNet) -> None:
    """A queue goes on where it was reset."""
    begin: dict[int, int] = {}
    disable = nic.queue_off

    def queue_off(queue: Queue) -> None:
        begin[queue.index] = nic.engine.position(queue.index)
        disable(queue)

    _starts_at(nic, begin)
    _replace(nic, "queue_off", queue_off)


def _starts_behind(nic: VirtioNet) -> None:
    """A queue that was reset leaves the first two buffers out."""
    begin: dict[int, int] = {}
    disable = nic.queue_off

    def queue_off(queue: Queue) -> None:
        begin[queue.index] = 2
        disable(queue)

    _starts_at(nic, begin)
    _replace(nic, "queue_off", queue_off)


def _keeps_size(nic: VirtioNet) -> None:
    """A queue that was reset keeps the size that it had, whatever the driver writes."""
    sizes: dict[int, int] = {}
    enable, disable, reset = nic.queue_on, nic.queue_off, nic.device_reset

    def queue_off(queue: Queue) -> None:
        sizes[queue.index] = queue.size
        disable(queue)

    def queue_on(queue: Queue) -> None:
        enable(replace(queue, size=sizes.get(queue.index, queue.size)))

    def device_reset() -> None:
        sizes.clear()
        reset()

    for name, method in (("queue_off", queue_off), ("queue_on", queue_on), ("device_reset", device_reset)):
        _replace(nic, name, method)


def _gives_up_in_a_storm(nic: VirtioNet) -> None:
    """Doorbells without buffers are counted, and after ``STORM`` of them the device fails."""
    ring, reset, bells = nic.doorbell, nic.device_reset, [0]

    def doorbell(queue: int) -> None:
        bells[0] += 1
        used = sum(nic.engine.queue_stats(one)["packets"] for one in range(nic.engine.queues))
        if bells[0] > used + STORM:
            nic.fail("too many doorbells")
        ring(queue)

    def device_reset() -> None:
        used = sum(nic.engine.queue_stats(one)["packets"] for one in range(nic.engine.queues))
        bells[0] = used
        reset()

    _replace(nic.notify, "on_bell", doorbell)
    _replace(nic, "device_reset", device_reset)


def _trusts_doorbells(nic: VirtioNet) -> None:
    """What a doorbell tells of is believed: the device fails when it goes back or too far."""
    check = nic.notify.check
    told: dict[int, int] = {}

    def checked(offset: int, width: int, value: int) -> int:
        queue = check(offset, width, value)
        if width == 32 and Feature.NOTIFICATION_DATA in nic.state.driver_features:
            ahead = (value >> 16) - told.get(queue, 0) & 0x7FFF
            told[queue] = value >> 16
            if ahead > nic.state.queues[queue].size:
                nic.fail("a doorbell told of what is not there")
        return queue

    def reset(real: Callable[[], None]) -> None:
        told.clear()
        real()

    _replace(nic.notify, "check", checked)
    around(nic, "device_reset", reset)


def _heeds_indices(nic: VirtioNet) -> None:
    """Only a doorbell that carries its queue's index is heard."""
    notify = nic.notify

    def write(offset: int, _width: int, value: int) -> None:
        queue = offset // notify.multiplier
        if value & 0xFFFF == queue:
            notify.on_bell(queue)

    _replace(notify, "write", write)


# fmt: off
MUTANTS: tuple[Mutant, ...] = (
    Mutant("VQR-1", "a queue that was reset is served as before", patch=_serves_reset_queues),
    Mutant("VQR-2", "a queue goes on where it was reset", patch=_keeps_position),
    Mutant("VQE-1", "a queue that was reset keeps its old size", patch=_keeps_size),
    Mutant("U-17", "a queue that was reset begins at index 2", patch=_starts_behind),
    Mutant("RFB-5", "a burst is used backwards", native=lib.VDP_MUTANT_OUT_OF_ORDER),
    Mutant("MSG-1", "a frame whose header lies alone is lost", native=lib.VDP_MUTANT_ONE_HEADER),
    Mutant("MSG-2", "a chain of two buffers is an error", ("MSG-1",), native=lib.VDP_MUTANT_ONE_BUFFER),
    Mutant("SDT-1", "the last byte of what is sent is written", native=lib.VDP_MUTANT_WRITES_READABLE),
    Mutant("SDT-2", "receive buffers are read", native=lib.VDP_MUTANT_READS_WRITABLE),
    Mutant("SDT-3", "the length in a used descriptor is cleared", native=lib.VDP_MUTANT_WRITES_TABLE),
    Mutant("IND-1", "an indirect descriptor with WRITE is an error", native=lib.VDP_MUTANT_INDIRECT_WRITE),
    Mutant("IND-2", "an indirect descriptor behind others is an error", native=lib.VDP_MUTANT_INDIRECT_BEHIND),
    Mutant("UNS-1", "used_event is followed without EVENT_IDX", ("UNS-3",), native=lib.VDP_MUTANT_HEEDS_USED_EVENT),
    Mutant("UNS-2", "the flag that suppresses notifications is not looked at", native=lib.VDP_MUTANT_IGNORES_FLAGS),
    Mutant("UNS-3", "without EVENT_IDX no notification is sent", ("UNS-1",), native=lib.VDP_MUTANT_NEVER_NOTIFIES),
    Mutant("UNS-4", "the flag suppresses notifications with EVENT_IDX", native=lib.VDP_MUTANT_HEEDS_FLAGS),
    Mutant("UNS-5", "used_event is compared as if indices did not wrap", native=lib.VDP_MUTANT_EVENT_WRAP),
    Mutant("UNS-6", "each used entry is notified", ("UNS-2",), native=lib.VDP_MUTANT_ALWAYS_NOTIFIES),
    Mutant("USD-1", "a used entry's length comes behind the index", native=lib.VDP_MUTANT_LENGTH_LATE),
    Mutant("USD-2", "received data comes behind the index", native=lib.VDP_MUTANT_DATA_LATE),
    Mutant("ANS-1", "used flags are 2", native=lib.VDP_MUTANT_USED_FLAGS),
    Mutant("ANS-3", "the used ring's flag is set with EVENT_IDX", native=lib.VDP_MUTANT_USED_FLAGS_EVENT),
    Mutant("ANS-4", "avail_event lies far ahead", native=lib.VDP_MUTANT_AVAIL_EVENT),
    Mutant("ANS-5", "many doorbells with nothing new break it", patch=_gives_up_in_a_storm),
    Mutant("PKV-1", "of a burst the last frame is sent first", native=lib.VDP_MUTANT_FAVOURS_LAST),
    Mutant("PKV-2", "a slot is left out", ("PKV-1",), native=lib.VDP_MUTANT_USED_GAP),
    Mutant("PDT-1", "the last byte of what is sent is written", native=lib.VDP_MUTANT_WRITES_READABLE),
    Mutant("PDT-2", "receive buffers are read", native=lib.VDP_MUTANT_READS_WRITABLE),
    Mutant("PDT-3", "descriptors of the other lap are taken", native=lib.VDP_MUTANT_ANY_WRAP),
    Mutant("PDT-4", "id and length of a used descriptor come behind its flags", native=lib.VDP_MUTANT_FLAGS_FIRST),
    Mutant("PSG-1", "the last two buffers of a chain change places", native=lib.VDP_MUTANT_SHUFFLED),
    Mutant("PSG-2", "a chain of two buffers is an error", ("PSG-1",), native=lib.VDP_MUTANT_ONE_BUFFER),
    Mutant("U-1", "the wrap counter does not change", ("U-4", "U-2", "U-3"), native=lib.VDP_MUTANT_NO_WRAP),
    Mutant("U-2", "event suppression of packed rings is not looked at", native=lib.VDP_MUTANT_DEAF),
    Mutant("U-3", "an indirect buffer is given back under another id", native=lib.VDP_MUTANT_INDIRECT_ID),
    Mutant("U-4", "a used chain is skipped by one slot", native=lib.VDP_MUTANT_SKIPS_ONE),
    Mutant("U-5", "what a doorbell tells of is believed", patch=_trusts_doorbells),
    Mutant("U-6", "doorbells of queue_notif_config_data are lost", patch=_heeds_indices),
    Mutant("U-13", "a frame runs over the end of a receive buffer", native=lib.VDP_MUTANT_OVERRUN),
)
# fmt: on
