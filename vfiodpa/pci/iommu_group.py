"""IOMMU groups: the smallest set of functions that the IOMMU can keep apart from the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from .device import NOIOMMU_NAME, is_vfio_driver
from .host import Host

# Drivers that do no DMA of their own; the kernel lets user space have a group beside them.
HARMLESS_DRIVERS = frozenset({"", "pci-stub", "pcieport"})


@dataclass(frozen=True, slots=True)
class Member:
    """One device of a group: its name in sysfs and its driver (empty: none)."""

    name: str
    driver: str

    @property
    def is_foreign(self) -> bool:
        """Does it stop user space from having the group?"""
        return self.driver not in HARMLESS_DRIVERS and not is_vfio_driver(self.driver)

    def __str__(self) -> str:
        return f"{self.name} ({self.driver or 'no driver'})"


@dataclass(frozen=True, slots=True)
class IommuGroup:
    """A group and its members, by name."""

    number: int
    members: tuple[Member, ...]

    @classmethod
    def read(cls, host: Host, number: int) -> Self:
        """The group as it stands; without members when there is none of that number."""
        path = host.sysfs / "kernel/iommu_groups" / str(number) / "devices"
        return cls(number, tuple(Member(name, host.link(path / name / "driver")) for name in host.names(path)))

    def foreign(self, *ours: str) -> tuple[Member, ...]:
        """Members beside ``ours`` that stop user space from having the group (it is not *viable*)."""
        return tuple(member for member in self.members if member.is_foreign and member.name not in ours)


def groups(host: Host) -> list[int]:
    """Numbers of all groups; none where there is no IOMMU, or it is off. VFIO's make-believe groups do not count."""
    top = host.sysfs / "kernel/iommu_groups"
    return sorted(int(name) for name in host.names(top) if host.text(top / name / "name") != NOIOMMU_NAME)
