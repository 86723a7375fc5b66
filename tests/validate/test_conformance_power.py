"""U-14 on a function that can sleep: the software NIC cannot, so one is put in front of its configuration space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.validate.validate_rig import a_runner
from vfiodpa.registers import Window
from vfiodpa.spec.pci import CapId, Command, ConfigHeaderLayout, PmCap, PmState
from vfiodpa.trace.traced import innermost
from vfiodpa.validate.check import all_checks
from vfiodpa.validate.results import Outcome
from vfiodpa.validate.verdict import Verdict

AT = 0xF0
CONTROL = AT + PmCap.offset_of("control")
LIST, COMMAND = (ConfigHeaderLayout.offset_of(name) for name in ("capabilities", "command"))


@dataclass
class Sleeper:
    """Configuration space with a power management capability in front of the others. In D3hot there is no DMA.

    ``silent``: keeps to that. ``stays``: in D0, whatever it is told.
    """

    inner: Window
    silent: bool = True
    stays: bool = False
    state: int = PmState.D0

    @property
    def length(self) -> int:
        return self.inner.length

    def read(self, offset: int, width: int) -> int:
        following = self.inner.read(LIST, 8)
        cap = PmCap(cap_id=CapId.POWER_MANAGEMENT, cap_next=following, capabilities=3, control=self.state | 8).pack()
        if offset == LIST:
            return AT
        if AT <= offset < AT + PmCap.size:
            return int.from_bytes(cap[offset - AT : offset - AT + width // 8], "little")
        return self.inner.read(offset, width)

    def write(self, offset: int, width: int, value: int) -> None:
        if offset != CONTROL:
            self.inner.write(offset, width, value)
        elif not self.stays:
            self.state = value & 3
            if self.silent:
                master = 0 if self.state else Command.BUS_MASTER
                self.inner.write(COMMAND, 16, self.inner.read(COMMAND, 16) & ~Command.BUS_MASTER | master)


def outcome(monkeypatch: pytest.MonkeyPatch, **how: Any) -> Outcome:
    with a_runner() as runner:
        function = innermost(runner.function)
        window = Sleeper(function.config, **how)
        monkeypatch.setattr(type(function), "config", property(lambda _function: window))
        return runner.run_one(all_checks()["U-14"])


def test_it_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(monkeypatch)
    assert (found.verdict, found.reason, found.notes) == (Verdict.PASS, "", ())


def test_it_does_not_go_to_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(monkeypatch, stays=True)
    assert (found.verdict, found.reason) == (Verdict.FAIL, "it does not go to D3hot when told to")


def test_it_receives_in_its_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outcome(monkeypatch, silent=False)
    assert (found.verdict, found.reason) == (Verdict.FAIL, "the device is in D3hot, and received a frame")


def test_one_that_cannot_says_so() -> None:
    with a_runner() as runner:
        found = runner.run_one(all_checks()["U-14"])
    assert found.verdict is Verdict.PASS
    assert found.notes == ("D3hot not tried: the function has no power management capability",)
