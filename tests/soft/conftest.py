"""Fixtures that make software NICs, and take them away."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.soft.soft_rig import Nic


@pytest.fixture
def make_nic() -> Iterator[Callable[[str], Nic]]:
    made: list[Nic] = []

    def make(text: str = "soft") -> Nic:
        made.append(Nic(text))
        return made[-1]

    yield make
    for nic in made:
        nic.close()


@pytest.fixture
def nic(make_nic: Callable[[str], Nic]) -> Nic:
    return make_nic("soft")
