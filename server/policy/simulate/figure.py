"""Figures as values: panels of curves under one title, and the marks on paper that they come to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDTH, PANEL_HEIGHT = 760, 250
LEFT, RIGHT, TOP, GAP, BOTTOM = 68, 150, 34, 30, 44
GREY, GRID, INK, PAPER = "#666666", "#dddddd", "#222222", "#ffffff"
Point = tuple[float, float]
Tick = tuple[float, str]


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points of the panel's own units; a filled one is an area above zero."""

    name: str
    points: Sequence[Point]
    colour: str
    filled: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One coordinate system. Ticks are places with their words; the axes reach to the last tick or point."""

    title: str
    curves: Sequence[Curve]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    x_name: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """Panels below each other."""

    title: str
    panels: Sequence[Panel]

    @property
    def height(self) -> int:
        """In the unit of marks, as WIDTH is."""
        return TOP + len(self.panels) * (PANEL_HEIGHT + GAP) - GAP + BOTTOM


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line on paper."""

    points: Sequence[Point]
    colour: str
    width: float


@dataclass(frozen=True, slots=True)
class Area:
    """A polygon on paper."""

    points: Sequence[Point]
    colour: str


@dataclass(frozen=True, slots=True)
class Words:
    """Text on paper; `x` is its start, middle or end, `y` its base line."""

    x: float
    y: float
    text: str
    colour: str = INK
    size: int = 12
    anchor: str = "start"


Mark = Stroke | Area | Words


def marks(figure: Figure) -> Iterator[Mark]:
    """What is to be drawn, what is below first."""
    yield Words(LEFT, 20, figure.title, size=14)
    for number, panel in enumerate(figure.panels):
        yield from _panel(panel, TOP + number * (PANEL_HEIGHT + GAP))


def _panel(panel: Panel, top: float) -> Iterator[Mark]:
    bottom, right = top + PANEL_HEIGHT, WIDTH - RIGHT
    points = [point for curve in panel.curves for point in curve.points]
    x_low, y_low = min(x for x, _ in panel.x_ticks), min(y for y, _ in panel.y_ticks)
    x_span = max([x for x, _ in panel.x_ticks] + [x for x, _ in points]) - x_low or 1.0
    y_span = max([y for y, _ in panel.y_ticks] + [y for _, y in points]) - y_low or 1.0

    def place(x: float, y: float) -> Point:
        across = LEFT + (x - x_low) / x_span * (right - LEFT)
        return round(across, 1), round(bottom - 16 - (y - y_low) / y_span * (PANEL_HEIGHT - 36), 1)

    if panel.title:
        yield Words(LEFT, top + 12, panel.title, GREY)
    for y, name in panel.y_ticks:
        _, at = place(x_low, y)
        yield Stroke(((LEFT, at), (right, at)), GRID, 1.0)
        yield Words(LEFT - 6, at + 4, name, anchor="end")
    for x, name in panel.x_ticks:
        yield Words(place(x, y_low)[0], bottom, name, anchor="middle")
    if panel.x_name:
        yield Words(LEFT, bottom + 16, panel.x_name, GREY)
    for number, curve in enumerate(panel.curves):
        placed = [place(x, y) for x, y in curve.points]
        if curve.filled and placed:
            base = place(x_low, y_low)[1]
            yield Area([(placed[0][0], base), *placed, (placed[-1][0], base)], curve.colour)
        else:
            yield Stroke(placed, curve.colour, 1.5)
        yield from _legend(curve, right + 10, top + 28 + 16 * number)


def _legend(curve: Curve, x: float, y: float) -> Iterator[Mark]:
    if curve.filled:
        yield Area(((x, y - 9), (x + 14, y - 9), (x + 14, y), (x, y)), curve.colour)
    else:
        yield Stroke(((x, y - 4), (x + 14, y - 4)), curve.colour, 3.0)
    yield Words(x + 20, y, curve.name)


def even_ticks(top: float, unit: str = "", most: int = 5) -> list[Tick]:
    """Round numbers from 0 to at least `top`, at most about `most` steps."""
    step = 10.0 ** math.floor(math.log10(max(top, 1e-3) / most))
    step *= next(times for times in (1, 2, 5, 10) if step * times * most >= top * (1 - 1e-9))
    return [(n * step, f"{n * step:,.{0 if step >= 1 else 1}f}{unit}") for n in range(math.ceil(top / step) + 1)]
