"""Somebody unbinds or unplugs the device while it is served: the service ends, so that it can be closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from vfiodpa.drivers.registry import driver_for
from vfiodpa.errors import Unsupported
from vfiodpa.soft.domain import SoftDomain
from vfiodpa.soft.function import SoftFunction
from vfiodpa.vdpa.service import Service


def test_the_service_ends(tmp_path: Path) -> None:
    with SoftFunction() as function, Service(driver_for(function), tmp_path / "s") as service:
        assert not service.wanted_back
        function.request_release()
        service.run()
        assert service.wanted_back


def test_an_error_alone_does_not_end_it(tmp_path: Path) -> None:
    with SoftFunction() as function, Service(driver_for(function), tmp_path / "s") as service:
        service.start()
        function.unplug()
        service.stop()
        assert not service.wanted_back


def test_no_guest_is_served_without_an_iommu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SoftDomain, "isolates", False)
    with SoftFunction() as function, pytest.raises(Unsupported, match="no guest is served without an IOMMU"):
        Service(driver_for(function), tmp_path / "s")
