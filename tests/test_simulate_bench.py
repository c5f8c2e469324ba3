"""The bench of the policy: gains and targets, the page, and that a run goes on where it was cut."""

from __future__ import annotations

import gzip
import json
import math
import random
import sys

import pytest

from bench import cells, made, page, policy
from bench import plan as plan_bench
from bench.cells import ANNOUNCED, CLEAN, IDEAL, REAL, SEEDS, Cell, Unit
from bench.targets import Results, cell_thrift, gain, ratio, share_of_gain, thrift, verdicts
from server.policy.plan import plan
from tests.simulate_world import poisson

A, B = Cell("syn_checkout", 60.0), Cell("ci_x", 600.0)
WIDE = Cell("ci_x", 600.0, slots=5)


def row(mean_s, **more):
    common = {"queue_p99_s": 0.0, "prewarms": 0, "used": 0, "stale": 0, "background_s": 0.0, "bots": 9, "cpu_s": 1.0}
    return {**common, "mean_s": mean_s, "total_s": 100.0 * mean_s, **more}


def results(**changes):
    """Two cells; what is given by `variant_policy` replaces the rows of cell A."""
    figures = {}
    for cell in (A, B):
        for name, mean_s in (("affinity", 100.0), ("off", 80.0), ("pilotlight", 60.0), ("ceiling", 50.0)):
            figures[cell, IDEAL, name] = [row(mean_s)] * 3
    for name, rows in changes.items():
        variant, _, own = name.partition("_")
        figures[A, variant, own] = rows
    return Results(figures)


def queues(own, off, affinity=0.0):
    waits = {"ideal_off": [row(80, queue_p99_s=off)], "ideal_pilotlight": [row(60, queue_p99_s=own)]}
    return {**waits, "ideal_affinity": [row(100, queue_p99_s=affinity)]}


def hidden(own, bound):
    return {"clean_pilotlight": [row(9, clean_hidden=own)], "clean_clean_at_once": [row(9, clean_hidden=bound)]}


def verdict(found, number, part=""):
    return next(one for one in verdicts(found) if one.number == number and part in one.target)


def test_gains_and_shares():
    assert gain(40.0, 10.0) == 0.75
    assert gain(0.0, 0.0) == 0.0
    assert share_of_gain(100.0, 50.0, 60.0) == 0.8
    assert share_of_gain(100.0, 100.0, 60.0) is None
    assert share_of_gain(100.0, 50.0, 120.0) == -0.4


@pytest.mark.parametrize(
    ("own", "base", "slack", "times"),
    [(0, 0, 0, 1.0), (5, 0, 0, math.inf), (0.8, 0, 1, 1.0), (11, 10, 1, 1.0), (12, 10, 0, 1.2), (0, 10, 0, 0.0)],
)
def test_a_ratio_of_queues_forgives_its_slack_and_knows_two_empty_queues(own, base, slack, times):
    assert ratio(own, base, slack) == times


def test_thrift_is_background_work_for_what_was_saved():
    assert thrift(500.0, 100.0) == 5.0
    assert thrift(500.0, 0.0) is None
    found = results(ideal_pilotlight=[row(60.0, background_s=4000.0)])
    assert cell_thrift(found, A) == 4000.0 / (8000.0 - 6000.0)


def test_figures_are_medians_over_replicas():
    found = results(ideal_pilotlight=[row(1.0), row(50.0), row(70.0)])
    assert found.of(A, IDEAL, "pilotlight") == 50.0
    assert math.isnan(found.of(WIDE, IDEAL, "pilotlight"))


def test_what_is_compared_with_off_is_of_the_paths_that_both_were_replayed_on():
    """Else one replica of ours meets the median of five."""
    found = results(ideal_off=[row(90.0), row(60.0), row(60.0)], ideal_pilotlight=[row(89.0)])
    assert found.both(A, "pilotlight", "off") == (89.0, 90.0)
    assert verdict(found, "T2").met
    assert all(map(math.isnan, found.both(A, "none", "off")))


def test_targets_of_gain_are_medians_means_and_shares_of_the_ceilings():
    found = results()
    assert verdict(found, "T3", "median gain").measured == "40.0 %"
    assert verdict(found, "T3", "median gain").met
    assert verdict(found, "T3", "ceiling").measured == "80.0 %"
    assert verdict(found, "T4", "checkout").met
    assert verdict(found, "T4", "rollover").met is None
    assert verdict(results(ideal_pilotlight=[row(95.0)]), "T3", "mean gain").measured == "22.5 %"


