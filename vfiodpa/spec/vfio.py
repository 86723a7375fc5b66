"""VFIO: devices, groups and the type1 IOMMU.

Ref: Linux uapi linux/vfio.h. Our own declarations, since a distribution's headers lag behind its
kernels; whether the running kernel knows a call is asked of the kernel (ENOTTY), never of its version.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from ..ioctl import ioctl, plain
from ..layout import Layout, u16, u32, u64

_KIND, _BASE = ";", 100

API_VERSION = 0
NO_FD = 0xFFFF_FFFF  # -1 in a 32-bit field: no eventfd


class Extension(IntEnum):
    """What CHECK_EXTENSION and SET_IOMMU name."""

    TYPE1V2 = 3
    NOIOMMU = 8


# Capabilities: a chain of variable-length structures behind an answer.


class CapHeader(Layout, size=8, ref="struct vfio_info_cap_header"):
    cap_id = u16
    version = u16
    next = u32  # offset from the start of the whole answer; 0: the last


# Container and group


class GroupFlag(IntFlag):
    """Of GROUP_GET_STATUS."""

    VIABLE = 1 << 0
    CONTAINER_SET = 1 << 1


class GroupStatus(Layout, size=8, ref="struct vfio_group_status"):
    argsz = u32
    flags = u32


class FdArgument(Layout, size=4, ref="the int that GROUP_SET_CONTAINER points to"):
    fd = u32


GET_API_VERSION = plain(_KIND, _BASE + 0)
CHECK_EXTENSION = plain(_KIND, _BASE + 1)
SET_IOMMU = plain(_KIND, _BASE + 2)
GROUP_GET_STATUS = ioctl(_KIND, _BASE + 3, GroupStatus)
GROUP_SET_CONTAINER = ioctl(_KIND, _BASE + 4, FdArgument)
GROUP_UNSET_CONTAINER = plain(_KIND, _BASE + 5)
GROUP_GET_DEVICE_FD = plain(_KIND, _BASE + 6)  # the device's name; returns its fd


# Device


class DeviceFlag(IntFlag):
    """Of DEVICE_GET_INFO."""

    RESET = 1 << 0
    PCI = 1 << 1
    CAPS = 1 << 7


class DeviceInfo(Layout, size=20, ref="struct vfio_device_info"):
    argsz = u32
    flags = u32
    num_regions = u32
    num_irqs = u32
    cap_offset = u32


class PciRegion(IntEnum):
    """Region indices of a PCI device; BAR n is region n."""

    BAR0 = 0
    BAR5 = 5
    ROM = 6
    CONFIG = 7


class RegionFlag(IntFlag):
    """Of DEVICE_GET_REGION_INFO."""

    READ = 1 << 0
    WRITE = 1 << 1
    MMAP = 1 << 2
    CAPS = 1 << 3


class RegionInfo(Layout, size=32, ref="struct vfio_region_info"):
    argsz = u32
    flags = u32
    index = u32
    cap_offset = u32
    length = u64
    offset = u64  # of the region in the device fd


class RegionCap(IntEnum):
    """Capabilities of a region."""

    SPARSE_MMAP = 1
    MSIX_MAPPABLE = 3


class SparseMmapCap(CapHeader, size=16, ref="struct vfio_region_info_cap_sparse_mmap"):
    nr_areas = u32
    reserved = u32


class SparseArea(Layout, size=16, ref="struct vfio_region_sparse_mmap_area"):
    offset = u64  # in the region
    length = u64


class PciIrq(IntEnum):
    """Interrupt indices of a PCI device."""

    INTX = 0
    MSI = 1
    MSIX = 2
    ERR = 3
    REQ = 4


class IrqFlag(IntFlag):
    """Of DEVICE_GET_IRQ_INFO."""

    EVENTFD = 1 << 0
    MASKABLE = 1 << 1
    AUTOMASKED = 1 << 2
    NORESIZE = 1 << 3  # the number of vectors is fixed once they are enabled


class IrqInfo(Layout, size=16, ref="struct vfio_irq_info"):
    argsz = u32
    flags = u32
    index = u32
    count = u32


class IrqAction(IntFlag):
    """Of DEVICE_SET_IRQS: one DATA and one ACTION."""

    DATA_NONE = 1 << 0
    DATA_BOOL = 1 << 1
    DATA_EVENTFD = 1 << 2
    MASK = 1 << 3
    UNMASK = 1 << 4
    TRIGGER = 1 << 5


class IrqSet(Layout, size=20, ref="struct vfio_irq_set"):
    argsz = u32
    flags = u32
    index = u32
    start = u32
    count = u32  # 32-bit eventfds follow


class IoeventfdWidth(IntFlag):
    """Flags of DEVICE_IOEVENTFD: how wide the kernel's write is."""

    BITS_8 = 1 << 0
    BITS_16 = 1 << 1
    BITS_32 = 1 << 2
    BITS_64 = 1 << 3


