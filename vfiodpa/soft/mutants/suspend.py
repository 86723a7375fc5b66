"""Mutants of suspend and resume (virtio 1.4, 3.5)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...spec.virtio_pci import DeviceStatus
from .mutant import Mutant
from .patches import replace

if TYPE_CHECKING:
    from ..virtio_net import VirtioNet

S = DeviceStatus
LATE_S = 0.05  # less than the check that does not mind leaves it


def _too_early(nic: VirtioNet) -> None:
    def make(store: Callable[[str, int, int], None]) -> Callable[[str, int, int], None]:
        def write(name: str, index: int, value: int) -> None:
            store(name, index, value)
            if name == "device_status" and value & S.SUSPEND and not value & S.DRIVER_OK:
                nic.state.status |= S.SUSPEND

        return write

    replace(nic.common, "store", make)


def _write_mac(nic: VirtioNet, value: int) -> int | None:
    if nic.suspended:
        nic.net.mac = bytes([value]) + nic.net.mac[1:]
    return value


def _goes_on(nic: VirtioNet, late: float | None) -> None:
    """Queues are served on: as long as the device is suspended, or for ``late`` seconds."""
    since = 0.0
    ring = nic.notify.on_bell

    def at_suspend(suspend: Callable[[], None]) -> Callable[[], None]:
        def go_on() -> None:
            nonlocal since
            suspend()
            nic.engine.run(True)
            since = time.monotonic()

        return go_on

    def at_bell(queue: int) -> None:
        if not nic.suspended:
            ring(queue)
        elif late is None or time.monotonic() < since + late:
            nic.engine.kick(queue)
        else:
            nic.engine.run(False)

    replace(nic, "suspend", at_suspend)
    nic.notify.on_bell = at_bell


def _notifies(nic: VirtioNet) -> None:
    def make(change: Callable[..., None]) -> Callable[..., None]:
        def at_once(**fields: Any) -> None:
            change(**fields)
            if nic.suspended and nic.irqs.fd(nic.state.config_vector) >= 0:
                os.eventfd_write(nic.irqs.fd(nic.state.config_vector), 1)

        return at_once

    replace(nic, "change_config", make)


def _forgets_changes(nic: VirtioNet) -> None:
    def make(change: Callable[..., None]) -> Callable[..., None]:
        return lambda **fields: None if nic.suspended else change(**fields)

    replace(nic, "change_config", make)


def _stays_down(nic: VirtioNet) -> None:
    def make(resume: Callable[[], None]) -> Callable[[], None]:
        def half() -> None:
            resume()
            nic.engine.run(False)

        return half

    replace(nic, "resume", make)


MUTANTS: tuple[Mutant, ...] = (
    Mutant("SUSP-1", "SUSPEND is taken before DRIVER_OK", patch=_too_early),
    Mutant("SUSP-2", "mac can be written while suspended", writes={"NetConfig.mac": _write_mac}),
    Mutant("SUSP-3", "queues are served while suspended", also=("SUSP-8",), patch=lambda nic: _goes_on(nic, None)),
    Mutant("SUSP-4", "configuration changes are notified while suspended", patch=_notifies),
    Mutant("SUSP-5", "configuration changes while suspended are forgotten", patch=_forgets_changes),
    Mutant(
        "SUSP-6",
        "SUSPEND is not taken",
        writes={"CommonCfg.device_status": lambda _nic, value: value & ~int(S.SUSPEND)},
    ),
    Mutant("SUSP-7", "after a resume no queue is served", patch=_stays_down),
    Mutant("SUSP-8", "queues are served for a while when suspended", patch=lambda nic: _goes_on(nic, LATE_S)),
)
