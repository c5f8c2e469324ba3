"""Numbers, times and names as the pages show them; Jinja filters."""

from __future__ import annotations

import datetime
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from server import fleet_report
from server.policy.words import NBSP, count, duration, seconds, share

DAY_S = 86_400.0
_HASH = re.compile(r"\b[0-9a-f]{20,}\b")
_CODE = re.compile(r"`([^`]*)`")


def moment(at_s: float) -> str:
    """A time with its date, in UTC: "Nov 21, 14:05"."""
    when = datetime.datetime.fromtimestamp(at_s, datetime.UTC)
    return f"{when:%b} {when.day}, {when:%H:%M}"


def ago(at_s: float, now_s: float) -> str:
    """How long ago: relative under a day, else the date."""
    passed = now_s - at_s
    if passed < 1.5:
        return "now"
    if passed >= DAY_S:
        return f"{moment(at_s)} UTC"
    return f"{coarse(passed)} ago"


def coarse(length_s: float) -> str:
    """A duration in one unit, for times that pass while one looks."""
    if length_s < 60:
        return f"{length_s:.0f}{NBSP}s"
    if length_s < 3600:
        return f"{length_s // 60:.0f}{NBSP}m"
    return f"{length_s // 3600:.0f}{NBSP}h" if length_s < 2 * DAY_S else f"{length_s // DAY_S:.0f}{NBSP}d"


def time_tag(at_s: float, now_s: float, kind: str = "ago") -> Markup:
    """A `<time>` that a script keeps fresh: `ago` ("3 m ago") or `for` ("3 m")."""
    if not at_s or not math.isfinite(at_s):
        return Markup("–")
    when = datetime.datetime.fromtimestamp(at_s, datetime.UTC)
    exact = f"{when:%Y-%m-%d %H:%M:%S} UTC"
    text = ago(at_s, now_s) if kind == "ago" else coarse(max(0.0, now_s - at_s))
    return Markup('<time datetime="{}" data-rel="{}" title="{}">{}</time>').format(
        when.isoformat(timespec="milliseconds").replace("+00:00", "Z"), kind, exact, text
    )


def short(text: str) -> str:
    """Long hashes lose their tails."""
    return _HASH.sub(lambda found: found[0][:10], text)


def short_id(task_id: str) -> str:
    """The part of a task's id that people read."""
    return task_id[:8]


def prose(text: str) -> Markup:
    """A sentence of the policy; what stands in backticks becomes code."""
    pieces = _CODE.split(text)
    marked = [Markup("<code>{}</code>").format(piece) if at % 2 else escape(piece) for at, piece in enumerate(pieces)]
    return Markup("").join(marked)


def number(value: Any) -> str:
    """A number for a form or a table: no digits that it does not need."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.12g}" if isinstance(value, int | float) else str(value)


def percent_of(part: float, whole: float) -> float:
    """A width for a bar: 0 to 100."""
    return round(min(100.0, max(0.0, 100.0 * part / whole)), 1) if whole > 0 else 0.0


def size(value: float) -> str:
    """Bytes in powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f}{NBSP}{unit}" if value >= 10 or unit == "B" else f"{value:.1f}{NBSP}{unit}"
        value /= 1000
    raise AssertionError("not reached")


def hue(colour: int) -> str:
    """Classes of a family's swatch: colour and pattern."""
    return f"f{colour % 8 + 1} p{colour // 8 % 6}"


STATES: Mapping[str, tuple[str, str]] = {
    "PENDING": ("warn", "Pending"),
    "RUNNING": ("acc", "Running"),
    "COMPLETED": ("good", "Finished"),
    "EXPIRED": ("bad", "Expired"),
    "TIMED_OUT": ("bad", "Timed out"),
    "BOT_DIED": ("bad", "Bot died"),
    "CANCELED": ("", "Cancelled"),
    "KILLED": ("", "Stopped"),
    "NO_RESOURCE": ("bad", "No bot for it"),
    "CLIENT_ERROR": ("bad", "Client error"),
}


def task_state(result: Any) -> tuple[str, str]:
    """Class of the tag and the words for a task's state."""
    if result.state == "COMPLETED" and result.failure:
        return "bad", f"Failed, exit code {result.exit_code}"
    if result.state == "RUNNING" and result.stop:
        return "warn", "Stopping"
    if fleet_report.is_handed_back(result):
        return "warn", "Handed back"
    return STATES.get(result.state, ("", result.state))


PURPOSES = {
    "": "Real task",
    "clean": "Cleaning",
    "on_demand": "Warming for a task",
    "announced": "Warming, announced",
    "forecast": "Warming",
}


def purpose(value: str) -> str:
    """What a run is for."""
    return PURPOSES.get(value, value)


def first_capital(text: str) -> str:
    """A sentence that begins as one; `a-z` and the like stay as they are."""
    return text[:1].upper() + text[1:] if text[1:2] != "-" else text


def shell(command: Sequence[str]) -> str:
    """A command as one would type it."""
    return shlex.join(command)


FILTERS = {
    "first_capital": first_capital,
    "shell": shell,
    "count": count,
    "duration": duration,
    "hue": hue,
    "moment": moment,
    "number": number,
    "prose": prose,
    "purpose": purpose,
    "seconds": seconds,
    "share": share,
    "short": short,
    "short_id": short_id,
    "size": size,
    "task_state": task_state,
}
GLOBALS = {"time_tag": time_tag, "percent_of": percent_of}
