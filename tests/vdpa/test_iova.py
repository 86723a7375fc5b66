"""Can the IOMMU take a guest's memory?"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfiodpa.errors import IommuError
from vfiodpa.pci.function import IovaRange
from vfiodpa.vdpa.iova import check_iova

PAGE = 0x1000
X86 = [IovaRange(0, 0xFEDF_FFFF), IovaRange(0xFEF0_0000, (1 << 39) - 1)]


@pytest.mark.parametrize(
    ("iova", "length"),
    [(0, PAGE), (0xFEDF_F000, PAGE), (0xFEF0_0000, 1 << 30), ((1 << 39) - PAGE, PAGE)],
)
def test_what_lies_in_one_range_is_taken(iova: int, length: int) -> None:
    check_iova("nic0", X86, iova, length)


@pytest.mark.parametrize(
    ("iova", "length", "hole"),
    [
        (0xFEDF_F000, 2 * PAGE, "0xfee00000-0xfeefffff"),
        (0, 1 << 33, "0xfee00000-0xfeefffff"),
        (0xFEE0_1000, PAGE, "0xfee00000-0xfeefffff"),
        (1 << 39, PAGE, "everything from 0x8000000000"),
        ((1 << 39) - PAGE, 2 * PAGE, "everything from 0x8000000000"),
    ],
)
def test_a_refusal_names_the_range_and_the_hole(iova: int, length: int, hole: str) -> None:
    with pytest.raises(IommuError) as caught:
        check_iova("nic0", X86, iova, length)
    assert str(caught.value).startswith(f"nic0: guest memory {iova:#x}-{iova + length - 1:#x} cannot be mapped")
    assert caught.value.what.endswith(f"leaves out {hole}")


def test_no_range_at_all() -> None:
    with pytest.raises(IommuError, match="everything from 0x0"):
        check_iova("nic0", [], 0, PAGE)


ranges = st.lists(st.integers(0, 40), min_size=0, max_size=8, unique=True).map(
    lambda edges: [
        IovaRange(first, last - 1) for first, last in zip(sorted(edges)[::2], sorted(edges)[1::2], strict=False)
    ]
)


@given(ranges=ranges, iova=st.integers(0, 40), length=st.integers(1, 12), reverse=st.booleans())
def test_exactly_what_is_mappable_is_taken_and_the_hole_is_real(
    ranges: list[IovaRange], iova: int, length: int, reverse: bool
) -> None:
    wanted = range(iova, iova + length)
    usable = [set(range(r.first, r.last + 1)) for r in ranges]
    fits = any(set(wanted) <= one for one in usable)
    try:
        check_iova("nic0", ranges[::-1] if reverse else ranges, iova, length)
    except IommuError as error:
        assert not fits
        touching = all(set(wanted) - one for one in usable) and set(wanted) <= set().union(*usable)
        numbers = [int(n, 16) for n in re.findall(r"0x[0-9a-f]+", error.what.partition("leaves out")[2])]
        hole = range(numbers[0], (numbers[1] if len(numbers) > 1 else 99) + 1)
        assert touching or set(hole) & set(wanted)
        assert touching or not set(hole) & set().union(*usable)
    else:
        assert fits
