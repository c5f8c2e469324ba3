"""The example: what it counts, what it refuses to claim, its picture, and a whole small run of real processes."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from client import sample_repository
from client.cli import cli
from client.example_picture import draw
from client.example_records import COLD, PREEMPT, ROLLOVER, WARM, Run, Story, broken_claims, figures, report_in
from client.local_fleet import ROOT

OLD, NEW = "a" * 40, "b" * 40


def real(name: str, phase: str, bot: str, at_s: float, useful_s: float, revision: str = OLD, **changes: Any) -> Run:
    """A real task that was created at `at_s` and useful so much later."""
    is_warm = phase != COLD
    report = {
        "revision": revision,
        "warm": is_warm,
        "cache_bytes_before": 1000 * is_warm,
        "useful_at": at_s + useful_s,
        **changes.pop("report", {}),
    }
    run = Run(name, bot, "COMPLETED", 0, at_s, at_s + 0.1, at_s + useful_s + 0.2, phase, revision, report=report)
    return replace(run, **changes)


def warming(name: str, bot: str, at_s: float, revision: str, spec_revision: int, **changes: Any) -> Run:
    """A background run of four seconds."""
    run = Run(
        name,
        bot,
        "COMPLETED",
        0,
        at_s,
        at_s,
        at_s + 4,
        purpose="forecast",
        family="src",
        generation=revision,
        spec_revision=spec_revision,
        report={"revision": revision},
    )
    return replace(run, **changes)


def good() -> Story:
    """A run that shows everything: b1 cold, b2 prewarmed, both moved on, b2 taken back from a long run."""
    return Story(
        family="src",
        bots=["b1", "b2"],
        began_s=1000,
        specs_s=1020,
        old=OLD,
        new=NEW,
        rollover_s=1040,
        new_spec_revision=2,
        preempt_bound_s=5,
        victim="s1",
        tasks=[
            real("t1", COLD, "b1", 1000, 9),
            real("t2", COLD, "b1", 1010, 11, report={"cache_bytes_before": 0}),
            real("t3", WARM, "b2", 1030, 0.3),
            real("t4", ROLLOVER, "b2", 1050, 0.2, NEW),
            real("t5", PREEMPT, "b2", 1070, 1.5, NEW, started_s=1071.2),
        ],
        background=[
            warming("p1", "b2", 1021, OLD, 1),
            warming("p2", "b2", 1041, NEW, 2),
            warming("p3", "b1", 1041, NEW, 2),
            warming("s1", "b2", 1060, NEW, 1, family="soak", state="KILLED", exit_code=-15, completed_s=1071),
        ],
    )


def test_figures_come_from_the_records() -> None:
    found = figures(good())
    assert list(found) == [
        "tasks",
        "cold",
        "warm",
        "background_s",
        "prewarms",
        "used",
        "stale_after_rollover",
        "preempt_start_s",
    ]
    assert found["cold"] == {"n": 2, "mean_s": 10.0, "p50_s": 10.0}
    assert found["warm"] == {"n": 1, "mean_s": 0.3, "p50_s": 0.3}
    assert (found["background_s"], found["prewarms"], found["used"]) == (23.0, 3, 2)
    assert (found["stale_after_rollover"], found["preempt_start_s"]) == (0, 1.2)
    assert found["tasks"][2] == {
        "id": "t3",
        "phase": "warm",
        "bot": "b2",
        "revision": OLD,
        "cache_bytes_before": 1000,
        "warm": True,
        "submit_to_useful_s": 0.3,
    }


def test_a_run_that_shows_everything_breaks_no_claim() -> None:
    assert broken_claims(good()) == []


def without_prewarms(story: Story) -> None:
    story.background = [run for run in story.background if run.family == "soak"]


def without_the_first_prewarm(story: Story) -> None:
    del story.background[0]


def cache_of_the_warm_bot_deleted(story: Story) -> None:
    story.tasks[2] = real("t3", WARM, "b2", 1030, 9, report={"warm": False, "cache_bytes_before": 0})


def cold_bot_not_cold(story: Story) -> None:
    story.tasks[0] = real("t1", COLD, "b1", 1000, 9, report={"cache_bytes_before": 7})


def wrong_revision(story: Story) -> None:
    story.tasks[3] = real("t4", ROLLOVER, "b2", 1050, 0.2, NEW, report={"revision": OLD})


def task_failed(story: Story) -> None:
    story.tasks[3] = replace(story.tasks[3], exit_code=1)


def warm_not_faster(story: Story) -> None:
    story.tasks[2] = real("t3", WARM, "b2", 1030, 12)


def warmed_for_the_old_generation(story: Story) -> None:
    story.background.append(warming("p4", "b1", 1042, OLD, 1))


def nobody_moved(story: Story) -> None:
    del story.background[1:3]


def victim_had_ended_before(story: Story) -> None:
    story.background[3] = replace(story.background[3], completed_s=1069)


def victim_elsewhere(story: Story) -> None:
    story.background[3] = replace(story.background[3], bot="b1")


def task_waited_too_long(story: Story) -> None:
    story.tasks[4] = replace(story.tasks[4], started_s=1076)


def no_preemption(story: Story) -> None:
    del story.tasks[4]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_prewarms, "No prewarm happened"),
        (without_the_first_prewarm, "b2 was not prewarmed before its first task of that kind."),
        (cache_of_the_warm_bot_deleted, "Task t3 was to find b2 warm and found 0 bytes"),
        (cold_bot_not_cold, "Task t1 found 7 bytes in the cache of b1, which was to be cold."),
        (wrong_revision, f"Task t4 worked on {OLD}, not on {NEW}."),
        (task_failed, "Task t4 (rollover) on b2 ended as COMPLETED, exit code 1: it said nothing"),
        (warm_not_faster, "Warm tasks were not faster: 12.00 s, cold ones 10.00 s."),
        (warmed_for_the_old_generation, "b1 was warmed by revision 1 of the spec after 2 was saved."),
        (nobody_moved, "Only 0 of 2 bots moved to the new generation."),
        (victim_had_ended_before, "The background task s1 did not run on b2 when the real task came."),
        (victim_elsewhere, "The background task s1 did not run on b2 when the real task came."),
        (task_waited_too_long, "The real task waited 6.0 s for its bot, the bound is 5 s."),
        (no_preemption, "No real task had to take its bot from a background task."),
    ],
)
def test_what_was_not_shown_is_said(spoil: Callable[[Story], None], said: str) -> None:
    story = good()
    spoil(story)
    assert any(said in sentence for sentence in broken_claims(story)), broken_claims(story)


def test_a_prewarm_that_a_later_one_replaced_before_any_task_came_is_not_used() -> None:
    story = good()
    story.background.insert(1, warming("p1b", "b2", 1025.5, OLD, 1))
    assert [run.id for run in story.used()] == ["p1b", "p2"]


def test_an_empty_run_has_figures_a_picture_and_no_claim_that_holds() -> None:
    story = Story(family="src", bots=["b1"], began_s=1000)
    assert figures(story)["cold"] == {"n": 0, "mean_s": None, "p50_s": None}
    assert "did not come to its end" in draw(story)
    assert broken_claims(story)


def test_the_report_is_the_last_object_in_the_output() -> None:
    assert report_in(["{broken", '{"a": 1}', '{"a": 2}', "done", "{no"]) == {"a": 2}
    assert report_in(["[1]", ""]) == {}


def test_the_picture_has_a_bar_for_each_run_and_says_its_finding() -> None:
    story = good()
    story.bots.append("<b&3>")
    picture = ElementTree.fromstring(draw(story))
    name = "{http://www.w3.org/2000/svg}"
    tips = [element.findtext(f"{name}title") or "" for element in picture.iter(f"{name}rect")]
    assert sum(1 for tip in tips if tip) == len(story.tasks) + len(story.background)
    title = (picture.findtext(f"{name}title") or "").replace("\N{NO-BREAK SPACE}", " ")
    assert title == "A task is useful after 10 s on a cold bot, after 0.3 s on a prewarmed one"
    assert "<b&3>" in [element.text for element in picture.iter(f"{name}text")]


@pytest.mark.parametrize("apart_s", [0.0, 0.5, 2.0, 5.0, 10.0, 20.0])
def test_texts_of_marks_in_the_picture_never_cover_each_other(apart_s: float) -> None:
    story = good()
    preempting = story.preempting()
    assert preempting
    story.rollover_s = preempting.created_s - apart_s
    picture = ElementTree.fromstring(draw(story))
    name = "{http://www.w3.org/2000/svg}"
    spans = []
    for element in picture.iter(f"{name}text"):
        if element.text in ("spec registered", "new commit registered", "a task takes its bot back"):
            width, x = 6.0 * len(element.text), float(element.get("x", ""))
            begin = x - width if element.get("text-anchor") == "end" else x
            spans.append((element.get("y"), begin, begin + width))
    assert len(spans) == 3
    assert all(begin >= 0 and end <= 960 for _, begin, end in spans)
    for (y, begin, end), (other_y, other_begin, other_end) in itertools.combinations(spans, 2):
        assert y != other_y or end <= other_begin or other_end <= begin


def test_a_mistyped_revision_is_said_and_leaves_no_folder_behind(tmp_path: Path) -> None:
    sample_repository.make_repository(tmp_path / "theirs.git", files=60, commits=1)
    kept = tmp_path / "kept"
    arguments = ["--keep", str(kept), "--repo", str(tmp_path / "theirs.git"), "--revision", "mian"]
    done = CliRunner().invoke(cli, ["example", *arguments])
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: {tmp_path / 'theirs.git'} has no commit mian: ")
    assert not kept.exists()


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = CliRunner().invoke(cli, ["example", "--keep", str(tmp_path / "file" / "sub")])
    assert (result.exit_code, result.stderr) == (1, f"Error: {tmp_path / 'file' / 'sub'}: Not a directory\n")


@pytest.mark.processes
def test_a_whole_run_on_somebodys_repository_shows_everything(tmp_path: Path) -> None:
    sample_repository.make_repository(tmp_path / "theirs.git", files=240, commits=4)
    wanted = sample_repository.git("rev-parse", "main~1", repository=tmp_path / "theirs.git")
    kept = tmp_path / "kept"
    arguments = ["--json", "--bots", "4", "--keep", str(kept), "--repo", str(tmp_path / "theirs.git")]
    done = subprocess.run(
        [sys.executable, "-m", "client", "example", *arguments, "--revision", "main~1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {task["revision"] for task in found["tasks"] if task["phase"] in (COLD, WARM)} == {wanted}
    assert [task["warm"] for task in found["tasks"] if task["phase"] == COLD] == [False, False]
    assert found["warm"]["n"] == 4 and found["warm"]["mean_s"] < found["cold"]["mean_s"]
    assert found["stale_after_rollover"] == 0
    assert 0 < found["preempt_start_s"] < 5
    last = [task for task in found["tasks"] if task["bot"] == "bot-4"][-1]
    checkout = kept / "data" / "bots" / "bot-4" / "c" / "example_src" / "src"
    assert sample_repository.git("rev-parse", "HEAD", repository=checkout) == last["revision"]
    assert json.loads((kept / "example.json").read_text()) == found
    again = subprocess.run(
        [sys.executable, "-m", "client", "example", "--keep", str(kept)], cwd=ROOT, capture_output=True, text=True
    )
    assert (again.returncode, "is not empty" in again.stderr) == (2, True)


@pytest.mark.processes
def test_a_task_that_fails_stops_the_example_with_its_last_words(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "tests").mkdir(parents=True)
    (theirs / "tests" / "selftest.py").write_text("raise SystemExit('the moon is full')")
    author = ["-c", "user.name=t", "-c", "user.email=t@t.invalid"]
    for words in (["init", "--quiet", "."], ["add", "."], [*author, "commit", "--quiet", "-m", "begin"]):
        sample_repository.git(*words, repository=theirs)
    done = subprocess.run(
        [sys.executable, "-m", "client", "example", "--json", "--bots", "4", "--repo", str(theirs)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "ended as COMPLETED, exit code 1: failed: selftest.py: the moon is full" in done.stderr
    assert len(json.loads(done.stdout)["tasks"]) == 1
