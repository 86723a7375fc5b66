"""Receive modes (N-RXF). Ref: virtio 1.3, 5.1.6.5.1.1"""

from __future__ import annotations

from collections.abc import Sequence

from ..spec.features import Feature
from ..spec.virtio_net import RxCommand
from ..validate.bench import Bench
from ..validate.check import check
from ..validate.control import Control
from ..validate.frames import BROADCAST, fresh_mark, plain
from ..validate.traffic import Receiver, own_mac

STRANGER = b"\x02\x00\x00\x00\x99\x01"  # somebody else's address
GROUP = b"\x01\x00\x5e\x00\x00\x77"  # a group that nobody joined
NAMES = {STRANGER: "unicast to somebody else", GROUP: "multicast", BROADCAST: "broadcast"}
R = RxCommand


class Filtered:
    """A running device that filters: not promiscuous, no tables, all modes off but ``modes``."""

    def __init__(self, bench: Bench, *modes: RxCommand, extra: int = 0) -> None:
        self.bench = bench
        features = int(Feature.NET_CTRL_RX | Feature.NET_CTRL_RX_EXTRA | Feature.NET_CTRL_MAC_ADDR) | extra
        self.control = Control.start(bench, features)
        self.receiver = Receiver(bench)
        for mode in (R.PROMISC, R.ALLMULTI):
            self.control.mode(mode, False)
        self.control.mac_table()
        self.modes = modes
        for mode in modes:
            self.control.mode(mode, True)

    def passes(self, to: bytes, vlan: int | None = None) -> bool:
        """Does a frame to that address come through?"""
        mark, sure = fresh_mark(), fresh_mark()
        guide = plain(sure, to=BROADCAST if R.NOUNI in self.modes else own_mac(self.bench))
        return self.receiver.passes(plain(mark, to=to, vlan=vlan), mark, guide=(guide, sure)) is not None

    def all_pass(self, addresses: Sequence[bytes]) -> None:
        """Raise ``Deviation`` unless frames to all of these come through."""
        for to in addresses:
            self.bench.must(self.passes(to), f"with {self._named} a frame did not come: {NAMES.get(to, to.hex(':'))}")

    def none_pass(self, addresses: Sequence[bytes]) -> None:
        """Raise ``Deviation`` when a frame to one of these comes through."""
        for to in addresses:
            self.bench.must(not self.passes(to), f"with {self._named} a frame came: {NAMES.get(to, to.hex(':'))}")

    @property
    def _named(self) -> str:
        return " and ".join(mode.name for mode in self.modes) or "all modes off"


@check("N-RXF-2")
def promiscuous_gets_all(bench: Bench) -> None:
    """With PROMISC, frames to any address come through."""
    Filtered(bench, R.PROMISC).all_pass((STRANGER, GROUP, BROADCAST, own_mac(bench)))


@check("N-RXF-3")
def promiscuous_wins(bench: Bench) -> None:
    """With PROMISC they do so even with NOUNI, NOMULTI and NOBCAST."""
    filtered = Filtered(bench, R.NOUNI, R.NOMULTI, R.NOBCAST)
    filtered.control.mode(R.PROMISC, True)
    for to in (STRANGER, GROUP, BROADCAST, own_mac(bench)):
        mark = fresh_mark()
        bench.wire.send(plain(mark, to=to))
        filtered.receiver.must_get(mark, f"with PROMISC and others: {NAMES.get(to, 'unicast to itself')}")


@check("N-RXF-4")
def all_multicast(bench: Bench) -> None:
    """With ALLMULTI, all multicast comes through."""
    Filtered(bench, R.ALLMULTI).all_pass((GROUP, b"\x33\x33\x00\x00\x00\x99", BROADCAST))


@check("N-RXF-6")
def all_unicast(bench: Bench) -> None:
    """With ALLUNI, unicast to anybody comes through."""
    Filtered(bench, R.ALLUNI).all_pass((STRANGER, own_mac(bench)))


@check("N-RXF-7")
def no_multicast(bench: Bench) -> None:
    """With NOMULTI, no multicast comes through, though it is in the table."""
    filtered = Filtered(bench, R.NOMULTI)
    filtered.control.mac_table(multicast=[GROUP])
    filtered.none_pass((GROUP, b"\x33\x33\x00\x00\x00\x99"))


@check("N-RXF-8")
def no_multicast_wins(bench: Bench) -> None:
    """NOMULTI wins over ALLMULTI."""
    Filtered(bench, R.ALLMULTI, R.NOMULTI).none_pass((GROUP,))


@check("N-RXF-9")
def no_multicast_is_not_no_broadcast(bench: Bench) -> None:
    """With NOMULTI, broadcast comes through."""
    Filtered(bench, R.NOMULTI).all_pass((BROADCAST,))


@check("N-RXF-10")
def no_unicast(bench: Bench) -> None:
    """With NOUNI, no unicast comes through, not even to its own address."""
    Filtered(bench, R.NOUNI).none_pass((own_mac(bench), STRANGER))


@check("N-RXF-11")
def no_unicast_wins(bench: Bench) -> None:
    """NOUNI wins over ALLUNI."""
    Filtered(bench, R.ALLUNI, R.NOUNI).none_pass((own_mac(bench), STRANGER))


@check("N-RXF-12")
def no_broadcast(bench: Bench) -> None:
    """With NOBCAST, no broadcast comes through."""
    Filtered(bench, R.NOBCAST).none_pass((BROADCAST,))


@check("N-RXF-13")
def no_broadcast_wins(bench: Bench) -> None:
    """NOBCAST wins over ALLMULTI."""
    Filtered(bench, R.ALLMULTI, R.NOBCAST).none_pass((BROADCAST,))
