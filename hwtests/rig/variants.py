"""The machines that the tests boot, and what runs in each. A boot costs half a minute: few of them, each doing much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .machine import Iommu, Machine
from .nic import Nic


class Wanted(Enum):
    """Which kernel a machine is for."""

    ANY = "a full one where there is one, else Debian's"
    FULL = "one with everything built in: make rig-kernel"
    DEBIAN = "Debian's, after the others ran on a full one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Arguments of one pytest run in the machine. ``seconds``: when it is ended, several times what it takes."""

    name: str
    arguments: Sequence[str]
    seconds: int = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A machine with its suites, on the kernel found (``ANY``) or on a certain one."""

    name: str
    machine: Machine
    suites: Sequence[Suite]
    kernel: Wanted = Wanted.ANY


FIRST, PEER = "0000:00:05.0", "0000:00:06.0"


def wired(**nic: Any) -> tuple[Nic, Nic]:
    """``FIRST`` for VFIO and ``PEER`` with the kernel's driver, on one wire."""
    return Nic(wire=0, **nic), Nic(vfio=False, wire=0)


def suite(rooms: str, *more: str, seconds: int = 900) -> Suite:
    """Tests of ``hwtests/ROOM`` of each room on ``FIRST``, in one run: Python takes 10 s to start in there."""
    where = [f"hwtests/{room}" for room in rooms.split()]
    return Suite(
        name=rooms.replace(" ", "-"), arguments=[*where, "--device", FIRST, "--peer", PEER, *more], seconds=seconds
    )


# A pair in one IOMMU group, and three NICs to unplug; behind a root port they have a function level reset.
EXTRA = (Nic(), Nic(twin=True), Nic(hotplug=True, wire=0), Nic(hotplug=True), Nic(hotplug=True))
MAPS_AND_FRAMES = ("-k", "dma or notifications or frames or pairs")

# The first two are what `make hwtest` boots: the tests for any NIC by iommufd on one, by type 1 on the other.
VARIANTS = [
    Variant(
        name="split",
        machine=Machine(nics=(*wired(), *EXTRA), hugepages=200),
        suites=[suite("device vfio pci", "-k", "not hundred", seconds=1500)],
    ),
    Variant(
        name="packed",
        machine=Machine(
            nics=wired(packed=True, pairs=2, page_per_vq=True, vectors=2), iommu=Iommu.INTEL39, hugepages=200
        ),
        suites=[
            suite(
                "device vfio",
                *("--iommu", "type1", "-k", "not vfio or addresses or host_notifier or hundred or pair or virtio_user"),
                seconds=1500,
            )
        ],
    ),
    Variant(
        name="virtio-iommu",
        machine=Machine(nics=wired(pairs=2, mtu=1400), iommu=Iommu.VIRTIO, hugepages=200),
        suites=[suite("device", *MAPS_AND_FRAMES), suite("vfio", "-k", "vp_vdpa or pair")],
        kernel=Wanted.FULL,
    ),
    Variant(
        name="no-iommu",
        machine=Machine(nics=(Nic(), Nic(vfio=False)), iommu=Iommu.NONE),
        suites=[suite("vfio", "-k", "without_iommu")],
    ),
    Variant(
        name="debian",
        machine=Machine(nics=wired()),
        suites=[suite("device", *MAPS_AND_FRAMES), suite("vfio pci", "-k", "not unplugged")],
        kernel=Wanted.DEBIAN,
    ),
]