@pytest.mark.parametrize(
    ("number", "part", "changes", "met"),
    [
        ("T1", "worst", queues(106, 100), True),
        ("T1", "worst", queues(107, 100), False),
        ("T1", "where that", queues(0, 9, affinity=7), False),
        ("T1", "where that", queues(0, 8, affinity=7), True),
        ("T1", "by choice", {"ideal_off": [row(80, queue_p99_s=30)]}, None),
        ("T2", "", {"ideal_pilotlight": [row(81.5)]}, True),
        ("T2", "", {"ideal_pilotlight": [row(82)]}, False),
        ("T5", "", {"seeds_pilotlight": [row(9), row(11), row(8)]}, False),
        ("T5", "", {"seeds_pilotlight": [row(9)] * 20}, True),
        ("T6", "", {"real_pilotlight": [row(60), row(60, stale=1)]}, False),
        ("T7", "synthetic", {"ideal_pilotlight": [row(60, background_s=9900)]}, True),
        ("T7", "synthetic", {"ideal_pilotlight": [row(60, background_s=10100)]}, False),
        ("T7", "used", {"ideal_pilotlight": [row(60, prewarms=10, used=4)]}, False),
        ("T8", "median", {"announced_pilotlight": [row(50)]}, True),
        ("T8", "worse", {"announced_pilotlight": [row(61)]}, False),
        ("T9", "median", hidden(0.9, 0.91), True),
        ("T9", "worst", hidden(0.5, 0.9), False),
        ("T9", "queue", {"clean_pilotlight": [row(9, queue_p99_s=62)], "clean_off": [row(9, queue_p99_s=60)]}, False),
        ("real", "", {"real_pilotlight": [row(65)], "real_affinity": [row(100)]}, True),
        ("real", "", {"real_pilotlight": [row(70)], "real_affinity": [row(100)]}, False),
    ],
)
def test_each_target_is_met_or_missed(number, part, changes, met):
    assert verdict(results(**changes), number, part).met is met


def test_the_worst_is_named_with_its_cell():
    found = Results({
        **{(cell, IDEAL, "off"): [row(80.0)] for cell in (A, WIDE)},
        (A, IDEAL, "pilotlight"): [row(60.0)],
        (WIDE, IDEAL, "pilotlight"): [row(88.0)],
    })  # fmt: skip
    assert verdict(found, "T2").measured == "10.0 % (ci_x 600, 60%, 5 states)"


def test_the_page_has_targets_tables_and_losses():
    real = {"real_affinity": [row(110.0)], "real_off": [row(90.0)], "real_pilotlight": [row(104.0)]}
    made = page.page(results(ideal_pilotlight=[row(90.0)], announced_pilotlight=[row(45.0)], **real), ["a note"])
    assert made.startswith("a note\n")
    assert "| T2 | no mean > 2 % above off | 12.5 % (syn_checkout 60, 60%) | **no** |" in made
    assert "| syn_checkout 60 | 9 | 100 | 80.0 | 90.0 | 45.0 | 50.0 | 10% | 20% |" in made
    assert "| syn_checkout 60 | 60% | 1 | 100 → 110 | 80.0 → 90.0 | 90.0 → 104 | 55% |" in made
    assert "- syn_checkout 60 at 60%: 90.0 s, off 80.0 s (+12.5%)" in made
    assert "nan" not in made


def test_nothing_measured_is_a_page_too():
    assert "| T3 | mean gain ≥ 38 % | – | – |" in page.page(Results({}), [])


def test_the_tables_go_between_the_marks_of_a_page():
    text = f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n"
    assert page.inserted(text, "new\n") == f"before\n{page.BEGIN}\nnew\n{page.END}\nafter\n"
    with pytest.raises(ValueError, match="lacks"):
        page.inserted("no marks", "new")


def test_the_designs_own_configurations_come_first_and_the_policy_after_the_baselines():
    found = cells.units([WIDE, B], [IDEAL, CLEAN])
    assert {unit.cell for unit in found[:10]} == {B}
    assert [unit.policy for unit in found[:10]][-2:] == ["pilotlight"] * 2
    only = cells.units([B, Cell("faas_genai", 600.0), Cell("faas_genai", 60.0)], [SEEDS])
    assert [unit.cell for unit in only] == [Cell("faas_genai", 600.0)]


def test_the_week_that_costs_is_the_same_each_time_and_has_moving_generations():
    tasks = made.made_week(2000)
    assert tasks == made.made_week(2000)
    assert len(tasks) == 2000
    assert max(task.submit_s for task in tasks) < 7 * 86_400.0
    assert len({task.generation for task in tasks if task.family == "f0"}) == 14
    assert [unit.cell.trace for unit in cells.units([A, B], [cells.COST])] == [made.NAME] * 3


