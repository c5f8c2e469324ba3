"""The targets of the policy, computed from the figures of replays. Pure: values in, verdicts out.

A gain is a share of affinity's mean overhead. Figures are medians over replicas; shares and ratios are of the medians,
as in the tables of the design. What is compared with `off`, or with affinity's queue, is of the same replicas of both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median

from bench.cells import ANNOUNCED, CLEAN, COST, IDEAL, MAIN, REAL, SEEDS, Cell

OWN, OFF, BASE, BEST, BOUND = "pilotlight", "off", "affinity", "ceiling", "clean_at_once"
SLACK_S = 1.0
SYNTHETIC = "syn_"
COSTLY = ("syn_surge", 600.0)
"""A trace of 26,000 tasks on 57 bots: what a replay may cost is stated of it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target: what was asked for, what was measured, and whether that is enough (None: nothing was measured)."""

    number: str
    target: str
    measured: str
    met: bool | None


class Results:
    """Figures by cell, variant and policy: a list of replicas each."""

    def __init__(self, figures: Mapping[tuple[Cell, str, str], Sequence[Mapping[str, float]]]) -> None:
        self._figures = figures

    def cells(self, *needed: tuple[str, str], group: tuple[int, float] | None = None) -> list[Cell]:
        """Cells that have figures for all (variant, policy) that are needed; of one (slots, utilization) if asked."""
        found = sorted({cell for cell, _, _ in self._figures})
        if group is not None:
            found = [cell for cell in found if (cell.slots, cell.utilization) == group]
        return [cell for cell in found if all((cell, *one) in self._figures for one in needed)]

    def groups(self) -> list[tuple[int, float]]:
        """(slots, utilization) that have figures, the design's first."""
        found = {(cell.slots, cell.utilization) for cell, _, _ in self._figures}
        return sorted(found, key=lambda group: (group != MAIN, group))

    def all(self, cell: Cell, variant: str, policy: str, figure: str) -> list[float]:
        """One figure of all replicas."""
        return [replica[figure] for replica in self._figures.get((cell, variant, policy), ()) if figure in replica]

    def of(self, cell: Cell, variant: str, policy: str, figure: str = "mean_s") -> float:
        """The median over replicas; not a number where there is none."""
        found = self.all(cell, variant, policy, figure)
        return median(found) if found else math.nan

    def both(self, cell: Cell, own: str, base: str, figure: str = "mean_s") -> tuple[float, float]:
        """A figure of two policies in the ideal world: medians over the replicas, so the paths, that both have."""
        found = [self.all(cell, IDEAL, name, figure) for name in (own, base)]
        count = min(map(len, found))
        return (median(found[0][:count]), median(found[1][:count])) if count else (math.nan, math.nan)


# ---- ratios


def gain(base: float, own: float) -> float:
    """The share of the base that is saved. An example: 10 instead of 40 s: 0.75."""
    return 1.0 - own / base if base else 0.0


def share_of_gain(base: float, best: float, own: float) -> float | None:
    """The share of the best one's gain over the base; None where the best gains nothing."""
    return (base - own) / (base - best) if base - best > 1e-6 else None


def ratio(own: float, base: float, slack: float = 0.0) -> float:
    """How many times the base it is, after a slack is taken off; 1 where neither is above zero."""
    above = max(0.0, own - slack)
    if base > 0.0:
        return above / base
    return math.inf if above > 0.0 else 1.0


def thrift(background_s: float, saved_s: float) -> float | None:
    """Background seconds per saved second; None where nothing was saved."""
    return background_s / saved_s if saved_s > 0.0 else None


# ---- figures of cells


def gains(results: Results, cells: Iterable[Cell], policy: str = OWN, variant: str = IDEAL) -> list[float]:
    """Gains over affinity, in the ideal world (announced or not)."""
    return [gain(results.of(cell, IDEAL, BASE), results.of(cell, variant, policy)) for cell in cells]


def shares(results: Results, cells: Iterable[Cell], policy: str = OWN) -> list[float]:
    """Shares of the ceiling's gain, where it gains."""
    found = [share_of_gain(*(results.of(cell, IDEAL, name) for name in (BASE, BEST, policy))) for cell in cells]
    return [share for share in found if share is not None]


def cell_thrift(results: Results, cell: Cell) -> float | None:
    """Background seconds per second of waiting saved against `off`; None where nothing was saved."""
    own_s, off_s = results.both(cell, OWN, OFF, "total_s")
    return thrift(results.of(cell, IDEAL, OWN, "background_s"), off_s - own_s)


