from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.soft.soft_rig import Nic
from vfiodpa.errors import DeviceError, DriverBreach
from vfiodpa.pci.capabilities import capabilities, read_layout
from vfiodpa.soft.config_space import ConfigSpace
from vfiodpa.soft.virtio_net import NOTIFY_OFFSET
from vfiodpa.spec.pci import CapId, Command, ConfigHeader, MsixCap, MsixEntry, Status
from vfiodpa.spec.softnic import MAGIC, PLAIN_SUBSYSTEM_ID, SUBSYSTEM_ID
from vfiodpa.spec.virtio_pci import CfgType, CommonCfg, NotifyCap, PciCfgCap, VirtioPciCap

Make = Callable[[str], Nic]


def virtio_caps(nic: Nic) -> dict[CfgType, tuple[int, VirtioPciCap]]:
    found = {}
    for offset, kind in capabilities(nic.f.config):
        if kind == CapId.VENDOR:
            cap = read_layout(nic.f.config, offset, VirtioPciCap)
            found[CfgType(cap.cfg_type)] = offset, cap
    return found


def test_identity_is_a_modern_virtio_net(nic: Nic) -> None:
    header = nic.header
    assert (header.vendor_id, header.device_id) == (0x1AF4, 0x1041)
    assert header.revision_id >= 1
    assert list(header.class_code) == [0, 0, 2]
    assert (header.subsystem_vendor_id, header.subsystem_id) == (0x1AF4, SUBSYSTEM_ID)
    assert header.status == Status.CAPABILITIES


def test_plain_model_has_no_vendor_registers(make_nic: Make) -> None:
    nic = make_nic("soft:model=plain")
    assert nic.header.subsystem_id == PLAIN_SUBSYSTEM_ID
    assert nic.header.bars[2] == 0
    with pytest.raises(DeviceError, match="BAR 2 is not implemented"):
        nic.f.bar(2)


def test_vendor_registers_show_their_magic(nic: Nic) -> None:
    assert nic.vendor.magic == MAGIC


def test_every_structure_has_one_capability_inside_its_bar(nic: Nic) -> None:
    caps = virtio_caps(nic)
    assert set(caps) == {CfgType.COMMON, CfgType.NOTIFY, CfgType.ISR, CfgType.DEVICE, CfgType.PCI}
    for kind, (_, cap) in caps.items():
        assert cap.cap_len == (20 if kind in (CfgType.NOTIFY, CfgType.PCI) else 16)
        assert cap.offset % 4 == 0
        assert cap.offset + cap.length <= nic.f.bar(cap.bar).length


def test_the_list_ends_after_the_last_capability(nic: Nic) -> None:
    assert [kind for _, kind in capabilities(nic.f.config)] == [CapId.MSIX] + [CapId.VENDOR] * 5


@pytest.mark.parametrize(("options", "multiplier"), [("queues=2", 4), ("queues=2,page_per_vq=on", 4096)])
def test_notify_area_covers_every_queue(make_nic: Make, options: str, multiplier: int) -> None:
    nic = make_nic(f"soft:{options}")
    offset, _ = virtio_caps(nic)[CfgType.NOTIFY]
    cap = read_layout(nic.f.config, offset, NotifyCap)
    assert cap.notify_off_multiplier == multiplier
    for queue in range(4):
        nic.common.queue_select = queue
        assert nic.common.queue_notify_off * multiplier + 2 <= cap.length


