"""How a frame is cut into buffers is the driver's choice (MSG, PSG). Ref: virtio 1.3, 2.7.4 and 2.8.17"""

from __future__ import annotations

from ..spec.features import Feature
from ..spec.virtio_pci import DeviceStatus
from ..validate.bench import HEADER, RX, TX, Bench
from ..validate.check import check
from ..validate.ring_work import hear, inbound, outbound, pieces, receive_one, same

# Sizes of the first buffers; the rest of header and frame is one more.
CUTS = (
    (),
    (HEADER,),
    (1, HEADER - 1),
    (HEADER - 1,),
    (HEADER - 1, 2),
    (4, 4, 4),
    (HEADER, 14),
    (HEADER + 14,),
    (HEADER, 1),
    (HEADER, 1, 1, 1, 1, 1, 1, 1),
    (1,) * HEADER,
    (5, 20, 3, 11),
)
LONG = 1500  # bytes of the frame that is cut finest


@check("MSG-1")
def buffers_are_cut_at_will(bench: Bench) -> None:
    """However header and frame are spread over buffers, the same bytes are sent and received."""
    bench.start()
    for number, cut in enumerate(CUTS):
        sent = outbound(bench, number, 90)
        bench.send(bench.ring(TX), *pieces(bench, bytes(HEADER) + sent, cut))
        bench.wait_used(bench.ring(TX))
        heard = hear(bench, 1)
        bench.must(heard and same(heard[0], sent), f"a frame in buffers of {_cut(cut)} bytes was not sent as it is")
    for number, cut in enumerate(CUTS):
        _receive(bench, number, cut)


def _receive(bench: Bench, number: int, cut: tuple[int, ...]) -> None:
    sent = inbound(bench, number, 200)
    told, got = receive_one(bench, bench.ring(RX), [*cut, 1600], sent)
    right = same(got[HEADER:told], sent)
    bench.must(right, f"a frame into buffers of {_cut(cut)} bytes did not arrive as it was sent")


def _cut(cut: tuple[int, ...]) -> str:
    return ", ".join([*(str(size) for size in cut), "the rest"])


def _longest_chain(bench: Bench) -> int:
    """Double the buffers of a frame until the device does not take them; returns how many it took."""
    ring = bench.ring(TX)
    frame = bytes(HEADER) + outbound(bench, 0, LONG)
    longest, count = 0, 1
    while count <= min(ring.size, LONG):
        size = len(frame) // count
        bench.send(ring, *pieces(bench, frame, (size,) * (count - 1)))
        if not bench.wait(ring.used, "a long chain", max(bench.silence, 0.2)):
            break
        longest, count = count, 2 * count
    broken = bench.device.status & DeviceStatus.NEEDS_RESET
    bench.note(f"chains of up to {longest} buffers are taken" + (", a longer one breaks the device" if broken else ""))
    return longest


@check("MSG-2", rude=True, deadline=30.0)
def how_long_chains_may_be(bench: Bench) -> None:
    """The device takes chains of several buffers; how many is its own affair."""
    bench.packed = False
    bench.start()
    bench.must(_longest_chain(bench) > 1, "the device takes no chain of two buffers")


@check("PSG-1")
def a_packed_chain_is_in_order(bench: Bench) -> None:
    """The buffers of a packed chain are one frame in their order, also over the end of the ring."""
    bench.start(Feature.RING_PACKED, size=16)
    ring = bench.ring(TX)
    for number in range(12):
        sent = outbound(bench, number, 120)
        bench.send(ring, *pieces(bench, bytes(HEADER) + sent, (HEADER, 20, 30, 40)))
        bench.wait_used(ring)
        heard = hear(bench, 1)
        what = f"chain {number}, five buffers that end before slot {ring.next_slot}: it was not sent as it is"
        bench.must(heard and same(heard[0], sent), what)


@check("PSG-2", rude=True, deadline=30.0)
def how_long_packed_chains_may_be(bench: Bench) -> None:
    """The device takes packed chains of several buffers; how many is its own affair."""
    bench.start(Feature.RING_PACKED)
    bench.must(_longest_chain(bench) > 1, "the device takes no chain of two buffers")
