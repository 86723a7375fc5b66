"""Finding the virtio structures: the first usable one of each type (4.1.4.1)."""

from __future__ import annotations

import logging

import pytest

from tests.drivers.fake_function import COMMON, DEVICE, ISR, NOTIFY, FakeFunction
from vfiodpa.drivers.transport import Structure, Transport, find_structures
from vfiodpa.errors import DeviceError
from vfiodpa.spec.pci import CapId
from vfiodpa.spec.virtio_net import NetConfig
from vfiodpa.spec.virtio_pci import CfgType, CommonCfg, NotifyCap, VirtioPciCap

# Where the fake has its capabilities
AT = {CfgType.COMMON: 0x40, CfgType.NOTIFY: 0x58, CfgType.ISR: 0x70, CfgType.DEVICE: 0x88}
SPARE = 0xA0


def patch(function: FakeFunction, kind: CfgType, **fields: int) -> None:
    """Change fields of a capability."""
    layout = NotifyCap if kind is CfgType.NOTIFY else VirtioPciCap
    cap = layout.unpack(function.space[AT[kind] : AT[kind] + layout.size])
    for name, value in fields.items():
        setattr(cap, name, value)
    function.space[AT[kind] : AT[kind] + layout.size] = cap.pack()


def append(function: FakeFunction, cap: VirtioPciCap, at: int = SPARE) -> None:
    """Add a capability behind the last."""
    last = AT[CfgType.DEVICE] if function.options.missing is None else AT[CfgType.ISR]
    function.space[last + 1] = at
    data = cap.pack()[: 256 - at]
    function.space[at : at + len(data)] = data


def capability(kind: int, offset: int, length: int) -> VirtioPciCap:
    return VirtioPciCap(cap_id=CapId.VENDOR, cap_len=16, cfg_type=kind, offset=offset, length=length)


def test_what_is_found() -> None:
    assert find_structures(FakeFunction()) == {
        CfgType.COMMON: Structure(0, COMMON, CommonCfg.size, 0x40),
        CfgType.NOTIFY: Structure(0, NOTIFY, 0x100, 0x58),
        CfgType.ISR: Structure(0, ISR, 1, 0x70),
        CfgType.DEVICE: Structure(0, DEVICE, NetConfig.size, 0x88),
    }
    assert Transport.find(FakeFunction(multiplier=8)).notify_multiplier == 8


def test_the_first_of_a_type_wins() -> None:
    function = FakeFunction()
    append(function, capability(CfgType.ISR, 0x300, 1))
    assert find_structures(function)[CfgType.ISR].offset == ISR


def test_the_second_serves_when_the_first_cannot_be_used(caplog: pytest.LogCaptureFixture) -> None:
    function = FakeFunction()
    patch(function, CfgType.ISR, length=0)
    append(function, capability(CfgType.ISR, 0x300, 1))
    with caplog.at_level(logging.WARNING):
        assert find_structures(function)[CfgType.ISR].offset == 0x300
    assert "fake0: ISR structure of capability 0x70 ignored" in caplog.text


def test_unknown_types_are_passed_over() -> None:
    function = FakeFunction()
    append(function, capability(200, 0xFFFF_0000, 0xFFFF_0000))
    assert len(find_structures(function)) == 4


@pytest.mark.parametrize(
    ("kind", "fields", "reason"),
    [
        (CfgType.COMMON, {"offset": 2}, r"COMMON: offset 0x2 is not 4-byte aligned"),
        (CfgType.NOTIFY, {"offset": NOTIFY + 1}, r"NOTIFY: offset 0x401 is not 2-byte aligned"),
        (CfgType.NOTIFY, {"cap_len": 16}, r"NOTIFY: its capability has only 16 bytes"),
        (CfgType.DEVICE, {"cap_len": 12}, r"DEVICE: its capability has only 12 bytes"),
        (CfgType.ISR, {"length": 0}, r"ISR: it has 0x0 bytes"),
        (CfgType.COMMON, {"bar": 7}, r"COMMON: BAR 7 is a reserved value"),
        (CfgType.COMMON, {"bar": 3}, r"COMMON: .*BAR 3 is not implemented"),
        (CfgType.DEVICE, {"offset": 0xFFFF_FFFC}, r"DEVICE: .* leave BAR 0"),
    ],
)
def test_what_cannot_be_used_is_explained(kind: CfgType, fields: dict[str, int], reason: str) -> None:
    function = FakeFunction()
    patch(function, kind, **fields)
    with pytest.raises(DeviceError, match=f"no usable virtio structure {kind.name} .*{reason}"):
        find_structures(function)


@pytest.mark.parametrize(("at", "fits"), [(0xF0, True), (0xF4, False)])
def test_a_capability_at_the_end_of_configuration_space(at: int, fits: bool) -> None:
    function = FakeFunction(missing=CfgType.DEVICE)
    patch(function, CfgType.ISR, cap_next=at)
    data = capability(CfgType.DEVICE, DEVICE, NetConfig.size).pack()[: 256 - at]
    function.space[at : at + len(data)] = data
    if fits:
        assert CfgType.DEVICE in find_structures(function)
    else:
        with pytest.raises(DeviceError, match="no usable virtio structure DEVICE"):
            find_structures(function)


def test_a_notify_capability_whose_multiplier_is_outside() -> None:
    function = FakeFunction(missing=CfgType.NOTIFY)
    append(function, NotifyCap(cap_id=CapId.VENDOR, cap_len=20, cfg_type=CfgType.NOTIFY, length=0x100), at=0xF0)
    with pytest.raises(DeviceError, match="NOTIFY: its capability has only 16 bytes"):
        find_structures(function)
