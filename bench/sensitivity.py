"""What halving or doubling each setting that decides does, on the beginnings of traces: a table of `docs/policy.md`.

    python -m bench.sensitivity TRACES --traces syn_checkout,syn_rollover --first-days 2 --write docs/policy.md

All in the ideal world, but for `affinity_hold_s`: it counts only where bots sleep between polls, which takes so long to
replay that a quarter of the days has to do. Fleets are sized as the bench's: 60 % in the busy hour, one state per bot.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median

from bench import folder
from bench.cells import JITTER_S, SEED
from bench.page import put, table
from server import simulation
from server.policy.model import Thresholds
from server.policy.simulate import replay, report, trace
from server.policy.simulate.options import Options

SETTINGS = (
    "value_threshold",
    "reserve_share",
    "reserve_min",
    "background_share",
    "spec_share",
    "min_idle_s",
    "utilization_stop",
    "utilization_start",
    "utilization_for_s",
    "hand_outs_per_min",
    "affinity_hold_s",
)
"""All that decide but `ledger_max_cost`: a replay has no pool that is switched to shadow mode."""
SHARES = ("_share", "_stop", "_start")
WHERE_BOTS_SLEEP = frozenset({"affinity_hold_s"})
SHARE_OF_DAYS = 0.25
FACTORS = (0.5, 1.0, 2.0)
POLICY = "pilotlight"
BEGIN, END = "<!-- bench/sensitivity begins -->", "<!-- bench/sensitivity ends -->"


@dataclass(frozen=True, slots=True)
class Case:
    """One replay: of the beginning of a trace, with one setting times a factor."""

    file: Path
    days: float
    cold_s: float
    bots: int
    setting: str
    factor: float
    number: int


def measured(case: Case) -> tuple[float, float]:
    """Mean overhead, and background seconds."""
    arrivals = _beginning(case.file, case.days)
    seed = 1000 * SEED + case.number
    path = trace.jittered(arrivals, random.Random(seed), JITTER_S)
    settings = changed(simulation.thresholds(), case.setting, case.factor)
    options = Options(case.bots, cold_s=case.cold_s, sleeping_polls=case.setting in WHERE_BOTS_SLEEP)
    found = replay.replay(POLICY, path, options, random.Random(seed + 500), settings, ())
    figures = report.figures({POLICY: [found]})[POLICY]
    return float(figures["mean_s"] or 0.0), float(figures["background_s"] or 0.0)


def changed(settings: Thresholds, setting: str, factor: float) -> Thresholds:
    """With one of them times the factor: shares at most 1, and pools start betting at no more than where they stop."""
    known = getattr(settings, setting)
    value = known * factor
    value = min(value, 1.0) if setting.endswith(SHARES) else round(value) if isinstance(known, int) else value
    made = replace(settings, **{setting: value})
    return replace(made, utilization_start=min(made.utilization_start, made.utilization_stop))


def _beginning(file: Path, days: float) -> list[trace.Arrival]:
    return [one for one in simulation.load(file) if one.submit_s < days * trace.DAY_S]


def cases(given: argparse.Namespace) -> Iterator[Case]:
    """All replays."""
    for file, cold_s, bots in folder.fleets(given):
        for setting, factor, number in product(SETTINGS, FACTORS, range(given.replicas)):
            days = given.first_days * (SHARE_OF_DAYS if setting in WHERE_BOTS_SLEEP else 1.0)
            yield Case(file, days, cold_s, bots, setting, factor, number)


def _key(case: Case) -> Case:
    """What differs in what is measured: as they are, all settings are the same."""
    same = case.factor == 1.0 and case.setting not in WHERE_BOTS_SLEEP
    return replace(case, setting=SETTINGS[0]) if same else case


def rows(found: dict[Case, tuple[float, float]]) -> Iterator[tuple[str, ...]]:
    """Per setting and fleet: mean overhead and background hours with half, as it is, and twice."""
    kinds = dict.fromkeys((one.setting, one.file, one.cold_s) for one in found)
    for setting, file, cold_s in kinds:
        cells = []
        for factor in FACTORS:
            of = [
                figures
                for one, figures in found.items()
                if (one.setting, one.file, one.cold_s, one.factor) == (setting, file, cold_s, factor)
            ]
            mean_s, spent_s = (median(column) for column in zip(*of, strict=True))
            cells.append(f"{mean_s:.2f} s, {spent_s / 3600.0:.1f} h")
        yield f"`{setting}`", f"{file.name.partition('.')[0]} {cold_s:g}", *cells


def main() -> None:
    """Reads the options, replays, writes."""
    parser = folder.options(__doc__)
    parser.add_argument("--first-days", type=float, default=2.0)
    given = parser.parse_args()
    wanted = list(cases(given))
    with ProcessPoolExecutor(given.jobs) as pool:
        once = list({_key(one): one for one in wanted}.values())
        known = {_key(one): figures for one, figures in zip(once, pool.map(measured, once), strict=True)}
    found = {one: known[_key(one)] for one in wanted}
    lines = table(("setting", "beginning of, cold s", "× 0.5", "as it is", "× 2"), sorted(rows(found)))
    made = "\n".join(lines) + "\n"
    put(made, given.write, BEGIN, END)


if __name__ == "__main__":
    main()
