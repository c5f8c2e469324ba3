"""A task that meets only cold bots: warmed for, covered, held, or started at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.policy.model import Bot, Phase, Purpose, Slot, Thresholds, Wish
from server.policy.outcome import PoolPlan
from server.policy.plan import claimable, plan
from tests.policy_world import NOW_S, bot, busy, demand, gate, held, spec, task, view, warm

SPECS = [spec("src"), spec("lib")]
ASKED = {"src": demand(30, duration_s=300.0), "lib": demand(2)}


def warming(name: str, purpose: Purpose = Purpose.ON_DEMAND, **fields: object):
    """A bot that has been warmed for src for a minute."""
    return bot(name, warm("src", phase=Phase.WARMING), run=held(purpose, "src", **fields))


def cold(name: str, **fields: object):
    """An idle bot whose poll waits."""
    return bot(name, **({"held_poll": True} | fields))  # type: ignore[arg-type]


def made(bots: list, tasks: list, **world: object) -> PoolPlan:
    return plan(view(bots, tasks=tasks, **({"specs": SPECS, "demand": ASKED} | world)))  # type: ignore[arg-type]


def given(of: PoolPlan) -> dict[str, str]:
    """Per bot "task t" or "src for t"."""
    found = {}
    for name, advice in of.advice.items():
        if advice.why_task:
            found[name] = f"task {advice.tasks[0]}"
        elif advice.background is not None:
            found[name] = f"{advice.background.family} for {advice.background.for_task}"
    return found


def test_where_bots_work_on_its_state_a_task_has_a_cold_bot_warmed_and_stays_pending() -> None:
    of = made([busy("b1"), cold("b2"), cold("b3")], [task("t1", "src")])
    assert given(of) == {"b2": "src for t1"}
    out = of.advice["b2"].background
    assert out is not None and out.purpose is Purpose.ON_DEMAND
    assert out.text == "b2 is warmed for t1, which takes the first bot that is warm for src@g1."
    assert claimable(of, "b3", NOW_S) == ()
    assert of.holds["t1"].text == (
        "b2 is being warmed for src@g1; the task takes that bot or another that is warm sooner."
    )


def test_where_nobody_works_on_its_state_it_starts_cold_at_once() -> None:
    assert given(made([cold("b2"), cold("b3")], [task("t1", "src")])) == {"b2": "task t1"}


def test_on_the_last_idle_bot_it_starts_cold_at_once() -> None:
    assert given(made([busy("b1"), cold("b2")], [task("t1", "src")])) == {"b2": "task t1"}


def test_a_covered_task_asks_for_no_bot_and_the_next_one_does() -> None:
    bots = [warming("b1"), cold("b2"), cold("b3"), cold("b4")]
    of = made(bots, [task("t1", "src", age_s=9), task("t2", "src")])
    assert given(of) == {"b2": "src for t2"}
    assert set(of.holds) == {"t1", "t2"}


def test_a_forecast_covers_as_well_and_is_not_stopped_for_an_older_task_of_another_kind() -> None:
    of = made([warming("b1", Purpose.FORECAST)], [task("t1", "src", age_s=9)])
    assert (given(of), of.preempt) == ({}, ())
    of = made([warming("b1", Purpose.FORECAST)], [task("t1", "src", age_s=9), task("t2", "lib")])
    assert of.preempt == ()


def test_nobody_waits_for_a_warm_up_that_takes_longer_than_a_cold_start_would() -> None:
    """A run of 20 minutes where a cold start takes one: it covers only in its last minute, and none is begun for it."""
    slow = [spec("src", run_s=1200.0), spec("lib")]
    early, late = warming("b1", since_s=NOW_S - 900), warming("b1", since_s=NOW_S - 1150)
    assert given(made([early, cold("b2"), cold("b3")], [task("t1", "src")], specs=slow)) == {"b2": "task t1"}
    assert given(made([late, cold("b2"), cold("b3")], [task("t1", "src")], specs=slow)) == {}
    assert given(made([busy("b1"), cold("b2"), cold("b3")], [task("t1", "src")], specs=slow)) == {"b2": "task t1"}


def test_nobody_waits_for_a_warm_up_that_should_have_ended_long_ago() -> None:
    assert given(made([warming("b1", since_s=NOW_S - 101), cold("b2")], [task("t1", "src")])) == {"b2": "task t1"}
    assert given(made([warming("b1", since_s=NOW_S - 99), cold("b2")], [task("t1", "src")])) == {}


def test_nobody_waits_for_a_warm_up_on_a_bot_of_which_nothing_is_heard() -> None:
    """Its bot may be gone: the task starts cold, or has another one warmed where others work on its state."""
    gone = replace(warming("b1", since_s=NOW_S - 20), silent=True)
    assert given(made([gone, cold("b2"), cold("b3")], [task("t1", "src")])) == {"b2": "task t1"}
    assert given(made([gone, busy("b0"), cold("b2"), cold("b3")], [task("t1", "src")])) == {"b2": "src for t1"}


def test_nobody_waits_for_a_warm_up_of_which_no_spec_says_how_long_it_takes() -> None:
    """Its spec was moved to another pool, or has had two generations since."""
    of = made([warming("b1", since_s=NOW_S - 5), cold("b2")], [task("t1", "src")], specs=[spec("lib")])
    assert given(of) == {"b2": "task t1"}


def test_where_a_warm_up_hangs_no_second_one_is_begun_for_a_task() -> None:
    hangs = warming("b1", since_s=NOW_S - 101)
    assert given(made([hangs, busy("b0"), cold("b2"), cold("b3")], [task("t1", "src")])) == {"b2": "task t1"}


def test_a_task_waits_for_nothing_that_would_let_it_expire() -> None:
    """A run takes a minute, of which 40 s are left to the one under way; 15 s must remain to the task."""
    under_way = [warming("b1", since_s=NOW_S - 20), cold("b2"), cold("b3")]
    for lasts_s, expected in ((54, {"b2": "task t1"}), (56, {})):
        assert given(made(under_way, [task("t1", "src", expires_s=NOW_S + lasts_s)])) == expected
    none_yet = [busy("b1"), cold("b2"), cold("b3")]
    for lasts_s, expected in ((74, {"b2": "task t1"}), (76, {"b2": "src for t1"})):
        assert given(made(none_yet, [task("t1", "src", expires_s=NOW_S + lasts_s)])) == expected


def test_the_bot_that_was_warmed_for_a_task_is_not_outrun_by_those_that_sit_idle() -> None:
    """However long the warm-up took: the other bots' polls are woken by its end, too."""
    warmed = bot("b1", warm("src", used_s=0), held_poll=True, idle_s=0.0)
    of = made([warmed, cold("b2")], [task("t1", "src", age_s=58)])
    assert given(of) == {"b1": "task t1"}
    assert (claimable(of, "b1", NOW_S), claimable(of, "b2", NOW_S)) == (("t1",), ())
    assert claimable(of, "b2", NOW_S + 1.1) == ("t1",)


