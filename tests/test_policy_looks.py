"""For how long a look at a family's demand holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.policy.demand_looks import LEAST_S, SHARE, DemandLooks
from server.policy.model import Demand
from tests.policy_world import NOW_S


def looks(**gaps_s: float) -> DemandLooks:
    """Families whose last task came so long ago."""
    return DemandLooks({name: Demand(last_arrival_s=NOW_S - gap_s) for name, gap_s in gaps_s.items()}, NOW_S)


def test_a_look_holds_for_half_a_minute_or_for_a_quarter_of_the_time_since_the_last_task() -> None:
    seen = looks(busy=10.0, quiet=4000.0)
    assert seen.over(NOW_S + LEAST_S) == []
    assert seen.over(NOW_S + LEAST_S + 1.0) == ["busy"]
    assert seen.at_s("busy") == NOW_S + LEAST_S + 1.0
    assert "quiet" not in seen.over(NOW_S + 999.0)
    assert "quiet" in seen.over(NOW_S + 1001.0)


def test_a_task_of_a_quiet_family_makes_its_looks_short_again() -> None:
    seen = looks(busy=10.0, quiet=4000.0)
    seen.over(NOW_S + 40.0)
    seen.note("quiet", NOW_S + 50.0)
    assert seen.at_s("quiet") == NOW_S + 50.0
    assert "quiet" not in seen.over(NOW_S + 50.0 + LEAST_S)
    assert "quiet" in seen.over(NOW_S + 51.0 + LEAST_S)


def test_a_family_that_is_new_is_looked_at_again_too() -> None:
    seen = looks(busy=10.0)
    seen.over(NOW_S + 40.0)
    seen.note("new", NOW_S + 50.0)
    assert "new" in seen.over(NOW_S + 90.0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(1.0, 400.0), st.booleans()), max_size=60))
def test_no_look_is_ever_older_than_it_may_be(steps: list[tuple[str, float, bool]]) -> None:
    last_s = {"a": NOW_S - 1.0, "b": NOW_S - 2000.0, "c": NOW_S - 80_000.0}
    demand = {name: Demand(last_arrival_s=at_s) for name, at_s in last_s.items()}
    seen, now_s, looked_s = DemandLooks(demand, NOW_S), NOW_S, dict.fromkeys("abc", NOW_S)
    for name, passed_s, came in steps:
        now_s += passed_s
        if came:
            demand[name] = Demand(last_arrival_s=now_s)
            seen.note(name, now_s)
            looked_s[name] = now_s
        for family in seen.over(now_s):
            looked_s[family] = now_s
        for family, known in demand.items():
            assert seen.at_s(family) == looked_s[family]
            assert now_s - looked_s[family] <= max(LEAST_S, SHARE * (looked_s[family] - known.last_arrival_s))
