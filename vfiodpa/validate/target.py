"""From a DEVICE string to a function under test, and somebody at the other end of its wire."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass

from ..errors import StateError
from ..pci.function import PciFunction
from ..soft.function import SoftFunction
from ..vdpa.devices import DEFAULT, Access, open_function
from .kernel_wire import KernelWire
from .wire import Wire
from .wires import SoftWire, wait_for_link

PAIRS = 2  # of a software NIC of which nothing is said: steering needs somewhere to steer to
PORTS = ("port=", "tap=", "packet=", "pcap=", "link=")


@dataclass(slots=True)
class Target:
    """Owns both; a context manager."""

    function: PciFunction
    wire: Wire | None
    _stack: ExitStack

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()


def open_target(device: str, access: Access = DEFAULT, wire: str = "") -> Target:
    """Open the device. A software NIC puts up with rude drivers; without a port it gets a wire with a peer.

    ``wire``: an interface of the kernel at the other end, by name or by the PCI address of its NIC.
    """
    with ExitStack() as stack:
        link = ""
        if device.partition(":")[0] == "soft":
            kind, _, rest = device.partition(":")
            keys = [key for key in rest.split(",") if key]
            if not any(key.startswith("queues=") for key in keys):
                keys.append(f"queues={PAIRS}")
            if not wire and not any(key.startswith(PORTS) for key in keys):
                link = f"validate-{os.getpid()}-{id(stack):x}"
                keys.append(f"link={link}")
            if not any(key.startswith("strict=") for key in keys):
                keys.append("strict=off")
            device = f"{kind}:{','.join(keys)}"
        function = stack.enter_context(open_function(device, access=access))
        peer: Wire | None = None
        if wire:
            peer = stack.enter_context(KernelWire(wire))
        elif link:
            peer = stack.enter_context(_other_end(function, link))
        return Target(function, peer, stack.pop_all())


def _other_end(function: PciFunction, link: str) -> SoftWire:
    """A peer on a software NIC's link, when each end knows of the other."""
    if not isinstance(function, SoftFunction):
        raise StateError(f"it has no link {link}", device=function.name)
    wire = SoftWire.on(link, function.options.queues)
    try:
        wait_for_link(function)
    except BaseException:
        wire.close()
        raise
    return wire
