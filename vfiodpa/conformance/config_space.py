"""What the function shows in PCI configuration space (P-BUS, P-ID). Ref: virtio 1.3, 4.1.2; PCI 3.0, 6"""

from __future__ import annotations

from ..errors import DeviceError
from ..pci.capabilities import extended_capabilities
from ..spec.pci import BarFlag, ConfigHeader, MsixCap, MsixEntry
from ..spec.virtio_pci import DEVICE_TYPE_NET, MODERN_ID_BASE, TRANSITIONAL_IDS, TRANSITIONAL_NET, VENDOR_ID
from ..validate.bench import Bench
from ..validate.check import check
from ..validate.structures import bar_length, msix_of, walk
from ..validate.verdict import Deviation, NotApplicable

MODERN_IDS = range(MODERN_ID_BASE, MODERN_ID_BASE + 0x40)
ONES = 0xFFFF_FFFF
BAR_FLAGS = 0xF


@check("P-BUS-1")
def configuration_space_is_in_order(bench: Bench) -> None:
    """A type 0 header, capability lists that end, BARs that can be sized, an MSI-X table inside its BAR."""
    header = ConfigHeader(bench.function.config)
    kind = int(header.header_type) & 0x7F
    bench.must(kind == 0, f"the header type is {kind:#x}, an endpoint has 0")
    walk(bench.function)
    try:
        list(extended_capabilities(bench.function.config))
    except DeviceError as error:
        raise Deviation(error.what) from error
    _size_bars(bench, header)
    try:
        _place_msix(bench, msix_of(bench.function))
    except NotApplicable as finding:
        bench.note(str(finding))


def _size_bars(bench: Bench, header: ConfigHeader) -> None:
    """Ones written to a BAR read back as the complement of its size (PCI 3.0, 6.2.5.1)."""
    index = 0
    while index < 6:
        flags = BarFlag(header.bars[index] & BAR_FLAGS)
        wide = not flags & BarFlag.IO and bool(flags & BarFlag.MEM_64)
        if not flags & BarFlag.IO:
            size = _sized(header, index, wide=wide)
            length = bar_length(bench.function, index)
            bench.must(size & size - 1 == 0, f"BAR {index} is sized {size:#x}: not a power of two")
            # A kernel may show less than a page as a page, and hide what it cannot place.
            bench.must(not length or not size or size <= length, f"BAR {index}: sized {size:#x}, but has {length:#x}")
        index += 1 + wide


def _sized(header: ConfigHeader, index: int, *, wide: bool) -> int:
    parts = (index, index + 1) if wide else (index,)
    before = [int(header.bars[part]) for part in parts]
    for part in parts:
        header.bars[part] = ONES
    mask = sum(int(header.bars[part]) << 32 * at for at, part in enumerate(parts)) & ~BAR_FLAGS
    for part, value in zip(parts, before, strict=True):
        header.bars[part] = value
    return -mask & (1 << 32 * len(parts)) - 1


def _place_msix(bench: Bench, cap: MsixCap) -> None:
    table, pba = (int(cap.table) & ~7, cap.vectors * MsixEntry.size), (int(cap.pba) & ~7, -(-cap.vectors // 64) * 8)
    bars = int(cap.table) & 7, int(cap.pba) & 7
    for what, (offset, length), bar in zip(("table", "pending bits"), (table, pba), bars, strict=True):
        room = bar_length(bench.function, bar)
        bench.must(
            offset + length <= room, f"MSI-X {what}: {length:#x} bytes at {offset:#x} of BAR {bar}, which has {room:#x}"
        )
    apart = sum(table) <= pba[0] or sum(pba) <= table[0]
    bench.must(bars[0] != bars[1] or apart, "the MSI-X table and its pending bits overlap")


@check("P-ID-1")
def the_vendor_id(bench: Bench) -> None:
    """The PCI vendor id is 0x1AF4."""
    vendor = int(ConfigHeader(bench.function.config).vendor_id)
    bench.must(vendor == VENDOR_ID, f"the vendor id is {vendor:#06x}")


@check("P-ID-2")
def the_device_id(bench: Bench) -> None:
    """The PCI device id is that of a network device: 0x1041, or 0x1000 for a transitional one."""
    device = _device_id(bench)
    right = (MODERN_ID_BASE + DEVICE_TYPE_NET, TRANSITIONAL_NET)
    bench.must(device in right, f"the device id is {device:#06x}, a network device has {right[0]:#x} or {right[1]:#x}")


@check("P-ID-4")
def the_device_id_of_a_modern_device(bench: Bench) -> None:
    """A non-transitional device has a device id from 0x1040 to 0x107f."""
    device = _modern_id(bench)
    bench.must(device in MODERN_IDS, f"the device id is {device:#06x}")


@check("P-ID-5")
def the_revision_of_a_modern_device(bench: Bench) -> None:
    """A non-transitional device has a revision of 1 or more."""
    _modern_id(bench)
    revision = int(ConfigHeader(bench.function.config).revision_id)
    bench.must(revision >= 1, f"the revision is {revision}")


@check("P-ID-6")
def the_subsystem_of_a_modern_device(bench: Bench) -> None:
    """A non-transitional device has a subsystem device id of 0x40 or more."""
    _modern_id(bench)
    subsystem = int(ConfigHeader(bench.function.config).subsystem_id)
    bench.must(subsystem >= 0x40, f"the subsystem device id is {subsystem:#06x}")


def _device_id(bench: Bench) -> int:
    return int(ConfigHeader(bench.function.config).device_id)


def _modern_id(bench: Bench) -> int:
    device = _device_id(bench)
    if device in TRANSITIONAL_IDS:
        raise NotApplicable(f"device id {device:#06x} is a transitional device's")
    return device
