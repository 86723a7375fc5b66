"""Memory and rings as people read them."""

from __future__ import annotations

import pytest

from tests.validate.validate_rig import a_runner
from vfiodpa.validate.dump import dump_ring, hexdump
from vfiodpa.validate.rings import Buf, make_ring


def test_repeated_rows_are_left_out_of_a_hexdump() -> None:
    text = hexdump(b"virtio\xff" + bytes(9) + bytes(64), 0x1000)
    assert text.splitlines() == [
        "0x00001000  76 69 72 74 69 6f ff 00 00 00 00 00 00 00 00 00  virtio..........",
        "0x00001010  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................",
        "*",
        "0x00001040  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................",
    ]


@pytest.mark.parametrize("packed", [False, True])
def test_a_ring_is_shown_where_it_stands(packed: bool) -> None:
    with a_runner() as runner:
        ring = make_ring(packed, runner.memory, 3, 8)
        for length in range(1, 11):
            ring.offer([Buf(0x1000, length, writable=True)])
        text = dump_ring(ring)
        ring.close()
    assert text.startswith(f"queue 3, {'packed' if packed else 'split'}, 8 entries\n")
    assert "desc[1]" in text and "len 10" in text and "WRITE" in text
    assert "desc[9]" not in text
