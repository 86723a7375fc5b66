"""Fixtures that make software NICs, and take them away."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.soft.soft_rig import Nic, nics


@pytest.fixture
def make_nic() -> Iterator[Callable[[str], Nic]]:
    with nics() as make:
        yield make


@pytest.fixture
def nic(make_nic: Callable[[str], Nic]) -> Nic:
    return make_nic("soft")
