"""Regions of a VFIO device: BARs and configuration space, where they lie in the device fd and what can be mapped."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import DeviceError, errno_name
from ..memory import PAGE_SIZE
from ..pci.capabilities import capabilities, read_layout
from ..registers import Window
from ..spec import vfio
from ..spec.pci import CapId, MsixCap, MsixEntry
from .chain import ask, caps, table


@dataclass(frozen=True, slots=True)
class Area:
    """``length`` bytes at ``offset`` of a region."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Region:
    """Region ``index``: ``length`` bytes at ``offset`` of the device fd; ``areas`` can be mapped."""

    index: int
    length: int
    offset: int
    areas: tuple[Area, ...] = ()


def read_region(fd: int, index: int, name: str) -> Region:
    """Ask the kernel. ``length`` 0: not implemented."""
    try:
        info, answer = ask(vfio.DEVICE_GET_REGION_INFO, fd, vfio.RegionInfo(argsz=vfio.RegionInfo.size, index=index))
    except OSError as error:
        raise DeviceError(f"no region {index}", device=name, cause=errno_name(error.errno or 0)) from error
    if not info.flags & vfio.RegionFlag.MMAP:
        return Region(index, info.length, info.offset)
    areas: tuple[Area, ...] = (Area(0, info.length),)
    if info.flags & vfio.RegionFlag.CAPS:
        for kind, data in caps(answer, info.cap_offset):
            if kind == vfio.RegionCap.SPARSE_MMAP:
                areas = _sparse(data)
    return Region(index, info.length, info.offset, areas)


def _sparse(data: bytes) -> tuple[Area, ...]:
    rows = table(data, vfio.SparseMmapCap, vfio.SparseArea, vfio.SparseMmapCap.unpack(data).nr_areas)
    return tuple(Area(row.offset, row.length) for row in rows if row.length)


def without_msix(region: Region, config: Window) -> Region:
    """The same with the pages of the MSI-X table cut out: it is the kernel's, whatever it lets us map."""
    for at, kind in capabilities(config):
        if kind == CapId.MSIX:
            cap = read_layout(config, at, MsixCap)
            if cap.table & 7 == region.index:
                return replace(region, areas=_cut(region.areas, cap.table & ~7, cap.vectors * MsixEntry.size))
    return region


def _cut(areas: tuple[Area, ...], offset: int, length: int) -> tuple[Area, ...]:
    first = offset - offset % PAGE_SIZE
    end = -(-(offset + length) // PAGE_SIZE) * PAGE_SIZE
    parts: list[Area] = []
    for area in areas:
        parts.append(Area(area.offset, min(area.end, first) - area.offset))
        start = max(area.offset, end)
        parts.append(Area(start, area.end - start))
    return tuple(part for part in parts if part.length > 0)