def used_share(results: Results, cell: Cell) -> float | None:
    """Share of the prewarms that a task used; None where there were none."""
    prewarms = results.of(cell, IDEAL, OWN, "prewarms")
    return results.of(cell, IDEAL, OWN, "used") / prewarms if prewarms > 0 else None


def kept_in_reality(results: Results, cell: Cell) -> float | None:
    """The gain over affinity with delays and failures, as a share of that in the ideal world; None without a gain."""
    ideal = gain(results.of(cell, IDEAL, BASE), results.of(cell, IDEAL, OWN))
    return gain(results.of(cell, REAL, BASE), results.of(cell, REAL, OWN)) / ideal if ideal > 0.01 else None


# ---- targets


def verdicts(results: Results) -> list[Verdict]:
    """All targets that figures of replays decide."""
    return [
        *_harm(results),
        _regression(results),
        *_gains(results),
        *_moving(results),
        _stability(results),
        _current(results),
        *_thrift(results),
        *_announced(results),
        *_cleaning(results),
        _reality(results),
        *_cost(results),
    ]


def _harm(results: Results) -> list[Verdict]:
    def queues(own: str, base: str, slack_s: float) -> dict[Cell, float]:
        return {
            cell: ratio(*results.both(cell, own, base, "queue_p99_s"), slack_s)
            for cell in results.cells((IDEAL, own), (IDEAL, base))
        }

    middle = _median(queues(OWN, OFF, 0.0).values())
    queued = {cell: times for cell, times in queues(OFF, BASE, SLACK_S).items() if times < math.inf}
    chosen = results.cells((IDEAL, OFF), (IDEAL, BASE))
    waited = {cell: results.of(cell, IDEAL, OFF, "queue_p99_s") for cell in chosen if cell not in queued}
    return [
        _at_most("T1", "p99 queue ≤ 1.00 × off in the median", middle, 1.0, _times),
        _at_most("T1", "≤ 1.05 × (+ 1 s) in the worst", _highest(queues(OWN, OFF, SLACK_S)), 1.05, _times),
        _at_most("T1", "off ≤ 1.05 × affinity (+ 1 s), where that queues", _highest(queued), 1.05, _times),
        Verdict("T1", "where affinity has no queue: off's, by choice", _words(_highest(waited), _seconds), None),
    ]


def _regression(results: Results) -> Verdict:
    both = results.cells((IDEAL, OWN), (IDEAL, OFF))
    lost = {cell: own / off - 1.0 for cell in both for own, off in [results.both(cell, OWN, OFF)]}
    return _at_most("T2", "no mean > 2 % above off", _highest(lost), 0.02, _percent)


def _gains(results: Results) -> list[Verdict]:
    found = gains(results, results.cells((IDEAL, OWN), (IDEAL, BASE), group=MAIN))
    share = _median(shares(results, results.cells((IDEAL, OWN), (IDEAL, BASE), (IDEAL, BEST), group=MAIN)))
    return [
        _at_least("T3", "median gain over affinity ≥ 25 %", _median(found), 0.25, _percent),
        _at_least("T3", "mean gain ≥ 38 %", mean(found) if found else None, 0.38, _percent),
        _at_least("T3", "≥ 70 % of the ceiling's gain, median", share, 0.7, _percent),
    ]


def _moving(results: Results) -> list[Verdict]:
    found = []
    for name, least in (("syn_checkout", 0.8), ("syn_rollover", 0.88)):
        known = results.cells((IDEAL, OWN), (IDEAL, BASE), (IDEAL, BEST), group=MAIN)
        share = _median(shares(results, [cell for cell in known if (cell.trace, cell.cold_s) == (name, 60.0)]))
        found.append(_at_least("T4", f"{name} 60: ≥ {least:.0%} of the ceiling's", share, least, _percent))
    return found


def _stability(results: Results) -> Verdict:
    seeds = {cell: max(results.all(cell, SEEDS, OWN, "mean_s")) for cell in results.cells((SEEDS, OWN))}
    return _at_most("T5", "the fleet that may collapse: ≤ 10 s with every seed", _highest(seeds), 10.0, _seconds)


def _current(results: Results) -> Verdict:
    variants = (IDEAL, ANNOUNCED, CLEAN, REAL)
    stale = [max(results.all(cell, v, OWN, "stale")) for v in variants for cell in results.cells((v, OWN))]
    return _at_most("T6", "no forecast prewarm of a superseded generation", max(stale, default=None), 0.0, _count)


