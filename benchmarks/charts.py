"""Charts as SVG, without a library: what they show is a handful of numbers. Readable on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 320
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 56, 44
STYLE = """<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 14px }
.grid { stroke: #d0d7de; stroke-width: 1 }
.s0 { --c: #0969da } .s1 { --c: #bc4c00 } .s2 { --c: #1a7f37 } .s3 { --c: #8250df }
.line { fill: none; stroke: var(--c); stroke-width: 2 }
.fill { fill: var(--c) }
@media (prefers-color-scheme: dark) {
text { fill: #d1d7e0 } .grid { stroke: #3d444d }
.s0 { --c: #58a6ff } .s1 { --c: #f0883e } .s2 { --c: #3fb950 } .s3 { --c: #bc8cff }
}
</style>"""


@dataclass(frozen=True, slots=True)
class Chart:
    """Numbers over some places on the x axis, one for each place in each series."""

    title: str
    places: Sequence[str]
    series: Mapping[str, Sequence[float]]

    def lines(self) -> str:
        """A curve for each series."""
        return self._svg(self._curves())

    def bars(self) -> str:
        """A bar for each number, those of one place side by side."""
        return self._svg(self._columns())

    @property
    def top(self) -> float:
        """The end of the y axis: 1, 2 or 5 times a power of ten for each of five steps."""
        highest = max(max(numbers) for numbers in self.series.values()) or 1.0
        power = 10.0 ** math.floor(math.log10(highest / 5))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * 5 >= highest)
        return step * 5

    def _x(self, place: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / len(self.places)

    def _y(self, number: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * number / self.top

    def _svg(self, marks: Iterator[str]) -> str:
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        return "\n".join([head, f"<title>{escape(self.title)}</title>", STYLE, *self._frame(), *marks, "</svg>"]) + "\n"

    def _frame(self) -> Iterator[str]:
        yield f'<text class="title" x="{LEFT}" y="20">{escape(self.title)}</text>'
        for index, name in enumerate(self.series):
            at = LEFT + 150 * index
            yield f'<rect class="fill s{index}" x="{at}" y="32" width="12" height="12"/>'
            yield f'<text x="{at + 18}" y="42">{escape(name)}</text>'
        for step in range(6):
            number = self.top * step / 5
            y = self._y(number)
            yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number:g}</text>'
        for index, place in enumerate(self.places):
            for row, word in enumerate(place.split("\n")):
                y = HEIGHT - BOTTOM + 16 + 14 * row
                yield f'<text x="{self._x(index):.1f}" y="{y}" text-anchor="middle">{escape(word)}</text>'

    def _curves(self) -> Iterator[str]:
        for index, numbers in enumerate(self.series.values()):
            points = [(self._x(i), self._y(number)) for i, number in enumerate(numbers)]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            yield f'<polyline class="line s{index}" points="{path}"/>'
            yield from (f'<circle class="fill s{index}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in points)

    def _columns(self) -> Iterator[str]:
        width = 0.8 / len(self.series)
        pixels = self._x(width) - self._x(0) - 1
        for index, numbers in enumerate(self.series.values()):
            for place, number in enumerate(numbers):
                x, y = self._x(place - 0.4 + index * width), self._y(number)
                height = self._y(0) - y
                place_and_size = f'x="{x:.1f}" y="{y:.1f}" width="{pixels:.1f}" height="{height:.1f}"'
                yield f'<rect class="fill s{index}" {place_and_size}/>'
