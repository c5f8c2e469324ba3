"""What holds of every plan, whatever the pool looks like."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.policy.background import Background
from server.policy.fleet import Fleet
from server.policy.gates import reserve_size, share_limit, spec_limit
from server.policy.model import Demand, Phase, PoolView, Purpose, Slot, Thresholds, Wish
from server.policy.outcome import Advice, PoolPlan
from server.policy.plan import claimable, plan
from server.policy.warmth import apply
from server.policy.warmth_events import BackgroundFinished, BackgroundStarted
from tests.policy_pools import FAMILIES, calm_pools, pools
from tests.policy_world import MEMORIES_S, NOW_S, bot, demand, spec, view, warm

BETS = {Purpose.FORECAST, Purpose.ANNOUNCED}


def hand_outs(made: PoolPlan) -> dict[str, Any]:
    """Background work by bot."""
    return {name: advice.background for name, advice in made.advice.items() if advice.background}


MANY = settings(max_examples=100, deadline=None)


@MANY
@given(pools())
def test_nothing_is_handed_out_when_any_gate_is_closed(seen: PoolView) -> None:
    made = plan(seen)
    given_work = hand_outs(made)
    if seen.thresholds.mode != "live" or seen.gate.stopped or seen.view_age_s > seen.thresholds.view_max_age_s:
        assert given_work == {}
    fleet = Fleet(seen)
    served = {advice.tasks[0] for advice in made.advice.values() if advice.why_task}
    kept_back = {task_id for task_id, hold in made.holds.items() if not hold.bot}
    covered = {task_id for task_id in kept_back if made.holds[task_id].warming}
    for name, work in given_work.items():
        one = fleet.by_id[name]
        assert one.held is None and one.alive and not one.quarantined
        fitting = [waiting.id for waiting in seen.pending if fleet.fits.fits(waiting.dimensions, name)]
        if work.purpose is Purpose.ON_DEMAND:
            assert work.for_task in fitting and work.for_task not in served
        elif work.purpose is Purpose.CLEAN:
            assert (served | kept_back).issuperset(fitting)
        else:
            assert covered.issuperset(fitting)
        assert work.family not in seen.gate.open_breakers
        assert work.family not in one.failed_s
        if work.purpose in BETS:
            assert made.gate_open and not seen.gate.ledger_losing
            assert NOW_S - one.idle_since_s >= seen.thresholds.min_idle_s
            assert work.value is not None and work.value.net >= seen.thresholds.value_threshold


@MANY
@given(pools())
def test_reserve_and_shares_hold_over_the_whole_plan(seen: PoolView) -> None:
    made, fleet, t = plan(seen), Fleet(seen), seen.thresholds
    given_work = hand_outs(made)
    bets = {name: work for name, work in given_work.items() if work.purpose in BETS}
    if not bets:
        return
    usable, running = len(fleet.usable), len(fleet.background)
    taken = {name for name, advice in made.advice.items() if advice.why_task} | given_work.keys()
    left = sum(1 for name in fleet.idle if name not in taken)
    assert left >= reserve_size(usable, t, seen.gate.growth_p90)
    assert running + len(given_work) <= share_limit(usable, t.background_share)
    assert len(given_work) <= t.hand_outs_per_min
    for family, number in Counter(work.family for work in bets.values()).items():
        warms_already = sum(1 for one in fleet.background.values() if one.held and one.held.family == family)
        assert warms_already + number <= spec_limit(fleet.specs[family], usable, t)


@MANY
@given(pools())
def test_only_the_current_generation_of_an_active_spec_is_warmed_but_for_a_task_that_asks_for_another(
    seen: PoolView,
) -> None:
    fleet = Fleet(seen)
    for name, work in hand_outs(plan(seen)).items():
        current = fleet.specs[work.family]
        if work.purpose is Purpose.ON_DEMAND and work.generation != current.generation:
            (waits,) = [one for one in seen.pending if one.id == work.for_task]
            assert Wish(work.family, work.generation) in waits.wishes
            current = fleet.spec_of[work.family, work.generation]
        assert (work.generation, work.revision) == (current.generation, current.revision)
        assert current.active and fleet.fits.fits(current.dimensions, name)
        assert not any(
            wanted.arrivals and generation == "g3"
            for (family, generation), wanted in seen.generation_demand.items()
            if family == work.family
        )
        if work.purpose in BETS:
            slot = fleet.by_id[name].slots.get(current.slot)
            assert slot is None or (slot.family, slot.generation, slot.phase) != (
                work.family,
                work.generation,
                Phase.WARM,
            )


@MANY
@given(pools())
def test_the_same_view_gives_the_same_plan(seen: PoolView) -> None:
    assert plan(seen) == plan(seen)


@MANY
@given(pools())
def test_dispatch_gives_each_task_to_one_fitting_bot_and_holds_no_task_for_ever(seen: PoolView) -> None:
    made, fleet = plan(seen), Fleet(seen)
    own = [advice.tasks[0] for advice in made.advice.values() if advice.why_task]
    assert len(own) == len(set(own))
    known = {waiting.id: waiting for waiting in seen.pending}
    for name, advice in made.advice.items():
        assert all(fleet.fits.fits(known[task_id].dimensions, name) for task_id in advice.tasks)
        assert len(advice.tasks) == len(set(advice.tasks))
        assert seen.thresholds.sleep_min_s <= advice.sleep_s <= seen.thresholds.sleep_max_s
    for hold in made.holds.values():
        lasts_s = seen.thresholds.affinity_hold_s if hold.bot else LONGEST_WAIT_S
        assert NOW_S < hold.until_s <= max(NOW_S, known[hold.task_id].created_s) + lasts_s
    idle = set(fleet.idle)
    later_s = NOW_S + seen.thresholds.affinity_hold_s
    for waiting in seen.pending:
        kept = made.holds.get(waiting.id)
        if waiting.id not in own and (kept is None or kept.bot):
            takers = {name for name in idle if fleet.fits.fits(waiting.dimensions, name)}
            assert all(_is_given_work(made.advice[name]) for name in takers), "an idle bot was left over"
        elif waiting.id in own and len(seen.pending) == 1:
            assert any(waiting.id in claimable(made, name, later_s) for name in idle)


def _is_given_work(advice: Advice) -> bool:
    return bool(advice.why_task) or (advice.background is not None and advice.background.purpose is Purpose.ON_DEMAND)


LONGEST_WAIT_S = 200.0
"""For a warm-up of a minute, or for a busy bot: twice the one and a minute, half the other."""


@MANY
@given(pools())
def test_every_idle_bot_without_work_knows_why(seen: PoolView) -> None:
    for advice in plan(seen).advice.values():
        assert (advice.background is None) == (advice.refused is not None)
        if advice.refused is not None:
            assert advice.refused.text.endswith(".")
            assert advice.refused.would_change.endswith(".")
        if advice.refused is not None and advice.refused.text.startswith("The value refused"):
            assert advice.refused.values[0].net < seen.thresholds.value_threshold


@MANY
@given(pools())
def test_preemption_takes_one_running_bet_a_task_and_never_stops_one_twice(seen: PoolView) -> None:
    made, fleet = plan(seen), Fleet(seen)
    assert len({wanted.bot for wanted in made.preempt}) == len({wanted.for_task for wanted in made.preempt})
    for wanted in made.preempt:
        run = fleet.by_id[wanted.bot].held
        assert run is not None and run.purpose is not Purpose.REAL and not run.stop and run.n == wanted.n
        waiting = next(one for one in seen.pending if one.id == wanted.for_task)
        assert fleet.fits.fits(waiting.dimensions, wanted.bot)


@MANY
@given(calm_pools(), st.sampled_from(FAMILIES), st.floats(1.0, 50.0))
def test_more_demand_never_lowers_the_stock_of_a_family(seen: PoolView, family: str, factor: float) -> None:
    now = seen.demand[family]
    more = replace(now, rates_per_s={memory: rate * factor for memory, rate in now.rates_per_s.items()})

    def stock(of: PoolView) -> int:
        """Copies that the pool holds or makes, once the plan is carried out."""
        given_work = hand_outs(plan(of))
        made = sum(1 for work in given_work.values() if work.family == family)
        fleet = Fleet(of)
        current = fleet.specs.get(family)
        kept = sum(
            1
            for one in fleet.idle.values()
            for name, slot in one.slots.items()
            if current is not None
            and (slot.phase, slot.family, slot.generation) == (Phase.WARM, family, current.generation)
            and not (one.id in given_work and _slot_of(fleet, given_work[one.id]) == name)
        )
        return made + kept

    assert stock(replace(seen, demand={**seen.demand, family: more})) >= stock(seen)


def _slot_of(fleet: Fleet, work: Any) -> str:
    return fleet.specs[work.family].slot


@pytest.mark.parametrize("weights", [(30, 30), (60, 20), (90, 30), (10, 10, 10), (60, 30, 15)])
def test_several_families_find_their_balance_in_proportion_to_demand(weights: tuple[int, ...]) -> None:
    """As many places as are needed on average: they are shared as the demand is."""
    names = [f"f{number}" for number in range(len(weights))]
    thresholds = Thresholds(mode="live", background_share=1.0, spec_share=1.0, hand_outs_per_min=1000)
    # Tasks of half an hour: weight / 2 bots are needed at a time.
    asked = {
        name: Demand(rates_per_s=dict.fromkeys(MEMORIES_S, weight / 3600), observed_s=9e5, duration_s=1800.0)
        for name, weight in zip(names, weights, strict=True)
    }
    places = sum(weights) // 2
    pool = [bot(f"b{number}") for number in range(round(places / 0.9) + 1)]
    made = plan(view(pool, specs=[spec(name) for name in names], demand=asked, thresholds=thresholds))
    share = Counter(work.family for work in hand_outs(made).values())
    assert share.total() >= places - 1
    for name, weight in zip(names, weights, strict=True):
        assert share[name] / share.total() == pytest.approx(weight / sum(weights), abs=0.12)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.2, 1.0, 5.0, 40.0, 300.0]), min_size=2, max_size=5),
    st.integers(3, 16),
    st.sampled_from(["g1", "g2"]),
)
def test_an_idle_pool_settles_and_does_not_warm_in_circles(per_h: list[float], size: int, generation: str) -> None:
    """Every hand-out is carried out at once, no task comes: after few rounds there is nothing left worth doing."""
    names = [f"f{number}" for number in range(len(per_h))]
    known = [spec(name, generation, sequence=int(generation[1])) for name in names]
    asked = {name: demand(rate) for name, rate in zip(names, per_h, strict=True)}
    pool = [bot(f"b{number}", warm(names[number % 2])) for number in range(size)]
    made_in_all = 0
    for round_s in range(0, 3000, 100):
        now_s = NOW_S + round_s
        given_work = hand_outs(plan(view(pool, specs=known, demand=asked, now_s=now_s)))
        if not given_work:
            break
        made_in_all += len(given_work)
        pool = [
            replace(one, slots={"cache": _made(given_work[one.id], now_s)}) if one.id in given_work else one
            for one in pool
        ]
    else:
        pytest.fail("still warming after thirty rounds")
    assert made_in_all <= 2 * size


def _made(work: Any, now_s: float) -> Slot:
    slot = apply(Slot(Phase.COLD), BackgroundStarted(now_s - 50, "d1", work.family, work.generation)).slot
    return apply(slot, BackgroundFinished(now_s, "d1")).slot


STATES = "abcdef"


@MANY
@given(
    st.lists(st.sampled_from(STATES), min_size=4, max_size=12),
    st.fixed_dictionaries({family: st.sampled_from([0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0]) for family in STATES}),
)
def test_what_is_left_out_since_no_bot_could_be_worth_it_would_not_have_been_bet_on(held_by, per_h) -> None:
    seen = view(
        [bot(f"b{number}", warm(family)) for number, family in enumerate(held_by)],
        specs=[spec(family) for family in STATES],
        demand={family: demand(rate) for family, rate in per_h.items()},
    )
    with (
        patch.object(Background, "_least_on_any_bot", lambda self, spec, least_s: self._least_net),
        patch.object(Background, "_that_could_pay", lambda self, hopeful: list(hopeful)),
    ):
        every = hand_outs(plan(seen))
    assert hand_outs(plan(seen)) == every
