"""Mutants of what the function shows before it is driven: configuration space and capabilities (4.1.2, 4.1.4)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...registers import Window
from ...spec.features import Feature
from ...spec.pci import CapId, MsixCap
from ...spec.virtio_pci import CfgType, NotifyCap, PciCfgCap, VendorDataCap, VirtioPciCap
from .mutant import Mutant
from .patches import Around, add, edit, edit_header, find, find_id, put, replace

if TYPE_CHECKING:
    from ..virtio_net import VirtioNet

UNUSED = 0x7F  # a cfg_type that no driver knows
NO_DATA = "off=notification_data"
IO_BAR = 5
SHARED = {"cap_id": CapId.VENDOR, "cap_len": 24, "cfg_type": CfgType.SHARED_MEMORY, "bar": 0, "length": 0x1000}


def _shared(id: int, offset: int) -> bytes:
    """A shared memory capability, with the high halves that it has behind (4.1.4.8)."""
    return VirtioPciCap(**{**SHARED, "id": id, "offset": offset}).pack() + bytes(8)


def _vendor(vendor: int, length: int = 8) -> bytes:
    cap = VendorDataCap(cap_id=CapId.VENDOR, cap_len=length, cfg_type=CfgType.VENDOR, vendor_id=vendor)
    return cap.pack().ljust(length, b"\x5a")


def _added(*caps: bytes) -> Callable[[bytearray], None]:
    return lambda config: add(config, *caps)


def _in_ports(config: bytearray) -> None:
    """An ISR structure in an I/O BAR, before the one in memory."""
    edit_header("bars", config[0x10] | 1 << 8 * 4 * IO_BAR, 24)(config)
    cap = VirtioPciCap(cap_id=CapId.VENDOR, cap_len=16, cfg_type=CfgType.ISR, bar=IO_BAR, length=1)
    add(config, cap.pack(), first=True)


def _multiplier(value: int) -> dict[str, Any]:
    """Doorbells so many bytes apart, as the capability says."""

    def patch(nic: VirtioNet) -> None:
        nic.notify.multiplier = value
        nic.notify.length = len(nic.state.queues) * value + 2

    def change(config: bytearray) -> None:
        at = find(config, CfgType.NOTIFY)
        before = NotifyCap.unpack(bytes(config[at : at + NotifyCap.size]))
        put(config, at, "length", before.length // before.notify_off_multiplier * value + 2)
        put(config, at, "notify_off_multiplier", value, NotifyCap)

    return {"config": change, "patch": patch}


def _at_an_odd_word(nic: VirtioNet) -> None:
    nic.notify.length += 2
    replace(nic.notify, "check", lambda old: lambda offset, width, value: old(offset - 2, width, value))


def _farther_with_mq(nic: VirtioNet, value: int) -> int:
    return value + 0x1000 if nic.state.driver_features & Feature.NET_MQ else value


def _short_of_control(size: int) -> Callable[[bytearray], None]:
    """A structure that ends amid the doorbell of the control queue; ``size``: of a doorbell."""
    return edit(CfgType.NOTIFY, "length", 4 * 4 + size // 2)


def _many_vectors(config: bytearray) -> None:
    put(config, find_id(config, CapId.MSIX), "control", 2047, MsixCap)


# The window into the BARs


def _lost_writes(_nic: VirtioNet, inner: Window) -> Window:
    data = _window_data(inner)

    def write(inner: Window, offset: int, width: int, value: int) -> None:
        if not data <= offset < data + 4:
            inner.write(offset, width, value)

    return Around(inner, on_write=write)


def _stale_reads(_nic: VirtioNet, inner: Window) -> Window:
    data = _window_data(inner)
    return Around(inner, lambda inner, at, width: 0 if data <= at < data + 4 else inner.read(at, width))


def _window_data(config: Window) -> int:
    raw = bytes(config.read(at, 8) for at in range(config.length))
    return find(raw, CfgType.PCI) + PciCfgCap.offset_of("pci_cfg_data")


def _counts_reads(_nic: VirtioNet, inner: Window) -> Window:
    """Vendor data of which a byte counts how often it was read."""
    raw = bytes(inner.read(at, 8) for at in range(inner.length))
    at = find(raw, CfgType.VENDOR) + VendorDataCap.size
    count = 0

    def read(inner: Window, offset: int, width: int) -> int:
        nonlocal count
        value = inner.read(offset, width)
        if offset <= at < offset + width // 8:
            count = count + 1 & 0x7F
            value ^= count << 8 * (at - offset)
        return value

    return Around(inner, read)


# Notifications of configuration changes


def _to_vector_0(nic: VirtioNet) -> None:
    def make(notify: Callable[[], None]) -> Callable[[], None]:
        def changed() -> None:
            notify()
            if nic.irqs.fd(nic.state.config_vector) < 0 <= nic.irqs.fd(0):
                os.eventfd_write(nic.irqs.fd(0), 1)

        return changed

    replace(nic, "notify_config", make)


MUTANTS: tuple[Mutant, ...] = (
    Mutant("P-BUS-1", "its header is a bridge's", config=edit_header("header_type", 1, 1)),
    Mutant("P-ID-1", "another vendor id", config=edit_header("vendor_id", 0x1AF5)),
    Mutant("P-ID-2", "the device id of a block device", config=edit_header("device_id", 0x1042)),
    Mutant("P-ID-4", "a device id that is no virtio one", also=("P-ID-2",), config=edit_header("device_id", 0x10FF)),
    Mutant("P-ID-5", "revision 0", config=edit_header("revision_id", 0, 1)),
    Mutant("P-ID-6", "subsystem device id 1", config=edit_header("subsystem_id", 1)),
    Mutant("P-CAP-1", "cap_len of the ISR capability is 12", config=edit(CfgType.ISR, "cap_len", 12)),
    Mutant("P-CAP-3", "of two ISR structures the one in I/O ports is first", config=_in_ports),
    Mutant("P-COM-1", "common configuration at an odd word", config=edit(CfgType.COMMON, "offset", 2)),
    Mutant("P-COM-2", "no common configuration capability", config=edit(CfgType.COMMON, "cfg_type", UNUSED)),
    Mutant("P-NTF-1", "no notification capability", config=edit(CfgType.NOTIFY, "cfg_type", UNUSED)),
    Mutant("P-NTF-2", "doorbells at an odd byte", options=NO_DATA, config=edit(CfgType.NOTIFY, "offset", 0x3001)),
    Mutant("P-NTF-3", "doorbells 6 bytes apart", options=NO_DATA, **_multiplier(6)),
    Mutant(
        "P-NTF-4",
        "doorbells lie farther away with MQ",
        options=NO_DATA,
        reads={"CommonCfg.queue_notify_off": _farther_with_mq},
    ),
    Mutant(
        "P-NTF-5",
        "the structure ends amid the control queue's doorbell",
        also=("P-NTF-4",),
        options=f"queues=2,{NO_DATA}",
        config=_short_of_control(2),
    ),
    Mutant("P-NTF-6", "doorbells 2 bytes apart, with NOTIFICATION_DATA", **_multiplier(2)),
    Mutant("P-NTF-7", "doorbells at an odd word", config=edit(CfgType.NOTIFY, "offset", 0x3002), patch=_at_an_odd_word),
    Mutant("P-NTF-8", "doorbells lie farther away with MQ", reads={"CommonCfg.queue_notify_off": _farther_with_mq}),
    Mutant(
        "P-NTF-9",
        "the structure ends amid the control queue's doorbell",
        also=("P-NTF-8",),
        options="queues=2",
        config=_short_of_control(4),
    ),
    Mutant("P-ISR-1", "no ISR capability", config=edit(CfgType.ISR, "cfg_type", UNUSED)),
    Mutant("P-DEV-1", "device configuration at an odd word", config=edit(CfgType.DEVICE, "offset", 0x2002)),
    Mutant("P-SHM-1", "shared memory behind its BAR's end", config=_added(_shared(0, 0x10_0000))),
    Mutant("P-SHM-2", "two shared memory regions with one id", config=_added(_shared(3, 0), _shared(3, 0x1000))),
    Mutant("P-VND-3", "vendor data of virtio's own", config=_added(_vendor(0x1AF4))),
    Mutant("P-VND-4", "10 bytes of vendor data", config=_added(_vendor(0x8086, 10))),
    Mutant("P-VND-5", "vendor data that counts reads", config=_added(_vendor(0x8086)), around=_counts_reads),
    Mutant("P-PCA-1", "no configuration access capability", config=edit(CfgType.PCI, "cfg_type", UNUSED)),
    Mutant("P-PCA-2", "writes through the window are lost", around=_lost_writes),
    Mutant("P-PCA-3", "reads through the window give 0", around=_stale_reads),
    Mutant("P-MSX-1", "a single vector", options="msix=1"),
    Mutant("P-MSX-2", "Table Size is more than there is room for", config=_many_vectors),
    Mutant("P-CCN-1", "configuration changes without a vector go to vector 0", patch=_to_vector_0),
    Mutant("X-1", "no device configuration capability", config=edit(CfgType.DEVICE, "cfg_type", UNUSED)),
    Mutant("X-2", "vendor data that counts reads", config=_added(_vendor(0x8086)), around=_counts_reads),
)
