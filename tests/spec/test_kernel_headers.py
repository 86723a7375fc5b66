"""Our declarations of VFIO and iommufd against the kernel's own headers, compiled, where they are installed.

Debian 12's headers (6.1) have a part of it. Others: ``VFIODPA_UAPI=/some/usr/include pytest …``. What a header does
not have is not checked and named; that the numbers work is proved in hwtests/vfio.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from vfiodpa.ioctl import Ioctl, PlainIoctl
from vfiodpa.layout import Layout
from vfiodpa.spec import iommufd, vfio

UAPI = Path(os.environ.get("VFIODPA_UAPI", "/usr/include"))
NO_CHECK = {"reserved", "pad"}

# Our name: the kernel's, per structure.
NAMES: dict[str, dict[str, str]] = {
    "vfio_region_info": {"length": "size"},
    "vfio_iommu_type1_dma_map": {"length": "size"},
    "vfio_iommu_type1_dma_unmap": {"length": "size"},
    "vfio_region_sparse_mmap_area": {"length": "size"},
    "vfio_info_cap_header": {"cap_id": "id"},
    "iommu_destroy": {"object_id": "id"},
}
CAP = {"cap_id": "header.id", "version": "header.version", "next": "header.next"}

# With the macro that says whether the header knows it.
TABLES: list[tuple[str, type[Layout]]] = [
    ("VFIO_REGION_INFO_CAP_SPARSE_MMAP", vfio.CapHeader),
    ("VFIO_REGION_INFO_CAP_SPARSE_MMAP", vfio.SparseMmapCap),
    ("VFIO_REGION_INFO_CAP_SPARSE_MMAP", vfio.SparseArea),
    ("VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE", vfio.IovaRangeCap),
    ("VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE", vfio.Type1Range),
    ("VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL", vfio.DmaAvailCap),
]
CONSTANTS = {
    "VFIO_API_VERSION": vfio.API_VERSION,
    "VFIO_TYPE1v2_IOMMU": vfio.Extension.TYPE1V2,
    "VFIO_NOIOMMU_IOMMU": vfio.Extension.NOIOMMU,
    "VFIO_GROUP_FLAGS_VIABLE": vfio.GroupFlag.VIABLE,
    "VFIO_DEVICE_FLAGS_RESET": vfio.DeviceFlag.RESET,
    "VFIO_DEVICE_FLAGS_PCI": vfio.DeviceFlag.PCI,
    "VFIO_REGION_INFO_FLAG_MMAP": vfio.RegionFlag.MMAP,
    "VFIO_REGION_INFO_FLAG_CAPS": vfio.RegionFlag.CAPS,
    "VFIO_REGION_INFO_CAP_SPARSE_MMAP": vfio.RegionCap.SPARSE_MMAP,
    "VFIO_REGION_INFO_CAP_MSIX_MAPPABLE": vfio.RegionCap.MSIX_MAPPABLE,
    "VFIO_IRQ_INFO_EVENTFD": vfio.IrqFlag.EVENTFD,
    "VFIO_IRQ_INFO_NORESIZE": vfio.IrqFlag.NORESIZE,
    "VFIO_IRQ_SET_DATA_NONE": vfio.IrqAction.DATA_NONE,
    "VFIO_IRQ_SET_DATA_EVENTFD": vfio.IrqAction.DATA_EVENTFD,
    "VFIO_IRQ_SET_ACTION_TRIGGER": vfio.IrqAction.TRIGGER,
    "VFIO_DEVICE_IOEVENTFD_16": vfio.IoeventfdWidth.BITS_16,
    "VFIO_DEVICE_IOEVENTFD_32": vfio.IoeventfdWidth.BITS_32,
    "VFIO_DEVICE_FEATURE_PROBE": vfio.FeatureFlag.PROBE,
    "VFIO_DMA_MAP_FLAG_READ": vfio.DmaFlag.READ,
    "VFIO_DMA_MAP_FLAG_WRITE": vfio.DmaFlag.WRITE,
    "VFIO_IOMMU_INFO_CAPS": vfio.Type1Flag.CAPS,
    "VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE": vfio.Type1Cap.IOVA_RANGE,
    "VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL": vfio.Type1Cap.DMA_AVAIL,
}
ENUMS = {
    "VFIO_PCI_BAR5_REGION_INDEX": vfio.PciRegion.BAR5,
    "VFIO_PCI_CONFIG_REGION_INDEX": vfio.PciRegion.CONFIG,
    "VFIO_PCI_MSIX_IRQ_INDEX": vfio.PciIrq.MSIX,
    "VFIO_PCI_ERR_IRQ_INDEX": vfio.PciIrq.ERR,
    "VFIO_PCI_REQ_IRQ_INDEX": vfio.PciIrq.REQ,
}
MAP_FLAGS = {
    "IOMMU_IOAS_MAP_FIXED_IOVA": iommufd.MapFlag.FIXED_IOVA,
    "IOMMU_IOAS_MAP_WRITEABLE": iommufd.MapFlag.WRITEABLE,
    "IOMMU_IOAS_MAP_READABLE": iommufd.MapFlag.READABLE,
}


def same(left: str, right: int) -> str:
    return f'_Static_assert({left} == {right}, "{left}");'


def layout_checks(layout: type[Layout]) -> list[str]:
    """Size (the kernel's may have grown) and the offset of each field."""
    name = layout.ref.removeprefix("struct ")
    names = {"argsz": "size"} if name.startswith("iommu_") else {}
    names |= NAMES.get(name, {}) | (CAP if issubclass(layout, vfio.CapHeader) and layout is not vfio.CapHeader else {})
    lines = [f'_Static_assert(sizeof(struct {name}) >= {layout.size}, "{name}");']
    for field in layout.fields:
        if field.name not in NO_CHECK:
            lines.append(same(f"offsetof(struct {name}, {names.get(field.name, field.name)})", field.offset))
            lines.append(same(f"sizeof(((struct {name} *)0)->{names.get(field.name, field.name)})", field.size))
    return lines


def guarded(macro: str, lines: list[str]) -> list[str]:
    return [f"#ifdef {macro}", *lines, "#else", f"#warning absent {macro}", "#endif"]


def ioctl_checks(module: ModuleType, prefix: str) -> list[str]:
    lines = []
    for name, call in vars(module).items():
        if not isinstance(call, Ioctl | PlainIoctl):
            continue
        checks = [same(prefix + name, call.number)]
        if isinstance(call, Ioctl) and call.argument.ref.startswith("struct "):
            checks += layout_checks(call.argument)
        lines += guarded(prefix + name, checks)
    return lines


def compiled(header: str, lines: list[str], directory: Path) -> str:
    """Compile the checks; returns what the header does not have."""
    if not (UAPI / header).exists():
        pytest.skip(f"no {UAPI / header}: VFIODPA_UAPI names another directory")
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    source = directory / "check.c"
    source.write_text("\n".join(["#include <stddef.h>", "#include <sys/ioctl.h>", f"#include <{header}>", *lines, ""]))
    done = subprocess.run(
        ["gcc", "-fsyntax-only", "-I", str(UAPI), str(source)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_vfio(tmp_path: Path) -> None:
    lines = ioctl_checks(vfio, "VFIO_")
    for macro, layout in TABLES:
        lines += guarded(macro, layout_checks(layout))
    for macro, value in CONSTANTS.items():
        lines += guarded(macro, [same(macro, value)])
    lines += [same(name, value) for name, value in ENUMS.items()]
    compiled("linux/vfio.h", lines, tmp_path)


def test_iommufd(tmp_path: Path) -> None:
    lines = ioctl_checks(iommufd, "IOMMU_")
    lines += [*layout_checks(iommufd.IovaRange), *(same(name, value) for name, value in MAP_FLAGS.items())]
    absent = compiled("linux/iommufd.h", lines, tmp_path)
    assert "absent IOMMU_IOAS_MAP\n" not in absent


def test_a_wrong_number_is_seen(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="VFIO_API_VERSION"):
        compiled("linux/vfio.h", [same("VFIO_API_VERSION", 1)], tmp_path)
    with pytest.raises(AssertionError, match="iova"):
        compiled("linux/vfio.h", [same("offsetof(struct vfio_iommu_type1_dma_map, iova)", 8)], tmp_path)
