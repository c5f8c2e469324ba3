"""Plots as SVG, written by hand: how overhead is distributed, and how it went over time. No library is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from xml.sax.saxutils import escape

from server.policy.simulate.replay import Path
from server.policy.simulate.trace import HOUR_S

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 36, 44
COLOURS = ("#888888", "#4c72b0", "#dd8452", "#8172b3", "#937860", "#c44e52", "#55a868")
Line = Sequence[tuple[float, float]]


def distribution(paths: Mapping[str, Path], title: str) -> str:
    """Share of tasks whose useful work began within so many seconds of their submission, logarithmic in time."""
    lines: dict[str, Line] = {}
    for name, path in paths.items():
        ordered = path.overhead
        step = max(1, len(ordered) // 400)
        last = len(ordered) - 1
        lines[name] = [
            (math.log10(max(1.0, ordered[at])), (at + 1) / len(ordered)) for at in [*range(0, last, step), last]
        ]
    top = max((line[-1][0] for line in lines.values() if line), default=1.0)
    ticks = [(float(power), _seconds(10**power)) for power in range(math.ceil(top) + 1)]
    shares = [(quarter / 4, f"{quarter * 25} %") for quarter in range(5)]
    return _picture(title, lines, ticks, shares, "time to useful work")


def timeline(paths: Mapping[str, Path], title: str, hours: float = 0.0) -> str:
    """Mean overhead of the tasks submitted in each step; a step is an hour, or more on long traces."""
    ends = [start.task.submit_s for path in paths.values() for start in path.started]
    until_s = max(ends, default=HOUR_S)
    step_s = hours * HOUR_S or max(HOUR_S, until_s / 240)
    lines: dict[str, Line] = {}
    for name, path in paths.items():
        sums: dict[int, tuple[float, int]] = {}
        for start in path.started:
            at = int(start.task.submit_s // step_s)
            total, count = sums.get(at, (0.0, 0))
            sums[at] = total + start.overhead_s, count + 1
        lines[name] = [(at * step_s / 86_400, total / count) for at, (total, count) in sorted(sums.items())]
    top = max((y for line in lines.values() for _, y in line), default=1.0)
    days = max(1, math.ceil(until_s / 86_400))
    every = max(1, days // 8)
    x_ticks = [(float(day), f"{day} d") for day in range(0, days + 1, every)]
    return _picture(title, lines, x_ticks, [(top * n / 4, _seconds(top * n / 4)) for n in range(5)], "day of the trace")


def _seconds(value: float) -> str:
    return f"{value:,.0f} s" if value >= 10 or value == int(value) else f"{value:.1f} s"


def _picture(
    title: str,
    lines: Mapping[str, Line],
    x_ticks: Sequence[tuple[float, str]],
    y_ticks: Sequence[tuple[float, str]],
    x_name: str,
) -> str:
    x_top = max([x for x, _ in x_ticks] + [x for line in lines.values() for x, _ in line]) or 1.0
    y_top = max(y for y, _ in y_ticks) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + x / x_top * (WIDTH - LEFT - RIGHT)
        return round(across, 1), round(HEIGHT - BOTTOM - y / y_top * (HEIGHT - TOP - BOTTOM), 1)

    parts = _frame(title, x_ticks, y_ticks, x_name, place)
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join("{},{}".format(*place(x, y)) for x, y in line)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        beside, down = WIDTH - RIGHT + 10, TOP + 16 * number + 12
        parts.append(f'<text x="{beside}" y="{down}" fill="{colour}">{escape(name)}</text>')
    return "".join(parts) + "</svg>\n"


def _frame(
    title: str,
    x_ticks: Sequence[tuple[float, str]],
    y_ticks: Sequence[tuple[float, str]],
    x_name: str,
    place: Callable[[float, float], tuple[float, float]],
) -> list[str]:
    """Title, grid and the words at the axes."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img"><title>{escape(title)}</title>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/><text x="{LEFT}" y="20" font-size="14">'
        f"{escape(title)}</text>",
    ]
    for y, name in y_ticks:
        _, at = place(0, y)
        parts.append(f'<path d="M{LEFT} {at}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{escape(name)}</text>')
    for x, name in x_ticks:
        at, _ = place(x, 0)
        parts.append(f'<text x="{at}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{escape(name)}</text>')
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 8}" fill="#555">{escape(x_name)}</text>')
    return parts
