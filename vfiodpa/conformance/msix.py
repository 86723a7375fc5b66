"""Vectors (P-MSX, P-UBN, U-16). Ref: virtio 1.3, 4.1.5.1.2"""

from __future__ import annotations

from collections.abc import Iterator

from ..spec.pci import MsixEntry
from ..spec.virtio_pci import NO_VECTOR
from ..validate.bench import RX, TX, Bench, Interrupt
from ..validate.check import check
from ..validate.structures import bar_length, msix_of
from ..validate.verdict import NotApplicable

MOST = 0x800
MANY = 64  # vectors, or queues, of which all are tried
FIRED = 4  # vectors that are tried with traffic
LISTENED = 8


def _vectors(bench: Bench) -> int:
    if not bench.function.vectors:
        raise NotApplicable("the device has no MSI-X vectors")
    return bench.function.vectors


def _sample(count: int, most: int) -> list[int]:
    """Up to ``most`` of ``range(count)``, first and last included."""
    return list(range(count)) if count <= most else [*range(most - most // 2), *range(count - most // 2, count)]


class Event:
    """Something that a vector can be mapped to: a queue, or configuration changes (``None``)."""

    def __init__(self, bench: Bench, queue: int | None) -> None:
        self.common = bench.device.common
        self.queue = queue

    def __str__(self) -> str:
        return "configuration changes" if self.queue is None else f"queue {self.queue}"

    def map(self, vector: int) -> int:
        """Write, and read back."""
        if self.queue is None:
            self.common.config_msix_vector = vector
        else:
            self.common.queue_select = self.queue
            self.common.queue_msix_vector = vector
        return self.mapped

    @property
    def mapped(self) -> int:
        """The vector that the device shows."""
        if self.queue is None:
            return int(self.common.config_msix_vector)
        self.common.queue_select = self.queue
        return int(self.common.queue_msix_vector)


def _events(bench: Bench) -> Iterator[Event]:
    yield Event(bench, None)
    for queue in _sample(int(bench.device.common.num_queues), MANY):
        yield Event(bench, queue)


def _listen(bench: Bench) -> list[Interrupt]:
    return [bench.interrupt(vector) for vector in _sample(_vectors(bench), LISTENED)]


def _send_frames(bench: Bench, heard: list[Interrupt]) -> None:
    """Of a device that begins: three, each used; what fired before them is not heard."""
    bench.device.go()
    for one in heard:
        one.fired(0)
    for _ in range(3):
        bench.send(bench.ring(TX))
        bench.wait_used(bench.ring(TX))


@check("P-MSX-1")
def number_of_vectors(bench: Bench) -> None:
    """A device with MSI-X has 2 to 0x800 vectors."""
    vectors = msix_of(bench.function).vectors
    bench.must(2 <= vectors <= MOST, f"the device has {vectors} vectors")


@check("P-MSX-2")
def table_size(bench: Bench) -> None:
    """The vectors that Table Size tells of have their place in the BAR, and the last one can be used."""
    cap = msix_of(bench.function)
    table = cap.table & ~7
    room = (bar_length(bench.function, cap.table & 7) - table) // MsixEntry.size
    bench.must(cap.vectors <= room, f"Table Size is {cap.vectors}, its BAR has room for {room}")
    bench.must(
        bench.function.vectors <= cap.vectors, f"{bench.function.vectors} vectors, but Table Size is {cap.vectors}"
    )


@check("P-MSX-4")
def any_event_on_any_vector(bench: Bench) -> None:
    """Every vector can be mapped to every event, and a queue's interrupt comes where it was mapped."""
    vectors = _vectors(bench)
    bench.negotiate()
    for event in _events(bench):
        for vector in _sample(vectors, MANY):
            seen = event.map(vector)
            bench.must(seen == vector, f"vector {vector} mapped to {event} reads {seen:#x}")
            event.map(NO_VECTOR)
    for vector in _sample(vectors, FIRED):
        bench.negotiate()
        bench.add_queue(RX, vector=NO_VECTOR)
        bench.add_queue(TX, vector=vector)
        bench.device.go()
        heard = bench.interrupt(vector)
        heard.fired(0)
        bench.send(bench.ring(TX))
        bench.wait_used(bench.ring(TX))
        bench.must(heard.fired(1.0), f"a buffer was used, and vector {vector} of its queue did not fire")


@check("P-MSX-5")
def any_event_on_no_vector(bench: Bench) -> None:
    """Every event can be unmapped again."""
    _vectors(bench)
    bench.negotiate()
    for event in _events(bench):
        event.map(0)
        seen = event.map(NO_VECTOR)
        bench.must(seen == NO_VECTOR, f"{event} unmapped reads {seen:#x}")


@check("P-MSX-6")
def the_current_mapping_is_shown(bench: Bench) -> None:
    """The vector registers show the mapping as it is, also after it was changed."""
    vectors = _vectors(bench)
    bench.negotiate()
    for event in _events(bench):
        for vector in (0, vectors - 1, 0):
            event.map(vector)
            bench.device.common.queue_select = 0xFFFF  # look away, and back
            seen = event.mapped
            bench.must(seen == vector, f"{event} is mapped to vector {vector}, but reads {seen:#x}")
        event.map(NO_VECTOR)


@check("P-MSX-7")
def a_reset_unmaps(bench: Bench) -> None:
    """After a reset no event is mapped."""
    vectors = _vectors(bench)
    bench.negotiate()
    for at, event in enumerate(_events(bench)):
        event.map(at % vectors)
    bench.device.reset()
    for event in _events(bench):
        seen = event.mapped
        bench.must(seen == NO_VECTOR, f"{event} reads vector {seen:#x} after a reset")


@check("P-MSX-8")
def all_events_at_once(bench: Bench) -> None:
    """All events can be mapped at the same time, each to a vector of its own or all to one."""
    vectors = _vectors(bench)
    bench.negotiate()
    for spread in (True, False):
        for at, event in enumerate(_events(bench)):
            vector = at % vectors if spread else 0
            seen = event.map(vector)
            bench.must(seen == vector, f"vector {vector} mapped to {event} while others are mapped reads {seen:#x}")
        for event in _events(bench):
            event.map(NO_VECTOR)


@check("P-MSX-9", rude=True)
def a_vector_that_is_not_there(bench: Bench) -> None:
    """A vector behind the last one reads back as NO_VECTOR. (Drivers map none: a warning.)"""
    size = msix_of(bench.function).vectors
    bench.negotiate()
    for event in _events(bench):
        for vector in {size, 0x800, 0xFFFE}:
            seen = event.map(vector)
            bench.should(seen == NO_VECTOR, f"vector {vector:#x} of {size} mapped to {event} reads {seen:#x}")


@check("P-UBN-1")
def a_queue_without_a_vector(bench: Bench) -> None:
    """With MSI-X on, a queue without a vector makes no interrupt."""
    bench.negotiate()
    for queue in (RX, TX):
        bench.add_queue(queue, vector=NO_VECTOR)
    heard = _listen(bench)
    _send_frames(bench, heard)
    for one in heard:
        bench.must(not one.fired(bench.silence / len(heard)), f"the queue has no vector, and vector {one.vector} fired")


@check("U-16")
def vectors_are_apart(bench: Bench) -> None:
    """A queue's interrupt comes on its own vector, and on no other. (Masking is the kernel's under VFIO.)"""
    if _vectors(bench) < 2:
        raise NotApplicable("the device has one vector")
    bench.negotiate()
    bench.add_queue(RX, vector=0)
    bench.add_queue(TX, vector=1)
    heard = _listen(bench)
    _send_frames(bench, heard)
    bench.must(bench.interrupt(1).fired(1.0), "the queue's vector 1 did not fire")
    for one in heard:
        wrong = one.vector != 1 and one.fired(bench.silence / len(heard))
        bench.must(not wrong, f"vector {one.vector} fired, the queue has vector 1")
