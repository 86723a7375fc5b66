"""Puts results into docs/performance.md, between their marks, and draws the curves to docs/plots/.

Takes the files named, or the newest of each kind in benchmarks/results/.

Usage: python -m benchmarks.publish [FILE.json ...]
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from .charts import Chart
from .report import RESULTS, ROOT, Spread

PAGE = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "plots"
Result = dict[str, Any]
# Digits and unit of a column of vhost-echo.
SCALES = {
    (kind, what): form for kind in ("vfiodpa", "dpdk") for what, form in (("pps", (2, 1e6)), ("cycles", (0, 1.0)))
}
DEFAULT = (2, 1.0)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *rows))


def taken(result: Result) -> str:
    """When, where, and how disturbed."""
    machine = result["machine"]
    where = f"{machine['cpus']} processors ({machine['cpu']}{', virtual' if machine['virtual'] else ''})"
    begin = f"Commit {result['commit']}, {result['when'][:10]}"
    return f"{begin}, {where}, Linux {machine['kernel'].split('-')[0]}, load {machine['load_before']}"


def plot(name: str, svg: str, about: str) -> str:
    """Write it; the line that shows it."""
    PLOTS.mkdir(exist_ok=True)
    (PLOTS / f"{name}.svg").write_text(svg)
    return f"\n![{about}](plots/{name}.svg)\n"


def spread(summary: Result, name: str, digits: int, unit: float = 1) -> str:
    """Median and extremes."""
    found = summary[name]
    return Spread(*(found[key] / unit for key in ("median", "low", "high"))).text(digits)


def vhost_echo(result: Result) -> str:
    """Frames per second and cycles beside DPDK's."""
    cases = {tuple(key.split(" B, ")): summary for key, summary in result["summary"].items()}
    rounds = 1 + max(sample["round"] for sample in result["samples"])
    disturbed = sum(sample["preempted"] > 50 for sample in result["samples"])
    text = (
        f"{taken(result)}; {rounds} rounds, {result['pages']} pages. In {disturbed} of {len(result['samples'])} runs "
    )
    text += "another program took the back end's processor more than 50 times a second.\n"
    head = ["bytes", "path", "M frames/s", "DPDK", "ratio", "cycles a frame", "DPDK", "ratio"]
    columns = [(kind, what) for what in ("pps", "cycles") for kind in ("vfiodpa", "dpdk", "ratio")]
    rows = [
        [size, path, *(spread(found, f"{kind} {what}", *SCALES.get((kind, what), DEFAULT)) for kind, what in columns)]
        for (size, path), found in cases.items()
    ]
    text += "\n" + table(head, rows)
    for size in dict.fromkeys(size for size, _ in cases):
        paths = {path: found for (other, path), found in cases.items() if other == size}
        series = {
            name: [found[f"{kind} cycles"]["median"] for found in paths.values()]
            for name, kind in (("vfiodpa", "vfiodpa"), ("DPDK vhost", "dpdk"))
        }
        places = [path.replace("_", "\n", 1) for path in paths]
        title = f"Busy cycles a frame, {size} B"
        text += plot(f"cycles-{size}", Chart(title, places, series).bars(), title)
    return text


def instructions(result: Result) -> str:
    """A row for each layout, a column for each size."""
    return f"Commit {result['commit']}.\n\n" + by_size(
        {key: f"{value:.0f}" for key, value in result.items() if isinstance(value, float)}
    )


def floor(result: Result) -> str:
    """The same for cycles, with the floors."""
    found = {
        key: Spread(**value).text(1) for key, value in result.items() if isinstance(value, dict) and "low" in value
    }
    return f"{taken(result)}.\n\n{by_size(found)}"


def by_size(cells: dict[str, str]) -> str:
    """Keys are ``what size``."""
    kinds, sizes = (list(dict.fromkeys(key.split()[i] for key in cells)) for i in (0, 1))
    rows = [[kind, *(cells[f"{kind} {size}"] for size in sizes)] for kind in kinds]
    return table(["", *(f"{size} B" for size in sizes)], rows)


def scale(result: Result) -> str:
    """Traffic on 1 to 16 pairs through one worker, and memory for 1 to 1000 devices."""
    echo, devices = result["echo"], [row for row in result["devices"] if row["device"] == "soft"]
    rows = [[str(row["pairs"]), f"{row['mpps']:.2f}", f"{row['cycles']:.0f}"] for row in echo]
    text = f"{taken(result)}.\n\n" + table(["pairs", "M frames/s", "cycles a frame"], rows)
    pairs = [str(row["pairs"]) for row in echo]
    charts = {
        "pairs-rate": Chart("Pairs of one worker: M frames/s, 64 B", pairs, {"vfiodpa": [r["mpps"] for r in echo]}),
        "pairs-cycles": Chart("and busy cycles a frame", pairs, {"vfiodpa": [r["cycles"] for r in echo]}),
    }
    if devices:
        counts = [str(row["devices"]) for row in devices]
        kinds = {
            device: [row["rss_kib"] for row in result["devices"] if row["device"] == device]
            for device in dict.fromkeys(row["device"] for row in result["devices"])
        }
        charts["devices-memory"] = Chart("KiB a device, of 1 to 1000 idle ones", counts, kinds)
    return text + "".join(plot(name, chart.lines(), chart.title) for name, chart in charts.items())


SECTIONS: dict[str, Callable[[Result], str]] = {
    "vhost-echo": vhost_echo,
    "instructions": instructions,
    "floor": floor,
    "scale": scale,
}


def put(page: str, name: str, text: str) -> str:
    """The page with that text between the marks of that name. Raises ValueError when it has none."""
    begin, end = f"<!-- {name}: python -m benchmarks.publish -->\n", f"<!-- /{name} -->\n"
    found = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}\n{text}\n{end}", page, flags=re.DOTALL
    )
    if found[1] != 1:
        raise ValueError(f"{found[1]} places for {name} in {PAGE.name}")
    return found[0]


def newest() -> list[Path]:
    """Of each kind that has a section."""
    files = {name: sorted(RESULTS.glob(f"{name}-*.json")) for name in SECTIONS}
    return [found[-1] for found in files.values() if found]


def main(argv: Sequence[str]) -> int:
    """Exit status 0."""
    page = PAGE.read_text()
    for path in [Path(name) for name in argv] or newest():
        name = path.name.rsplit("-", 1)[0]
        page = put(page, name, SECTIONS[name](json.loads(path.read_text())))
        print(f"{path.name} to {PAGE.name}")
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
