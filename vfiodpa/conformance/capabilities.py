"""Virtio's PCI capabilities (P-CAP, P-DEV, P-SHM, P-VND, X-1, X-2). Ref: virtio 1.3, 4.1.4"""

from __future__ import annotations

from collections import defaultdict

from ..spec.pci import BarFlag, ConfigHeader
from ..spec.virtio_pci import VENDOR_ID, CfgType, NotifyCap, PciCfgCap, VendorDataCap, VirtioPciCap
from ..validate.bench import Bench
from ..validate.check import check
from ..validate.structures import Virtio, bar_length, next_after, of_type, virtio_capabilities
from ..validate.verdict import NotApplicable

CAP_64 = 24  # bytes of struct virtio_pci_cap64
LENGTHS = {
    CfgType.COMMON: VirtioPciCap.size,
    CfgType.NOTIFY: NotifyCap.size,
    CfgType.ISR: VirtioPciCap.size,
    CfgType.DEVICE: VirtioPciCap.size,
    CfgType.PCI: PciCfgCap.size,
    CfgType.SHARED_MEMORY: CAP_64,
    CfgType.VENDOR: VendorDataCap.size,
}


@check("P-CAP-1")
def lengths_of_capabilities(bench: Bench) -> None:
    """Each capability's ``cap_len`` covers its type's structure and stays out of the next capability."""
    for cap in virtio_capabilities(bench.function):
        length, kind = int(cap.head.cap_len), int(cap.head.cfg_type)
        needed = LENGTHS[CfgType(kind)] if kind in LENGTHS else 0
        bench.must(length >= needed, f"{cap}: cap_len is {length}, the structure has {needed} bytes")
        room = next_after(bench.function, cap.at) - cap.at
        bench.must(length <= room, f"{cap}: cap_len is {length}, the next capability comes after {room} bytes")


@check("P-CAP-3")
def the_best_structure_comes_first(bench: Bench) -> None:
    """Of several structures of one type the first is not in an I/O BAR while another is in memory."""
    bars = ConfigHeader(bench.function.config).bars
    by_type: dict[int, list[Virtio]] = defaultdict(list)
    for cap in virtio_capabilities(bench.function):
        if cap.head.cfg_type not in (CfgType.PCI, CfgType.VENDOR) and cap.head.bar <= 5:
            by_type[int(cap.head.cfg_type)].append(cap)
    for caps in by_type.values():
        in_ports = [bool(bars[int(cap.head.bar)] & BarFlag.IO) for cap in caps]
        bench.must(not in_ports[0] or all(in_ports), f"{caps[0]} is in an I/O BAR, and first of {len(caps)}")


@check("P-DEV-1")
def alignment_of_device_configuration(bench: Bench) -> None:
    """The device configuration structure lies at a multiple of 4."""
    for cap in of_type(bench.function, CfgType.DEVICE):
        bench.must(cap.head.offset % 4 == 0, f"{cap}: its structure is at {cap.head.offset:#x}")


@check("X-1")
def there_is_a_device_configuration(bench: Bench) -> None:
    """A network device has a device configuration structure."""
    bench.must(of_type(bench.function, CfgType.DEVICE), "there is no DEVICE capability")


# Shared memory


@check("P-SHM-1")
def shared_memory_lies_in_its_bar(bench: Bench) -> None:
    """Each shared memory region lies inside its BAR."""
    for cap in _shared_memory(bench):
        high, length_high = (bench.function.config.read(cap.at + at, 32) for at in (16, 20))
        offset, length = cap.head.offset | high << 32, cap.head.length | length_high << 32
        room = bar_length(bench.function, cap.head.bar)
        bench.must(
            offset + length <= room, f"{cap}: {length:#x} bytes at {offset:#x} of BAR {cap.head.bar} ({room:#x} bytes)"
        )


@check("P-SHM-2")
def ids_of_shared_memory(bench: Bench) -> None:
    """No two shared memory regions have the same id."""
    seen: set[int] = set()
    for cap in _shared_memory(bench):
        bench.must(cap.head.id not in seen, f"{cap}: another region has id {cap.head.id}, too")
        seen.add(int(cap.head.id))


def _shared_memory(bench: Bench) -> list[Virtio]:
    caps = of_type(bench.function, CfgType.SHARED_MEMORY)
    if not caps:
        raise NotApplicable("the device has no shared memory capability")
    return caps


# Vendor data


@check("P-VND-3")
def vendor_ids_of_vendor_data(bench: Bench) -> None:
    """Vendor data is not virtio's own: its vendor id is not 0x1AF4."""
    for cap in _vendor_data(bench):
        vendor = bench.function.config.read(cap.at + VendorDataCap.offset_of("vendor_id"), 16)
        bench.must(vendor != VENDOR_ID, f"{cap}: its vendor id is {vendor:#06x}")


@check("P-VND-4")
def size_of_vendor_data(bench: Bench) -> None:
    """The size of vendor data is a multiple of 4."""
    for cap in _vendor_data(bench):
        bench.must(cap.head.cap_len % 4 == 0, f"{cap}: cap_len is {cap.head.cap_len}")


@check("P-VND-5")
def reading_vendor_data(bench: Bench) -> None:
    """Reading vendor data, in any width and again, changes neither it nor the device."""
    _read_vendor_data(bench)


@check("X-2")
def reading_vendor_data_has_no_side_effects(bench: Bench) -> None:
    """Vendor data can be read without side effects."""
    _read_vendor_data(bench)


def _read_vendor_data(bench: Bench) -> None:
    caps = _vendor_data(bench)
    bench.negotiate()
    common = bench.device.common
    before = int(common.device_status), int(common.config_generation), int(bench.device.offered)
    for cap in caps:
        first = _bytes(bench, cap, 8)
        for width in (8, 16, 32, 8):
            again = _bytes(bench, cap, width)
            bench.must(again == first[: len(again)], f"{cap} reads {again.hex()} now, {first.hex()} before")
    after = int(common.device_status), int(common.config_generation), int(bench.device.offered)
    bench.must(after == before, f"reading vendor data changed status, generation, features {before} to {after}")


def _vendor_data(bench: Bench) -> list[Virtio]:
    caps = of_type(bench.function, CfgType.VENDOR)
    if not caps:
        raise NotApplicable("the device has no vendor data capability")
    return caps


def _bytes(bench: Bench, cap: Virtio, width: int) -> bytes:
    size = width // 8
    return b"".join(
        bench.function.config.read(cap.at + at, width).to_bytes(size, "little")
        for at in range(0, int(cap.head.cap_len) // size * size, size)
    )
