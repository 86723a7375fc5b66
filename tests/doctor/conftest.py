from __future__ import annotations

from pathlib import Path

import pytest

from tests.pci.fake_host import FakeHost


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost.at(tmp_path)
