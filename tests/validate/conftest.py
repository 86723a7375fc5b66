"""Fixtures: a runner over a software NIC."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.validate.validate_rig import a_runner
from vfiodpa.validate.runner import Runner


@pytest.fixture
def runner() -> Iterator[Runner]:
    with a_runner() as opened:
        yield opened
