"""Filtering by address (N-MAC) and by VLAN (N-VLAN). Ref: virtio 1.3, 5.1.6.5.2.1 and 5.1.6.5.3.1"""

from __future__ import annotations

from ..spec.features import Feature
from ..spec.virtio_net import RxCommand
from ..validate.bench import Bench
from ..validate.check import check
from ..validate.control import Control
from ..validate.frames import fresh_mark, plain
from ..validate.traffic import Receiver, own_mac
from .rx_modes import GROUP, STRANGER, Filtered

OTHER = b"\x02\x00\x00\x00\x99\x02"
PRIORITY = 5 << 13  # of a tag whose VLAN is 0: only the priority counts


@check("N-MAC-1")
def table_is_empty_after_reset(bench: Bench) -> None:
    """After a device reset the table of addresses is empty."""
    filtered = Filtered(bench)
    filtered.control.mac_table([STRANGER])
    filtered.all_pass((STRANGER,))
    control = Control.start(bench, Feature.NET_CTRL_RX | Feature.NET_CTRL_MAC_ADDR)
    receiver = Receiver(bench)
    control.mode(RxCommand.PROMISC, False)
    control.mode(RxCommand.ALLMULTI, False)
    mark = fresh_mark()
    came = receiver.passes(plain(mark, to=STRANGER), mark)
    bench.must(not came, "after a reset a frame to an address of the old table came through")


@check("N-MAC-2")
def table_holds_when_used(bench: Bench) -> None:
    """A new table is in force when MAC_TABLE_SET is used."""
    filtered = Filtered(bench)
    for table, other in ((STRANGER, OTHER), (OTHER, STRANGER)):
        filtered.control.mac_table([table])
        mark = fresh_mark()
        came = filtered.receiver.passes(plain(mark, to=table), mark)
        bench.must(came, f"MAC_TABLE_SET {table.hex(':')} was used, but a frame to it did not come through")
        bench.must(not filtered.passes(other), f"{other.hex(':')} is not in the table, but a frame to it came through")


@check("N-MAC-4")
def what_matches_nothing_is_dropped(bench: Bench) -> None:
    """Frames to addresses that are neither its own nor in the table are dropped."""
    filtered = Filtered(bench)
    filtered.none_pass((STRANGER, GROUP))
    filtered.control.mac_table([OTHER], [b"\x01\x00\x5e\x00\x00\x78"])
    filtered.none_pass((STRANGER, GROUP))


@check("N-VLAN-1")
def all_tags_without_the_feature(bench: Bench) -> None:
    """Without CTRL_VLAN, tagged frames come through whatever their VLAN."""
    bench.start()
    receiver = Receiver(bench)
    for vlan in (0, PRIORITY, 1, 2047, 2048, 4094, 4095, PRIORITY | 100):
        mark = fresh_mark()
        came = receiver.passes(plain(mark, to=own_mac(bench), vlan=vlan), mark)
        bench.must(came, f"a frame with the tag {vlan:#06x} did not come through")


@check("N-VLAN-2")
def tags_in_the_table(bench: Bench) -> None:
    """With CTRL_VLAN, frames of the VLANs that were added come through."""
    filtered = _tagged(bench)
    for vlan in (1, 100, 2047, 2048, 4094):
        filtered.control.vlan(vlan)
        bench.must(filtered.passes(own_mac(bench), vlan), f"VLAN {vlan} was added, but its frames do not come through")


@check("N-VLAN-3")
def tags_not_in_the_table(bench: Bench) -> None:
    """With CTRL_VLAN, frames of VLANs that were never added, or deleted again, are dropped."""
    filtered = _tagged(bench)
    filtered.control.vlan(100)
    for vlan in (101, 36, 4094):
        came = filtered.passes(own_mac(bench), vlan)
        bench.must(not came, f"VLAN {vlan} was not added, but its frames come through")
    filtered.control.vlan(100, add=False)
    bench.must(not filtered.passes(own_mac(bench), 100), "VLAN 100 was deleted, but its frames come through")


def _tagged(bench: Bench) -> Filtered:
    """Filtering VLANs and, where it can, addresses: who is promiscuous may take every VLAN."""
    if bench.device.offered & Feature.NET_CTRL_RX:
        return Filtered(bench, extra=int(Feature.NET_CTRL_VLAN))
    return Unfiltered(bench)


class Unfiltered(Filtered):
    """A device without CTRL_RX: nothing to turn off."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.modes = bench, ()
        self.control = Control.start(bench, Feature.NET_CTRL_VLAN)
        self.receiver = Receiver(bench)
