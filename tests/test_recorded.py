"""Recorded views: read back they are the same, and decide the same, in any order and on a fleet that is kept up."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.plan_recorder import PlanRecorder
from server.policy.bet_ledger import BetLedger
from server.policy.fleet import Fleet
from server.policy.model import Announcement, PoolView, Purpose
from server.policy.plan import plan
from server.policy.recorded import decided, to_plain, view_from_plain
from tests.policy_pools import pools
from tests.policy_world import NOW_S, bot, held, spec, task, view, warm
from tests.replayed import KeptFleet, decide_on, differences, recorded, shuffled

MANY = settings(max_examples=150, deadline=None)


@MANY
@given(pools())
def test_a_view_read_back_is_the_same_and_decides_the_same(seen: PoolView) -> None:
    told = Announcement("src", "", 2.0, NOW_S, NOW_S + 90.0, 0.9, "nightly")
    seen = replace(seen, announcements=(told,), bets=BetLedger().bet(0.2, NOW_S), memory_weights={120: 1.0})
    back = view_from_plain(json.loads(json.dumps(to_plain(seen))))
    assert back == seen
    made = json.loads(json.dumps(decided(plan(seen), seen.now_s)))
    assert made == decide_on(Fleet(back))


@MANY
@given(pools(), st.integers(0, 1000))
def test_no_decision_rests_on_an_order_that_means_nothing(seen: PoolView, seed: int) -> None:
    other = shuffled(seen, random.Random(seed))
    assert differences(decide_on(Fleet(seen)), decide_on(Fleet(other))) == []


@MANY
@given(pools(), st.lists(pools(), min_size=1, max_size=4))
def test_a_fleet_that_is_kept_up_decides_as_one_made_anew(first: PoolView, others: list[PoolView]) -> None:
    kept, now_s = KeptFleet(), NOW_S
    for seen in [first, *others]:
        now_s += 7.0
        bots = {bot.id: bot for bot in first.bots} | {bot.id: bot for bot in seen.bots}
        same_bots = tuple(replace(bots[bot.id], dimensions=bot.dimensions) for bot in first.bots)
        seen = replace(seen, now_s=now_s, bots=same_bots, specs=first.specs)
        assert differences(kept.decide(seen), decide_on(Fleet(seen))) == []
    assert kept.made == 1


def test_of_two_warm_ups_the_task_waits_for_the_one_that_began_first() -> None:
    runs = [held(Purpose.FORECAST, "src", task_id=f"d{number}", n=number, since_s=NOW_S - number) for number in (3, 4)]
    warming = [bot("b3", run=runs[0]), bot("b4", run=runs[1])]
    for bots in (warming, warming[::-1]):
        seen = view(bots, tasks=[task("t1", "src")], specs=[spec("src")])
        assert "b4 is being warmed" in plan(seen).holds["t1"].text


def test_a_task_that_takes_any_generation_leaves_the_current_one_to_others() -> None:
    idle = [bot("b1", warm("src", "g1")), bot("b2", warm("src", "g2"))]
    for bots in (idle, idle[::-1]):
        seen = view(bots, tasks=[task("t1", "src")], specs=[spec("src", "g2")])
        assert plan(seen).advice["b1"].tasks[0] == "t1"
        assert plan(seen).advice["b2"].why_task == ""


def test_what_is_recorded_is_read_back(tmp_path: Path) -> None:
    seen, recorder = view([bot("b1", warm("src"))], tasks=[task("t1", "src")]), PlanRecorder(str(tmp_path), "p1")
    recorder.keep(seen, plan(seen))
    recorder.keep(replace(seen, now_s=NOW_S + 1.0), plan(seen))
    (first, made), (second, _) = recorded(tmp_path)
    assert (first, second.now_s) == (seen, NOW_S + 1.0)
    assert made["advice"]["b1"]["may_claim"] == ["t1"]


def test_a_folder_that_cannot_be_written_to_stops_no_plan(tmp_path: Path) -> None:
    seen, recorder = view([bot("b1")]), PlanRecorder(str(tmp_path / "missing"), "p1")
    recorder.keep(seen, plan(seen))
    recorder.keep(seen, plan(seen))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_recorded_unless_somebody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen = view([bot("b1")])
    PlanRecorder("", "p1").keep(seen, plan(seen))
    assert list(tmp_path.iterdir()) == []
