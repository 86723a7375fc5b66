"""A kernel interface as the wire peer, as far as no privilege is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from vfiodpa.errors import VfiodpaError
from vfiodpa.validate.kernel_wire import KernelWire, interface_of


def test_an_interface_is_what_it_is_called(tmp_path: Path) -> None:
    assert interface_of("eth7", tmp_path) == "eth7"


@pytest.mark.parametrize("where", ["net", "virtio3/net"])
def test_the_interface_of_a_nic(tmp_path: Path, where: str) -> None:
    (tmp_path / "bus/pci/devices/0000:00:06.0" / where / "enp0s6").mkdir(parents=True)
    assert interface_of("0000:00:06.0", tmp_path) == "enp0s6"
    assert interface_of("00:06.0", tmp_path) == "enp0s6"


def test_a_nic_without_an_interface(tmp_path: Path) -> None:
    with pytest.raises(VfiodpaError, match="no network interface"):
        interface_of("0000:00:07.0", tmp_path)


def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(VfiodpaError, match="no interface"):
        KernelWire("nobody-here")
