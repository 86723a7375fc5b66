"""``demo``: the whole path on the software NIC, verified frame by frame, with live numbers.

Software NIC <- driver <- datapath <- vhost-user socket -> guest half: the same parts that serve a real
guest, in one process. No privilege and no hardware.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..drivers.device import VdpaDevice
from ..errors import ExitCode, UsageError
from ..guest.memory import DEFAULT_SIZE, GuestMemory
from ..guest.traffic import Mode, Plan, Stats, Traffic, Verdict
from ..guest.vhost_user import VhostUserGuest
from ..memory import PAGE_SIZE
from ..spec import features as spec
from ..vdpa.devices import open_nic
from ..vdpa.doorbell import in_words
from ..vdpa.service import Service
from .output import console, print_json, verdict

DEFAULT_SECONDS = 5.0
REFRESH = 0.25  # seconds
QUEUE_SIZE = 256  # entries, where the device takes that many


def add_arguments(_verb: str, parser: argparse.ArgumentParser) -> None:
    """``--seconds``, ``--size``, and the device for the curious."""
    parser.add_argument(
        "device", metavar="DEVICE", nargs="?", default="soft:port=echo", help="a software NIC, default %(default)s"
    )
    parser.add_argument("-t", "--seconds", type=_seconds, default=DEFAULT_SECONDS, help="how long, default %(default)g")
    parser.add_argument("--size", type=int, default=64, help="bytes of a frame, default %(default)s")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is no time to move frames in")
    return seconds


@dataclass(frozen=True, slots=True)
class Scene:
    """What does not change while the demo runs."""

    device: VdpaDevice
    service: Service
    traffic: Traffic

    @property
    def features(self) -> list[str]:
        """Negotiated features by name."""
        return spec.names(self.traffic.guest.negotiated)

    @property
    def doorbells(self) -> dict[int, dict[str, str]]:
        """Mode and reason for each queue."""
        choices = self.service.datapath.doorbells
        return {queue: {"mode": choice.mode.value, "reason": choice.reason} for queue, choice in choices.items()}

    @property
    def doorbell_groups(self) -> dict[str, str]:
        """For people: mode and reason, and the queues that have it."""
        return in_words(self.service.datapath.doorbells)

    @property
    def queues(self) -> list[dict[str, Any]]:
        """The NIC's own counters per queue, where it keeps any."""
        return list(self.device.function.counters().get("queues", []))


def run_demo(arguments: argparse.Namespace) -> ExitCode:
    """Move frames for a while; the exit code is the verdict."""
    if not arguments.device.startswith("soft"):
        raise UsageError("the demo is for the software NIC", device=arguments.device, remedy="vfiodpa serve DEVICE")
    with (
        tempfile.TemporaryDirectory(prefix="vfiodpa-") as directory,
        open_nic(arguments.device) as nic,
        nic.serve(Path(directory) / "nic.sock") as service,
    ):
        service.start()
        pairs, size = nic.device.queue_pairs, min(QUEUE_SIZE, *(queue.size_max for queue in nic.queues))
        with VhostUserGuest(service.path, memory=_memory(pairs, arguments.size)) as guest:
            guest.start(pairs=pairs, size=size)
            plan = Plan(sizes=arguments.size, mode=_mode(arguments.device))
            with Traffic(guest, plan) as traffic:
                scene = Scene(nic.device, service, traffic)
                _watch(scene, arguments.seconds, as_json=arguments.json)
                doorbells = scene.doorbells
            queues = scene.queues
            _finish(scene, traffic.verdict, doorbells, queues, as_json=arguments.json)
            return verdict(traffic.verdict.clean)


def _memory(pairs: int, frame: int) -> GuestMemory:
    """Room for a buffer in each entry; untouched pages cost nothing."""
    room = 2 * pairs * QUEUE_SIZE * (max(frame, 0) + 4096)
    return GuestMemory(DEFAULT_SIZE + -(-room // PAGE_SIZE) * PAGE_SIZE)


def _mode(device: str) -> Mode:
    """What our guest half does with the port at the other end."""
    if "port=generate" in device:
        return Mode.RECEIVE
    return Mode.TRANSMIT if "port=discard" in device else Mode.ECHO


def _watch(scene: Scene, seconds: float, *, as_json: bool) -> None:
    """Show numbers until the time is over or the traffic ended early."""
    end = time.monotonic() + seconds
    out = console()
    if as_json:
        scene.traffic.wait(seconds)
    elif out.is_terminal:
        with Live(console=out, get_renderable=lambda: _view(scene), refresh_per_second=1 / REFRESH):
            scene.traffic.wait(seconds)
    else:
        _print_head(scene)
        while (left := end - time.monotonic()) > 0 and not scene.traffic.wait(min(1.0, left)):
            print(_line(scene.traffic.stats()), flush=True)


def _print_head(scene: Scene) -> None:
    print(f"device     {scene.device.name}, driver {scene.device.driver}, guest half over vhost-user")
    print(f"features   {' '.join(scene.features)}")
    for choice, queues in scene.doorbell_groups.items():
        print(f"doorbells  {choice}: {queues}")


def _line(stats: Stats) -> str:
    total = stats.total
    rate = max(total.received, total.transmitted) / stats.seconds
    return (
        f"{stats.seconds:5.1f} s   {rate / 1e6:6.3f} Mpps   sent {total.sent:,}   received {total.received:,}   "
        f"duplicated {total.duplicated}   reordered {total.reordered}   corrupt {total.corrupt}"
    )


def _view(scene: Scene) -> Group:
    """The live view of a terminal."""
    head = Table.grid(padding=(0, 2))
    head.add_row("device", f"{scene.device.name}, driver {scene.device.driver}")
    head.add_row("features", Text(" ".join(scene.features)))
    for choice, queues in scene.doorbell_groups.items():
        head.add_row("doorbells", Text(f"{choice}: {queues}"))
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = ("queue", "kind", "packets", "bytes", "dropped", "kicks", "calls", "calls_suppressed")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for queue in scene.queues:
        table.add_row(*(f"{queue.get(name, 0):,}" if name != "kind" else str(queue[name]) for name in names))
    return Group(head, "", table, "", Text(_line(scene.traffic.stats())))


def _finish(
    scene: Scene,
    result: Verdict,
    doorbells: dict[int, dict[str, str]],
    queues: list[dict[str, Any]],
    *,
    as_json: bool,
) -> None:
    """The last word."""
    total = result.total
    rate = max(total.received, total.transmitted) / result.seconds
    if not as_json:
        word = "PASS" if result.clean else "FAIL"
        print(f"{word}: {result}, {rate / 1e6:.3f} Mpps")
        return
    body = {
        "verdict": "pass" if result.clean else "fail",
        "problems": result.problems,
        "device": scene.device.name,
        "driver": scene.device.driver,
        "seconds": round(result.seconds, 3),
        "packets_per_second": round(rate),
        "lost": result.lost,
        "features": scene.features,
        "doorbells": doorbells,
        "traffic": asdict(total),
        "queues": queues,
    }
    print_json("demo/1", body)


VERBS: dict[str, Callable[[argparse.Namespace], ExitCode]] = {"demo": run_demo}
