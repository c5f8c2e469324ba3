"""A real task that only background-busy bots fit gets one of them; and runs that nobody needs end."""

from __future__ import annotations

import pytest

from server.policy.model import Purpose, Thresholds, Victim, Wish
from server.policy.plan import plan
from tests.policy_world import NOW_S, bot, gate, held, spec, task, view

SPECS = [spec("src"), spec("clean", "", purpose=Purpose.CLEAN, run_s=600.0)]


def runs(name: str, purpose: Purpose = Purpose.FORECAST, since_s: float = 60.0, **fields: object):
    """A bot that has run background work for so long, claim 7."""
    of_bot = {name: fields.pop(name) for name in ("silent",) if name in fields}
    return bot(name, run=held(purpose, "src", task_id=f"d-{name}", since_s=NOW_S - since_s, **fields), **of_bot)


def victims(bots: list, tasks: list, **world: object) -> list[tuple[str, str]]:
    """(bot to stop, for which task)."""
    made = plan(view(bots, tasks=tasks, specs=SPECS, **world))  # type: ignore[arg-type]
    return [(wanted.bot, wanted.for_task) for wanted in made.preempt]


def test_the_run_that_has_done_least_is_stopped() -> None:
    assert victims([runs("old", since_s=500), runs("young", since_s=5)], [task("t1")]) == [("young", "t1")]


def test_a_run_that_keeps_its_part_is_stopped_before_one_that_loses_it() -> None:
    bots = [runs("young", since_s=5), runs("old", since_s=500, resumable=True)]
    assert victims(bots, [task("t1")]) == [("old", "t1")]


def test_a_bet_is_stopped_before_what_is_owed() -> None:
    bots = [runs("clean", Purpose.CLEAN, 0), runs("ordered", Purpose.ON_DEMAND, 5), runs("bet", since_s=500)]
    assert victims(bots, [task("t1"), task("t2"), task("t3")]) == [("bet", "t1"), ("ordered", "t2"), ("clean", "t3")]


@pytest.mark.parametrize(("ran_s", "is_stopped"), [(569, True), (571, False), (629, False), (631, True)])
def test_what_is_owed_is_not_stopped_shortly_before_its_end_or_a_little_after_it_was_due(
    ran_s: float, is_stopped: bool
) -> None:
    """A clean-up of ten minutes."""
    run = held(Purpose.CLEAN, "clean", "", task_id="d1", since_s=NOW_S - ran_s)
    assert victims([bot("b1", run=run)], [task("t1")]) == ([("b1", "t1")] if is_stopped else [])


def test_an_urgent_task_takes_the_bot_on_whose_warm_up_a_less_urgent_one_counts() -> None:
    mine = (("pool", ("p",)), ("id", ("b1",)))
    for purpose in (Purpose.ON_DEMAND, Purpose.FORECAST):
        waits_for = "t1" if purpose is Purpose.ON_DEMAND else ""
        bots = [runs("b1", purpose, 5, for_task=waits_for), bot("b2", held_poll=True)]
        covered = task("t1", "src", age_s=5)
        assert victims(bots, [covered, task("urgent", dimensions=mine, priority=1)]) == [("b1", "urgent")]
        assert victims(bots, [covered, task("alike", dimensions=mine)]) == []


def test_a_run_that_warms_for_a_waiting_task_is_never_stopped() -> None:
    covering = runs("b1", Purpose.ON_DEMAND, 20, for_task="t1")
    elsewhere = task("t1", dimensions=(("pool", ("elsewhere",)),))
    assert victims([covering], [elsewhere, task("t2")]) == []
    assert victims([covering], [task("t2")]) == [("b1", "t2")]


@pytest.mark.parametrize("ran_s", [1, 31, 59, 91])
def test_a_warm_up_that_nobody_waits_for_any_more_ends_for_another_task_at_any_time(ran_s: float) -> None:
    """A run of src takes a minute."""
    assert victims([runs("b1", Purpose.ON_DEMAND, ran_s, for_task="t1")], [task("t2")]) == [("b1", "t2")]


def test_a_bot_of_which_nothing_is_heard_is_asked_last() -> None:
    silent = runs("b1", since_s=5, silent=True)
    assert victims([silent, runs("b2", since_s=50)], [task("t1")]) == [("b2", "t1")]
    assert victims([silent], [task("t1")]) == [("b1", "t1")]


def test_a_victim_that_fell_silent_is_given_up_for_another() -> None:
    marked = task("t1", victim=Victim("b1", 7, NOW_S + 60))
    bots = [runs("b1", stop="preempt", silent=True), runs("b2")]
    assert victims(bots, [marked]) == [("b2", "t1")]


def test_a_run_that_is_being_stopped_already_is_no_victim() -> None:
    assert victims([runs("b1", stop="preempt")], [task("t1")]) == []


def test_one_victim_a_task_and_one_task_a_victim() -> None:
    assert len(victims([runs("b1"), runs("b2"), runs("b3")], [task("t1"), task("t2")])) == 2
    assert len(victims([runs("b1")], [task("t1"), task("t2")])) == 1


