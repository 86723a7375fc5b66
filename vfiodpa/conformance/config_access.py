"""The window into the BARs through configuration space (P-PCA). Ref: virtio 1.3, 4.1.4.9"""

from __future__ import annotations

from ..drivers.transport import Structure, find_structures
from ..registers import SubWindow
from ..spec.virtio_pci import CfgType, CommonCfg, DeviceStatus, PciCfgCap
from ..validate.bench import Bench
from ..validate.check import check
from ..validate.structures import of_type
from ..validate.verdict import NotApplicable

_BAR, _OFFSET, _LENGTH = (PciCfgCap.offset_of(name) for name in ("bar", "offset", "length"))
_DATA = PciCfgCap.offset_of("pci_cfg_data")


class BarWindow:
    """One BAR through configuration space (a ``Window``)."""

    length = 1 << 32

    def __init__(self, bench: Bench, cap: int, bar: int) -> None:
        self.config = bench.function.config
        self.cap = cap
        self.config.write(cap + _BAR, 8, bar)

    def read(self, offset: int, width: int) -> int:
        self._point(offset, width)
        return self.config.read(self.cap + _DATA, width)

    def write(self, offset: int, width: int, value: int) -> None:
        self._point(offset, width)
        self.config.write(self.cap + _DATA, width, value)

    def _point(self, offset: int, width: int) -> None:
        self.config.write(self.cap + _OFFSET, 32, offset)
        self.config.write(self.cap + _LENGTH, 32, width // 8)


def _common(bench: Bench) -> CommonCfg:
    """The common configuration, through the window."""
    caps = of_type(bench.function, CfgType.PCI)
    if not caps:
        raise NotApplicable("the device has no PCI configuration access capability")
    bench.device.to_driver()  # before anything is asked of find_structures
    at: Structure = find_structures(bench.function)[CfgType.COMMON]
    return CommonCfg(SubWindow(BarWindow(bench, caps[0].at, at.bar), at.offset, at.length))


@check("P-PCA-1")
def there_is_a_window(bench: Bench) -> None:
    """There is a PCI configuration access capability."""
    bench.must(of_type(bench.function, CfgType.PCI), "there is no PCI capability")


@check("P-PCA-2")
def writing_through_the_window(bench: Bench) -> None:
    """What is written to ``pci_cfg_data``, 1, 2 or 4 bytes, arrives in the BAR."""
    window = _common(bench)
    direct = bench.device.common
    for select in (1, 0):
        window.device_feature_select = select
        seen = int(direct.device_feature_select)
        bench.must(
            seen == select, f"4 bytes: device_feature_select reads {seen} after {select} went through the window"
        )
        window.queue_select = select
        seen = int(direct.queue_select)
        bench.must(seen == select, f"2 bytes: queue_select reads {seen} after {select} went through the window")
    bench.device.reset()
    window.device_status = DeviceStatus.ACKNOWLEDGE
    seen = int(direct.device_status)
    bench.must(seen == DeviceStatus.ACKNOWLEDGE, f"1 byte: device_status reads {seen:#x} after ACKNOWLEDGE was written")


@check("P-PCA-3")
def reading_through_the_window(bench: Bench) -> None:
    """What is read from ``pci_cfg_data``, 1, 2 or 4 bytes, is what the BAR holds."""
    window = _common(bench)
    direct = bench.device.common
    for select in (0, 1):
        direct.device_feature_select = direct.queue_select = select
        for name in ("device_feature", "num_queues", "queue_size", "device_status", "queue_select"):
            want, seen = int(getattr(direct, name)), int(getattr(window, name))
            bench.must(seen == want, f"{name} reads {seen:#x} through the window, {want:#x} from the BAR")
