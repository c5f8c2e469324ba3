"""Which bot gets which task, as the owner of the task notices it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from server.policy.model import Bot, Phase, Slot, Thresholds, Victim, Wish
from server.policy.plan import claimable, plan
from tests.policy_world import NOW_S, bot, demand, gate, held, spec, task, view, warm

SPECS = [spec("src"), spec("lib")]
ASKED = {"src": demand(30), "lib": demand(2)}


def takes(bots: list, tasks: list, **world: object) -> dict[str, str]:
    """The first task of each idle bot that was given one of its own."""
    made = plan(view(bots, tasks=tasks, **({"specs": SPECS, "demand": ASKED} | world)))  # type: ignore[arg-type]
    return {name: advice.tasks[0] for name, advice in made.advice.items() if advice.why_task}


def test_each_task_goes_to_a_bot_that_is_warm_for_it() -> None:
    bots = [bot("b1", warm("lib")), bot("b2", warm("src"))]
    assert takes(bots, [task("t1", "src"), task("t2", "lib")]) == {"b1": "t2", "b2": "t1"}


def test_without_a_warm_bot_the_state_worth_least_is_given_up() -> None:
    bots = [bot("b1", warm("src")), bot("b2", warm("lib")), bot("b3", warm("src"))]
    assert takes(bots, [task("t1", "new")]) == {"b2": "t1"}


def test_an_empty_bot_is_taken_before_a_warm_one_by_a_task_that_wants_nothing() -> None:
    bots = [bot("b1", warm("src")), bot("b2", warm("lib")), bot("b3")]
    assert takes(bots, [task("t1")]) == {"b3": "t1"}


def test_a_duplicate_is_given_up_before_the_only_copy() -> None:
    asked = {"src": demand(3), "lib": demand(3)}
    bots = [bot("b1", warm("src", used_s=10)), bot("b2", warm("lib")), bot("b3", warm("src", used_s=900))]
    assert takes(bots, [task("t1", "new")], demand=asked) == {"b3": "t1"}


def roomy(name: str, *families: str, used_s: float = 300.0, **fields: Any) -> Bot:
    """A bot with room for two states side by side, the first used longest ago."""
    slots = [warm(one, slot=one, used_s=used_s - number) for number, one in enumerate(families)]
    return bot(name, *slots, most_states=2, **fields)


NEW = [spec("src", slot="src"), spec("lib", slot="lib"), spec("new", slot="new")]


def test_a_free_place_is_taken_before_a_state_that_is_worth_nothing() -> None:
    bots = [roomy("b1", "lib", "src"), roomy("b2", "src")]
    assert takes(bots, [task("t1", "new")], specs=NEW, demand={"src": demand(30)}) == {"b2": "t1"}


def test_a_free_slot_is_not_worth_a_bots_precious_other_state() -> None:
    """Slots that are each for one thing: while the bot runs the task nobody has its other state."""
    bots = [bot("b1", warm("src", slot="src")), bot("b2", warm("old", slot="new"))]
    assert takes(bots, [task("t1", "new")], specs=NEW, demand={"src": demand(30)}) == {"b2": "t1"}


def test_where_states_share_a_bots_room_only_what_is_pushed_out_counts() -> None:
    """What the bot holds besides does not: else all that is rare ends up on the same bots."""
    bots = [roomy("b1", "lib", "src", used_s=900), roomy("b2", "old", "lib")]
    assert takes(bots, [task("t1", "new")], specs=NEW, demand={"src": demand(30)}) == {"b1": "t1"}


def test_of_free_places_the_one_of_the_bot_that_is_idle_longest_is_filled() -> None:
    bots = [roomy("b1", "lib", idle_s=60), roomy("b2", "src", idle_s=900)]
    assert takes(bots, [task("t1", "new")], specs=NEW, demand={"src": demand(30)}) == {"b2": "t1"}


def test_a_dirty_bot_is_the_last_choice() -> None:
    bots = [bot("b1", ("cache", Slot(Phase.DIRTY))), bot("b2", warm("src"))]
    assert takes(bots, [task("t1")]) == {"b2": "t1"}
    assert takes(bots[:1], [task("t1")]) == {"b1": "t1"}


def test_more_urgent_tasks_choose_first() -> None:
    bots = [bot("b1", warm("src"))]
    late_but_urgent = task("urgent", priority=10)
    assert takes(bots, [task("t1", "src", age_s=50), late_but_urgent]) == {"b1": "urgent"}


def test_a_younger_task_may_take_the_bot_it_is_warm_for() -> None:
    bots = [bot("b1", warm("src"))]
    assert takes(bots, [task("old", "lib", age_s=50), task("young", "src")]) == {"b1": "young"}


def test_once_the_oldest_has_waited_too_long_a_bot_lends_itself_to_few_starts_out_of_turn() -> None:
    """2 × 60 s + 60 s; then 10 cold costs' worth of work: two tasks of 300 s."""
    tasks = [task("old", "lib", age_s=181), task("young", "src")]
    for counted, first, is_counted in ((0, "young", True), (1, "young", True), (2, "old", False)):
        made = plan(view([bot("b1", warm("src"), out_of_turn=counted)], tasks=tasks, specs=SPECS, demand=ASKED))
        assert (made.advice["b1"].tasks[0], made.advice["b1"].out_of_turn) == (first, is_counted)


