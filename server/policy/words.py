"""Numbers as people read them: the units and roundings of every sentence that the policy writes."""

from __future__ import annotations

from collections.abc import Iterable

NBSP = "\u00a0"
"""No-break space: stands between a number and its unit."""

MOST_SHARE = 10.0
"""A share beyond this, either way, comes of a mistyped cost: its digits would only hide that."""


def duration(seconds: float) -> str:
    """A duration in two units at most: "9.4 s", "38 s", "3 m 35 s", "7 h 54 m", "19 d"."""
    sign = "−" if seconds < 0 else ""
    size = abs(seconds)
    if size < 9.95:
        return f"{sign}{size:.1f}{NBSP}s"
    if size < 89.5:
        return f"{sign}{size:.0f}{NBSP}s"
    whole = round(size)
    if whole < 3600:
        return sign + _pair(whole // 60, "m", whole % 60, "s")
    if whole < 2 * 86_400:
        return sign + _pair(whole // 3600, "h", whole % 3600 // 60, "m")
    return f"{sign}{whole // 86_400}{NBSP}d"


def _pair(large: int, large_unit: str, small: int, small_unit: str) -> str:
    text = f"{large}{NBSP}{large_unit}"
    return f"{text}{NBSP}{small}{NBSP}{small_unit}" if small else text


def seconds(value: float) -> str:
    """Whole seconds, for sums that somebody checks by hand: "238 s", "−4 s"; one decimal below 10."""
    shown = f"{abs(value):.1f}".removesuffix(".0") if abs(value) < 10 else f"{abs(value):.0f}"
    return f"{'−' if value < 0 and shown != '0' else ''}{shown}{NBSP}s"


def share(value: float) -> str:
    """A share as percent: whole, with one decimal below 10 % where it has one: "62 %", "8 %", "1.4 %".

    Where figures tell nothing any more it is "more than 1,000 %" or "less than −1,000 %".
    """
    if abs(value) > MOST_SHARE:
        return f"{'more than ' if value > 0 else 'less than −'}{MOST_SHARE * 100:,.0f}{NBSP}%"
    percent = value * 100
    shown = f"{percent:.0f}" if abs(percent) >= 9.95 else f"{percent:.1f}".removesuffix(".0")
    return f"{shown}{NBSP}%"


def count(number: int, one: str, many: str = "") -> str:
    """A counted noun: "1 idle bot", "4 idle bots"; `many` defaults to `one` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def named(family: str, generation: str) -> str:
    """The name of a warm state: `family@generation`, or the family alone."""
    return f"{family}@{generation}" if generation else family


def all_of(sentences: Iterable[str]) -> str:
    """Conditions that must all hold, as one sentence: "A new view." and "One more bot." are "A new view; and one …"."""
    parts = [sentence.removesuffix(".") for sentence in dict.fromkeys(sentences) if sentence]
    if not parts:
        return ""
    return "; and ".join([parts[0], *(part[0].lower() + part[1:] for part in parts[1:])]) + "."