def test_each_variant_has_its_world():
    assert cells.options_of(Unit(B, IDEAL, "off"), 5).ideal
    assert not cells.options_of(Unit(B, REAL, "off"), 5).ideal
    assert cells.options_of(Unit(B, CLEAN, "off"), 5).clean_s == 60.0
    assert cells.options_of(Unit(WIDE, ANNOUNCED, "off"), 5).slots == 5


@pytest.fixture
def folder(tmp_path):
    with gzip.open(tmp_path / "small.csv.gz", "wt") as out:
        out.write("submit_s,duration_s,key,pool,priority\n")
        for a in poisson("abc", hours=2, per_h=40):
            out.write(f"{a.submit_s:.1f},{a.duration_s:.1f},{a.key},,\n")
    return tmp_path


def test_a_run_that_was_cut_goes_on_where_it_was_and_repeats_nothing(folder):
    unit, out = Unit(Cell("small", 60.0), IDEAL, "off"), folder / "out"
    assert "2 replicas" in cells.run(unit, folder, out, 2, None)
    first = cells.read(unit.file(out))
    assert "1 replicas" in cells.run(unit, folder, out, 3, None)
    again = cells.read(unit.file(out))
    assert again["replicas"][:2] == first["replicas"]
    assert len(again["replicas"]) == 3
    assert cells.run(unit, folder, out, 3, None) == ""
    assert again["bots"] == first["bots"] >= 1


def test_all_policies_of_a_cell_get_the_same_fleet_and_a_given_one_is_taken(folder):
    out = folder / "out"
    sized = [Unit(Cell("small", 60.0), IDEAL, name) for name in ("affinity", "off")]
    given = Unit(Cell("small", 600.0), IDEAL, "off")
    for unit in sized:
        cells.run(unit, folder, out, 1, None)
    cells.run(given, folder, out, 1, 17)
    assert len({cells.read(unit.file(out))["bots"] for unit in sized}) == 1
    assert cells.read(given.file(out))["bots"] == 17


def test_the_bench_measures_writes_its_page_and_says_what_is_of_an_earlier_code(folder, monkeypatch, capsys):
    out, target = folder / "out", folder / "page.md"
    target.write_text(f"# x\n{page.BEGIN}\n{page.END}\n", encoding="utf-8")
    options = ["--out", str(out), "--slots", "1", "--utilization", "0.6", "--cold-s", "60", "--replicas", "1"]
    options += ["--variants", "ideal,clean", "--policies", "affinity,off,clean_at_once", "--jobs", "1"]
    monkeypatch.setattr(sys, "argv", ["policy", str(folder), *options, "--write", str(target)])
    policy.main()
    assert "3 of 4" in capsys.readouterr().out
    assert "4 of 4 parts are measured" in target.read_text(encoding="utf-8")
    assert "| small 60 |" in target.read_text(encoding="utf-8")
    for file in out.glob("*/*-ideal-off.json"):
        file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), "code": "other"}), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["policy", str(folder), *options, "--only-write", str(target)])
    policy.main()
    assert "1 of the parts were measured with an earlier state" in target.read_text(encoding="utf-8")


def test_fleets_are_given_by_trace_and_cold_cost():
    assert policy.fleets("a:60=5,a:600=7") == {("a", 60.0): 5, ("a", 600.0): 7}


def test_what_a_plan_costs_is_written_per_situation(tmp_path, monkeypatch):
    page_file = tmp_path / "page.md"
    page_file.write_text(f"before\n{plan_bench.BEGIN}\nold\n{plan_bench.END}\nafter\n")
    monkeypatch.setattr(sys, "argv", ["plan", "--bots", "30", "--families", "6", "--write", str(page_file)])
    plan_bench.main()
    written = page_file.read_text()
    assert all(f"| {situation.name} | " in written for situation in plan_bench.SITUATIONS)
    assert "old" not in written and written.startswith("before\n") and written.endswith("after\n")


@pytest.mark.parametrize("situation", plan_bench.SITUATIONS, ids=lambda one: one.name)
def test_a_plan_whose_cost_is_measured_has_something_to_do(situation):
    made_of = plan(plan_bench.pool(situation, 200, 60, random.Random(1)))
    starts = sum(1 for advice in made_of.advice.values() if advice.tasks)
    bets = sum(1 for advice in made_of.advice.values() if advice.background)
    assert (starts if situation.waiting else bets) > 0
