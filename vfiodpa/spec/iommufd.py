"""iommufd: I/O address spaces apart from the devices that use them.

Ref: Linux uapi linux/iommufd.h. Each argument starts with its own size; ``ioas_id`` names an I/O address space.
"""

from __future__ import annotations

from enum import IntFlag

from ..ioctl import ioctl
from ..layout import Layout, u32, u64

_KIND = ";"


class Destroy(Layout, size=8, ref="struct iommu_destroy"):
    argsz = u32
    object_id = u32


class IoasAlloc(Layout, size=12, ref="struct iommu_ioas_alloc"):
    argsz = u32
    flags = u32
    out_ioas_id = u32


class IovaRange(Layout, size=16, ref="struct iommu_iova_range"):
    start = u64
    last = u64  # inside


class IoasIovaRanges(Layout, size=32, ref="struct iommu_ioas_iova_ranges"):
    argsz = u32
    ioas_id = u32
    num_iovas = u32  # room in the table; on return how many there are (EMSGSIZE: more than room)
    reserved = u32
    allowed_iovas = u64  # address of a table of IovaRange
    out_iova_alignment = u64


class IoasAllowIovas(Layout, size=24, ref="struct iommu_ioas_allow_iovas"):
    argsz = u32
    ioas_id = u32
    num_iovas = u32
    reserved = u32
    allowed_iovas = u64


class MapFlag(IntFlag):
    """Of IOAS_MAP and IOAS_MAP_FILE."""

    FIXED_IOVA = 1 << 0
    WRITEABLE = 1 << 1
    READABLE = 1 << 2


class IoasMap(Layout, size=40, ref="struct iommu_ioas_map"):
    argsz = u32
    flags = u32
    ioas_id = u32
    reserved = u32
    user_va = u64
    length = u64
    iova = u64


class IoasMapFile(Layout, size=40, ref="struct iommu_ioas_map_file"):
    argsz = u32
    flags = u32
    ioas_id = u32
    fd = u32
    start = u64  # byte in the file
    length = u64
    iova = u64


class IoasUnmap(Layout, size=24, ref="struct iommu_ioas_unmap"):
    argsz = u32
    ioas_id = u32
    iova = u64
    length = u64  # on return: what was unmapped


DESTROY = ioctl(_KIND, 0x80, Destroy)
IOAS_ALLOC = ioctl(_KIND, 0x81, IoasAlloc)
IOAS_ALLOW_IOVAS = ioctl(_KIND, 0x82, IoasAllowIovas)
IOAS_IOVA_RANGES = ioctl(_KIND, 0x84, IoasIovaRanges)
IOAS_MAP = ioctl(_KIND, 0x85, IoasMap)
IOAS_UNMAP = ioctl(_KIND, 0x86, IoasUnmap)
IOAS_MAP_FILE = ioctl(_KIND, 0x8F, IoasMapFile)
