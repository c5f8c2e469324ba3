"""What a warm copy is worth: Erlang's loss, the residence time, and what a prewarm displaces."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.policy.fleet import Fleet
from server.policy.minds import Minds
from server.policy.model import Demand, Thresholds
from server.policy.outlook import Outlook
from server.policy.plan import plan
from server.policy.value import (
    coming_free,
    erlang_b,
    erlang_excess,
    miss_s,
    needed,
    needed_soon,
    rescuers,
    stay_s,
)
from tests.policy_world import MEMORIES_S, NOW_S, bot, demand, spec, view, warm


@pytest.mark.parametrize(
    ("load", "servers", "loss"), [(1.0, 0, 1.0), (1.0, 1, 0.5), (1.0, 2, 0.2), (10.0, 10, 0.21458)]
)
def test_erlang_b_gives_the_textbook_losses(load: float, servers: int, loss: float) -> None:
    assert erlang_b(load, servers) == pytest.approx(loss, rel=1e-4)


def worth(rate: float, copy: int = 1, *, warm_s: float = 2.0, stays_s: float = 3600.0, busy: int = 0) -> float:
    """V of the copy-th copy of a state whose tasks take 300 s."""
    occupied_s = 300.0 + warm_s
    return needed([rate], [1.0], occupied_s, stays_s, copy + coming_free([0.0] * busy, occupied_s, stays_s))


def test_between_whole_numbers_of_copies_the_value_is_linear_in_what_is_served() -> None:
    def served(busy: int) -> float:
        return -math.log(1.0 - worth(0.01, warm_s=0.0, stays_s=300.0, busy=busy)) / 300.0

    # One busy copy counts for 300 / (300 + 300) of a copy.
    second = 0.01 * (erlang_b(3.0, 1) - erlang_b(3.0, 2))
    assert served(1) == pytest.approx((served(0) + second) / 2)


RATES = st.floats(0.0, 0.5)


@given(RATES, st.floats(60, 3600), st.integers(1, 30))
def test_each_further_copy_is_worth_less(rate: float, stays_s: float, copy: int) -> None:
    one, next_one = worth(rate, copy, stays_s=stays_s), worth(rate, copy + 1, stays_s=stays_s)
    assert 0.0 <= next_one <= one + 1e-12 <= 1.0 + 1e-12


@given(RATES, RATES, st.integers(1, 30))
def test_more_demand_never_makes_a_copy_worth_less(rate: float, more: float, copy: int) -> None:
    assert worth(rate + more, copy, stays_s=1800.0) >= worth(rate, copy, stays_s=1800.0) - 1e-9


def test_busy_copies_that_will_be_free_soon_make_another_one_worth_less() -> None:
    assert worth(0.01, busy=5) < worth(0.01)


def test_the_first_copy_is_worth_the_chance_that_anybody_comes_while_it_stays() -> None:
    """With one copy and none busy, B(0) − B(1) = 1 / (1 + a)."""
    rate, stays_s = 1 / 3600, 3600.0
    assert worth(rate) == pytest.approx(1 - math.exp(-stays_s * rate / (1 + rate * 302)))


def test_the_memories_count_by_their_weights() -> None:
    def served(weights: list[float]) -> float:
        return -math.log(1.0 - needed([0.01, 0.0], weights, 302.0, 60.0, 1.0))

    assert served([0.25, 0.75]) == pytest.approx(served([1.0, 0.0]) / 4)


def test_a_miss_costs_less_where_busy_copies_may_come_free_in_time() -> None:
    assert miss_s(600.0, rescuers(1.0), 300.0) == 600.0
    assert miss_s(600.0, rescuers(6.0), 300.0) == pytest.approx((1 - math.exp(-2.5)) * 240.0)


def test_how_much_longer_than_a_cold_start_the_next_end_takes() -> None:
    assert erlang_excess(1, 0.01, 60.0) == pytest.approx(100 * math.exp(-0.6))
    assert erlang_excess(2, 0.01, 60.0) > erlang_excess(1, 0.01, 60.0)
    assert erlang_excess(1, 100.0, 60.0) == 0.0


@given(st.floats(1.0, 5000.0), st.floats(0.0, 50.0), st.floats(1.0, 5000.0))
def test_a_miss_never_costs_more_than_a_cold_start_or_the_next_free_copy(
    cold_s: float, copies: float, duration_s: float
) -> None:
    cost_s = miss_s(cold_s, copies, duration_s)
    assert 0.0 <= cost_s <= cold_s * (1 + 1e-9)
    if copies:
        assert cost_s <= duration_s / copies * (1 + 1e-9)


def test_a_miss_costs_the_cold_start_when_no_copy_can_come_to_the_rescue() -> None:
    assert miss_s(600.0, 0, 300.0) == 600.0
    assert miss_s(600.0, 1e-9, 300.0) == pytest.approx(600.0)
    assert miss_s(600.0, 2, 300.0) == pytest.approx(150.0 * (1.0 - math.exp(-4.0)))
    assert miss_s(600.0, 2, 0.0) == 0.0


def test_of_those_that_miss_at_once_each_loses_more_than_the_one_before_and_none_more_than_a_cold_start() -> None:
    lost_s = [miss_s(600.0, 2, 300.0, rank) for rank in range(1, 30)]
    assert lost_s[2] == pytest.approx(397.8, abs=0.1)
    assert lost_s == sorted(lost_s)
    assert lost_s[-1] == pytest.approx(600.0)
    assert miss_s(600.0, 0, 300.0, 3) == 600.0


@pytest.mark.parametrize(
    ("states", "per_s", "cold_s", "fresh_s", "stays_s"),
    [
        (100, 0.0, 60, 86_400, 3600),
        (100, 0.1, 60, 86_400, 1000),
        (100, 10.0, 60, 86_400, 60),
        (100, 0.01, 60, 86_400, 10_000),
        (100, 0.0001, 60, 2e6, 14_400),
        (100, 0.0, 60, 900, 900),
    ],
)
def test_a_state_stays_as_long_as_the_pools_turnover_lets_it(
    states: int, per_s: float, cold_s: float, fresh_s: float, stays_s: float
) -> None:
    assert stay_s(states, per_s, cold_s, fresh_s) == stays_s


@pytest.mark.parametrize(("duration_s", "horizon_s"), [(10.0, 900.0), (300.0, 1860.0), (3000.0, 3600.0)])
def test_a_value_looks_as_far_ahead_as_a_cold_start_and_six_tasks_and_never_beyond_the_states_stay(
    duration_s: float, horizon_s: float
) -> None:
    asked = {"src": demand(0.5, duration_s=duration_s)}
    outlook = Outlook(Fleet(view([bot("b1")], specs=[spec("src")], demand=asked)))
    value = needed([0.5 / 3600.0], [1.0], duration_s + 2.0, horizon_s, 1.0)
    assert outlook.forecast(("src", "g1"), 1) == pytest.approx(value)


def test_rare_long_tasks_of_a_family_do_not_make_further_copies_worth_more() -> None:
    """Decision 35: what keeps copies busy within the hour is min(D, 1 h), not the mean of eight hours and a minute."""
    rarely, always = demand(20.0, duration_s=2934.0, first_hour_s=414.0), demand(20.0, duration_s=2934.0)
    worths = []
    for asked in (rarely, always):
        outlook = Outlook(Fleet(view([bot("b1")], specs=[spec("src")], demand={"src": asked})))
        worths.append([outlook.forecast(("src", "g1"), copy) for copy in (1, 8)])
        assert outlook.need_in_all(("src", "g1"), 8) >= worths[-1][1]
    (first, eighth), (first_of_long, eighth_of_long) = worths
    assert eighth < 0.2 * eighth_of_long
    assert first > first_of_long


def test_long_tasks_that_are_rare_do_not_make_values_look_far() -> None:
    """What counts is how long the tasks take that come, not the mean of the families."""
    asked = {"src": demand(59.0, duration_s=60.0), "rare": demand(1.0, duration_s=3600.0)}
    outlook = Outlook(Fleet(view([bot("b1")], specs=[spec("src"), spec("rare")], demand=asked)))
    assert outlook.mean_duration_s() == pytest.approx(119.0)


@given(st.floats(0, 200), st.integers(0, 300))
def test_the_chance_of_being_needed_is_a_probability_that_falls_with_spare_bots(arrivals: float, spare: int) -> None:
    assert 0.0 <= needed_soon(arrivals, spare + 1) <= needed_soon(arrivals, spare) + 1e-9 <= 1.0 + 1e-9


def test_the_chance_that_one_of_two_tasks_finds_no_spare_bot() -> None:
    assert needed_soon(2.0, 1) == pytest.approx(1 - 3 * math.exp(-2))


def two_bots(*slots: tuple, **world: object):
    """Two idle bots that hold the same (one is the reserve): the advice for the one that gets work, if any does."""
    made = plan(view([bot("b1", *slots), bot("b2", *slots)], **world))  # type: ignore[arg-type]
    return max(made.advice.values(), key=lambda advice: advice.background is not None)


def test_a_state_that_is_worth_more_is_not_displaced_by_one_that_is_worth_less() -> None:
    specs = [spec("hot"), spec("cool")]
    asked = {"hot": demand(20), "cool": demand(5)}
    assert two_bots(warm("hot"), specs=specs, demand=asked).background is None
    given_work = two_bots(warm("cool"), specs=specs, demand={"hot": demand(20), "cool": demand(0.1)}).background
    assert given_work is not None and given_work.family == "hot"


def the_only_bot():
    """The advice for the only bot, which holds the only copy of a state that is seldom wanted; nothing is kept back."""
    thresholds = Thresholds(mode="live", reserve_share=0.0, reserve_min=0)
    asked = {"hot": demand(20), "cool": demand(0.1)}
    made = plan(view([bot("b1", warm("cool"))], specs=[spec("hot"), spec("cool")], demand=asked, thresholds=thresholds))
    return made.advice["b1"]


def test_what_a_prewarm_displaces_is_in_its_sum() -> None:
    given_work = the_only_bot().background
    assert given_work is not None and given_work.value is not None
    assert given_work.text.replace("\u00a0", " ") == "Warming b1 for hot@g1 is worth 54 s, 90 % of a cold start."
    assert given_work.value.text.replace("\u00a0", " ") == (
        "hot@g1: 0.98 × 58 s saved − 2.9 s for what the bot holds − 0.1 s for the risk of a preemption"
        " − 0 s run cost = 54 s"
    )


def test_a_state_in_another_slot_is_not_displaced() -> None:
    specs = [spec("hot", slot="disk"), spec("warmer", slot="cache")]
    given_work = two_bots(
        warm("warmer", slot="cache"), specs=specs, demand={"hot": demand(20), "warmer": demand(90)}
    ).background
    assert given_work is not None and given_work.value is not None
    assert given_work.family == "hot"
    assert 0.0 < given_work.value.displaced_s < 2.0  # It cannot be used during the run, and is still there after it.


def test_the_wear_of_a_run_can_be_worth_more_than_it_saves() -> None:
    dear = spec("src", run_cost_s=100.0)
    advice = two_bots(specs=[dear], demand={"src": demand(60)})
    assert advice.background is None
    assert advice.refused is not None and "100\u00a0s run cost = −42\u00a0s" in advice.refused.values[0].text


def test_learned_costs_replace_the_specs_guess() -> None:
    cheap = spec("src", cold_cost_s=600.0)
    learned = demand(60, cold_cost_s=3.2, warm_cost_s=3.0)
    assert two_bots(specs=[cheap], demand={"src": demand(60)}).background is not None
    assert two_bots(specs=[cheap], demand={"src": learned}).background is None


def test_before_any_task_came_the_operators_guess_is_enough() -> None:
    given_work = two_bots(specs=[spec("src", expected_per_h=30.0)]).background
    assert given_work is not None and given_work.family == "src"


def test_a_new_generation_inherits_the_demand_of_its_family() -> None:
    new = spec("src", "g2", sequence=2)
    asked = {("src", "g1"): demand(60)}
    stock = Outlook(Fleet(view([bot("b1")], specs=[new], demand={"src": demand(60)}, generation_demand=asked)))
    assert [rate * 3600 for rate in stock.rates_per_s(("src", "g2"))] == pytest.approx([48] * len(MEMORIES_S))
    assert [rate * 3600 for rate in stock.rates_per_s(("src", "g1"))] == pytest.approx([12] * len(MEMORIES_S))


def test_tasks_that_came_for_a_former_generation_after_its_successor_are_stragglers_to_stay() -> None:
    new = spec("src", "g2", sequence=2)
    late = dict.fromkeys(MEMORIES_S, 10 / 3600)
    asked = {("src", "g1"): demand(60, late_per_s=late)}
    family = {"src": demand(60, late_per_s=late)}
    stock = Outlook(Fleet(view([bot("b1")], specs=[new], demand=family, generation_demand=asked)))
    assert [rate * 3600 for rate in stock.rates_per_s(("src", "g2"))] == pytest.approx([40] * len(MEMORIES_S))
    assert [rate * 3600 for rate in stock.rates_per_s(("src", "g1"))] == pytest.approx([20] * len(MEMORIES_S))


@pytest.mark.parametrize(("late_per_h", "kept"), [(0.0, 0.0047), (3.0, 0.0535), (30.0, 0.2)])
def test_a_family_that_moved_before_keeps_as_much_for_stragglers_as_came_late_and_a_fifth_at_most(
    late_per_h: float, kept: float
) -> None:
    new = spec("src", "g3", sequence=3, known_generations={"g1": 1, "g2": 2, "g3": 3})
    family = {"src": demand(60, late_per_s=dict.fromkeys(MEMORIES_S, late_per_h / 3600))}
    asked = {("src", "g2"): demand(60)}
    stock = Outlook(Fleet(view([bot("b1")], specs=[new], demand=family, generation_demand=asked)))
    former, current = (stock.rates_per_s(("src", name))[0] * 3600 for name in ("g2", "g3"))
    assert former == pytest.approx(60 * kept, rel=0.02)
    assert current == pytest.approx(60 - late_per_h - (60 - late_per_h) * kept, rel=0.02)


def test_what_is_expected_does_not_depend_on_who_asked_before() -> None:
    pool = view([bot("b1", warm("src"))], specs=[spec("src")], demand={"src": demand(60, at_s=NOW_S)})
    fleet = Fleet(pool)
    asked, silent = Outlook(fleet), Outlook(fleet)
    for later_s in (20.0, 40.0, 60.0):
        fleet.advance(NOW_S + later_s)
        asked.look()
        silent.look()
        asked.rates_per_s(("src", "g1"))
    assert asked.rates_per_s(("src", "g1")) == silent.rates_per_s(("src", "g1"))
    assert asked.all_per_s() == silent.all_per_s()


def test_a_long_run_pays_for_what_the_bot_holds_besides() -> None:
    """Nobody can use the bot's other state during the run."""
    beside = [bot(f"b{number}", warm("lib", slot="lib")) for number in range(4)]
    asked = {"src": demand(6), "lib": demand(40, duration_s=60.0)}
    nets = []
    for run_s in (6.0, 300.0):
        specs = [spec("src", run_s=run_s), spec("lib", slot="lib")]
        minds = Minds.about(Fleet(view(beside, specs=specs, demand=asked)))
        nets.append(minds.appraiser.value(specs[0], beside[0]).displaced_s)
    assert nets[1] == pytest.approx(50.0 * nets[0]) and nets[0] > 0.0


def test_what_would_stay_for_long_is_given_up_only_for_a_copy_that_is_likely_to_be_used() -> None:
    """A task that misses the warmed copy would have put the same state in the same place."""

    def displaced_s(states_put_per_s: float, src_per_h: float) -> float:
        asked = {"src": demand(src_per_h), "lib": demand(0.2)}
        seen = view(
            [bot("b1", warm("lib"))], specs=[spec("src"), spec("lib")], demand=asked, states_put_per_s=states_put_per_s
        )
        minds = Minds.about(Fleet(seen))
        return minds.appraiser.value(minds.fleet.specs["src"], minds.fleet.by_id["b1"]).displaced_s

    soon_s, day = displaced_s(1.0 / 600.0, 1.0), 1.0 / 86_400.0
    assert displaced_s(day, 1.0) > 5.0 * soon_s
    assert displaced_s(day, 0.1) > displaced_s(day, 1.0) > displaced_s(day, 2.0)
    assert displaced_s(day, 500.0) == pytest.approx(displaced_s(1.0 / 1860.0, 500.0))


def test_nobody_is_warmed_for_a_family_that_nobody_wants() -> None:
    assert two_bots(specs=[spec("src")], demand={"src": Demand()}).background is None
