"""The command line in this process, and a machine made of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.cli_rig import Cli
from tests.pci.fake_host import FakeHost


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost.at(tmp_path)