def _thrift(results: Results) -> list[Verdict]:
    both = results.cells((IDEAL, OWN), (IDEAL, OFF))
    spent = {cell: one for cell in both if (one := cell_thrift(results, cell)) is not None}
    made = {cell: one for cell, one in spent.items() if cell.trace.startswith(SYNTHETIC)}
    real = {cell: one for cell, one in spent.items() if cell not in made}
    used = _median([one for cell in both if (one := used_share(results, cell)) is not None])
    return [
        _at_most("T7", "≤ 5 background s per saved s, synthetic", _highest(made), 5.0, _number),
        _at_most("T7", "≤ 10 wherever anything is saved", _highest(real), 10.0, _number),
        _at_least("T7", "≥ 50 % of prewarms used, median", used, 0.5, _percent),
    ]


def _announced(results: Results) -> list[Verdict]:
    main = results.cells((ANNOUNCED, OWN), (IDEAL, BASE), group=MAIN)
    both = results.cells((ANNOUNCED, OWN), (IDEAL, OWN))
    lost = {cell: results.of(cell, ANNOUNCED, OWN) / results.of(cell, IDEAL, OWN) - 1.0 for cell in both}
    middle = _median(gains(results, main, variant=ANNOUNCED))
    return [
        _at_least("T8", "half announced: median gain ≥ 48 %", middle, 0.48, _percent),
        _at_most("T8", "never > 1 % worse for it", _highest(lost), 0.01, _percent),
    ]


def _cleaning(results: Results) -> list[Verdict]:
    def ratios(base: str, figure: str, slack: float) -> dict[Cell, float]:
        return {
            cell: ratio(*(results.of(cell, CLEAN, name, figure) for name in (OWN, base)), slack)
            for cell in results.cells((CLEAN, OWN), (CLEAN, base))
        }

    hidden, queues = ratios(BOUND, "clean_hidden", 0.0), ratios(OFF, "queue_p99_s", SLACK_S)
    return [
        _at_least("T9", "≥ 98 % of the bound's hidden clean-ups, median", _median(hidden.values()), 0.98, _percent),
        _at_least("T9", "≥ 90 % in the worst", _lowest(hidden), 0.9, _percent),
        _at_most("T9", "p99 queue not above no cleaning (+ 1 s)", _highest(queues), 1.0, _times),
    ]


def _reality(results: Results) -> Verdict:
    cells = results.cells((REAL, OWN), (REAL, BASE), (IDEAL, OWN), (IDEAL, BASE))
    kept = _median([one for cell in cells if (one := kept_in_reality(results, cell)) is not None])
    return _at_least("real", "≥ 85 % of the gain is left with delays and failures, median", kept, 0.85, _percent)


def _cost(results: Results) -> list[Verdict]:
    known = results.cells((IDEAL, OWN), group=MAIN)
    took = [results.of(cell, IDEAL, OWN, "cpu_s") for cell in known if (cell.trace, cell.cold_s) == COSTLY]
    made = [results.of(cell, COST, OWN, "cpu_s") for cell in results.cells((COST, OWN))]
    return [
        _at_most("T10", "26,000 tasks on 57 bots (syn_surge 600): < 10 s of one core", _median(took), 10.0, _seconds),
        _at_most("T10", "200,000 tasks on 500 bots: < 60 s", _median(made), 60.0, _seconds),
    ]


# ---- words


Found = tuple[float, Cell] | float | None
"""A figure, with its cell when it is the highest or lowest of many; None where nothing was measured."""
Spelled = Callable[[float], str]


def _highest(values: Mapping[Cell, float]) -> Found:
    return max(((value, cell) for cell, value in values.items()), default=None)


def _lowest(values: Mapping[Cell, float]) -> Found:
    return min(((value, cell) for cell, value in values.items()), default=None)


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return median(known) if known else None


def _at_most(number: str, target: str, found: Found, most: float, spelled: Spelled) -> Verdict:
    value = found[0] if isinstance(found, tuple) else found
    return Verdict(number, target, _words(found, spelled), None if value is None else value <= most + 1e-9)


def _at_least(number: str, target: str, found: Found, least: float, spelled: Spelled) -> Verdict:
    value = found[0] if isinstance(found, tuple) else found
    return Verdict(number, target, _words(found, spelled), None if value is None else value >= least - 1e-9)


def _words(found: Found, spelled: Spelled) -> str:
    if found is None:
        return "–"
    if not isinstance(found, tuple):
        return spelled(found)
    value, cell = found
    states = f", {cell.slots} states" if cell.slots > 1 else ""
    return f"{spelled(value)} ({cell.trace} {cell.cold_s:g}, {cell.utilization:.0%}{states})"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _times(value: float) -> str:
    return f"{value:.2f} ×"


def _seconds(value: float) -> str:
    return f"{value:.1f} s"


def _number(value: float) -> str:
    return f"{value:.1f}"


def _count(value: float) -> str:
    return f"{value:.0f}"
