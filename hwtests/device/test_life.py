"""Opening, closing, resetting: nothing is left behind, and the next one finds it clean."""

from __future__ import annotations

import pytest

from hwtests.footprint import footprint, settled
from vfiodpa.drivers.transport import find_structures
from vfiodpa.errors import StateError, Unsupported
from vfiodpa.pci.function import PciFunction
from vfiodpa.registers import SubWindow
from vfiodpa.spec.pci import Command, ConfigHeader
from vfiodpa.spec.virtio_pci import CfgType, CommonCfg, DeviceStatus
from vfiodpa.vdpa.devices import Access, open_device, open_function
from vfiodpa.vdpa.nic import Nic

CYCLES = 10


def _open(device_name: str, access: Access) -> Nic:
    return Nic(open_device(device_name, access=access))


def _common(function: PciFunction) -> CommonCfg:
    """The common configuration of a function that nobody drives."""
    header = ConfigHeader(function.config)
    header.command = header.command | Command.MEMORY
    where = find_structures(function)[CfgType.COMMON]
    return CommonCfg(SubWindow(function.bar(where.bar), where.offset, where.length))


def test_cycles_leave_nothing_behind(device_name: str, access: Access) -> None:
    def cycle() -> None:
        with _open(device_name, access) as nic, nic.guest() as guest:
            guest.start()

    cycle()  # what is made once per process is made now
    before = footprint()
    for _ in range(CYCLES):
        cycle()
    assert settled(before) == before


def test_closed_while_running_it_is_found_reset(device_name: str, access: Access) -> None:
    nic = _open(device_name, access)
    guest = nic.guest()
    guest.start()
    assert nic.device.status & DeviceStatus.DRIVER_OK
    guest.close()
    nic.close()
    with open_function(device_name, access=access) as function:
        assert _common(function).device_status == 0


def test_function_reset_clears_registers(function: PciFunction) -> None:
    common = _common(function)
    common.device_status = DeviceStatus.ACKNOWLEDGE
    assert common.device_status == DeviceStatus.ACKNOWLEDGE
    try:
        function.reset()
    except Unsupported as error:
        pytest.skip(str(error))
    assert _common(function).device_status == 0


def test_events_are_quiet(nic: Nic) -> None:
    assert not nic.events.error.pending
    assert not nic.events.release.pending


def test_a_closed_function_says_so(device_name: str, access: Access) -> None:
    nic = _open(device_name, access)
    nic.close()
    nic.close()
    with pytest.raises(StateError):
        nic.function.config.read(0, 16)
