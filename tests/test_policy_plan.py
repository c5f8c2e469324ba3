"""What a poll of an idle bot gets, as the people around it notice it."""

from __future__ import annotations

import time

from server.policy.fleet import Fleet
from server.policy.model import Bot, Gate, Phase, Purpose, Slot, Thresholds, Victim, Wish
from server.policy.outlook import Outlook
from server.policy.plan import claimable, plan
from server.policy.stock import Stock
from tests.policy_world import NOW_S, bot, demand, gate, held, spec, task, view, warm

LIVE = Thresholds(mode="live")


def test_an_idle_bot_is_warmed_for_what_is_in_demand() -> None:
    made = plan(view([bot("b1"), bot("b2")], specs=[spec("src")], demand={"src": demand(60)}))
    handed = [a.background for a in made.advice.values() if a.background]
    assert [(h.family, h.generation, h.purpose) for h in handed] == [("src", "g1", Purpose.FORECAST)]


def test_a_warm_bot_gets_the_task_before_a_cold_one() -> None:
    made = plan(view([bot("cold"), bot("warm", warm("src"))], tasks=[task("t1", "src")]))
    assert made.advice["warm"].tasks == ("t1",)
    assert made.advice["warm"].why_task == "warm is warm for src; a cold bot would take 58\u00a0s longer."


def test_a_cold_bot_passes_a_task_over_while_the_warm_one_is_due_to_poll() -> None:
    bots = [bot("cold"), bot("warm", warm("src"), next_poll_s=NOW_S + 5)]
    made = plan(view(bots, tasks=[task("t1", "src")]))
    assert claimable(made, "cold", NOW_S) == ()
    assert claimable(made, "warm", NOW_S) == ("t1",)
    assert claimable(made, "cold", NOW_S + 6.1) == ("t1",)


def test_in_shadow_mode_nothing_is_handed_out_and_the_record_says_what_would_have_been() -> None:
    bots = [bot("b1"), bot("b2")]
    made = plan(view(bots, specs=[spec("src")], demand={"src": demand(60)}, thresholds=Thresholds(mode="shadow")))
    assert not any(a.background for a in made.advice.values())
    refused = made.advice["b1"].refused
    assert refused is not None and refused.gate is Gate.SWITCH
    assert refused.text == "shadow: would have warmed b1 for src@g1."


def test_a_real_task_that_fits_no_idle_bot_stops_a_background_run() -> None:
    made = plan(view([bot("b1", run=held(Purpose.FORECAST, "src"))], tasks=[task("t1")], specs=[spec("src")]))
    assert [(p.bot, p.n, p.for_task) for p in made.preempt] == [("b1", 7, "t1")]


def test_a_bot_that_was_freed_for_a_task_is_offered_that_task_first() -> None:
    mine = task("late", victim=Victim("b1", 7, NOW_S + 60), priority=200)
    made = plan(view([bot("b1")], tasks=[task("early", priority=10), mine]))
    assert made.advice["b1"].tasks == ("late", "early")


def test_a_superseded_generation_is_not_warmed_and_its_run_is_stopped() -> None:
    old, new = spec("src", "g1", sequence=1), spec("src", "g2", sequence=2)
    bots = [bot("b1", run=held(Purpose.FORECAST, "src")), *(bot(f"b{i}") for i in range(2, 6))]
    made = plan(view(bots, specs=[old, new], demand={"src": demand(60)}))
    assert {a.background.generation for a in made.advice.values() if a.background} == {"g2"}
    assert [run.bot for run in made.useless] == ["b1"]


def test_a_dirty_bot_is_cleaned_at_once_without_reserve() -> None:
    cleaning = spec("clean", "", purpose=Purpose.CLEAN, slot="disk")
    made = plan(view([bot("b1", warm("", phase=Phase.DIRTY, slot="disk"), idle_s=0)], specs=[cleaning]))
    given = made.advice["b1"].background
    assert given is not None and given.purpose is Purpose.CLEAN
    assert given.text == "b1 is dirty since its last task; a clean-up is owed."


