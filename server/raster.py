"""Figures as PNG. Pillow draws them; it is no requirement of the server, so it may be absent."""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO
from typing import Any

from server.policy.simulate.figure import PAPER, WIDTH, Area, Figure, Stroke, marks

SCALE = 2
"""Pixels per unit of a mark."""
FINER = 2
"""It is drawn so much larger and made smaller again: Pillow's lines are jagged."""
ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def can_draw() -> bool:
    """Whether Pillow is there."""
    return find_spec("PIL") is not None


def png(figure: Figure) -> bytes:
    """The figure as the content of a PNG file.

    Raises:
        ImportError: Pillow is absent.
    """
    from PIL import Image, ImageDraw, ImageFont

    times = SCALE * FINER
    image = Image.new("RGB", (WIDTH * times, figure.height * times), PAPER)
    draw = ImageDraw.Draw(image)
    fonts: dict[int, Any] = {}
    for mark in marks(figure):
        if isinstance(mark, Area):
            draw.polygon([(x * times, y * times) for x, y in mark.points], fill=mark.colour)
        elif isinstance(mark, Stroke):
            draw.line([(x * times, y * times) for x, y in mark.points], mark.colour, round(mark.width * times))
        else:
            font = fonts.setdefault(mark.size, ImageFont.load_default(mark.size * times))
            draw.text((mark.x * times, mark.y * times), mark.text, mark.colour, font, ANCHORS[mark.anchor])
    content = BytesIO()
    small = image.resize((WIDTH * SCALE, figure.height * SCALE), Image.Resampling.LANCZOS)
    small.save(content, "PNG", optimize=True)
    return content.getvalue()
