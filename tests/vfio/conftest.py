"""A machine with one NIC behind a fake kernel; nothing of it may stay open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vfio.fake_kernel import FakeKernel, Nic

BDF = "0000:3b:00.2"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKernel]:
    kernel = FakeKernel(tmp_path, monkeypatch)
    yield kernel
    assert kernel.open_fds() == [], "left open"
    kernel.close()


@pytest.fixture
def nic(kernel: FakeKernel) -> Nic:
    """``3b:00.2``, bound to vfio-pci, alone in its group."""
    return kernel.add(Nic(BDF, group=7))


@pytest.fixture(params=["iommufd", "type1"])
def iommu(request: pytest.FixtureRequest) -> str:
    """Both ways to the IOMMU."""
    kind: str = request.param
    return kind
