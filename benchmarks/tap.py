"""iperf3 in a Linux guest on a tap interface: our back end beside QEMU's own.

Two guests, alike but for who moves their frames: ``vfiodpa serve soft:tap=`` over vhost-user, or QEMU itself
(``-netdev tap``). One is idle while the other is measured; they take turns, and the order changes from round to round.
All of it is in a network namespace of its own; iperf3's servers are on this host.

- Bits per second are those the receiver got, by iperf3.
- Processor seconds per GB are QEMU's, and with ours the server's too; iperf3 on the host is not in there.

Without KVM the guest is emulated, and that is most of what is measured.

Usage: python -m benchmarks.tap [--rounds N] [--seconds S] [--poll busy|adaptive|sleep].
Wants root, QEMU, iperf3 and Debian's kernel.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from hwtests import debian_kernel
from hwtests.peers import iperf
from hwtests.peers.backend import VfiodpaServer
from hwtests.peers.linux_guest import LinuxGuest, initramfs
from hwtests.peers.program import Program, ProgramError
from hwtests.ports.namespace import ip, namespace, quiet

from .report import SKIPPED, Spread, machine, write_results

KINDS = ("vfiodpa", "qemu")
WAYS = ("from guest", "to guest")
WANTED = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "iperf3": "iperf3",
    "apt-cache": "apt",
}
GB = 1e9


@dataclass(frozen=True, slots=True)
class Side:
    """A guest, its host's address, and the programs that move its frames."""

    guest: LinuxGuest
    host: str
    programs: tuple[Program, ...]

    def processor_seconds(self) -> float:
        """Of all its programs, so far. Ref: proc(5), /proc/pid/stat"""
        ticks = 0
        for program in self.programs:
            fields = Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """One connection of one kind."""

    kind: str
    way: str
    round: int
    bits_per_second: float
    seconds_per_gb: float


def why_not() -> str:
    """What keeps it from running here, or nothing."""
    if os.geteuid():
        return "a network namespace wants root"
    for program, package in WANTED.items():
        if shutil.which(program) is None:
            return f"{program} is not installed: apt-get install {package}"
    if not Path("/dev/net/tun").exists():
        return "no /dev/net/tun: modprobe tun"
    try:
        debian_kernel.fetch()
    except ProgramError as error:
        return f"no kernel for the guest: {error}"
    return ""


@contextmanager
def sides(directory: Path, poll: str) -> Iterator[dict[str, Side]]:
    """Both guests, up and with an address, each in a network of its own."""
    kernel = debian_kernel.fetch()
    ramdisk = initramfs(kernel, directory / "initramfs.cpio")
    with ExitStack() as stack:
        device, log = f"soft:tap=vm0,poll={poll}", directory / "serve.log"
        server = VfiodpaServer(directory / "vhost.sock", log, cpu=None, device=device)
        stack.enter_context(server.program)
        made = {}
        for number, kind in enumerate(KINDS):
            wire: Path | str = server.socket if kind == "vfiodpa" else f"vm{number}"
            guest = stack.enter_context(LinuxGuest(wire, directory / f"guest-{kind}.log", kernel, ramdisk))
            host = f"198.18.{number}.1"
            quiet(f"vm{number}")
            ip(f"addr add {host}/24 dev vm{number}")
            guest.ask("up")
            guest.ask(f"address 198.18.{number}.2/24")
            guest.ask(f"ping {host} 2")
            stack.enter_context(iperf.servers(host, directory))
            for reverse in (False, True):  # the emulator translates what it meets for the first time
                iperf.measure(guest, host, 1, reverse=reverse)
            made[kind] = Side(guest, host, (guest, server.program) if kind == "vfiodpa" else (guest,))
        yield made


def measure(side: Side, kind: str, way: str, number: int, seconds: int) -> Sample:
    """One connection."""
    before = side.processor_seconds()
    (flow,) = iperf.measure(side.guest, side.host, seconds, reverse=way == WAYS[1])
    spent = side.processor_seconds() - before
    return Sample(kind, way, number, flow.bits_per_second, spent / (flow.bytes / GB))


def run(rounds: int, seconds: int, poll: str) -> Iterator[Sample]:
    """All of them. Raises ProgramError."""
    with namespace(), tempfile.TemporaryDirectory(prefix="vfiodpa-") as name, sides(Path(name), poll) as both:
        for number in range(rounds):
            for way in WAYS:
                for kind in KINDS if number % 2 == 0 else reversed(KINDS):
                    sample = measure(both[kind], kind, way, number, seconds)
                    rate, cost = sample.bits_per_second / 1e9, sample.seconds_per_gb
                    print(f"  {way}, round {number + 1}, {kind}: {rate:.3f} Gbit/s, {cost:.1f} s per GB")
                    yield sample


def summary(samples: Sequence[Sample], way: str) -> dict[str, Spread]:
    """Of each kind, and of the ratios ours / QEMU's of the same round."""
    runs = {kind: [s for s in samples if (s.kind, s.way) == (kind, way)] for kind in KINDS}
    found = {}
    for kind, own in runs.items():
        own.sort(key=lambda sample: sample.round)
        found[f"{kind} Gbit/s"] = Spread.of([s.bits_per_second / 1e9 for s in own])
        found[f"{kind} s per GB"] = Spread.of([s.seconds_per_gb for s in own])
    ours, theirs = (runs[kind] for kind in KINDS)
    found["ratio of rates"] = Spread.of(
        [a.bits_per_second / b.bits_per_second for a, b in zip(ours, theirs, strict=True)]
    )
    return found


def print_table(found: dict[str, dict[str, Spread]]) -> None:
    """Rates and costs, ours and QEMU's."""
    print("\nmedian (lowest..highest); the ratio is vfiodpa / QEMU of the same round")
    row = "{:26} {:>24} {:>24} {:>20}".format
    print(row("", "vfiodpa", "QEMU's tap", "ratio"))
    for way, spreads in found.items():
        rates = (spreads[f"{kind} Gbit/s"].text(2) for kind in KINDS)
        print(row(f"{way}, Gbit/s", *rates, spreads["ratio of rates"].text(2)))
        print(row("  processor s per GB", *(spreads[f"{kind} s per GB"].text(1) for kind in KINDS), ""))


def main(argv: Sequence[str]) -> int:
    """Exit status: 0, or 77 with the reason where it cannot run."""
    parser = argparse.ArgumentParser(prog="benchmarks.tap", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of each kind and way (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="of each connection (default 3)")
    parser.add_argument("--poll", choices=["busy", "adaptive", "sleep"], default="adaptive", help="of our worker")
    options = parser.parse_args(argv)
    if reason := why_not():
        print(f"skipped: {reason}", file=sys.stderr)
        return SKIPPED
    print(machine())
    samples = list(run(options.rounds, options.seconds, options.poll))
    found = {way: summary(samples, way) for way in WAYS}
    print_table(found)
    body = {
        "poll": options.poll,
        "samples": [asdict(sample) for sample in samples],
        "summary": {way: {name: asdict(spread) for name, spread in one.items()} for way, one in found.items()},
    }
    print(f"\nwritten to {write_results('tap', body)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ProgramError as error:
        sys.exit(f"bench: {error}")