@pytest.mark.parametrize("vectors", [1, 3, 300, 2048])
def test_msix_table_and_pba_lie_in_their_bar(make_nic: Make, vectors: int) -> None:
    nic = make_nic(f"soft:msix={vectors}")
    at = next(offset for offset, kind in capabilities(nic.f.config) if kind == CapId.MSIX)
    cap = read_layout(nic.f.config, at, MsixCap)
    assert cap.vectors == vectors == nic.f.vectors
    assert cap.table & 7 == cap.pba & 7 == 4
    table_end = (cap.table & ~7) + vectors * MsixEntry.size
    assert table_end <= cap.pba & ~7
    assert (cap.pba & ~7) + -(-vectors // 64) * 8 <= nic.f.bar(4).length
    assert nic.f.bar(4).read(12, 32) == 1  # masked


def test_without_vectors_there_is_no_msix(make_nic: Make) -> None:
    nic = make_nic("soft:msix=0")
    assert CapId.MSIX not in [kind for _, kind in capabilities(nic.f.config)]
    assert nic.f.vectors == 0


def test_msix_enable_shows_with_the_first_vector(nic: Nic, eventfd: Callable[[], int]) -> None:
    at = next(offset for offset, kind in capabilities(nic.f.config) if kind == CapId.MSIX)
    assert not read_layout(nic.f.config, at, MsixCap).control & 0x8000
    nic.f.set_irq(1, eventfd())
    assert read_layout(nic.f.config, at, MsixCap).control & 0x8000


@pytest.mark.parametrize("index", [0, 2, 4])
def test_bar_sizing_shows_the_size(nic: Nic, index: int) -> None:
    bars = ConfigHeader(nic.f.config).bars
    before = bars[index]
    bars[index] = 0xFFFF_FFFF
    mask = bars[index]
    assert -(mask & ~0xF) & 0xFFFF_FFFF == nic.f.bar(index).length
    bars[index] = before
    assert bars[index] == before


def test_64_bit_bar_takes_the_next_index(nic: Nic) -> None:
    bars = nic.header.bars
    assert bars[0] & 0x6 == 0x4
    bars[1] = 0xFFFF_FFFF
    assert bars[1] == 0xFFFF_FFFF
    with pytest.raises(DeviceError, match="BAR 1"):
        nic.f.bar(1)


def test_read_only_configuration_drops_writes(nic: Nic) -> None:
    for offset in (0x00, 0x08, 0x2C):
        before = nic.f.config.read(offset, 32)
        nic.f.config.write(offset, 32, before ^ 0xFFFF_FFFF)
        assert nic.f.config.read(offset, 32) == before


def test_memory_enable_gates_the_bars(nic: Nic) -> None:
    nic.header.command = Command.BUS_MASTER
    with pytest.raises(DriverBreach, match=r"BAR 0\+0x12.*PCI 3.0, 6.2.2"):
        _ = nic.common.num_queues


def test_misaligned_configuration_access_is_a_breach(nic: Nic) -> None:
    with pytest.raises(DriverBreach, match=r"PCI 3\.0"):
        nic.f.config.read(0x01, 16)


class TestConfigurationAccessWindow:
    """virtio 1.3, 4.1.4.9."""

    def aim(self, nic: Nic, offset: int, length: int, bar: int = 0) -> int:
        at, _ = virtio_caps(nic)[CfgType.PCI]
        nic.f.config.write(at + PciCfgCap.offset_of("bar"), 8, bar)
        nic.f.config.write(at + PciCfgCap.offset_of("offset"), 32, offset)
        nic.f.config.write(at + PciCfgCap.offset_of("length"), 32, length)
        return at + PciCfgCap.offset_of("pci_cfg_data")

    def test_reads_the_bar(self, nic: Nic) -> None:
        data = self.aim(nic, CommonCfg.num_queues.offset, 2)
        assert nic.f.config.read(data, 16) == 3

    def test_works_without_memory_enable(self, nic: Nic) -> None:
        nic.header.command = 0
        assert nic.f.config.read(self.aim(nic, CommonCfg.num_queues.offset, 2), 16) == 3

    def test_writes_the_bar(self, nic: Nic) -> None:
        nic.f.config.write(self.aim(nic, CommonCfg.device_feature_select.offset, 4), 32, 1)
        assert nic.common.device_feature_select == 1

    @pytest.mark.parametrize(("offset", "length"), [(0, 3), (2, 4), (1, 2), (0, 8)])
    def test_bad_length_or_offset_is_a_breach(self, nic: Nic, offset: int, length: int) -> None:
        data = self.aim(nic, offset, length)
        with pytest.raises(DriverBreach, match=r"4\.1\.4\.9"):
            nic.f.config.read(data, 32)

    def test_breach_behind_the_window_is_still_one(self, nic: Nic) -> None:
        data = self.aim(nic, NOTIFY_OFFSET, 4)
        with pytest.raises(DriverBreach, match=r"4\.1\.5\.2"):
            nic.f.config.write(data, 32, 0)


def test_lspci_reads_the_same(nic: Nic, tmp_path: Path) -> None:
    """An independent decoder of configuration space."""
    lspci = shutil.which("lspci") or shutil.which("lspci", path="/usr/bin:/usr/sbin:/sbin")
    if lspci is None:
        pytest.skip("lspci is not installed (apt-get install pciutils)")
    config = bytes(nic.f.config.read(i, 8) for i in range(ConfigSpace.length))
    rows = [f"{i:02x}: " + config[i : i + 16].hex(" ") for i in range(0, len(config), 16)]
    dump = tmp_path / "dump"
    dump.write_text("00:05.0 Ethernet controller\n" + "\n".join(rows) + "\n")
    run = subprocess.run(
        [lspci, "-F", str(dump), "-vvv", "-nn"], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL
    )
    text = run.stdout
    assert "Ethernet controller [0200]" in text
    assert "[1af4:1041] (rev 01)" in text
    assert "Subsystem" in text
    assert "[1af4:5d1c]" in text
    assert "Mem+ BusMaster+" in text
    assert "Region 0: Memory at fd000000 (64-bit, non-prefetchable)" in text
    assert "MSI-X: Enable- Count=3 Masked-" in text
    assert "Vector table: BAR=4 offset=00000000" in text
    assert "PBA: BAR=4 offset=00001000" in text
    for line in (
        "VirtIO: CommonCfg\n\t\tBAR=0 offset=00000000 size=00000040",
        "VirtIO: Notify\n\t\tBAR=0 offset=00003000 size=0000000c multiplier=00000004",
        "VirtIO: ISR\n\t\tBAR=0 offset=00001000 size=00000001",
        "VirtIO: DeviceCfg\n\t\tBAR=0 offset=00002000 size=0000001c",
    ):
        assert line in text
    assert "Region 1" not in text  # the upper half of region 0
    assert "<chain looped>" not in text
    assert "access denied" not in text
