"""Mutants of multiqueue and of receive-side scaling (5.1.6.5.5 to 5.1.6.5.8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..._native import ffi
from ...spec.features import Feature
from ...spec.virtio_net import CtrlClass, RssContextCap, RssContextCommand
from ..settings import NetState
from .control import keep
from .mutant import Mutant, around

if TYPE_CHECKING:
    from ..state import Queue
    from ..virtio_net import VirtioNet


def _all_to(nic: VirtioNet, pair: int) -> None:
    """Every frame goes to one pair, whatever it is."""
    native = ffi.new("struct vdp_rss *")
    native.steer, native.unclassified = True, pair
    nic.engine.set_rss(native)


def _starts_on_the_second(nic: VirtioNet) -> None:
    def negotiated(real: Callable[[Feature], None], features: Feature) -> None:
        real(features)
        if features & Feature.NET_MQ and nic.options.queues > 1:
            _all_to(nic, 1)

    def set_pairs(real: Callable[[int], None], pairs: int) -> None:
        nic.engine.set_rss(ffi.new("struct vdp_rss *"))
        real(pairs)

    around(nic, "negotiated", negotiated)
    around(nic.settings.effects, "set_pairs", set_pairs)


def _never_less(nic: VirtioNet) -> None:
    most = [1]

    def set_pairs(real: Callable[[int], None], pairs: int) -> None:
        most[0] = max(most[0], pairs)
        real(most[0])

    def negotiated(real: Callable[[Feature], None], features: Feature) -> None:
        most[0] = 1
        real(features)

    around(nic.settings.effects, "set_pairs", set_pairs)
    around(nic, "negotiated", negotiated)


def _when_reset(pair: int) -> Callable[[VirtioNet], None]:
    """When the receive queue of the second pair is reset, all goes to one pair."""

    def queue_off(real: Callable[[Queue], None], nic: VirtioNet, queue: Queue) -> None:
        real(queue)
        if queue.index == 2:
            _all_to(nic, pair)

    return lambda nic: around(nic, "queue_off", lambda real, queue: queue_off(real, nic, queue))


def _kept_frames(nic: VirtioNet) -> None:
    """With all receive queues reset the NIC stops to look at the wire: what comes waits there."""

    def queue_off(real: Callable[[Queue], None], queue: Queue) -> None:
        real(queue)
        if not any(one.enabled for one in nic.state.queues[0:4:2] if one is not queue):
            nic.engine.run(False)

    def queue_on(real: Callable[[Queue], None], queue: Queue) -> None:
        real(queue)
        if nic.running:
            nic.engine.run(True)

    around(nic, "queue_off", queue_off)
    around(nic, "queue_on", queue_on)


def _shifted(nic: VirtioNet) -> None:
    def set_rss(real: Callable[[Any], None], native: Any) -> None:
        table = list(native.table)
        entries = native.mask + 1
        native.table[0:entries] = [*table[1:entries], table[0]]
        real(native)

    around(nic.engine, "set_rss", set_rss)


def _one_pair(nic: VirtioNet) -> None:
    def set_pairs(real: Callable[[int], None], pairs: int) -> None:
        real(pairs)
        _all_to(nic, 0)

    around(nic.settings.effects, "set_pairs", set_pairs)


def _no_contexts(nic: VirtioNet) -> None:
    asked = bytes([CtrlClass.RSS_CONTEXT, RssContextCommand.CAP_GET])

    def run(real: Callable[[NetState, bytes], bytes], state: NetState, command: bytes) -> bytes:
        reply = real(state, command)
        return RssContextCap(max_rss_contexts=0).pack() if command == asked else reply

    if nic.control:
        around(nic.control, "run", run)


# fmt: off
MUTANTS: tuple[Mutant, ...] = (
    Mutant("N-MQ-1", "until VQ_PAIRS_SET it receives on the second pair", patch=_starts_on_the_second),
    Mutant("N-MQ-2", "it never takes a pair back", patch=_never_less),
    Mutant("N-MQ-3", "frames for a queue that was reset are lost", patch=_when_reset(1)),
    Mutant("N-MQ-4", "what comes without a receive queue waits for one", patch=_kept_frames),
    Mutant("N-RSS-1", "the indirection table is off by one", patch=_shifted),
    Mutant("N-RSS-2", "frames for a queue that was reset go to another", patch=_when_reset(0)),
    Mutant("N-RCTX-1", "max_rss_contexts is 0", patch=_no_contexts),
    Mutant("N-RCTX-2", "RSS contexts outlive a reset", patch=keep("contexts")),
    Mutant("X-10", "whatever VQ_PAIRS_SET says, the first pair gets all", patch=_one_pair),
)
# fmt: on