def test_a_closed_gate_refuses_with_its_numbers_and_what_would_have_changed_it() -> None:
    made = plan(view([bot("b1")], specs=[spec("src")], demand={"src": demand(60)}))
    refused = made.advice["b1"].refused
    assert refused is not None and refused.gate is Gate.RESERVE
    assert refused.text == "The reserve refused: after this hand-out 0 idle bots would remain, the reserve is 1."
    assert refused.would_change == "One more idle bot, or reserve_share at most 0\u00a0% and reserve_min at most 0."


def test_the_stop_switch_refuses_everything_and_stops_what_runs() -> None:
    bots = [bot("b1"), bot("b2"), bot("b3", run=held(Purpose.FORECAST, "src"))]
    made = plan(view(bots, specs=[spec("src")], demand={"src": demand(60)}, state=gate(stopped=True)))
    assert not any(a.background for a in made.advice.values())
    refused = made.advice["b1"].refused
    assert refused is not None and refused.text == "The stop switch refused: prewarming is stopped."
    assert [run.task_id for run in made.useless] == ["d7"]


def test_a_wish_for_a_generation_is_not_met_by_another_one() -> None:
    other, right = bot("b1", warm("src", "g1")), bot("b2", warm("src", "g2"))
    made = plan(view([other, right], tasks=[task("t1", wishes=(Wish("src", "g2"),))]))
    assert made.advice["b2"].why_task.startswith("b2 is warm for src@g2")


def test_while_a_task_waits_no_idle_bot_that_fits_it_is_given_background_work() -> None:
    bots = [bot(f"b{number}") for number in range(8)]
    made = plan(view(bots, tasks=[task("t1")], specs=[spec("src")], demand={"src": demand(60)}))
    assert not any(advice.background for advice in made.advice.values())


def test_a_bot_that_holds_all_that_is_wanted_says_so() -> None:
    bots = [bot(f"b{number}", warm("src")) for number in range(4)]
    made = plan(view(bots, specs=[spec("src")], demand={"src": demand(600)}))
    refused = made.advice["b1"].refused
    assert refused is not None and refused.gate is Gate.VALUE
    assert refused.text == "b1 already holds src@g1."
    assert refused.would_change == "Demand for a state that it does not hold."


def test_a_state_past_its_freshness_is_made_anew_on_the_bot_that_holds_it() -> None:
    old = [bot(f"b{number}", warm("src", used_s=7200)) for number in range(2)]
    made = plan(view(old, specs=[spec("src", fresh_for_s=3600)], demand={"src": demand(60)}))
    assert sum(1 for advice in made.advice.values() if advice.background) == 1


def test_a_state_past_its_freshness_is_worth_nothing() -> None:
    seen = view(
        [bot("b1", warm("src", used_s=7200))], specs=[spec("src", fresh_for_s=3600)], demand={"src": demand(60)}
    )
    fleet = Fleet(seen)
    stock = Stock(fleet, Outlook(fleet))
    assert stock.bot_worth_s(fleet.by_id["b1"]) == 0.0
    assert stock.next_copy(("src", "g1")) == 1


def test_a_copy_that_is_being_made_counts_unless_it_is_being_stopped() -> None:
    for stop, copy in (("", 2), ("preempt", 1)):
        fleet = Fleet(view([bot("b1", run=held(Purpose.FORECAST, "src", stop=stop))], specs=[spec("src")]))
        assert Stock(fleet, Outlook(fleet)).next_copy(("src", "g1")) == copy


def test_the_last_idle_phone_is_kept_back_though_the_pool_has_many_idle_bots() -> None:
    phones = [bot(f"p{number}", run=held() if number else None, extra={"kind": ["phone"]}) for number in range(3)]
    others = [bot(f"b{number}") for number in range(20)]
    firmware = spec("fw", dimensions=(("pool", ("p",)), ("kind", ("phone",))))
    made = plan(view([*phones, *others], specs=[firmware], demand={"fw": demand(60)}))
    refused = made.advice["p0"].refused
    assert refused is not None and refused.gate is Gate.RESERVE
    assert refused.text == (
        "The reserve refused: after this hand-out 0 idle bots that fit fw would remain, the reserve is 1."
    )


