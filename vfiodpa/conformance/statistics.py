"""Device statistics (N-STAT). Ref: virtio 1.4, 5.1.6.5.10.5"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..spec.features import Feature
from ..spec.virtio_net import Ack, CtrlClass, StatsCommand, StatsHeader, StatsQuery, StatsType
from ..validate.bench import RX, TX, Bench
from ..validate.check import check
from ..validate.control import MARGIN, Answer, Control
from ..validate.rings import POISON
from ..validate.verdict import NotApplicable
from ..validate.wires import OFFLOADS

ROOM = 512  # bytes for a reply
# Which groups a kind of queue can have, by their bits: receive, transmit, control queue.
RECEIVE, TRANSMIT, CONTROL = 0xFFFF, 0xFFFF_0000, 0xFFFF_FFFF_0000_0000
BODY: dict[int, int] = {StatsType.RX_BASIC: 40, StatsType.TX_BASIC: 40, StatsType.CVQ: 16}  # bytes behind the header


def _start(bench: Bench) -> tuple[Control, int]:
    """The control queue, and the groups that the device says it has."""
    control = Control.start(bench, int(Feature.NET_DEVICE_STATS | OFFLOADS))  # some groups are theirs
    answer = control.ask(CtrlClass.STATS, StatsCommand.QUERY, result=8)
    bench.must(answer.ok and len(answer.result) == 8, f"STATS_QUERY: {answer}, {len(answer.result)} bytes")
    return control, int.from_bytes(answer.result, "little")


def _queues(control: Control) -> dict[int, int]:
    """The queues in use, and which bits are for them."""
    return {RX: RECEIVE, TX: TRANSMIT, control.index: CONTROL}


def _get(control: Control, queries: Iterable[tuple[int, int]], room: int = ROOM) -> Answer:
    data = b"".join(StatsQuery(vq_index=queue, types_bitmap=types).pack() for queue, types in queries)
    return control.ask(CtrlClass.STATS, StatsCommand.GET, data, room)


def _good(control: Control, supported: int) -> list[tuple[int, int]]:
    """For each queue all that the device has of its kind."""
    good = [(queue, supported & kind) for queue, kind in _queues(control).items() if supported & kind]
    if not good:
        raise NotApplicable("the device says that it has no statistics")
    return good


def _groups(bench: Bench, result: bytes) -> Iterator[StatsHeader]:
    """The headers of a reply, by the sizes that they say."""
    at = 0
    while at < len(result):
        bench.must(at + StatsHeader.size <= len(result), f"{len(result) - at} bytes where a group's header should be")
        header = StatsHeader.unpack(result[at:])
        length = int(header.length)
        right = StatsHeader.size <= length <= len(result) - at
        bench.must(right, f"a group at byte {at} of {len(result)} says that it has {length} bytes")
        yield header
        at += length


@check("N-STAT-1")
def what_statistics_there_are(bench: Bench) -> None:
    """STATS_QUERY is answered with the groups that the device has."""
    _, supported = _start(bench)
    bench.must(supported, "DEVICE_STATS is offered, but no group of statistics is")
    bench.note(f"groups: {supported:#x}")


@check("N-STAT-2")
def bad_requests_are_refused(bench: Bench) -> None:
    """One bad entry among good ones (queue, group, group of another kind of queue) refuses the whole command."""
    control, supported = _start(bench)
    good = _good(control, supported)
    missing = next(bit for bit in range(64) if not supported >> bit & 1)
    bad = [(int(bench.device.common.num_queues), 1), (0xFFFF, 1), (good[0][0], 1 << missing)]
    for queue, kind in _queues(control).items():
        if foreign := supported & ~kind:
            bad.append((queue, foreign & -foreign))
    for one in bad:
        for queries in ([one], [*good, one], [one, *good]):
            answer = _get(control, queries)
            what = f"groups {one[1]:#x} of queue {one[0]}, entry {queries.index(one)} of {len(queries)}"
            bench.must(answer.ack == Ack.ERR, f"{what}: {answer}")


@check("N-STAT-3")
def size_of_a_group(bench: Bench) -> None:
    """Each group's size is that of its header and its counters."""
    control, supported = _start(bench)
    answer = _get(control, _good(control, supported))
    bench.must(answer.ok and answer.result, f"STATS_GET: {answer}, {len(answer.result)} bytes")
    for header in _groups(bench, answer.result):
        body = BODY.get(int(header.type))
        if body is not None:
            right = StatsHeader.size + body
            bench.must(int(header.length) == right, f"group {header.type} has {header.length} bytes, not {right}")


@check("N-STAT-4")
def header_of_a_group(bench: Bench) -> None:
    """Each group says which it is, and whose."""
    control, supported = _start(bench)
    good = _good(control, supported)
    answer = _get(control, good)
    bench.must(answer.ok, f"STATS_GET: {answer}")
    found = sorted((int(header.vq_index), int(header.type)) for header in _groups(bench, answer.result))
    asked = sorted((queue, bit) for queue, types in good for bit in range(64) if types >> bit & 1)
    bench.must(found == asked, f"asked for (queue, group) {asked}, the headers say {found}")


@check("N-STAT-5")
def room_for_less_or_more(bench: Bench) -> None:
    """A buffer that is too short or too long for the reply gets as much of it as there is, and nothing else."""
    control, supported = _start(bench)
    good = _good(control, supported)
    whole = _get(control, good)
    bench.must(whole.ok, f"STATS_GET: {whole}")
    length = sum(int(header.length) for header in _groups(bench, whole.result))
    for room in (0, 1, StatsHeader.size, length - 1, length, length + 64):
        answer = _get(control, good, room)
        bench.must(answer.ack is not None, f"no ack where there are {room} bytes for a reply of {length}")
        fits = min(room, length)
        got = len(answer.result)
        bench.must(not answer.ok or got == fits, f"with room for {room} of {length} bytes, {got} were written")
        rest = answer.written[1 + got :]
        bench.must(rest == bytes([POISON]) * len(rest), f"bytes behind the {got} that the device says it wrote changed")
        same = answer.result[: StatsHeader.size] == whole.result[:got][: StatsHeader.size]
        bench.must(not answer.ok or same, f"with room for {room} bytes the reply begins differently")
        bench.must(len(rest) >= MARGIN, "the check lost count")
