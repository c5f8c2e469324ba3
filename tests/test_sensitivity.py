"""The table of what halving and doubling settings does, and the places of the page that benches write to."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

from bench import known_rates, page, sensitivity
from bench.sensitivity import Case
from server.policy.model import Thresholds
from server.policy.simulate.mirror import EPOCH_S
from tests.simulate_world import arrivals, poisson

PAGE = Path(__file__).parents[1] / "docs" / "policy.md"


def trace_of(folder: Path) -> Path:
    """Four hours of three families."""
    file = folder / "small.csv.gz"
    rows = [f"{one.submit_s:.1f},{one.duration_s:.1f},{one.key},," for one in poisson(["a", "b", "c"], 4.0, 60.0)]
    file.write_bytes(gzip.compress("\n".join(["submit_s,duration_s,key,pool,priority", *rows, ""]).encode()))
    return file


def test_a_threshold_that_nothing_reaches_ends_all_background_work(tmp_path: Path) -> None:
    file = trace_of(tmp_path)
    usual, beyond = (
        sensitivity.measured(Case(file, 1.0, 60.0, 8, "value_threshold", factor, 0)) for factor in (1.0, 20.0)
    )
    assert usual[1] > 0.0 and beyond[1] == 0.0
    assert beyond[0] > usual[0]


def test_who_is_told_what_comes_of_rare_keys_warms_for_it(tmp_path: Path) -> None:
    """Twelve keys in no order, a task each 25 minutes, on four bots: rates that were measured say little."""
    file, dice = tmp_path / "t.csv", random.Random(3)
    rows = [f"{600 + 1500 * number},60,k{dice.randrange(12)}" for number in range(80)]
    file.write_text("\n".join(["submit_s,duration_s,key", *rows, ""]))
    ours, told = (
        known_rates.measured(known_rates.Case(file, 600.0, 4, who, 0)) for who in (known_rates.OURS, known_rates.HOUR)
    )
    assert told < ours / 4


def test_what_comes_is_counted_ahead_by_state() -> None:
    coming = known_rates.to_come(arrivals((10, 1, "a:1"), (20, 1, "a:1"), (20, 1, "b"), (200, 1, "a:1")), 100.0)
    assert coming(("a", "1"), EPOCH_S + 5.0) == 2 / 100
    assert coming(("a", "1"), EPOCH_S + 15.0) == 1 / 100
    assert coming(("a", "2"), EPOCH_S) == 0.0


def test_a_row_has_the_medians_of_its_replicas_by_factor() -> None:
    file, found = Path("t.csv.gz"), {}
    for number in range(3):
        for factor in sensitivity.FACTORS:
            found[Case(file, 2.0, 60.0, 9, "min_idle_s", factor, number)] = (factor + number, 3600.0 * number)
    assert list(sensitivity.rows(found)) == [
        ("`min_idle_s`", "t 60", "1.50 s, 1.0 h", "2.00 s, 1.0 h", "3.00 s, 1.0 h")
    ]


def test_the_page_has_a_place_for_each_bench() -> None:
    text = PAGE.read_text(encoding="utf-8")
    benches = (page, sensitivity, known_rates)
    for marks in ((bench.BEGIN, bench.END) for bench in benches):
        assert f"{marks[0]}\nnew\n{marks[1]}" in page.inserted(text, "new\n", *marks)


def test_halved_and_doubled_settings_are_ones_that_a_config_could_have() -> None:
    settings = Thresholds(reserve_min=1, background_share=0.6, utilization_stop=0.8, utilization_start=0.72)
    assert sensitivity.changed(settings, "background_share", 2.0).background_share == 1.0
    assert sensitivity.changed(settings, "reserve_min", 0.5).reserve_min == 0
    halved = sensitivity.changed(settings, "utilization_stop", 0.5)
    assert (halved.utilization_stop, halved.utilization_start) == (0.4, 0.4)