@pytest.mark.parametrize(
    ("mark", "stopped"),
    [
        (Victim("b1", 7, NOW_S + 60), []),
        (Victim("b1", 7, NOW_S - 1), [("b2", "t1")]),
        (Victim("b1", 6, NOW_S + 60), [("b2", "t1")]),
        (Victim("gone", 7, NOW_S + 60), [("b2", "t1")]),
    ],
)
def test_a_task_asks_again_only_when_its_mark_is_void(mark: Victim, stopped: list) -> None:
    bots = [runs("b1", stop="preempt"), runs("b2")]
    assert victims(bots, [task("t1", victim=mark)]) == stopped


def test_a_bot_that_failed_after_it_was_freed_does_not_keep_the_task_waiting() -> None:
    freed = bot("b1", quarantined="disk full")
    mark = Victim("b1", 7, NOW_S + 60)
    assert victims([freed, runs("b2")], [task("t1", victim=mark)]) == [("b2", "t1")]


def test_an_idle_bot_that_fits_spares_the_runs() -> None:
    assert victims([runs("b1"), bot("b2")], [task("t1")]) == []


def test_only_a_bot_that_fits_is_freed_and_only_one_that_is_healthy() -> None:
    wants_gpu = task("t1", dimensions=(("pool", ("p",)), ("gpu", ("a",))))
    with_gpu = bot("b2", run=held(Purpose.FORECAST, "src"), extra={"gpu": ["a"]})
    assert victims([runs("b1"), with_gpu], [wants_gpu]) == [("b2", "t1")]
    sick = bot("b3", run=held(Purpose.FORECAST, "src"), extra={"gpu": ["a"]}, quarantined="disk")
    assert victims([sick], [wants_gpu]) == []


def test_real_work_is_never_stopped() -> None:
    assert victims([bot("b1", run=held())], [task("t1", priority=0)]) == []


def test_the_urgent_task_gets_the_only_victim() -> None:
    assert victims([runs("b1")], [task("t1", age_s=99), task("t2", priority=1)]) == [("b1", "t2")]


def test_why_a_run_is_stopped_is_told() -> None:
    (lost,) = plan(view([runs("b1")], tasks=[task("t1")], specs=SPECS)).preempt
    assert lost.text.replace("\u00a0", " ") == (
        "b1 stops warming src@g1 for t1: no idle bot fits that task, and this run loses 60 s of work, the least."
    )
    (kept,) = plan(view([runs("b1", resumable=True)], tasks=[task("t1")], specs=SPECS)).preempt
    assert kept.text.endswith("and this run keeps its part done.")


def useless(bots: list, **world: object) -> list[str]:
    """What is said of the runs that nobody needs."""
    return [run.text for run in plan(view(bots, **({"specs": SPECS} | world))).useless]  # type: ignore[arg-type]


def test_the_stop_switch_ends_every_background_run_also_clean_ups() -> None:
    bots = [runs("b1"), runs("b2", Purpose.CLEAN), bot("b3", run=held())]
    assert useless(bots, state=gate(stopped=True)) == [
        "b1 stops warming src@g1: prewarming is stopped.",
        "b2 stops warming src@g1: prewarming is stopped.",
    ]
    off = Thresholds(mode="off")
    assert useless(bots[:1], thresholds=off) == ["b1 stops warming src@g1: prewarming is off."]


def test_a_paused_spec_ends_its_run_and_a_removed_one_too() -> None:
    assert useless([runs("b1")], specs=[spec("src", active=False)]) == [
        "b1 stops warming src@g1: src is paused or retired."
    ]
    assert useless([runs("b1")], specs=[]) == ["b1 stops warming src@g1: src has no spec any more."]


def test_a_run_for_which_a_task_waits_goes_on() -> None:
    elsewhere = (("pool", ("elsewhere",)),)
    waits = task("t1", wishes=(Wish("src", "g1"),), dimensions=elsewhere)
    assert useless([runs("b1")], specs=[spec("src", active=False)], tasks=[waits]) == []
    covered = runs("b1", Purpose.ON_DEMAND, for_task="t2")
    assert useless([covered], specs=[spec("src", active=False)], tasks=[task("t2", dimensions=elsewhere)]) == []


def test_of_the_runs_of_a_former_generation_as_many_go_on_as_tasks_ask_for_it() -> None:
    """A straggler keeps the run that began first, not all of them."""
    bots = [runs("b1", since_s=5), runs("b2", since_s=50), runs("b3", since_s=20)]
    newer = [spec("src", "g2", sequence=2), spec("src", "g1")]
    straggler = task("t1", wishes=(Wish("src", "g1"),))
    assert [text.split()[0] for text in useless(bots, specs=newer, tasks=[straggler])] == ["b3", "b1"]
    assert len(useless(bots, specs=newer)) == 3


def test_shadow_mode_lets_what_runs_end_by_itself() -> None:
    assert useless([runs("b1")], thresholds=Thresholds(mode="shadow")) == []


def test_a_run_that_is_useful_or_stopping_is_left_alone() -> None:
    assert useless([runs("b1")]) == []
    assert useless([runs("b1", stop="switch")], state=gate(stopped=True)) == []
