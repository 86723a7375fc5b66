"""A link flap, for checks of configuration changes (``hook="link"``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..spec.features import Feature
from ..spec.virtio_net import NetStatus
from .bench import Bench
from .verdict import NotApplicable

HOOK_S = 60.0  # deadline of a check that flaps the link: a command may take its time


def is_up(bench: Bench) -> bool:
    """Does the device say so in its configuration?"""
    return bool(bench.device.net.status & NetStatus.LINK_UP)


def await_link(bench: Bench, up: bool) -> None:
    """Until the device shows it; raises ``NotApplicable`` when it does not notice at all."""
    if not bench.wait(lambda: is_up(bench) == up, f"the link to be {'up' if up else 'down'}"):
        raise NotApplicable(f"the other end took the link {'up' if up else 'down'}, but the device did not notice")


@contextmanager
def link_down(bench: Bench) -> Iterator[None]:
    """Down within, and up again behind it; the device has shown it both times."""
    bench.needs(Feature.NET_STATUS)
    bench.set_link(up=False)
    try:
        await_link(bench, up=False)
        yield
    finally:
        bench.set_link(up=True)
    await_link(bench, up=True)