def test_a_covered_task_holds_no_bet_back() -> None:
    """It asks for no bot."""
    asked = {"src": demand(30, duration_s=300.0), "lib": demand(30, duration_s=300.0)}
    bots = [warming("b1"), *(cold(f"b{number}") for number in range(2, 7))]
    covered = made(bots, [task("t1", "src")], demand=asked)
    assert "lib" in [out.background.family for out in covered.advice.values() if out.background is not None]


def cleaned(name: str, ran_s: float = 60.0, **fields: object):
    """A bot that holds src and has been cleaned for a minute."""
    run = held(Purpose.CLEAN, "clean", "", slot="disk", since_s=NOW_S - ran_s)
    return bot(name, warm("src"), ("disk", Slot(Phase.DIRTY)), run=run, **fields)  # type: ignore[arg-type]


def cleaning(run_s: float):
    """The specs, with one that cleans and takes that long."""
    return [*SPECS, spec("clean", "", purpose=Purpose.CLEAN, slot="disk", run_s=run_s)]


def test_a_task_waits_for_the_bot_that_holds_its_state_and_is_being_cleaned() -> None:
    of = made([cleaned("b1"), cold("b2"), cold("b3")], [task("t1", "src", age_s=9)], specs=cleaning(90.0))
    assert given(of) == {}
    assert of.holds["t1"].text == (
        "b1 is being cleaned and warm for src@g1; the task takes that bot or another that is warm sooner."
    )


