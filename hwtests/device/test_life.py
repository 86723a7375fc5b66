"""Opening, closing, resetting: nothing is left behind, and the next one finds it clean."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vfiodpa.errors import StateError
from vfiodpa.spec.features import Feature
from vfiodpa.spec.virtio_pci import DeviceStatus
from vfiodpa.vdpa.devices import Access, open_device
from vfiodpa.vdpa.nic import Nic

CYCLES = 10


def _open(device_name: str, access: Access) -> Nic:
    return Nic(open_device(device_name, access=access))


def _footprint() -> dict[str, int]:
    """What this process holds: open files, device mappings, pinned memory (kB)."""
    maps = Path("/proc/self/maps").read_text()
    status = Path("/proc/self/status").read_text()
    kinds = {"VmLck": 0, "VmPin": 0} | {
        name: int(kb) for name, kb in re.findall(r"^(Vm(?:Lck|Pin)):\s+(\d+)", status, re.MULTILINE)
    }
    return {
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "mappings": len(re.findall("vfio|memfd", maps)),
        **kinds,
    }


def test_cycles_leave_nothing_behind(device_name: str, access: Access) -> None:
    def cycle() -> None:
        with _open(device_name, access) as nic, nic.guest() as guest:
            guest.start()

    cycle()  # what is made once per process is made now
    before = _footprint()
    for _ in range(CYCLES):
        cycle()
    assert _footprint() == before


def test_closed_while_running_it_is_found_reset(device_name: str, access: Access) -> None:
    nic = _open(device_name, access)
    guest = nic.guest()
    guest.start()
    assert nic.device.status & DeviceStatus.DRIVER_OK
    guest.close()
    nic.close()
    with _open(device_name, access) as again:
        assert again.device.status == 0


def test_function_reset_clears_registers(nic: Nic) -> None:
    nic.device.negotiate(Feature.VERSION_1)
    nic.function.reset()
    nic.device.reset()
    assert nic.device.status == 0
    assert nic.config.mac


def test_events_are_quiet(nic: Nic) -> None:
    assert not nic.events.error.pending
    assert not nic.events.release.pending


def test_a_closed_function_says_so(device_name: str, access: Access) -> None:
    nic = _open(device_name, access)
    nic.close()
    nic.close()
    with pytest.raises(StateError):
        nic.function.bar(0)
