"""From a DEVICE string to a function under test, and somebody at the other end of its wire."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass

from ..errors import StateError
from ..pci.address import is_address, normalise
from ..pci.function import PciFunction
from ..pci.host import Host
from ..soft.device_string import PREFIX
from ..soft.function import SoftFunction
from ..trace.traced import innermost
from ..vdpa.devices import DEFAULT, Access, open_function
from .hooks import NO_HOOKS, Hooks, of_software, of_wire
from .kernel_wire import KernelWire
from .lock import DeviceLock
from .safety import check_free
from .wire import Wire
from .wires import SoftWire, wait_for_link

PAIRS = 2  # of a software NIC of which nothing is said: steering needs somewhere to steer to
PORTS = ("port=", "tap=", "packet=", "pcap=", "link=")


@dataclass(slots=True)
class Target:
    """Owns both, and the device's lock; a context manager. ``hooks``: events that can be made from outside."""

    function: PciFunction
    wire: Wire | None
    hooks: Hooks
    _stack: ExitStack

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()


def open_target(
    device: str,
    access: Access = DEFAULT,
    *,
    wire: str = "",
    hooks: Hooks = NO_HOOKS,
    host: Host | None = None,
) -> Target:
    """Open the device. A software NIC puts up with rude drivers; without a port it gets a wire with a peer.

    ``wire``: an interface of the kernel at the other end, by name or by the PCI address of its NIC. Raises
    ``StateError`` for a function that another run, this machine or a process works with.
    """
    with ExitStack() as stack:
        link = ""
        if is_address(device):
            device = normalise(device)
            stack.enter_context(DeviceLock(device))
            check_free(host or Host(), device)
        elif device.partition(":")[0] == PREFIX:
            device, link = _software(device, wired=bool(wire))
        function = stack.enter_context(open_function(device, access=access))
        peer: Wire | None = None
        if wire:
            peer = stack.enter_context(KernelWire(wire, host))
        elif link:
            peer = stack.enter_context(_other_end(function, link))
        inside = innermost(function)
        own = of_software(inside) if isinstance(inside, SoftFunction) else of_wire(peer)
        return Target(function, peer, hooks.over(own), stack.pop_all())


def _software(device: str, *, wired: bool) -> tuple[str, str]:
    """A software NIC on which much can be checked, as far as its string leaves it open; and its link, if it has one."""
    keys = [key for key in device.partition(":")[2].split(",") if key]

    def open_is(*names: str) -> bool:
        return not any(key.startswith(names) for key in keys)

    link = f"validate-{os.getpid()}-{id(keys):x}" if not wired and open_is(*PORTS) else ""
    if open_is("queues="):
        keys.append(f"queues={PAIRS}")
    if open_is("admin=", "model=ifcvf"):
        keys.append("admin=on")
    if open_is("suspend=", "model=ifcvf"):
        keys.append("suspend=on")
    if open_is("notif_data=", "model=ifcvf"):
        keys.append("notif_data=on")
    if open_is("strict="):
        keys.append("strict=off")
    if link:
        keys.append(f"link={link}")
    return f"{PREFIX}:{','.join(keys)}", link


def _other_end(function: PciFunction, link: str) -> SoftWire:
    """A peer on a software NIC's link, when each end knows of the other."""
    function = innermost(function)
    if not isinstance(function, SoftFunction):
        raise StateError(f"it has no link {link}", device=function.name)
    wire = SoftWire.on(link, function.options.queues)
    try:
        wait_for_link(function)
    except BaseException:
        wire.close()
        raise
    return wire
