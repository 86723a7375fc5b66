"""What many software NICs cost one process, and what a large guest costs when it attaches.

- 1 to 1000 idle devices, each opened, its driver's queues up and asleep: seconds to open one, resident memory, file
  descriptors and threads for each, processor time of the process while nothing happens.
- The same for 1 to 16 queue pairs, and what one worker makes of traffic on all of them: 64-byte frames of our own
  driver half come back, driver and worker on a CPU each.
- A guest of 1 GiB to 1 TiB of sparse memory attaches over vhost-user: time from the memory table to the last queue,
  and how many regions were mapped in the device's IOMMU.

Usage: python -m benchmarks.scale [--devices 1 10 100 1000] [--pairs 1 2 4 8 16] [--gib 1 8 64 256 1024] [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import vfiodpa
from vfiodpa.guest.direct import DirectGuest
from vfiodpa.guest.memory import GuestMemory
from vfiodpa.guest.traffic import POLL_FOREVER, Plan, Traffic
from vfiodpa.guest.vhost_user import VhostUserGuest
from vfiodpa.soft.domain import SoftDomain

from .report import machine, write_results

IDLE_S = 2.0
ECHO_S = 0.5
WARM_UP_S = 0.2
GIB = 1 << 30


def held() -> dict[str, int]:
    """What the process holds: KiB, descriptors, threads."""
    status = Path("/proc/self/status").read_text().splitlines()
    rss = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
    fds, tasks = (len(list(Path(f"/proc/self/{kind}").iterdir())) for kind in ("fd", "task"))
    return {"rss_kib": rss, "fds": fds, "threads": tasks}


def devices(count: int, device: str, pairs: int = 1) -> dict[str, Any]:
    """Open them, look at an idle process, close them."""
    with ExitStack() as stack:
        before, begin = held(), time.perf_counter()
        for _ in range(count):
            nic = stack.enter_context(vfiodpa.open(device))
            guest = stack.enter_context(DirectGuest(nic.device))
            guest.start(pairs=pairs)
        opened = time.perf_counter() - begin
        time.sleep(0.2)
        after, idle = held(), time.process_time()
        time.sleep(IDLE_S)
        busy = (time.process_time() - idle) / IDLE_S
    each = {name: (after[name] - before[name]) / count for name in before}
    return {"devices": count, "device": device, "open_ms": opened / count * 1e3, "cpu": busy, **each}


def echo(pairs: int, seconds: float) -> tuple[float, float]:
    """Frames per second through one worker, and its busy cycles per frame."""
    cpus = sorted(os.sched_getaffinity(0))
    device = f"soft:port=echo,poll=busy,queues={pairs},cpus={cpus[-1]}"
    with vfiodpa.open(device) as nic, DirectGuest(nic.device) as guest:
        guest.start(pairs=pairs, size=1024)
        with Traffic(guest, Plan(cpu=cpus[0], poll_us=POLL_FOREVER)) as traffic:
            time.sleep(WARM_UP_S)
            first, begin = worker_counters(nic), time.perf_counter()
            time.sleep(seconds)
            last, took = worker_counters(nic), time.perf_counter() - begin
            verdict = traffic.stop()
    if not verdict.clean:
        raise RuntimeError(f"{device}: {verdict}")
    frames = last["packets"] - first["packets"]
    return frames / took, (last["busy_cycles"] - first["busy_cycles"]) / frames


def worker_counters(nic: Any) -> dict[str, int]:
    """Of the one worker of a software NIC."""
    counters: dict[str, int] = nic.function.worker_stats()
    return counters


def echoes(pairs: int, rounds: int) -> dict[str, Any]:
    """Medians over some rounds."""
    samples = [echo(pairs, ECHO_S) for _ in range(rounds)]
    pps, cycles = (statistics.median(column) for column in zip(*samples, strict=True))
    return {"pairs": pairs, "mpps": pps / 1e6, "cycles": cycles}


@contextmanager
def counted_maps() -> Iterator[list[int]]:
    """The lengths of all maps that are made."""
    lengths: list[int] = []
    original = SoftDomain.map

    def counting(self: SoftDomain, iova: Any, memory: Any, *args: Any, **kwargs: Any) -> None:
        lengths.append(memory.length)
        original(self, iova, memory, *args, **kwargs)

    SoftDomain.map = counting  # type: ignore[method-assign]
    try:
        yield lengths
    finally:
        SoftDomain.map = original  # type: ignore[method-assign]


def attach(gib: int, regions: int, directory: Path) -> tuple[float, int]:
    """One attach: seconds, and maps."""
    with (
        vfiodpa.open("soft") as nic,
        nic.serve(directory / "nic.sock") as service,
        counted_maps() as maps,
        GuestMemory(*[gib * GIB // regions] * regions) as memory,
    ):
        service.start()
        with VhostUserGuest(directory / "nic.sock", memory=memory) as guest:
            begin = time.perf_counter()
            guest.start()
            return time.perf_counter() - begin, len(maps)


def attaches(gib: int, regions: int, rounds: int) -> dict[str, Any]:
    """Median over some rounds."""
    with tempfile.TemporaryDirectory(prefix="vfiodpa-") as directory:
        samples = [attach(gib, regions, Path(directory)) for _ in range(rounds)]
    return {
        "gib": gib,
        "regions": regions,
        "attach_ms": statistics.median(seconds for seconds, _ in samples) * 1e3,
        "maps": max(maps for _, maps in samples),
    }


def show(row: dict[str, Any]) -> dict[str, Any]:
    """One line of the table."""
    print(
        "  ".join(
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()
        )
    )
    return row


def apart(count: int, device: str, pairs: int = 1) -> dict[str, Any]:
    """``devices`` in a process of its own: freed memory of an earlier run would count for nothing."""
    with ProcessPoolExecutor(1, max_tasks_per_child=1) as pool:
        return pool.submit(devices, count, device, pairs).result()


def main(argv: Sequence[str]) -> int:
    """Exit status 0."""
    parser = argparse.ArgumentParser(prog="benchmarks.scale", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--devices", type=int, nargs="*", default=[1, 10, 100, 1000])
    parser.add_argument("--pairs", type=int, nargs="*", default=[1, 2, 4, 8, 16])
    parser.add_argument("--gib", type=int, nargs="*", default=[1, 8, 64, 256, 1024])
    parser.add_argument("--rounds", type=int, default=11, help="of each attach (default 11)")
    parser.add_argument("--echo-rounds", type=int, default=5, help="of traffic on each number of pairs (default 5)")
    options = parser.parse_args(argv)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(machine())
    results = {
        "devices": [
            show(apart(count, device)) for device in ("soft", "soft:workers=shared") for count in options.devices
        ],
        "pairs": [show(apart(10, f"soft:queues={pairs}", pairs)) for pairs in options.pairs],
        "echo": [show(echoes(pairs, options.echo_rounds)) for pairs in options.pairs],
        "attach": [show(attaches(gib, regions, options.rounds)) for regions in (1, 4) for gib in options.gib],
    }
    print(f"written to {write_results('scale', results)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