def test_a_bot_full_of_out_of_turn_starts_still_serves_the_young_while_the_oldest_is_not_late() -> None:
    bots = [bot("b1", warm("src"), out_of_turn=99)]
    assert takes(bots, [task("old", "lib", age_s=50), task("young", "src")]) == {"b1": "young"}


def test_a_bot_that_fulfils_two_wishes_is_better_than_one_that_fulfils_one() -> None:
    both = bot("both", warm("src"), warm("lib", slot="disk"))
    wants = task("t1", wishes=(Wish("src"), Wish("lib")))
    assert takes([bot("one", warm("src")), both], [wants]) == {"both": "t1"}


def test_any_generation_serves_a_wish_without_one_and_the_fresh_one_first() -> None:
    stale = bot("b1", warm("src", "g0", phase=Phase.STALE))
    assert takes([stale], [task("t1", "src")]) == {"b1": "t1"}
    assert takes([stale, bot("b2", warm("src", "g1"))], [task("t1", "src")]) == {"b2": "t1"}


def test_a_straggler_finds_the_old_generation() -> None:
    bots = [bot("b1", warm("src", "g1")), bot("b2", warm("src", "g0", phase=Phase.STALE))]
    assert takes(bots, [task("t1", wishes=(Wish("src", "g0"),))]) == {"b2": "t1"}


def test_a_slot_that_is_being_warmed_or_unknown_is_not_warm() -> None:
    for phase in (Phase.UNKNOWN, Phase.COLD, Phase.WARMING, Phase.IN_USE, Phase.DIRTY):
        made = plan(view([bot("b1", warm("src", phase=phase))], tasks=[task("t1", "src")]))
        assert made.advice["b1"].why_task.startswith("No idle bot that fits is warm for src")


@pytest.mark.parametrize(
    "fields", [{"alive": False}, {"quarantined": "disk"}, {"maintenance": "move"}, {"quiet_until_s": NOW_S + 5}]
)
def test_a_bot_that_is_out_gets_nothing_and_sleeps_long(fields: dict) -> None:
    made = plan(view([bot("b1", warm("src"), **fields)], tasks=[task("t1", "src")]))
    assert made.advice["b1"].tasks == ()
    assert made.advice["b1"].sleep_s == Thresholds().sleep_max_s


def test_an_expired_task_is_given_to_nobody() -> None:
    assert takes([bot("b1")], [task("t1", expires_s=NOW_S - 1)]) == {}


def test_why_a_bot_got_a_task_is_told() -> None:
    def why(bots: list, *tasks: object) -> str:
        made = plan(view(bots, tasks=tasks, specs=SPECS, demand=ASKED))  # type: ignore[arg-type]
        return made.advice[bots[0].id].why_task.replace("\u00a0", " ")

    assert why([bot("b1", warm("src"))], task("t1", "src")) == (
        "b1 is warm for src; a cold bot would take 58 s longer."
    )
    assert why([bot("b1", warm("lib"))], task("t1", "src")) == (
        "No idle bot that fits is warm for src; what b1 holds is worth least."
    )
    assert why([bot("b1")], task("t1")) == "The task asks for no warm state; what b1 holds is worth least."
    assert why([bot("b1")], task("t1", victim=Victim("b1", 7, NOW_S + 9))) == "b1 was freed for this task."


def hold_of(due_s: float = 5.0, **fields: object):
    """The hold for a task that wants src, while a cold bot is there and the warm one polls in `due_s`."""
    bots = [bot("cold", held_poll=True), bot("warm", warm("src"), next_poll_s=NOW_S + due_s)]
    thresholds = fields.pop("thresholds", Thresholds(mode="live"))
    asked = task("t1", "src", **fields)  # type: ignore[arg-type]
    return plan(view(bots, tasks=[asked], specs=SPECS, demand=ASKED, thresholds=thresholds)).holds.get("t1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "lasts_s"),
    [
        ({}, 6.0),
        ({"due_s": 50.0}, 20.0),
        ({"due_s": 50.0, "thresholds": Thresholds(mode="live", affinity_hold_s=300.0)}, 51.0),
        ({"due_s": 250.0, "thresholds": Thresholds(mode="live", affinity_hold_s=300.0)}, 58.0),
        ({"due_s": 50.0, "age_s": 12.0}, 8.0),
        ({"due_s": 50.0, "expires_s": NOW_S + 3}, 3.0),
    ],
)
def test_a_hold_ends_with_the_poll_the_gain_the_limit_or_the_expiry_whichever_is_first(
    fields: dict, lasts_s: float
) -> None:
    hold = hold_of(**fields)
    assert hold is not None
    assert hold.until_s - NOW_S == pytest.approx(lasts_s)


