"""Figures as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from server.policy.simulate.figure import PAPER, WIDTH, Area, Figure, Mark, Point, Stroke, marks


def svg(figure: Figure) -> str:
    """The figure as the text of an SVG file."""
    title = escape(figure.title)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {figure.height}" font-family="sans-serif" '
        f'role="img"><title>{title}</title><rect width="{WIDTH}" height="{figure.height}" fill="{PAPER}"/>'
    )
    return "".join([head, *(_element(mark) for mark in marks(figure)), "</svg>\n"])


def _element(mark: Mark) -> str:
    if isinstance(mark, Area):
        return f'<polygon points="{_points(mark.points)}" fill="{mark.colour}"/>'
    if isinstance(mark, Stroke):
        points, colour = _points(mark.points), mark.colour
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{mark.width:g}"/>'
    place = f'x="{mark.x:g}" y="{mark.y:g}" font-size="{mark.size}" text-anchor="{mark.anchor}"'
    return f'<text {place} fill="{mark.colour}">{escape(mark.text)}</text>'


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)
