"""Mutants of status, features, reset and how queues are set up (chapter 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...registers import Window
from ...spec.features import Feature, closed
from ...spec.pci import ExtCapId, SriovCap
from ...spec.virtio_pci import DeviceStatus
from ..irq import NONE
from .mutant import Mutant
from .patches import Around, replace

if TYPE_CHECKING:
    from ..state import Queue
    from ..virtio_net import VirtioNet

S = DeviceStatus
F = Feature
LOW = 0xFFFF_FFFF
FEW = 16  # entries


def _without(*features: Feature) -> Callable[[int], int]:
    gone = sum(int(one) for one in features)
    return lambda offered: offered & ~gone


# Status


def _eager(nic: VirtioNet) -> None:
    """Queues are served from when they are enabled, at their doorbells too."""

    def make(start: Callable[[Queue], None]) -> Callable[[Queue], None]:
        def queue_on(queue: Queue) -> None:
            start(queue)
            nic.engine.run(True)

        return queue_on

    replace(nic, "queue_on", make)
    _hears_bells(nic)


def _hears_bells(nic: VirtioNet) -> None:
    """Also those that are rung while it is not running."""
    nic.notify.on_bell = nic.engine.kick


def _no_config_call(nic: VirtioNet) -> None:
    replace(nic.engine, "set_calls", lambda old: lambda calls, _config: old(calls, NONE))


def _remembers_failed(nic: VirtioNet) -> None:
    """FAILED is back once a reset was seen to be done, until the driver writes again."""
    was, seen = False, 0

    def at_store(store: Callable[[str, int, int], None]) -> Callable[[str, int, int], None]:
        def write(name: str, index: int, value: int) -> None:
            nonlocal was, seen
            if name == "device_status":
                was, seen = not value and bool(nic.state.status & S.FAILED), 0
            store(name, index, value)

        return write

    def at_load(load: Callable[[str, int], int]) -> Callable[[str, int], int]:
        def read(name: str, index: int) -> int:
            nonlocal seen
            value = load(name, index)
            seen += name == "device_status"
            return int(S.FAILED) if name == "device_status" and was and seen > 1 else value

        return read

    replace(nic.common, "store", at_store)
    replace(nic.common, "load", at_load)


def _runs_on(nic: VirtioNet) -> None:
    """A reset does not stop the data path; the next negotiation does."""
    going = False

    def at_reset(reset: Callable[[], None]) -> Callable[[], None]:
        def device_reset() -> None:
            nonlocal going
            if not nic.running:
                reset()
                return
            going, nic.running = True, False

        return device_reset

    reset = nic.device_reset

    def at_negotiation(negotiated: Callable[[Feature], None]) -> Callable[[Feature], None]:
        def finish(features: Feature) -> None:
            nonlocal going
            if going:
                going = False
                reset()
                nic.vectors_changed()
            negotiated(features)

        return finish

    replace(nic, "device_reset", at_reset)
    replace(nic, "negotiated", at_negotiation)
    _hears_bells(nic)


def _deaf_to_bus_master(nic: VirtioNet) -> None:
    replace(nic, "bus_master_changed", lambda _old: lambda _on: None)


# Features


def _judge(nic: VirtioNet, refuses: Callable[[Feature], bool]) -> None:
    """Refuse some sets besides those that have to be."""
    replace(nic.common, "accept_features", lambda old: lambda: not refuses(nic.state.driver_features) and bool(old()))


def _accept_all(nic: VirtioNet) -> None:
    def accept() -> bool:
        nic.negotiated(closed(int(nic.state.driver_features | F.VERSION_1)))
        return True

    replace(nic.common, "accept_features", lambda _old: accept)


def _refuses_again(nic: VirtioNet) -> None:
    """All that is offered is accepted once."""
    seen: list[Feature] = []

    def refuses(features: Feature) -> bool:
        seen.append(features)
        return features == closed(nic.state.offered) and seen.count(features) > 1

    _judge(nic, refuses)


def _with_sriov(_nic: VirtioNet, inner: Window) -> Window:
    header = int(ExtCapId.SRIOV) | 1 << 16
    return Around(inner, extra=SriovCap(header=header, initial_vfs=4, total_vfs=4).pack())


# Queues


def _32_bits(nic: VirtioNet) -> None:
    def make(start: Callable[[Queue], None]) -> Callable[[Queue], None]:
        def queue_on(queue: Queue) -> None:
            queue.desc, queue.driver, queue.device = queue.desc & LOW, queue.driver & LOW, queue.device & LOW
            start(queue)

        return queue_on

    replace(nic, "queue_on", make)


MUTANTS: tuple[Mutant, ...] = (
    Mutant("STS-1", "queues are served before DRIVER_OK", patch=_eager),
    Mutant(
        "STS-2",
        "DEVICE_NEEDS_RESET is never shown",
        reads={"CommonCfg.device_status": lambda _nic, value: value & ~int(S.NEEDS_RESET)},
    ),
    Mutant("STS-3", "nobody hears of DEVICE_NEEDS_RESET", patch=_no_config_call),
    Mutant("FEAT-1", "HOST_TSO4 is offered, CSUM is not", features=_without(F.NET_CSUM)),
    Mutant(
        "FEAT-2",
        "MTU is not accepted without MAC",
        patch=lambda nic: _judge(nic, lambda features: bool(features & F.NET_MTU) and not features & F.NET_MAC),
    ),
    Mutant("FEAT-3", "whatever the driver writes is accepted", patch=_accept_all),
    Mutant("FEAT-4", "a feature of vhost-user is offered", features=lambda offered: offered | int(F.VHOST_LOG_ALL)),
    Mutant("FEAT-5", "all features are accepted only once", patch=_refuses_again),
    Mutant("RST-1", "FAILED comes back after a reset", patch=_remembers_failed),
    Mutant("RST-2", "queues are served on after a reset", patch=_runs_on),
    Mutant(
        "CFG-1",
        "mac reads 0 before FEATURES_OK",
        reads={"NetConfig.mac": lambda nic, value: value if nic.state.status & S.FEATURES_OK else 0},
    ),
    Mutant("RFB-1", "VERSION_1 is not offered", features=_without(F.VERSION_1), patch=_accept_all),
    Mutant("RFB-3", "ACCESS_PLATFORM is not offered", also=("RFB-8",), features=_without(F.ACCESS_PLATFORM)),
    Mutant("RFB-8", "ORDER_PLATFORM is not offered", features=_without(F.ORDER_PLATFORM)),
    Mutant("RFB-9", "an SR-IOV capability, but not the feature", around=_with_sriov),
    Mutant("RFB-10", "SR_IOV is offered without the capability", features=lambda offered: offered | int(F.SR_IOV)),
    Mutant(
        "U-10",
        "the device sets DRIVER by itself",
        reads={"CommonCfg.device_status": lambda _nic, value: value | int(S.DRIVER) if value else 0},
    ),
    Mutant(
        "U-11",
        "a queue cannot have less than 16 entries",
        also=("U-1", "U-2", "U-3", "U-4"),
        writes={"CommonCfg.queue_size": lambda _nic, value: value if value >= FEW else None},
    ),
    Mutant("U-12", "the device has 32 bits of ring addresses", patch=_32_bits),
    Mutant("U-14", "Bus Master is not looked at", patch=_deaf_to_bus_master),
)
