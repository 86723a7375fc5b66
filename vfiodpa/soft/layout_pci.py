"""Where everything of the software NIC lies: BARs and capabilities.

Ref: virtio 1.3, 4.1.4; PCI 3.0, 6.2.5 and 6.8.2.
"""

from __future__ import annotations

from ..layout import Layout
from ..registers import Window
from ..spec import ifcvf
from ..spec.pci import BarFlag, CapId, MsixCap, MsixEntry
from ..spec.softnic import PLAIN_SUBSYSTEM_ID, SUBSYSTEM_ID, SUBSYSTEM_VENDOR_ID, VENDOR_BAR, VendorCfg
from ..spec.virtio_pci import CfgType, CommonCfg, IsrCfg, NotifyCap, PciCfgCap, VirtioPciCap
from . import rules
from .config_space import Bar
from .ifcvf import LM_LENGTH
from .netconfig import NET_CONFIG_LENGTH
from .options import LmLayout, Model, SoftOptions
from .virtio_net import COMMON_OFFSET, DEVICE_OFFSET, ISR_OFFSET, NOTIFY_OFFSET, PAGE

VIRTIO_BAR = 0  # 64-bit: takes index 1 too


def vendor_bar(options: SoftOptions) -> int | None:
    """Index of the BAR with the vendor's registers, where there is one."""
    if options.model is Model.IFCVF:
        return None if options.lm is LmLayout.NONE else ifcvf.LM_BAR
    return VENDOR_BAR if options.model is Model.DEFAULT else None


def msix_bar(options: SoftOptions) -> int:
    """Index of the BAR with the MSI-X table."""
    return 2 if options.model is Model.IFCVF else 4


def bars(options: SoftOptions, notify_length: int) -> tuple[Bar, ...]:
    """The function's BARs; sizes are powers of two (PCI 3.0, 6.2.5.1)."""
    virtio = 1 << (NOTIFY_OFFSET + notify_length - 1).bit_length()
    found = [Bar(VIRTIO_BAR, virtio, 0xFD00_0000, BarFlag.MEM_64)]
    vendor = vendor_bar(options)
    if vendor is not None:
        found.append(Bar(vendor, LM_LENGTH if vendor == ifcvf.LM_BAR else VendorCfg.size, 0xFE00_0000))
    if options.vectors:
        found.append(Bar(msix_bar(options), _msix_bar_size(options.vectors), 0xFE10_0000))
    return tuple(found)


def subsystem(options: SoftOptions) -> tuple[int, int]:
    """Subsystem vendor and device; both are what QEMU shows for ``model=plain``."""
    if options.model is Model.IFCVF:
        return ifcvf.SUBSYSTEM_VENDOR_ID, ifcvf.N3000_SUBSYSTEM_ID
    return SUBSYSTEM_VENDOR_ID, PLAIN_SUBSYSTEM_ID if options.model is Model.PLAIN else SUBSYSTEM_ID


def capabilities(options: SoftOptions, notify_length: int, multiplier: int) -> tuple[Layout, ...]:
    """All capabilities in list order."""
    notify = NotifyCap(notify_off_multiplier=multiplier, **_virtio(CfgType.NOTIFY, NOTIFY_OFFSET, notify_length, 20))
    window = PciCfgCap(**{**_virtio(CfgType.PCI, 0, 0, 20), "bar": 0})
    found: list[Layout] = [
        VirtioPciCap(**_virtio(CfgType.COMMON, COMMON_OFFSET, CommonCfg.size)),
        notify,
        VirtioPciCap(**_virtio(CfgType.ISR, ISR_OFFSET, IsrCfg.size)),
        VirtioPciCap(**_virtio(CfgType.DEVICE, DEVICE_OFFSET, NET_CONFIG_LENGTH)),
        window,
    ]
    if options.vectors:
        found.insert(0, _msix(options.vectors, msix_bar(options)))
    return tuple(found)


def _virtio(kind: CfgType, offset: int, length: int, size: int = 16) -> dict[str, int]:
    fields = {"cap_id": CapId.VENDOR, "cap_len": size, "cfg_type": kind, "bar": VIRTIO_BAR}
    return {**fields, "offset": offset, "length": length}


def _msix(vectors: int, bar: int) -> MsixCap:
    pba = _table_pages(vectors)
    return MsixCap(cap_id=CapId.MSIX, control=vectors - 1, table=bar, pba=pba | bar)


def _table_pages(vectors: int) -> int:
    return -(-vectors * MsixEntry.size // PAGE) * PAGE


def _msix_bar_size(vectors: int) -> int:
    pba = -(-vectors // 64) * 8
    return 1 << (_table_pages(vectors) + max(pba, PAGE) - 1).bit_length()


class MsixArea:
    """Table and pending bits (a ``Window``).

    As under VFIO the table is not the driver's: it shows masked entries and refuses writes;
    interrupts are routed with ``set_irq``.
    """

    def __init__(self, device: str, vectors: int) -> None:
        self.device = device
        self.vectors = vectors
        self.length = _msix_bar_size(vectors)

    def read(self, offset: int, width: int) -> int:
        if width != 32 or offset % 4:
            raise rules.MSIX_TABLE.breach(self.device, f"MSI-X+{offset:#x}", f"{width}-bit read")
        in_table = offset < self.vectors * MsixEntry.size
        return int(in_table and offset % MsixEntry.size == MsixEntry.offset_of("control"))  # bit 0: masked

    def write(self, offset: int, width: int, value: int) -> None:
        raise rules.MSIX_TABLE.breach(self.device, f"MSI-X+{offset:#x}", f"{width}-bit write of {value:#x}")


def msix_window(device: str, vectors: int) -> Window:
    """The MSI-X BAR."""
    return MsixArea(device, vectors)
