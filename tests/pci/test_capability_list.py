"""Capability lists of configuration space, as sysfs shows it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pci.fake_host import NIC, FakeHost
from vfiodpa.errors import LimitError, StateError
from vfiodpa.pci.capability_list import capability_list
from vfiodpa.pci.config_file import ConfigFile
from vfiodpa.spec.pci import AcsCap, AerCap, AerError, ExpressCap, MsixCap, PmCap, SriovCap, Status


def space(size: int, parts: dict[int, bytes]) -> ConfigFile:
    data = bytearray(size)
    struct.pack_into("<HHHH", data, 0, 0x1AF4, 0x1041, 0, Status.CAPABILITIES)
    data[0x34] = min(parts, default=0)
    for offset, part in parts.items():
        data[offset : offset + len(part)] = part
    return ConfigFile(bytes(data))


def ext(cap_id: int, following: int, version: int = 1) -> int:
    return cap_id | version << 16 | following << 20


FULL = {
    0x40: PmCap(cap_id=0x01, cap_next=0x50, control=3).pack(),
    0x50: MsixCap(cap_id=0x11, cap_next=0x60, control=0x8003, table=0x2001).pack(),
    0x60: ExpressCap(cap_id=0x10, device_capabilities=1 << 28, link_status=4 | 16 << 4).pack(),
    0x100: AerCap(header=ext(1, 0x140), uncorrectable_status=AerError.POISONED_TLP).pack(),
    0x140: AcsCap(header=ext(0x0D, 0x150), capability=0x1D, control=0x1D).pack(),
    0x150: SriovCap(header=ext(0x10, 0x190), total_vfs=8, num_vfs=2, vf_device_id=0x1041).pack(),
    0x190: struct.pack("<I", ext(0x7777, 0)),
}


def test_everything_is_decoded() -> None:
    found, problem = capability_list(space(4096, FULL))
    assert problem == ""
    assert [(c.offset, c.name, c.detail) for c in found] == [
        (0x40, "power_management", "state D3_HOT"),
        (0x50, "msix", "4 vectors, on, table in BAR 1 at 0x2000"),
        (0x60, "pci_express", "endpoint, 16 GT/s x16, function level reset yes"),
        (0x100, "aer", "uncorrectable errors seen: poisoned_tlp"),
        (
            0x140,
            "acs",
            "can source_validation request_redirect completion_redirect upstream_forwarding; "
            "enabled source_validation request_redirect completion_redirect upstream_forwarding",
        ),
        (0x150, "sriov", "2 of 8 virtual functions, their device id 1041"),
        (0x190, "id 0x7777", ""),
    ]


def test_without_root_there_is_only_the_header() -> None:
    found, problem = capability_list(space(64, {}))
    assert found == []
    assert "need root" in problem


def test_plain_pci_has_no_extended_space() -> None:
    found, problem = capability_list(space(256, {0x40: FULL[0x40][:1] + b"\0" + FULL[0x40][2:]}))
    assert [c.name for c in found] == ["power_management"]
    assert problem == ""


@pytest.mark.parametrize("first", [b"\xff\xff\xff\xff", bytes(4)])
def test_an_empty_extended_space(first: bytes) -> None:
    assert capability_list(space(4096, {0x100: first, 0x34: b"\0"})) == ([], "")


def test_an_extended_list_that_loops() -> None:
    _, problem = capability_list(space(4096, {0x34: b"\0", 0x100: AcsCap(header=ext(0x0D, 0x100)).pack()}))
    assert "loops" in problem


@given(st.binary(min_size=256, max_size=4096))
def test_no_bytes_break_the_walk(data: bytes) -> None:
    found, problem = capability_list(ConfigFile(data))
    assert isinstance(problem, str)
    assert all(0x40 <= c.offset < len(data) for c in found)


def test_the_file_is_never_written(host: FakeHost) -> None:
    path = host.add()
    (path / "config").write_bytes(bytes(64))
    config = ConfigFile.read_from(host, NIC)
    with pytest.raises(StateError, match="belongs to its driver"):
        config.write(4, 16, 6)
    with pytest.raises(IndexError):
        config.read(62, 32)


def test_a_file_that_cannot_be_read(host: FakeHost) -> None:
    host.add()
    with pytest.raises(LimitError, match="ENOENT"):
        ConfigFile.read_from(host, NIC)
