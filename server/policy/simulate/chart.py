"""Figures of replays: how overhead is distributed and went over time, stock against demand, a rollover, a surge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle

from server.policy.simulate.figure import Curve, Figure, Panel, Point, Tick, even_ticks
from server.policy.simulate.replay import Path
from server.policy.simulate.trace import HOUR_S
from server.policy.simulate.watch import ROLLOVER, STOCK, SURGE, Sample, Window

COLOURS = ("#888888", "#4c72b0", "#dd8452", "#8172b3", "#937860", "#c44e52", "#55a868", "#64b5cd")
DEMAND, HELD, OLD, WAITING, WARMING = "#cfd8e6", "#c44e52", "#dd8452", "#c44e52", "#4c72b0"
DAY_S = 86_400.0
FINE_S = 300.0


def figures(paths: Mapping[str, Path], name: str) -> dict[str, Figure]:
    """All figures that the paths have something for, by kind. `name` is the trace's."""
    made = {
        "distribution": distribution(paths, f"{name}: time to useful work"),
        "timeline": timeline(paths, f"{name}: mean overhead"),
    }
    pictures = {STOCK: stock, ROLLOVER: rollover, SURGE: surge}
    for window in next((path.windows for path in paths.values()), ()):
        made[window.kind] = pictures[window.kind](paths, window, name)
    return made


def distribution(paths: Mapping[str, Path], title: str) -> Figure:
    """Share of tasks whose useful work began within so many seconds of their submission, logarithmic in time."""
    lines: dict[str, Sequence[Point]] = {}
    for name, path in paths.items():
        ordered = path.overhead
        step = max(1, len(ordered) // 400)
        last = len(ordered) - 1
        lines[name] = [
            (math.log10(max(1.0, ordered[at])), (at + 1) / len(ordered)) for at in [*range(0, last, step), last]
        ]
    top = max((line[-1][0] for line in lines.values() if line), default=1.0)
    ticks = [(float(power), f"{10**power:,} s") for power in range(math.ceil(top) + 1)]
    shares = [(quarter / 4, f"{quarter * 25} %") for quarter in range(5)]
    return Figure(title, [Panel("", _coloured(lines), ticks, shares, "time to useful work, share of tasks")])


def timeline(paths: Mapping[str, Path], title: str) -> Figure:
    """Mean overhead of the tasks submitted in each step; a step is an hour, or more on long traces."""
    until_s = max((start.task.submit_s for path in paths.values() for start in path.started), default=HOUR_S)
    lines = {name: _means(path, 0.0, until_s, max(HOUR_S, until_s / 240), DAY_S) for name, path in paths.items()}
    return Figure(title, [Panel("", _coloured(lines), _days(until_s), _y_ticks(lines, " s"), "day of the trace")])


def stock(paths: Mapping[str, Path], window: Window, name: str) -> Figure:
    """Per policy: the busiest family's tasks that run or wait, and the idle or warming bots kept for it."""
    family = next(iter(window.groups))
    panels = []
    for policy, path in paths.items():
        samples = path.watched[window.kind]
        curves = [
            Curve("run or wait", _over(samples, DAY_S, [s.demand[family] for s in samples]), DEMAND, filled=True),
            Curve("warm or warming", _over(samples, DAY_S, [s.stock[family] for s in samples]), HELD),
        ]
        panels.append(Panel(policy, curves, _days(window.end_s), _ticks_of(curves)))
    return Figure(f"{name}: bots kept warm for {family}, and its tasks, by day of the trace", panels)


def rollover(paths: Mapping[str, Path], window: Window, name: str) -> Figure:
    """Per policy: demand for a new generation, and the bots that hold it and the one before."""
    old, new = window.groups
    panels = []
    for policy, path in paths.items():
        samples = path.watched[window.kind]
        curves = [
            Curve(f"{new}: tasks", _over(samples, HOUR_S, [s.demand[new] for s in samples]), DEMAND, filled=True),
            Curve(f"{old}: bots", _over(samples, HOUR_S, [s.stock[old] for s in samples]), OLD),
            Curve(f"{new}: bots", _over(samples, HOUR_S, [s.stock[new] for s in samples]), HELD),
        ]
        panels.append(Panel(policy, curves, _hours(window), _ticks_of(curves)))
    panels.append(_delays(paths, window))
    return Figure(f"{name}: {new} follows {old}, by hour of the trace", panels)


def surge(paths: Mapping[str, Path], window: Window, name: str) -> Figure:
    """Per policy: tasks that run and wait, and bots that warm up, around the largest surge."""
    panels = []
    for policy, path in paths.items():
        samples = path.watched[window.kind]
        curves = [
            Curve("tasks that run", _over(samples, HOUR_S, [s.running for s in samples]), DEMAND, filled=True),
            Curve("tasks that wait", _over(samples, HOUR_S, [s.pending for s in samples]), WAITING),
            Curve("bots that warm up", _over(samples, HOUR_S, [s.warming for s in samples]), WARMING),
        ]
        panels.append(Panel(policy, curves, _hours(window), _ticks_of(curves)))
    panels.append(_delays(paths, window))
    return Figure(f"{name}: the largest surge, by hour of the trace", panels)


# ---- parts


def _delays(paths: Mapping[str, Path], window: Window) -> Panel:
    lines = {name: _means(path, window.begin_s, window.end_s, FINE_S, HOUR_S) for name, path in paths.items()}
    title = "mean overhead of the tasks submitted then"
    return Panel(title, _coloured(lines), _hours(window), _y_ticks(lines, " s"))


def _coloured(lines: Mapping[str, Sequence[Point]]) -> list[Curve]:
    return [Curve(name, line, colour) for (name, line), colour in zip(lines.items(), cycle(COLOURS), strict=False)]


def _means(path: Path, begin_s: float, end_s: float, step_s: float, unit_s: float) -> list[Point]:
    """Mean overhead by time of submission, in steps."""
    sums: dict[int, tuple[float, int]] = {}
    for start in path.started:
        if begin_s <= start.task.submit_s < end_s:
            at = int(start.task.submit_s // step_s)
            total, count = sums.get(at, (0.0, 0))
            sums[at] = total + start.overhead_s, count + 1
    return [(max(begin_s, at * step_s) / unit_s, total / count) for at, (total, count) in sorted(sums.items())]


def _over(samples: Sequence[Sample], unit_s: float, values: Sequence[int]) -> list[Point]:
    return [(sample.at_s / unit_s, float(value)) for sample, value in zip(samples, values, strict=True)]


def _ticks_of(curves: Sequence[Curve]) -> list[Tick]:
    return even_ticks(max((y for curve in curves for _, y in curve.points), default=1.0))


def _y_ticks(lines: Mapping[str, Sequence[Point]], unit: str) -> list[Tick]:
    return even_ticks(max((y for line in lines.values() for _, y in line), default=1.0), unit)


def _days(until_s: float) -> list[Tick]:
    days = max(1, math.ceil(until_s / DAY_S))
    return [(float(day), f"{day} d") for day in range(0, days + 1, max(1, days // 8))]


def _hours(window: Window) -> list[Tick]:
    first, last = math.floor(window.begin_s / HOUR_S), math.ceil(window.end_s / HOUR_S)
    return [(float(hour), f"{hour} h") for hour in range(first, last + 1)]
