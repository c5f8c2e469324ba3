"""The table of what halving and doubling settings does, and the places of the page that benches write to."""

from __future__ import annotations

import gzip
from pathlib import Path

from bench import page, sensitivity
from bench.sensitivity import Case
from server.policy.model import Thresholds
from tests.simulate_world import poisson

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
    for marks in ((page.BEGIN, page.END), (sensitivity.BEGIN, sensitivity.END)):
        assert f"{marks[0]}\nnew\n{marks[1]}" in page.inserted(text, "new\n", *marks)


def test_halved_and_doubled_settings_are_ones_that_a_config_could_have() -> None:
    settings = Thresholds(reserve_min=1, background_share=0.6, utilization_stop=0.8, utilization_start=0.72)
    assert sensitivity.changed(settings, "background_share", 2.0).background_share == 1.0
    assert sensitivity.changed(settings, "reserve_min", 0.5).reserve_min == 0
    halved = sensitivity.changed(settings, "utilization_stop", 0.5)
    assert (halved.utilization_stop, halved.utilization_start) == (0.4, 0.4)
