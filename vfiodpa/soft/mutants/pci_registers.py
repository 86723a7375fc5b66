"""Mutants of the registers of the PCI transport: common configuration, ISR, vectors (4.1.4.3, 4.1.4.5, 4.1.5)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...spec.features import Feature
from ...spec.virtio_pci import NO_VECTOR, DeviceStatus, IsrStatus
from .mutant import Mutant
from .patches import replace

if TYPE_CHECKING:
    from ..state import Queue
    from ..virtio_net import VirtioNet

S = DeviceStatus
LATE_S = 0.05  # less than the checks that do not mind leave it
ADMIN = int(Feature.ADMIN_VQ)


def _before_features_ok(shown: int) -> Callable[[VirtioNet, int], int]:
    return lambda nic, value: value if nic.state.status & S.FEATURES_OK else shown


# Resets that are none


def _keeps_position(nic: VirtioNet) -> None:
    """One queue goes on where it was before the reset, once."""
    kept: list[int] = []
    done = False

    def at_reset(reset: Callable[[], None]) -> Callable[[], None]:
        def device_reset() -> None:
            nonlocal done
            if not done and nic.state.queues[1].enabled and nic.engine.position(1) > 1:
                kept.append(nic.engine.position(1))
                done = True
            reset()

        return device_reset

    def at_start(start_of: Callable[[int, int], int]) -> Callable[[int, int], int]:
        return lambda queue, first: kept.pop() if queue == 1 and kept else start_of(queue, first)

    replace(nic, "device_reset", at_reset)
    replace(nic.vendor, "start_of", at_start)


def _goes_on(nic: VirtioNet, late: float | None) -> None:
    """A queue that was reset is served on: until it is enabled again, or for ``late`` seconds."""
    going: dict[int, tuple[Queue, float]] = {}
    stop = nic.queue_off

    def queue_off(queue: Queue) -> None:
        going[queue.index] = queue, time.monotonic()

    def end(index: int, *, due_only: bool = False) -> None:
        if index in going and not (due_only and (late is None or time.monotonic() < going[index][1] + late)):
            stop(going.pop(index)[0])

    def at_start(start: Callable[[Queue], None]) -> Callable[[Queue], None]:
        def queue_on(queue: Queue) -> None:
            end(queue.index)
            start(queue)

        return queue_on

    def at_bell(ring: Callable[[int], None]) -> Callable[[int], None]:
        def doorbell(index: int) -> None:
            end(index, due_only=True)
            ring(index)

        return doorbell

    def at_reset(reset: Callable[[], None]) -> Callable[[], None]:
        def device_reset() -> None:
            going.clear()
            reset()

        return device_reset

    replace(nic, "queue_off", lambda _old: queue_off)
    replace(nic, "queue_on", at_start)
    replace(nic, "device_reset", at_reset)
    nic.notify.on_bell = at_bell(nic.notify.on_bell)


def _low_clears_high(nic: VirtioNet) -> None:
    def make(store: Callable[[str, int, int], None]) -> Callable[[str, int, int], None]:
        def low_first(name: str, half: int, value: int) -> None:
            if name == "queue_desc" and half == 0 and nic.state.queue:
                nic.state.queue.desc = 0
            store(name, half, value)

        return low_first

    replace(nic.common, "store", make)


# The ISR


def _silent_isr(nic: VirtioNet) -> None:
    """No bit for configuration changes."""
    replace(nic.isr, "add", lambda put: lambda bits: put(bits & ~IsrStatus.CONFIG))


def _no_queue_bit(nic: VirtioNet) -> None:
    replace(nic.isr, "add", lambda put: lambda _bits: put(IsrStatus.CONFIG))


class HiddenIsr:
    """The ISR as the PCI status register sees it: never anything."""

    pending = IsrStatus(0)

    def __init__(self, inner: Any) -> None:
        self.add, self.clear = inner.add, inner.clear


def _hide_isr(nic: VirtioNet) -> None:
    setattr(nic, "isr", HiddenIsr(nic.isr))  # noqa: B010 - it is no Isr


def _sticky_isr(nic: VirtioNet, value: int) -> int:
    nic.isr.add(IsrStatus(value))
    return value


# Vectors


def _route(nic: VirtioNet, vector_of: Callable[[Queue], int]) -> None:
    """Queues' notifications go to the vectors that ``vector_of`` says, whatever the registers show."""

    def vectors_changed() -> None:
        calls = {queue.index: nic.irqs.fd(vector_of(queue)) for queue in nic.state.queues}
        nic.engine.set_calls(calls, nic.irqs.fd(nic.state.config_vector))

    replace(nic, "vectors_changed", lambda _old: vectors_changed)


def _next_vector(nic: VirtioNet) -> None:
    count = len(nic.irqs)
    _route(nic, lambda queue: queue.vector if queue.vector == NO_VECTOR else (queue.vector + 1) % count)


def _shows_first_mapping(nic: VirtioNet) -> None:
    """A vector register shows the first vector since the event was unmapped last."""
    first: dict[int, int] = {}

    def at_store(store: Callable[[str, int, int], None]) -> Callable[[str, int, int], None]:
        def remember(name: str, index: int, value: int) -> None:
            store(name, index, value)
            if name == "queue_msix_vector":
                if value == NO_VECTOR:
                    first.pop(nic.state.queue_select, None)
                else:
                    first.setdefault(nic.state.queue_select, value)

        return remember

    def at_load(load: Callable[[str, int], int]) -> Callable[[str, int], int]:
        def show(name: str, index: int) -> int:
            value = load(name, index)
            mapped = name == "queue_msix_vector" and value != NO_VECTOR
            return first.get(nic.state.queue_select, value) if mapped else value

        return show

    def at_reset(reset: Callable[[], None]) -> Callable[[], None]:
        def device_reset() -> None:
            first.clear()
            reset()

        return device_reset

    replace(nic.common, "store", at_store)
    replace(nic.common, "load", at_load)
    replace(nic, "device_reset", at_reset)


