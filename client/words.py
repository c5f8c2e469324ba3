"""Numbers and times in words, the same on every screen: two units at most, no-break spaces within."""

from __future__ import annotations

NBSP = "\N{NO-BREAK SPACE}"
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
MINUTES_FROM_S = 90


def duration(time_s: float) -> str:
    """`0.4 s`, `9.4 s`, `38 s`, from 90 s `3 m 35 s`, `7 h 54 m`, `19 d`."""
    if time_s < 0:
        return "\N{MINUS SIGN}" + duration(-time_s)
    if time_s < 9.95:
        return f"{time_s:.1f}{NBSP}s"
    whole = round(time_s)
    if whole < MINUTES_FROM_S:
        return f"{whole}{NBSP}s"
    for unit_s, unit, part_s, part in (
        (DAY_S, "d", HOUR_S, "h"),
        (HOUR_S, "h", MINUTE_S, "m"),
        (MINUTE_S, "m", 1, "s"),
    ):
        if whole >= unit_s:
            number, rest = divmod(whole, unit_s)
            if (unit == "d" and number >= 10) or not rest // part_s:
                return f"{number}{NBSP}{unit}"
            return f"{number}{NBSP}{unit}{NBSP}{rest // part_s}{NBSP}{part}"
    raise AssertionError("every number of seconds from 90 on has minutes")


def ago(at_s: float, now_s: float) -> str:
    """`9 m 5 s ago`; "" for never."""
    return f"{duration(max(0.0, now_s - at_s))} ago".replace(" ago", f"{NBSP}ago") if at_s > 0 else ""


def size(count: int) -> str:
    """Bytes in powers of ten: `31.5 MB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f}{NBSP}{unit}" if unit == "B" or value >= 99.5 else f"{value:.1f}{NBSP}{unit}"
        value /= 1000
    return f"{value:.1f}{NBSP}TB"


def share(part: float) -> str:
    """Whole percent, one decimal below 10 %."""
    percent = part * 100
    return f"{percent:.1f}{NBSP}%" if 0 < percent < 9.95 else f"{percent:.0f}{NBSP}%"


def plain(text: str) -> str:
    """For pipes: ordinary spaces."""
    return text.replace(NBSP, " ")


def one_line(text: str) -> str:
    """Somebody's text as it fits into a row: line ends, tabs and whatever moves a terminal's cursor become spaces."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