class DeviceIoeventfd(Layout, size=32, ref="struct vfio_device_ioeventfd"):
    argsz = u32
    flags = u32
    offset = u64  # in the device fd
    data = u64
    fd = u32  # NO_FD takes it back
    reserved = u32


class FeatureFlag(IntFlag):
    """Of DEVICE_FEATURE, above the 16 bits that name the feature."""

    GET = 1 << 16
    SET = 1 << 17
    PROBE = 1 << 18


class DeviceFeature(Layout, size=8, ref="struct vfio_device_feature"):
    argsz = u32
    flags = u32


class BindIommufd(Layout, size=16, ref="struct vfio_device_bind_iommufd"):
    argsz = u32
    flags = u32
    iommufd = u32
    out_devid = u32


class AttachIommufdPt(Layout, size=12, ref="struct vfio_device_attach_iommufd_pt"):
    argsz = u32
    flags = u32
    pt_id = u32


class DetachIommufdPt(Layout, size=8, ref="struct vfio_device_detach_iommufd_pt"):
    argsz = u32
    flags = u32


DEVICE_GET_INFO = ioctl(_KIND, _BASE + 7, DeviceInfo)
DEVICE_GET_REGION_INFO = ioctl(_KIND, _BASE + 8, RegionInfo)
DEVICE_GET_IRQ_INFO = ioctl(_KIND, _BASE + 9, IrqInfo)
DEVICE_SET_IRQS = ioctl(_KIND, _BASE + 10, IrqSet)
DEVICE_RESET = plain(_KIND, _BASE + 11)
DEVICE_IOEVENTFD = ioctl(_KIND, _BASE + 16, DeviceIoeventfd)
DEVICE_FEATURE = ioctl(_KIND, _BASE + 17, DeviceFeature)
DEVICE_BIND_IOMMUFD = ioctl(_KIND, _BASE + 18, BindIommufd)
DEVICE_ATTACH_IOMMUFD_PT = ioctl(_KIND, _BASE + 19, AttachIommufdPt)
DEVICE_DETACH_IOMMUFD_PT = ioctl(_KIND, _BASE + 20, DetachIommufdPt)


# The type1 IOMMU: calls on the container


class Type1Flag(IntFlag):
    """Of IOMMU_GET_INFO."""

    PGSIZES = 1 << 0
    CAPS = 1 << 1


class Type1Info(Layout, size=24, ref="struct vfio_iommu_type1_info"):
    argsz = u32
    flags = u32
    iova_pgsizes = u64
    cap_offset = u32
    pad = u32


class Type1Cap(IntEnum):
    """Capabilities of the type1 IOMMU."""

    IOVA_RANGE = 1
    MIGRATION = 2
    DMA_AVAIL = 3


class IovaRangeCap(CapHeader, size=16, ref="struct vfio_iommu_type1_info_cap_iova_range"):
    nr_iovas = u32
    reserved = u32


class Type1Range(Layout, size=16, ref="struct vfio_iova_range"):
    start = u64
    end = u64  # inside


class DmaAvailCap(CapHeader, size=12, ref="struct vfio_iommu_type1_info_dma_avail"):
    avail = u32  # maps that are still possible


class DmaFlag(IntFlag):
    """Of IOMMU_MAP_DMA."""

    READ = 1 << 0
    WRITE = 1 << 1


class DmaMap(Layout, size=32, ref="struct vfio_iommu_type1_dma_map"):
    argsz = u32
    flags = u32
    vaddr = u64
    iova = u64
    length = u64


class DmaUnmap(Layout, size=24, ref="struct vfio_iommu_type1_dma_unmap"):
    argsz = u32
    flags = u32
    iova = u64
    length = u64  # on return: what was unmapped


IOMMU_GET_INFO = ioctl(_KIND, _BASE + 12, Type1Info)
IOMMU_MAP_DMA = ioctl(_KIND, _BASE + 13, DmaMap)
IOMMU_UNMAP_DMA = ioctl(_KIND, _BASE + 14, DmaUnmap)
