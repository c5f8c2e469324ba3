"""What a process learns of a pool from one look to the next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.policy.bet_ledger import BetLedger
from server.policy.fleet import Fleet
from server.policy.minds import Minds
from server.policy.model import PoolView, Purpose
from server.policy.plan import plan_of
from server.pool_habits import PoolHabits
from tests.policy_world import NOW_S, bot, demand, held, spec, view, warm


def looked(habits: PoolHabits, seen: PoolView) -> PoolView:
    minds = Minds.about(Fleet(seen))
    habits.learn(minds)
    return minds.fleet.view


def test_states_that_displace_each_other_are_counted_over_half_an_hour() -> None:
    habits = PoolHabits()
    seen = view([bot("b1", warm("src"))], specs=[spec("src"), spec("lib")])
    assert looked(habits, seen).states_put_per_s == 0.0
    for number in range(1, 7):
        family = "lib" if number % 2 else "src"
        known = looked(habits, replace(seen, bots=(bot("b1", warm(family)),), now_s=NOW_S + 300 * number))
    assert known.states_put_per_s == pytest.approx(6 / 1800)


def test_the_memory_that_foresees_what_comes_gains_weight() -> None:
    habits = PoolHabits()
    rare, often = dict.fromkeys((120, 86_400), 0.01), {120: 0.0, 86_400: 0.03}
    asked = {"src": demand(0, rates_per_s=rare, arrivals=10), "lib": demand(0, rates_per_s=often, arrivals=10)}
    seen = view([bot("b1")], specs=[spec("src"), spec("lib")], demand=asked)
    even = looked(habits, seen).memory_weights
    assert even == {120: 0.5, 86_400: 0.5}
    more = {**asked, "src": replace(asked["src"], arrivals=40)}
    learned = looked(habits, replace(seen, demand=more, now_s=NOW_S + 60)).memory_weights
    assert learned[120] > 0.6
    assert sum(learned.values()) == pytest.approx(1.0)


def test_bets_that_bring_nothing_close_the_gate_of_the_ledger_for_their_like() -> None:
    habits, asked = PoolHabits(), {"src": demand(60)}
    idle = [bot("b1"), bot("b2")]
    seen = view(idle, specs=[spec("src")], demand=asked)
    first = plan_of(_minds(habits, seen)).advice["b1"]
    assert first.background is not None and first.background.value is not None
    net = first.background.value.net
    for number in range(60):
        run = held(Purpose.FORECAST, "src", task_id=f"d{number}", net=net)
        looked(habits, replace(seen, bots=(bot("b1", run=run), idle[1]), now_s=NOW_S + number))
        looked(habits, replace(seen, bots=tuple(idle), now_s=NOW_S + number))
    refused = plan_of(_minds(habits, replace(seen, now_s=NOW_S + 60))).advice["b1"].refused
    assert refused is not None and refused.text.startswith("The ledger refused: of prewarms worth ")
    assert "in which the loss fades" in refused.would_change


def _minds(habits: PoolHabits, seen: PoolView) -> Minds:
    minds = Minds.about(Fleet(seen))
    habits.learn(minds)
    return minds


def test_what_processes_before_knew_of_bets_counts_from_the_first_look_on() -> None:
    before = BetLedger().bet(0.2, NOW_S)
    habits = PoolHabits(before)
    assert looked(habits, view([bot("b1")])).bets == before == habits.bets
    looked(habits, view([bot("b1", run=held(Purpose.FORECAST, "src", net=0.5))]))
    assert habits.bets.staked > before.staked
