"""RSS contexts: how many, and that a reset forgets them (N-RCTX). Ref: virtio 1.4, 5.1.6.5.8"""

from __future__ import annotations

from ..spec.features import Feature
from ..spec.virtio_net import Ack, CtrlClass, HashType, RssContextCap, RssContextCommand, RssContextHead
from ..validate.bench import Bench
from ..validate.check import check
from ..validate.control import Answer, Control
from ..validate.verdict import NotApplicable, Refused
from .control_queue import KEY, rss_config

C = RssContextCommand
FIRST = 1  # the lowest id that a driver may use
ENTRIES = 128


def _start(bench: Bench) -> Control:
    return Control.start(bench, Feature.NET_RSS | Feature.NET_RSS_CONTEXT)


def _most(control: Control) -> int:
    answer = control.set(CtrlClass.RSS_CONTEXT, C.CAP_GET, result=RssContextCap.size)
    if len(answer.result) < RssContextCap.size:
        raise Refused(f"CAP_GET answered with {len(answer.result)} bytes, it has to be {RssContextCap.size}")
    return int(RssContextCap.unpack(answer.result[: RssContextCap.size]).max_rss_contexts)


def _set(control: Control, command: RssContextCommand) -> Answer:
    """ADD or MOD of the first context."""
    types = int(control.bench.device.net.supported_hash_types) & int(HashType.IPV4)
    head = RssContextHead(rss_ctx_id=FIRST).pack()
    return control.ask(CtrlClass.RSS_CONTEXT, command, head + rss_config(types, [0] * ENTRIES, 0, 1, KEY))


def _delete(control: Control) -> Answer:
    return control.ask(CtrlClass.RSS_CONTEXT, C.DEL, FIRST.to_bytes(2, "little"))


@check("N-RCTX-1")
def there_is_a_context(bench: Bench) -> None:
    """With RSS_CONTEXT, max_rss_contexts is 1 or more."""
    most = _most(_start(bench))
    bench.must(most >= 1, f"max_rss_contexts is {most}")
    bench.note(f"max_rss_contexts is {most}")


@check("N-RCTX-2")
def contexts_end_with_a_reset(bench: Bench) -> None:
    """After a reset there is none of the RSS contexts that were added before."""
    control = _start(bench)
    if _most(control) < FIRST:
        raise NotApplicable("the device has no RSS context to forget")
    if any(answer.ok for answer in (_set(control, C.MOD), _delete(control))):
        raise NotApplicable("the device acknowledges changes of a context that was never added: nothing can be told")
    for command in (C.ADD, C.MOD):
        answer = _set(control, command)
        if not answer.ok:
            raise Refused(f"{command.name} of context {FIRST}: {answer}")
    control = _start(bench)  # resets the device first
    for name, answer in (("MOD", _set(control, C.MOD)), ("DEL", _delete(control))):
        bench.must(answer.ack == Ack.ERR, f"{name} of context {FIRST}, added before the reset: {answer}")
    answer = _set(control, C.ADD)
    bench.must(answer.ok, f"ADD of context {FIRST}, which was added before the reset, too: {answer}")
