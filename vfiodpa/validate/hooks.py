"""Events from outside that some checks want: the link goes down, the MTU changes, the firmware fails.

    bench.set_link(False)

Whoever can make them comes from a bench file (commands), from the wire peer, or is the software NIC itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from ..soft.function import SoftFunction
from .wire import Wire


@dataclass(frozen=True, slots=True)
class Hooks:
    """One callable for each event, ``None``: nobody can make it. Its name is what a check's ``hook`` says.

    ``link``: carrier off or on. ``mtu``: another MTU, in bytes. ``announce``: ask the driver for gratuitous packets.
    ``fault``: the device fails. ``busy``: it answers the next administration command EAGAIN or ENOMEM.
    ``power``: off and on again, the last resort for one that does not come back.
    """

    link: Callable[[bool], None] | None = None
    mtu: Callable[[int], None] | None = None
    announce: Callable[[], None] | None = None
    fault: Callable[[], None] | None = None
    busy: Callable[[], None] | None = None
    power: Callable[[], None] | None = None

    def has(self, event: str) -> bool:
        """Can it be made?"""
        return getattr(self, event, None) is not None

    def over(self, other: Hooks) -> Hooks:
        """Both: these first."""
        return Hooks(**{one.name: getattr(self, one.name) or getattr(other, one.name) for one in fields(Hooks)})


NO_HOOKS = Hooks()


def no_hook(event: str) -> str:
    """Why a check is left out."""
    return f"it takes an event from outside that nobody makes here: {event} (--bench, hooks)"


def of_software(function: SoftFunction) -> Hooks:
    """What a test does to the software NIC."""
    return Hooks(function.set_link, function.set_mtu, function.ask_to_announce, function.fail, function.be_busy)


def of_wire(wire: Wire | None) -> Hooks:
    """What the other end of the wire can do."""
    return Hooks(link=wire.set_link) if wire else NO_HOOKS
