"""Traces in, comparisons out: reading, sizing, figures, pictures, the two commands."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace

import pytest
from click.testing import CliRunner

import main
from client.cli import cli
from server import simulation
from server.policy.simulate import report, trace
from server.policy.simulate.announced import Heralds
from server.policy.simulate.options import Options
from server.policy.simulate.replay import fleet_size, replay
from server.policy.simulate.restock import base_stock
from server.policy.value import erlang_excess
from tests.simulate_world import arrivals, poisson


@pytest.mark.parametrize(
    ("key", "parts"),
    [("src:3", ("src", "3")), ("a:b@7", ("a:b", "7")), ("plain", ("plain", "")), (":odd", (":odd", ""))],
)
def test_a_key_names_a_family_and_perhaps_its_generation(key, parts):
    assert trace.split_key(key) == parts


def test_a_trace_may_leave_pool_and_priority_empty_and_is_sorted():
    read = trace.read(["submit_s,duration_s,key,pool,priority\n", "5,1,b,,\n", "0,2,a,p,30\n"])
    assert [(a.submit_s, a.key, a.priority) for a in read] == [(0.0, "a", 30), (5.0, "b", trace.NO_PRIORITY)]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["submit_s,key\n"], "duration_s"),
        (["submit_s,duration_s,key\n", "0,x,a\n"], "line 2: duration_s is 'x'"),
        (["submit_s,duration_s,key\n", "0,1,a\n", "-1,1,a\n"], "line 3: submit_s is '-1'"),
        (["submit_s,duration_s,key\n", "nan,1,a\n"], "line 2: submit_s is 'nan'"),
        (["submit_s,duration_s,key\n", "0,inf,a\n"], "line 2: duration_s is 'inf'"),
        (["submit_s,duration_s,key\n", "0,1,\n"], "line 2: key is empty"),
        (["submit_s,duration_s,key\n", "0\n"], "line 2: key is empty"),
        (["submit_s,duration_s,key,priority\n", "0,1,a,x\n"], "line 2: priority is 'x'"),
        (["submit_s,duration_s,key\n", "0,1,a\n", "1e300,1,a\n"], "ten years"),
    ],
)
def test_a_wrong_trace_says_which_line_and_field_is_wrong(lines, words):
    with pytest.raises(trace.BadTrace, match=words):
        trace.read(lines)


def test_a_trace_in_the_time_of_the_epoch_begins_on_its_first_day():
    read = trace.read(["submit_s, duration_s, key, priority\n", "1700000005,1,a,30.0\n", "1700000000,1,b,\n"])
    assert [(a.submit_s, a.key) for a in read] == [(80_000.0, "b"), (80_005.0, "a")]


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_trace_is_read_by_what_is_in_it_not_by_its_name(tmp_path, name, pack):
    (tmp_path / name).write_bytes(pack("\ufeffsubmit_s,duration_s,key\r\n0,1,ä\r\n".encode()))
    assert [one.key for one in simulation.load(tmp_path / name)] == ["ä"]


@pytest.mark.parametrize(
    "content",
    [b"\x1f\x8b broken", gzip.compress(b"submit_s" * 9)[:-9], b"\xff\xfe"],
    ids=["not packed", "cut", "not text"],
)
def test_what_is_no_trace_is_told_to_be_none(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(trace.BadTrace):
        simulation.load(tmp_path / "t.csv")


def test_jitter_displaces_batches_as_a_whole_and_never_before_the_beginning():
    tasks = arrivals((0, 1, "a"), (0, 1, "a"), (500, 1, "a"), (500, 1, "b"))
    moved = trace.jittered(tasks, random.Random(1), 60.0)
    at = [a.submit_s for a in moved]
    assert at[0] == at[1] >= 0.0
    assert at[2] != at[3]
    assert all(440 <= later <= 560 for later in at[2:])


def test_the_fleet_is_the_smallest_that_the_busy_hour_fills_to_the_share_that_was_asked_for():
    tasks = poisson("abc", hours=40, per_h=120, duration_s=200.0)
    options = Options(bots=1)
    size = fleet_size(tasks, options, random.Random(1), 0.6)
    loads = {}
    for bots in (size - 1, size):
        path = replay("affinity", tasks, Options(bots=bots), random.Random(1))
        loads[bots] = trace.busy_hour_load(path.occupied, tasks[-1].submit_s) / bots
    assert loads[size] <= 0.6 < loads[size - 1]


def test_hours_in_which_nothing_runs_make_a_fleet_no_smaller():
    weekdays = [(day * 86_400.0, day * 86_400.0 + 3600.0) for day in range(10)]
    assert trace.busy_hour_load(weekdays, 10 * 86_400.0) == pytest.approx(1.0)
    assert trace.busy_hour_load([], 7200.0) == 0.0


def test_hours_of_occupation_are_split_at_the_hour():
    assert trace.busy_hour_load([(1800.0, 5400.0)], 7199.0) == pytest.approx(0.5)


def test_the_wait_beyond_ones_patience_is_that_of_random_ends():
    dice = random.Random(1)
    drawn = [max(0.0, sum(dice.expovariate(0.01) for _ in range(3)) - 200.0) for _ in range(40_000)]
    assert erlang_excess(3, 0.01, 200.0) == pytest.approx(sum(drawn) / len(drawn), rel=0.05)


def test_base_stock_covers_the_median_of_demand():
    assert [base_stock(mean, 0.5) for mean in (0.1, 1.0, 5.0)] == [0, 1, 5]


def compared():
    tasks = poisson("abcdef", hours=10, per_h=60)
    options = Options(bots=6)
    names = ("none", "affinity", "off", "ceiling")
    return {name: [replay(name, tasks, options, random.Random(3))] for name in names}


def test_figures_compare_with_affinity_the_ceiling_and_the_dispatch_alone():
    found = report.figures(compared())
    assert found["affinity"]["ceiling_share"] == 0.0
    assert found["ceiling"]["ceiling_share"] == 1.0
    assert found["off"]["saved_s"] == 0.0
    assert found["none"]["saved_s"] < 0.0
    assert found["off"]["p50_s"] <= found["off"]["p95_s"] <= found["off"]["p99_s"]
    assert report.figures({"none": compared()["none"]})["none"]["saved_s"] is None


@pytest.fixture
def trace_file(tmp_path):
    file = tmp_path / "small.csv.gz"
    with gzip.open(file, "wt") as out:
        out.write("submit_s,duration_s,key,pool,priority\n")
        for a in poisson(["src:1", "b"], hours=3, per_h=40):
            out.write(f"{a.submit_s:.1f},{a.duration_s:.1f},{a.key},,\n")
    return file


def test_the_command_compares_all_policies_and_sizes_the_fleet(trace_file, tmp_path):
    told = CliRunner().invoke(
        main.cli, ["simulate", str(trace_file), "--replicas", "2", "--json", "--plots", str(tmp_path / "plots")]
    )
    assert told.exit_code == 0, told.output
    answer = json.loads(told.stdout)
    assert answer["trace"] == "small"
    assert answer["bots"] >= 1
    assert not answer["ideal"]
    assert list(answer["policies"]) == ["none", "affinity", "off", "ewma", "histogram", "pilotlight", "ceiling"]
    wanted = "mean_s p50_s p95_s p99_s queue_p99_s warm_rate ceiling_share background_s saved_s"
    wanted += " prewarms used stale preempted"
    assert all(set(wanted.split()) <= set(row) for row in answer["policies"].values())
    pictures = {file.name for file in (tmp_path / "plots").iterdir()}
    assert {f"small-{kind}.svg" for kind in ("distribution", "timeline", "stock", "surge")} <= pictures
    assert "small-rollover.svg" not in pictures  # its only family never moves


def test_the_command_prints_a_line_per_policy(trace_file):
    told = CliRunner().invoke(
        main.cli, ["simulate", str(trace_file), "--bots", "3", "--ideal", "--replicas", "1", "--policies", "none,off"]
    )
    assert [line.split("\t")[0] for line in told.stdout.splitlines()] == ["policy", "none", "off"]


def test_the_command_replays_announcements_and_clean_ups(trace_file):
    command = ["simulate", str(trace_file), "--bots", "4", "--replicas", "2", "--policies", "off,clean_at_once"]
    command += ["--announce-share", "0.5", "--announce-lead-s", "300", "--announce-false", "0.1", "--clean-s", "60"]
    told = CliRunner().invoke(main.cli, [*command, "--jobs", "1", "--json"])
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)["policies"]
    assert found["off"]["clean_hidden"] == 0.0
    assert found["clean_at_once"]["clean_hidden"] > 0.5
    told = CliRunner().invoke(main.cli, ["simulate", str(trace_file), "--bots", "4", "--policies", "off", "--json"])
    assert "clean_hidden" not in json.loads(told.stdout)["policies"]["off"]


def test_replicas_in_processes_come_to_the_same_as_one_after_the_other():
    tasks = poisson("abcdef", hours=3, per_h=60)
    options = Options(bots=6, hear_s=1.0)
    study = simulation.Study(("affinity", "off"), replicas=3, jitter_s=60.0, heralds=Heralds(0.5, 600.0, 0.1))
    told = []
    one = simulation.run(tasks, options, study, simulation.thresholds())
    many = simulation.run(tasks, options, replace(study, jobs=2), simulation.thresholds(), told.append)
    assert report.figures(one) == report.figures(many)
    assert list(one) == list(many)
    assert len(told) == 6
    assert [bool(path.started) for path in many["off"]] == [True, False, False]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bots", "many"], "a number of bots"),
        (["--policies", "magic"], "choose among"),
        (["--announce-share", "2"], "0.0<=x<=1.0"),
        (["--announce-false", "1"], "0.0<=x<=0.9"),
        (["--clean-s", "-1"], "0.0<=x"),
        (["--jobs", "0"], "1<=x<=256"),
        (["--announce-share", "nan"], "nan is no number"),
        (["--cold-s", "inf"], "is not in the range"),
        (["--jitter-s", "nan"], "nan is no number"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(trace_file, options, words):
    told = CliRunner().invoke(main.cli, ["simulate", str(trace_file), *options])
    assert told.exit_code == 2
    assert words in told.output


def test_a_beginning_in_which_nothing_arrives_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("submit_s,duration_s,key\n5000,1,a\n")
    told = CliRunner().invoke(main.cli, ["simulate", str(tmp_path / "t.csv"), "--first-days", "0.01"])
    assert told.exit_code == 1
    assert "nothing arrives in the first 0.01 days" in told.output


def test_the_command_says_what_is_wrong_with_a_file(tmp_path):
    file = tmp_path / "x.csv.gz"
    file.write_bytes(b"no gzip")
    told = CliRunner().invoke(main.cli, ["simulate", str(file)])
    assert told.exit_code == 1
    assert "the header lacks submit_s" in told.output


@pytest.mark.processes
def test_the_client_runs_the_same_command(trace_file, capfd):
    told = CliRunner().invoke(
        cli, ["simulate", str(trace_file), "--bots", "3", "--replicas", "1", "--policies", "off", "--json"]
    )
    assert told.exit_code == 0
    assert json.loads(capfd.readouterr().out)["bots"] == 3
