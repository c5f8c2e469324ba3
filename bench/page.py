"""The figures of the policy bench as Markdown: targets, a table per kind of fleet, and where the policy loses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median

from bench.cells import ANNOUNCED, CLEAN, IDEAL, MAIN, REAL, Cell
from bench.targets import (
    BASE,
    BEST,
    BOUND,
    OFF,
    OWN,
    Results,
    cell_thrift,
    gain,
    gains,
    kept_in_reality,
    share_of_gain,
    shares,
    used_share,
    verdicts,
)

BEGIN, END = "<!-- bench/policy begins -->", "<!-- bench/policy ends -->"
LOSES = 0.005
COLUMNS = (
    "trace / cold s", "bots", "affinity", "off", "ours", "announced", "ceiling", "gain", "of ceiling's",
    "p99 queue off → ours", "used", "spent per saved", "clean-ups hidden: ours / bound",
)  # fmt: skip
OTHERS = ("none", BASE, "ewma", "histogram", OFF, OWN, BEST)


def page(results: Results, notes: list[str]) -> str:
    """All of it."""
    return "\n".join(_lines(results, notes)) + "\n"


def inserted(text: str, made: str, begin: str = BEGIN, end: str = END) -> str:
    """The text with what stands between the two marks replaced.

    Raises:
        ValueError: the marks are not there.
    """
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"the page lacks the lines {begin} and {end}")
    return f"{before}{begin}\n{made}{end}{after}"


def put(made: str, target: Path | None, begin: str = BEGIN, end: str = END) -> None:
    """Writes between the marks of a page; prints where there is none.

    Raises:
        ValueError: the marks are not there.
    """
    if target is None:
        print(made)
    else:
        target.write_text(inserted(target.read_text(encoding="utf-8"), made, begin, end), encoding="utf-8")


def _lines(results: Results, notes: list[str]) -> Iterator[str]:
    yield from notes
    yield ""
    yield from table(("", "target", "measured", "met"), [
        (one.number, one.target, one.measured, {True: "yes", False: "**no**", None: "–"}[one.met])
        for one in verdicts(results)
    ])  # fmt: skip
    for group in results.groups():
        yield ""
        yield from _group(results, group)
    yield ""
    yield from _policies(results)
    yield ""
    yield from _realistic(results)
    yield ""
    yield "Where it loses, against `off` or affinity, by more than half a percent of the mean:"
    yield ""
    losses = list(_losses(results))
    yield from losses or ["- nowhere"]


def _group(results: Results, group: tuple[int, float]) -> Iterator[str]:
    slots, utilization = group
    states = "one state" if slots == 1 else f"{slots} states"
    yield f"**{states} per bot, {utilization:.0%} in the busy hour** (mean overhead in seconds)"
    yield ""
    cells = results.cells((IDEAL, BASE), group=group)
    yield from table(COLUMNS, [_row(results, cell) for cell in cells])
    known = results.cells((IDEAL, OWN), (IDEAL, BASE), group=group)
    if known:
        found = gains(results, known)
        line = f"Gain over affinity: median {median(found):.1%}, mean {mean(found):.1%}"
        off = gains(results, known, OFF)
        line += f" (off: {median(off):.1%}, {mean(off):.1%}"
        told = [cell for cell in known if cell in results.cells((ANNOUNCED, OWN))]
        if told:
            said = gains(results, told, variant=ANNOUNCED)
            line += f"; half announced: {median(said):.1%}, {mean(said):.1%}"
        share = shares(results, results.cells((IDEAL, OWN), (IDEAL, BASE), (IDEAL, BEST), group=group))
        yield ""
        yield line + f"); of the ceiling's gain {median(share):.0%} in the median." if share else line + ")."


def _row(results: Results, cell: Cell) -> tuple[str, ...]:
    base, off, own, best = (results.of(cell, IDEAL, name) for name in (BASE, OFF, OWN, BEST))
    queues = [results.of(cell, IDEAL, name, "queue_p99_s") for name in (OFF, OWN)]
    hidden = [results.of(cell, CLEAN, name, "clean_hidden") for name in (OWN, BOUND)]
    return (
        f"{cell.trace} {cell.cold_s:g}",
        f"{results.of(cell, IDEAL, BASE, 'bots'):.0f}",
        *(_three(value) for value in (base, off, own, results.of(cell, ANNOUNCED, OWN), best)),
        _share(gain(base, own)),
        _share(share_of_gain(base, best, own)),
        " → ".join(_three(value) for value in queues),
        _share(used_share(results, cell)),
        _three(cell_thrift(results, cell)),
        " / ".join(_share(value) for value in hidden),
    )


def _policies(results: Results) -> Iterator[str]:
    """All policies side by side, in the design's own configurations."""
    yield "All policies, one state per bot, 60 % in the busy hour (mean overhead in seconds):"
    yield ""
    rows = []
    for cell in results.cells((IDEAL, BASE), group=MAIN):
        means = [_three(results.of(cell, IDEAL, name)) for name in OTHERS]
        rows.append((f"{cell.trace} {cell.cold_s:g}", *means))
    yield from table(("trace / cold s", *OTHERS), rows)


def _realistic(results: Results) -> Iterator[str]:
    """The ideal world beside the one with delays and failures."""
    yield "Ideal → with delays and failures (mean overhead in seconds), and how much of our gain over affinity is left:"
    yield ""
    rows = []
    for cell in results.cells((REAL, BASE), (IDEAL, BASE)):
        pairs = [[results.of(cell, variant, name) for variant in (IDEAL, REAL)] for name in (BASE, OFF, OWN)]
        means = [" → ".join(map(_three, pair)) for pair in pairs]
        has_own = cell in results.cells((REAL, OWN), (IDEAL, OWN))
        kept = _share(kept_in_reality(results, cell) if has_own else None)
        rows.append((f"{cell.trace} {cell.cold_s:g}", f"{cell.utilization:.0%}", str(cell.slots), *means, kept))
    yield from table(("trace / cold s", "busy hour", "states", "affinity", "off", "ours", "kept"), rows)


def _losses(results: Results) -> Iterator[str]:
    for cell in results.cells((IDEAL, OWN)):
        for name in (OFF, BASE):
            own, base = results.both(cell, OWN, name)
            if not math.isnan(base) and own > base * (1.0 + LOSES):
                states = f", {cell.slots} states" if cell.slots > 1 else ""
                where = f"{cell.trace} {cell.cold_s:g} at {cell.utilization:.0%}{states}"
                yield f"- {where}: {_three(own)} s, {name} {_three(base)} s ({own / base - 1.0:+.1%})"


def table(names: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    """A table's lines."""
    yield "| " + " | ".join(names) + " |"
    yield "|" + "---|" * len(names)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _three(value: float | None) -> str:
    """About three digits, without exponents."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.0%}"
