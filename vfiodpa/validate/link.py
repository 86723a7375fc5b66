"""A link flap, for checks of configuration changes: made at the other end of the wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..spec.features import Feature
from ..spec.virtio_net import NetStatus
from .bench import Bench
from .verdict import NotApplicable


def is_up(bench: Bench) -> bool:
    """Does the device say so in its configuration?"""
    return bool(bench.device.net.status & NetStatus.LINK_UP)


def set_link(bench: Bench, up: bool) -> None:
    """Take the link down or up, without a look at the device. Raises ``NotApplicable`` where nobody can."""
    try:
        bench.wire.set_link(up)
    except NotImplementedError as error:
        raise NotApplicable(str(error)) from error


def await_link(bench: Bench, up: bool) -> None:
    """Until the device shows it; raises ``NotApplicable`` when it does not notice at all."""
    if not bench.wait(lambda: is_up(bench) == up, f"the link to be {'up' if up else 'down'}"):
        raise NotApplicable(f"the other end took the link {'up' if up else 'down'}, but the device did not notice")


@contextmanager
def link_down(bench: Bench) -> Iterator[None]:
    """Down within, and up again behind it; the device has shown it both times."""
    bench.needs(Feature.NET_STATUS)
    set_link(bench, up=False)
    try:
        await_link(bench, up=False)
        yield
    finally:
        set_link(bench, up=True)
    await_link(bench, up=True)