def _one_event_each(nic: VirtioNet, value: int) -> int:
    taken = {queue.vector for queue in nic.state.queues if queue is not nic.state.queue} | {nic.state.config_vector}
    return NO_VECTOR if value in taken else value


def _believes_in_vectors(nic: VirtioNet) -> None:
    nic.state.vectors = NO_VECTOR


def _fresh_generation(nic: VirtioNet) -> None:
    replace(nic.common.behind, "generation", lambda _old: lambda: 0)


MUTANTS: tuple[Mutant, ...] = (
    Mutant("P-LAY-1", "writing the low half of queue_desc clears the high one", patch=_low_clears_high),
    Mutant(
        "P-COM-3",
        "device_feature looks at two bits of the select",
        reads={
            "CommonCfg.device_feature": lambda nic, _value: int(nic.state.offered) >> 32 * (nic.state.device_select & 3)
        },
    ),
    Mutant("P-COM-4", "driver_feature reads 0", reads={"CommonCfg.driver_feature": lambda _nic, _value: 0}),
    Mutant("P-COM-6", "the generation is always 0", patch=_fresh_generation),
    Mutant("P-COM-7", "a reset forgets to set a queue back", patch=_keeps_position),
    Mutant("P-COM-8", "queue_enable is 1 until FEATURES_OK", reads={"CommonCfg.queue_enable": _before_features_ok(1)}),
    Mutant("P-COM-9", "queue_reset is 1 until FEATURES_OK", reads={"CommonCfg.queue_reset": _before_features_ok(1)}),
    Mutant(
        "P-COM-10",
        "queue_reset of an enabled queue is 1",
        reads={
            "CommonCfg.queue_reset": lambda nic, _value: int(nic.state.queue is not None and nic.state.queue.enabled)
        },
    ),
    Mutant(
        "P-COM-11",
        "a queue that was reset is served on",
        also=("P-COM-12",),
        patch=lambda nic: _goes_on(nic, None),
    ),
    Mutant("P-COM-12", "a queue is served for a while after it was reset", patch=lambda nic: _goes_on(nic, LATE_S)),
    Mutant(
        "P-COM-13",
        "queue_enable is 1 as long as the device runs",
        reads={"CommonCfg.queue_enable": lambda nic, value: 1 if nic.running else value},
    ),
    Mutant(
        "P-COM-14",
        "queue_size of a queue that is not there reads 1",
        reads={"CommonCfg.queue_size": lambda nic, value: value if nic.state.queue else 1},
    ),
    Mutant(
        "P-COM-15",
        "queue_size is 1000",
        reads={"CommonCfg.queue_size": lambda nic, value: 1000 if value == nic.options.size else value},
    ),
    Mutant(
        "P-COM-16",
        "the administration queue is queue 0",
        also=("P-COM-14",),  # its true one lies where none is told of
        features=lambda offered: offered | ADMIN,
        reads={
            "CommonCfg.admin_queue_num": lambda _nic, _value: 1,
            "CommonCfg.admin_queue_index": lambda _nic, _value: 0,
        },
    ),
    Mutant(
        "P-COM-17",
        "administration queues beyond 0xffff",
        features=lambda offered: offered | ADMIN,
        reads={
            "CommonCfg.admin_queue_index": lambda _nic, _value: 0xFFFF,
            "CommonCfg.admin_queue_num": lambda _nic, _value: 2,
        },
    ),
    Mutant("P-ISR-2", "no ISR bit for configuration changes", patch=_silent_isr),
    Mutant("P-ISR-3", "the configuration bit instead of the queue bit", patch=_no_queue_bit),
    Mutant("P-ISR-4", "Interrupt Status is never set", patch=_hide_isr),
    Mutant("P-ISR-5", "reading the ISR does not clear it", reads={"IsrCfg.isr": _sticky_isr}),
    Mutant("P-MSX-4", "interrupts come on the next vector", patch=_next_vector),
    Mutant(
        "P-MSX-5",
        "events cannot be unmapped",
        writes={"CommonCfg.queue_msix_vector": lambda _nic, value: None if value == NO_VECTOR else value},
    ),
    Mutant("P-MSX-6", "a mapping that was changed reads as before", patch=_shows_first_mapping),
    Mutant(
        "P-MSX-7",
        "after a reset configuration changes read vector 0",
        reads={"CommonCfg.config_msix_vector": lambda nic, value: value if nic.state.status else 0},
    ),
    Mutant("P-MSX-8", "a vector is for one event", writes={"CommonCfg.queue_msix_vector": _one_event_each}),
    Mutant("P-MSX-9", "vectors that are not there read back", patch=_believes_in_vectors),
    Mutant(
        "P-UBN-1",
        "queues without a vector have vector 0",
        patch=lambda nic: _route(nic, lambda queue: 0 if queue.vector == NO_VECTOR else queue.vector),
    ),
    Mutant(
        "U-16",
        "all queues have queue 0's vector",
        also=("U-2",),
        patch=lambda nic: _route(nic, lambda _: nic.state.queues[0].vector),
    ),
)
