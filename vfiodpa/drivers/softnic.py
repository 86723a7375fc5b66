"""The software NIC's vendor record: ring positions, active pairs and RARP, as a vendor would add them."""

from __future__ import annotations

from ..errors import DeviceError
from ..pci.function import PciFunction
from ..spec.softnic import MAGIC, SUBSYSTEM_ID, SUBSYSTEM_VENDOR_ID, VENDOR_BAR, VendorCfg
from ..spec.virtio_pci import DEVICE_TYPE_NET, MODERN_ID_BASE, VENDOR_ID
from .quirks import PciId, Quirks, ReadPoint, RingState, VendorRegister


def _ring_state(queue: int) -> VendorRegister:
    return VendorRegister.of(VENDOR_BAR, VendorCfg.ring_state.element(queue))


def _announce(function: PciFunction, mac: bytes) -> None:
    vendor = VendorCfg(function.bar(VENDOR_BAR))
    vendor.announce_mac_low = int.from_bytes(mac[:4], "little")
    vendor.announce_mac_high = int.from_bytes(mac[4:], "little")  # last: this write sends the frame


def _check_magic(quirks: Quirks, function: PciFunction) -> Quirks:
    magic = VendorCfg(function.bar(VENDOR_BAR)).magic
    if magic != MAGIC:
        raise DeviceError(f"vendor registers show {magic:#010x} instead of {MAGIC:#010x}", device=function.name)
    return quirks


SOFTNIC = Quirks(
    "softnic",
    ids=(PciId(VENDOR_ID, MODERN_ID_BASE + DEVICE_TYPE_NET, SUBSYSTEM_VENDOR_ID, SUBSYSTEM_ID),),
    ring_state=RingState(_ring_state, read_at=ReadPoint.AFTER_RESET, packed=True),
    active_pairs=VendorRegister.of(VENDOR_BAR, VendorCfg.active_pairs),
    announce=_announce,
    blocks={VENDOR_BAR: ("vendor", VendorCfg)},
    adapt=_check_magic,
)