def test_each_bot_that_is_being_cleaned_is_counted_on_once() -> None:
    tasks = [task("t1", "src", age_s=9), task("t2", "src")]
    assert given(made([cleaned("b1"), cold("b2"), cold("b3")], tasks, specs=cleaning(90.0))) == {"b2": "src for t2"}


@pytest.mark.parametrize(
    ("bot_cleaned", "run_s"),
    [(cleaned("b1"), 900.0), (cleaned("b1", 400.0), 90.0), (cleaned("b1", silent=True), 90.0)],
    ids=["longer than a cold start", "overdue", "silent"],
)
def test_a_clean_up_of_which_no_end_is_near_is_not_waited_for(bot_cleaned: Bot, run_s: float) -> None:
    of = made([bot_cleaned, cold("b2"), cold("b3")], [task("t1", "src", age_s=9)], specs=cleaning(run_s))
    assert of.holds.get("t1") is None or of.holds["t1"].warming != "b1"
    assert given(of)


HOLDING_PAYS = {"src": demand(0.2, duration_s=5.0), "lib": demand(60, duration_s=300.0)}
"""Tasks of src end every few seconds, and each idle bot holds what is worth more than another copy for them."""
DEAR = [bot(f"w{number}", warm("lib"), held_poll=True) for number in range(2)]
OTHERS = [busy(f"f{number}", "lib") for number in range(6)]


def test_a_task_that_waits_for_a_busy_bot_holds_no_clean_up_back() -> None:
    bots = [*(busy(f"b{number}") for number in range(8)), *DEAR]
    bots += [bot("w2", warm("lib"), ("disk", Slot(Phase.DIRTY)), held_poll=True)]
    of = made(bots, [task("t1", "src")], demand=HOLDING_PAYS, specs=cleaning(20.0))
    assert of.holds["t1"].warming == ""
    assert given(of) == {"w2": "clean for "}


def test_a_run_that_is_being_stopped_covers_nothing() -> None:
    assert given(made([warming("b1", stop="preempt"), cold("b2")], [task("t1", "src")])) == {"b2": "task t1"}


def test_the_covered_task_takes_whichever_bot_is_warm_first() -> None:
    bots = [warming("b1", for_task="t1"), bot("b2", warm("src"), held_poll=True), cold("b3")]
    assert given(made(bots, [task("t1", "src")])) == {"b2": "task t1"}


def test_a_task_waits_a_while_for_a_busy_bot_where_every_idle_one_would_lose_more() -> None:
    bots = [*(busy(f"b{number}") for number in range(8)), *DEAR]
    of = made(bots, [task("t1", "src")], demand=HOLDING_PAYS)
    assert given(of) == {}
    assert of.holds["t1"].until_s - NOW_S == pytest.approx(30.0)
    assert of.holds["t1"].text == (
        "It waits at most 30\u00a0s for a bot that is busy with src@g1: "
        "an idle bot would lose a state that is worth more."
    )
    late = made(bots, [task("t1", "src", age_s=31)], demand=HOLDING_PAYS)
    assert given(late) == {"w0": "src for t1"}


def in_use(name: str, ran_s: float, beside: Slot) -> Bot:
    """A bot whose task uses src, and that slot."""
    one = busy(name, ran_s=ran_s)
    return replace(one, slots={**one.slots, "disk": beside})


