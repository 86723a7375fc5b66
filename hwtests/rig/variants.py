"""The machines that the tests boot, and what runs in each. A boot costs half a minute: few of them, each doing much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .machine import Iommu, Machine
from .nic import Nic

DEVICE = "hwtests/device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Arguments of one pytest run in the machine. ``seconds``: when it is ended."""

    name: str
    arguments: Sequence[str]
    seconds: int = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A machine with its suites. ``debian``: on Debian's kernel also where there is a full one."""

    name: str
    machine: Machine
    suites: Sequence[Suite]
    debian: bool = False


def wired(**nic: object) -> tuple[Nic, Nic]:
    """A NIC for VFIO and one of the kernel's on one wire: 0000:00:05.0 and 0000:00:06.0."""
    return Nic(wire=0, **nic), Nic(vfio=False, wire=0)  # type: ignore[arg-type] # one dataclass's keywords


def device(name: str, *more: str, iommu: str = "auto", seconds: int = 240) -> Suite:
    """``hwtests/device`` on the first NIC of ``wired``."""
    where = ["--device", "0000:00:05.0", "--peer", "0000:00:06.0", "--iommu", iommu]
    return Suite(name=name, arguments=[DEVICE, *where, *more], seconds=seconds)


def vfio(name: str, iommu: str = "auto", seconds: int = 300) -> Suite:
    """``hwtests/vfio`` on the first NIC."""
    return Suite(name=name, arguments=["hwtests/vfio", "--device", "0000:00:05.0", "--iommu", iommu], seconds=seconds)


VARIANTS = [
    Variant(
        name="split",
        machine=Machine(nics=wired()),
        suites=[device("device"), device("type1", "-k", "dma or notifications or cycles", iommu="type1")],
    ),
    Variant(
        name="trouble",
        # In the order of their slots; a twin shares its group with the NIC before it.
        machine=Machine(nics=(Nic(), Nic(), Nic(twin=True), Nic(hotplug=True))),
        suites=[vfio("vfio")],
    ),
    Variant(
        name="packed-39bit",
        machine=Machine(nics=wired(packed=True, page_per_vq=True), iommu=Iommu.INTEL39),
        suites=[device("device", "-k", "dma or notifications or frames")],
    ),
    Variant(
        name="mq-virtio-iommu",
        machine=Machine(nics=wired(pairs=2), iommu=Iommu.VIRTIO),
        suites=[device("device", "-k", "dma or notifications or frames")],
    ),
    Variant(name="debian", machine=Machine(nics=wired()), suites=[device("device")], debian=True),
]