@pytest.mark.parametrize("fields", [{"age_s": 21.0}, {"due_s": -2.0}, {"due_s": -NOW_S}, {"expires_s": NOW_S - 1}])
def test_nobody_is_held_for_a_bot_that_is_late_or_unknown_or_after_the_limit(fields: dict) -> None:
    assert hold_of(**fields) is None


def test_a_hold_says_for_whom_and_how_long_and_why() -> None:
    hold = hold_of()
    assert hold is not None
    assert hold.text.replace("\u00a0", " ") == (
        "It waits at most 6.0 s for warm, which is warm and due to poll; a cold bot would take 58 s longer."
    )


def test_planning_again_and_again_never_makes_a_hold_longer() -> None:
    """The warm bot promises its poll anew each time and never comes."""
    for later_s in range(0, 40, 3):
        bots = [bot("cold"), bot("warm", warm("src"), next_poll_s=NOW_S + later_s + 5)]
        made = plan(view(bots, tasks=[task("t1", "src")], specs=SPECS, demand=ASKED, now_s=NOW_S + later_s))
        free = "t1" in claimable(made, "cold", NOW_S + later_s)
        assert free is (later_s > 20)


def test_a_cold_bot_finds_another_task_beside_those_that_are_held() -> None:
    warm_bots = [bot(f"w{number}", warm("src"), next_poll_s=NOW_S + 9) for number in range(5)]
    tasks = [task(f"t{number}", "src", age_s=5) for number in range(5)] + [task("other")]
    made = plan(view([*warm_bots, bot("cold"), bot("spare")], tasks=tasks, specs=SPECS, demand=ASKED))
    assert [claimable(made, name, NOW_S) for name in ("cold", "spare")] == [("other",)] * 2
    assert len(claimable(made, "spare", NOW_S + 16)) > 1


def test_a_task_waits_a_moment_for_the_bot_whose_loss_costs_least() -> None:
    """Both polls are held open: the one that holds src must not win the race for a task that wants nothing."""
    bots = [bot("dear", warm("src"), held_poll=True), bot("empty", held_poll=True)]
    made = plan(view(bots, tasks=[task("t1")], specs=SPECS, demand=ASKED))
    assert claimable(made, "dear", NOW_S) == ()
    assert claimable(made, "empty", NOW_S) == ("t1",)
    assert claimable(made, "dear", NOW_S + 2) == ("t1",)


def test_a_freed_bot_is_offered_its_task_first_and_another_one_after_the_mark_has_lapsed() -> None:
    mine = task("mine", priority=200, victim=Victim("b1", 7, NOW_S + 60))
    tasks = [task("urgent", priority=1), mine]
    assert takes([bot("b1")], tasks) == {"b1": "mine"}
    assert takes([bot("b1")], tasks, now_s=NOW_S + 61) == {"b1": "urgent"}


def test_a_task_that_asks_for_a_bot_by_id_gets_that_bot() -> None:
    only_b2 = task("t1", dimensions=(("pool", ("p",)), ("id", ("b2",))))
    made = plan(view([bot("b1"), bot("b2")], tasks=[only_b2]))
    assert made.advice["b1"].tasks == () and made.advice["b2"].tasks == ("t1",)
    assert made.advice["b2"].refused is not None and made.advice["b2"].refused.gate == "pending"
    assert made.advice["b1"].refused is not None and made.advice["b1"].refused.gate == "no_spec"


def test_affinity_works_whatever_the_pools_mode() -> None:
    bots = [bot("cold"), bot("warm", warm("src"))]
    for mode in ("off", "shadow", "live"):
        thresholds = replace(Thresholds(), mode=mode)
        assert takes(bots, [task("t1", "src")], thresholds=thresholds, state=gate(stopped=True)) == {"warm": "t1"}


def test_busy_bots_get_no_advice() -> None:
    assert plan(view([bot("b1", run=held())], tasks=[task("t1")])).advice == {}


def test_the_only_copy_that_a_waiting_task_wants_is_not_given_up_for_an_urgent_one() -> None:
    bots = [bot("b1", warm("rare")), bot("b2", warm("src"))]
    tasks = [task("urgent", "new", priority=1), task("waits", "rare")]
    assert takes(bots, tasks) == {"b2": "urgent", "b1": "waits"}
