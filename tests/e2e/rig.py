"""What the end-to-end tests are made of: a served NIC, guests, and a look at what the process holds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwtests.footprint import threads
from tests.settle import wait_asleep
from vfiodpa.guest.guest import Guest
from vfiodpa.guest.traffic import Mode, Plan, Traffic, Verdict
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.soft.function import SoftFunction
from vfiodpa.spec.features import Feature
from vfiodpa.spec.vhost_user import Request
from vfiodpa.spec.virtio_pci import DeviceStatus
from vfiodpa.vdpa.datapath import Datapath, State
from vfiodpa.vdpa.nic import Nic
from vfiodpa.vdpa.service import Service

DEADLINE = 30.0  # seconds; of waits that end at once on an idle machine
COUNT = 500  # frames per pair that show a queue works
PLAIN = Feature.VERSION_1
BASIC = PLAIN | Feature.NET_MRG_RXBUF | Feature.EVENT_IDX


def wait_for(done: Callable[[], bool], what: str = "", seconds: float = DEADLINE) -> None:
    """Wait until ``done``; ``what`` was waited for is what the failure says."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"within {seconds:g} s: not {what or done}"
        time.sleep(0.001)


class Served:
    """A software NIC, and its service in a thread."""

    def __init__(self, nic: Nic, service: Service) -> None:
        assert isinstance(nic.function, SoftFunction)
        self.nic = nic
        self.function = nic.function
        self.service = service

    @property
    def path(self) -> Path:
        return self.service.path

    @property
    def datapath(self) -> Datapath:
        return self.service.datapath

    def wait_state(self, state: State) -> None:
        wait_for(lambda: self.datapath.state is state, f"{state}: {self.datapath!r}")

    def settle(self, guest: VhostUserGuest) -> None:
        """Until the service has done what it does by itself, such as kicks and calls of a start, and the NIC sleeps."""
        status(guest)  # its thread has come round
        wait_asleep(self.function)

    def packets(self, queue: int) -> int:
        return self.function.queue_stats(queue)["packets"]


def move(guest: Guest, count: int = COUNT, **plan: Any) -> Verdict:
    """``count`` frames per pair, each accounted for; fails when one is missing, damaged, doubled or out of order."""
    plan = {"stall": DEADLINE, "drain": DEADLINE, **plan}
    with Traffic(guest, Plan(count=count, **plan)) as traffic:
        done = traffic.wait(DEADLINE)
    verdict = traffic.verdict
    assert done, f"not done: {verdict}: {verdict.total}"
    assert verdict.clean, f"{verdict}: {verdict.total}"
    assert verdict.mode is not Mode.ECHO or all(pair.received == count for pair in verdict.pairs)
    return verdict


class Stream:
    """Traffic in the background that must come to no harm: it may be held up, but loses nothing."""

    def __init__(self, guest: Guest, **plan: Any) -> None:
        # Sleeping between frames, so that lost notifications are felt and other threads get the processor.
        plan = {"poll_us": 0, "window": 8, "stall": 1000.0, "drain": DEADLINE, **plan}
        self.traffic = Traffic(guest, Plan(**plan))
        self.flows()

    @property
    def received(self) -> int:
        return self.traffic.stats().total.received

    def flows(self, frames: int = 20) -> None:
        """Wait for some more frames."""
        target = self.received + frames
        wait_for(lambda: self.received >= target, f"more frames: {self.traffic!r}")

    def stop(self) -> Verdict:
        """End it and require that every frame came back."""
        verdict = self.traffic.stop()
        assert verdict.clean, f"{verdict}: {verdict.total}"
        return verdict


def status(guest: VhostUserGuest) -> DeviceStatus:
    """What GET_STATUS says."""
    return DeviceStatus(guest.channel.call(Request.GET_STATUS).u64)


def needs_reset(guest: VhostUserGuest) -> bool:
    return bool(status(guest) & DeviceStatus.NEEDS_RESET)


def warnings(records: list[logging.LogRecord]) -> list[str]:
    """Log lines that a person sees without -v."""
    return [record.getMessage() for record in records if record.levelno >= logging.WARNING]


@dataclass(frozen=True)
class Census:
    """Open fds and threads of this process."""

    fds: dict[int, str]
    threads: int

    @classmethod
    def take(cls) -> Census:
        fds = {}
        for entry in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):  # the listing's own
                fds[int(entry.name)] = str(entry.readlink())
        return cls(fds, len(threads()))

    def grew_since(self, before: Census) -> str:
        """What is there now and was not then; empty when nothing is."""
        new = [f"fd {fd}: {name}" for fd, name in self.fds.items() if fd not in before.fds]
        parts = new if len(self.fds) > len(before.fds) else []
        if self.threads > before.threads:
            parts.append(f"{self.threads - before.threads} threads")
        return ", ".join(parts)