def test_a_family_that_lost_a_copy_to_another_one_has_one_fewer() -> None:
    seen = view([bot("b1", warm("lib")), bot("b2", warm("lib"))], specs=[spec("src"), spec("lib")])
    fleet = Fleet(seen)
    stock = Stock(fleet, Outlook(fleet))
    assert (stock.next_copy(("lib", "g1")), stock.next_copy(("src", "g1"))) == (3, 1)
    fleet.begin_warm_up(seen.bots[0], spec("src"))
    assert (stock.next_copy(("lib", "g1")), stock.next_copy(("src", "g1"))) == (2, 2)


def test_a_bot_that_failed_at_a_family_may_still_be_warmed_for_another() -> None:
    bots = [bot(f"b{number}", failed_s={"src": NOW_S - 60}) for number in range(2)]
    made = plan(view(bots, specs=[spec("src"), spec("lib")], demand={"src": demand(60), "lib": demand(5)}))
    assert [a.background.family for a in made.advice.values() if a.background] == ["lib"]


def test_a_dirty_bot_is_cleaned_before_it_is_warmed_unless_a_task_needs_it() -> None:
    dirty = bot("b1", warm("", phase=Phase.DIRTY, slot="disk"))
    others = [bot(f"b{number}") for number in range(2, 6)]
    specs = [spec("src"), spec("clean", "", purpose=Purpose.CLEAN, slot="disk")]
    made = plan(view([dirty, *others], specs=specs, demand={"src": demand(60)}))
    given = made.advice["b1"].background
    assert given is not None and given.family == "clean"
    beside = plan(view([dirty, *others], tasks=[task("t1")], specs=specs, demand={"src": demand(60)}))
    given = beside.advice["b1"].background
    assert given is not None and given.family == "clean"
    needed = plan(view([dirty], tasks=[task("t1")], specs=specs, demand={"src": demand(60)}))
    assert (needed.advice["b1"].background, needed.advice["b1"].tasks) == (None, ("t1",))


def test_a_copy_that_is_to_be_cleaned_is_still_a_copy_for_the_bets_of_the_same_plan() -> None:
    dirty = bot("b1", warm("src", slot="disk"), ("dirt", Slot(Phase.DIRTY)))
    others = [bot(f"b{number}") for number in range(2, 6)]
    specs = [spec("src", slot="disk"), spec("clean", "", purpose=Purpose.CLEAN, slot="dirt")]

    def bets(*bots: Bot) -> int:
        made = plan(view(bots, specs=specs, demand={"src": demand(0.5)}))
        given = [advice.background for advice in made.advice.values() if advice.background]
        assert any(one.family == "clean" for one in given) is (dirty in bots)
        return sum(one.family == "src" for one in given)

    assert bets(*others) == 1
    assert bets(dirty, *others) == 0


def test_in_shadow_mode_a_clean_up_is_only_recorded() -> None:
    dirty = bot("b1", warm("", phase=Phase.DIRTY, slot="disk"))
    cleaning = spec("clean", "", purpose=Purpose.CLEAN, slot="disk")
    made = plan(view([dirty], specs=[cleaning], thresholds=Thresholds(mode="shadow")))
    refused = made.advice["b1"].refused
    assert made.advice["b1"].background is None
    assert refused is not None and refused.text == "shadow: would have cleaned b1 with clean."


def test_a_thousand_bots_and_three_hundred_states_are_planned_in_a_moment() -> None:
    """The plan is made on the path of a poll. Generous here (a loaded machine); measured it is about 40 ms."""
    families = [f"f{number}" for number in range(300)]
    bots = [
        bot(
            f"b{number}",
            *(warm(families[(number * 7 + at * 13) % 300], slot=f"s{at}") for at in range(3)),
            run=held() if number % 3 == 0 else None,
        )
        for number in range(1000)
    ]
    specs = [spec(family, "g2", sequence=2, slot=f"s{at % 3}") for at, family in enumerate(families)]
    seen = view(bots, specs=specs, demand={family: demand(at % 11) for at, family in enumerate(families)})
    started = time.process_time()
    plan(seen)
    assert time.process_time() - started < 0.5