@pytest.mark.parametrize(
    ("busy_bot", "waits"),
    [
        (busy("b1"), True),
        (busy("b1", ran_s=7.9), False),
        (busy("b1", ran_s=58.0, is_cold=True), True),
        (busy("b1", ran_s=62.0, is_cold=True), True),
        (busy("b1", ran_s=68.0, is_cold=True), False),
        (in_use("b1", 50.0, Slot(Phase.IN_USE, "lib", "g1", since_s=NOW_S - 50.0, part="lib@g1")), True),
        (in_use("b1", 50.0, Slot(Phase.IN_USE, "lib", "g1", since_s=NOW_S - 50.0)), False),
    ],
    ids=[
        *["just begun", "longer than most", "nearly started up", "started up", "started up long ago"],
        *["makes another state, too", "uses another state, too"],
    ],
)
def test_only_a_bot_that_should_soon_be_free_is_waited_for(busy_bot: Bot, waits: bool) -> None:
    """Tasks of src take 5 s, 2 s to start where it is warm, a minute where not."""
    of = made([busy_bot, *OTHERS, *DEAR], [task("t1", "src")], demand=HOLDING_PAYS)
    assert given(of) == ({} if waits else {"w0": "src for t1"})


def test_two_tasks_do_not_wait_for_one_bot_that_starts_up_yet() -> None:
    tasks = [task("t1", "src", age_s=2), task("t2", "src", age_s=1)]
    for is_cold, expected in ((False, {}), (True, {"w0": "src for t2"})):
        of = made([busy("b1", is_cold=is_cold), *OTHERS, *DEAR], tasks, demand=HOLDING_PAYS)
        assert given(of) == expected


def test_a_bot_that_is_being_made_ready_is_waited_for_when_it_nearly_is() -> None:
    for ran_s, waits in ((50.0, True), (2.0, False)):
        bots = [warming("b1", Purpose.FORECAST, since_s=NOW_S - ran_s), *DEAR]
        tasks = [task("t1", "src", age_s=9), task("t2", "src", age_s=8)]
        of = made(bots, tasks, demand=HOLDING_PAYS)
        assert of.holds["t1"].warming == "b1"
        assert given(of) == ({} if waits else {"w0": "src for t2"})


@pytest.mark.parametrize(
    "world",
    [
        {"thresholds": Thresholds(mode="shadow")},
        {"thresholds": Thresholds(mode="off")},
        {"state": gate(stopped=True)},
        {"view_age_s": 99.0},
        {"state": gate(open_breakers={"src": "3 runs failed in a row"})},
        {"specs": [spec("src", may_serve_on_demand=False), spec("lib")]},
        {"specs": [spec("src", active=False), spec("lib")]},
        {"specs": [spec("src", dimensions=(("pool", ("p",)), ("kind", ("phone",)))), spec("lib")]},
        {"specs": []},
    ],
)
def test_without_a_way_to_warm_the_task_starts_cold_at_once(world: dict) -> None:
    assert given(made([busy("b1"), cold("b2"), cold("b3")], [task("t1", "src")], **world)) == {"b2": "task t1"}


def test_a_bot_that_failed_or_does_not_poll_soon_is_not_warmed_on_demand() -> None:
    for fields in ({"failed_s": {"src": NOW_S - 9}}, {"held_poll": False, "next_poll_s": NOW_S + 30}):
        bots = [busy("b1"), cold("b2", **fields), cold("b3", **fields)]
        assert given(made(bots, [task("t1", "src")])) == {"b2": "task t1"}


def test_a_former_generation_is_warmed_for_its_stragglers_where_its_spec_is_known() -> None:
    now = [spec("src", "g2", sequence=2), replace(spec("src", "g1"), sequence=1)]
    runs = bot("b1", warm("src", "g1", phase=Phase.IN_USE), run=held(family="src"))
    straggler = task("t1", wishes=(Wish("src", "g1"),))
    of = made([runs, cold("b2"), cold("b3")], [straggler], specs=now)
    out = of.advice["b2"].background
    assert out is not None and (out.generation, out.for_task) == ("g1", "t1")
    assert given(made([runs, cold("b2"), cold("b3")], [straggler], specs=now[:1])) == {"b2": "task t1"}


def test_urgent_tasks_are_served_first_and_the_bot_of_another_ones_state_is_left_to_it() -> None:
    bots = [bot("b1", warm("lib"), held_poll=True), cold("b2")]
    of = made(bots, [task("late", "lib", age_s=99), task("urgent", "src", priority=1)])
    assert given(of) == {"b1": "task late", "b2": "task urgent"}
