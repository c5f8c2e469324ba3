"""How often idle bots poll, how busy a pool is, and how numbers are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.policy import words
from server.policy.cadence import jittered, sleeps
from server.policy.model import Thresholds
from server.policy.plan import plan
from server.policy.utilization import hysteresis, utilization
from tests.policy_world import NOW_S, bot, demand, gate, held, spec, task, view, warm

T = Thresholds(mode="live", polls_per_s=20.0, sleep_min_s=1.0, sleep_max_s=60.0)


def test_equal_bots_share_the_pools_polls() -> None:
    assert set(sleeps({f"b{number}": 0.0 for number in range(100)}, T).values()) == {5.0}


def test_a_lone_bot_polls_as_often_as_it_may_and_a_huge_pool_as_seldom() -> None:
    assert sleeps({"b1": 0.0}, T) == {"b1": 1.0}
    assert set(sleeps({f"b{number}": 0.0 for number in range(5000)}, T).values()) == {60.0}


def test_a_bot_of_most_worth_polls_four_times_as_often_as_one_of_none() -> None:
    slept = sleeps({"dear": 50.0, **{f"b{number}": 0.0 for number in range(99)}}, T)
    assert slept["b0"] == pytest.approx(4 * slept["dear"])


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=300))
def test_the_pool_never_polls_more_than_its_budget_unless_bounds_demand_it(worth: list[float]) -> None:
    slept = sleeps({str(number): value for number, value in enumerate(worth)}, Thresholds(sleep_min_s=1e-6))
    assert sum(1 / sleep_s for sleep_s in slept.values() if sleep_s < 60) <= 20.0 * (1 + 1e-9)


@pytest.mark.parametrize(("fraction", "sleep_s"), [(0.0, 8.0), (0.5, 10.0), (1.0, 12.0)])
def test_sleeps_are_spread_by_a_fifth(fraction: float, sleep_s: float) -> None:
    assert jittered(10.0, fraction) == pytest.approx(sleep_s)


def test_a_fraction_outside_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"1\.5"):
        jittered(10.0, 1.5)


def test_in_a_plan_the_bot_that_is_warm_for_demand_polls_most_often() -> None:
    bots = [bot("warm", warm("src")), *(bot(f"b{number}") for number in range(60))]
    made = plan(view(bots, specs=[spec("src")], demand={"src": demand(60)}))
    assert made.advice["warm"].sleep_s < made.advice["b1"].sleep_s


@pytest.mark.parametrize(
    ("busy", "waiting", "usable", "level"), [(6, 1, 10, 0.7), (0, 0, 10, 0.0), (9, 5, 10, 1.0), (0, 0, 0, 1.0)]
)
def test_utilization_counts_real_work(busy: int, waiting: int, usable: int, level: float) -> None:
    assert utilization(busy, waiting, usable) == pytest.approx(level)


def test_background_work_and_bots_that_are_out_do_not_count() -> None:
    bots = [bot("b1", run=held()), bot("b2", run=held("forecast")), bot("b3"), bot("b4", quarantined="x", run=held())]
    assert plan(view(bots)).utilization == pytest.approx(1 / 3)


def test_a_long_queue_for_one_special_bot_does_not_close_the_pool() -> None:
    bots = [bot("phone", run=held(), extra={"kind": ["phone"]}), *(bot(f"b{number}") for number in range(9))]
    queue = [task(f"t{number}", dimensions=(("pool", ("p",)), ("kind", ("phone",)))) for number in range(50)]
    assert plan(view(bots, tasks=queue)).utilization == pytest.approx(0.1)


def test_the_bots_that_fit_a_spec_have_a_limit_of_their_own() -> None:
    """Most of the pool is idle, but the phones are not."""
    phones = [bot(f"p{number}", run=held() if number < 9 else None, extra={"kind": ["phone"]}) for number in range(10)]
    others = [bot(f"b{number}") for number in range(40)]
    firmware = spec("fw", dimensions=(("pool", ("p",)), ("kind", ("phone",))))
    made = plan(view([*phones, *others], specs=[firmware], demand={"fw": demand(60)}))
    assert made.utilization < 0.2
    refused = made.advice["p9"].refused
    assert refused is not None
    assert refused.text == (
        "Utilization refused: 90\u00a0% of the usable bots that fit fw are busy or asked for by waiting tasks, "
        "the limit is 80\u00a0%."
    )


@pytest.mark.parametrize(
    ("level", "was_open", "below_since_s", "is_open", "since_s"),
    [
        (0.85, True, NOW_S - 99, False, 0.0),
        (0.75, True, NOW_S - 99, True, 0.0),
        (0.75, False, NOW_S - 99, False, 0.0),
        (0.50, False, 0.0, False, NOW_S),
        (0.50, False, NOW_S - 29, False, NOW_S - 29),
        (0.50, False, NOW_S - 30, True, NOW_S - 30),
        (0.50, True, 0.0, True, NOW_S),
        (0.50, False, NOW_S + 50, False, NOW_S),
    ],
)
def test_the_gate_closes_at_once_and_opens_after_a_while_below(
    level: float, was_open: bool, below_since_s: float, is_open: bool, since_s: float
) -> None:
    assert hysteresis(level, T, was_open, below_since_s, NOW_S) == (is_open, since_s)


def test_a_plan_carries_the_gates_memory_on() -> None:
    made = plan(view([bot("b1")], state=gate(open=False, below_since_s=NOW_S - 40)))
    assert made.gate_open and made.below_since_s == NOW_S - 40


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.44, "0.4 s"),
        (9.4, "9.4 s"),
        (38, "38 s"),
        (89, "89 s"),
        (215, "3 m 35 s"),
        (300, "5 m"),
        (28_440, "7 h 54 m"),
        (19 * 86_400, "19 d"),
        (-4, "−4.0 s"),
    ],
)
def test_durations_have_two_units_at_most(value: float, text: str) -> None:
    assert words.duration(value) == text.replace(" ", "\u00a0")


@pytest.mark.parametrize(("value", "text"), [(0.62, "62 %"), (0.08, "8 %"), (0.014, "1.4 %"), (0.0, "0 %")])
def test_shares_are_whole_percents_from_ten_up(value: float, text: str) -> None:
    assert words.share(value) == text.replace(" ", "\u00a0")


@pytest.mark.parametrize(
    ("value", "text"), [(10.0, "1000\u00a0%"), (30_000, "more than 1,000\u00a0%"), (-30_239, "less than −1,000\u00a0%")]
)
def test_a_share_that_comes_of_a_mistyped_cost_is_told_without_its_digits(value: float, text: str) -> None:
    assert words.share(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(238.4, "238 s"), (3.25, "3.2 s"), (3.0, "3 s"), (-0.01, "0 s"), (-42, "−42 s")]
)
def test_sums_stay_in_seconds(value: float, text: str) -> None:
    assert words.seconds(value) == text.replace(" ", "\u00a0")
