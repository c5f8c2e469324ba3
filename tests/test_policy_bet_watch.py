"""What becomes of bets, as their owner would book it by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from server.policy.bet_ledger import bucket_of
from server.policy.bet_watch import BetWatch
from server.policy.fleet import Fleet
from server.policy.model import Bot, Phase, Purpose, Slot, Spec
from server.policy.outlook import Outlook
from tests.policy_world import NOW_S, bot, demand, held, spec, view, warm

SPECS = [spec("src"), spec("lib")]


class Watched:
    """A pool under watch, 60 s cold and 2 s warm, with tasks of 300 s."""

    def __init__(self, *bots: Bot, specs: Sequence[Spec] = SPECS) -> None:
        asked = {family: demand(6, duration_s=300.0) for family in ("src", "lib")}
        self.fleet = Fleet(view(bots, specs=specs, demand=asked))
        self.watch = BetWatch()
        self.watch.see(bots, self.fleet, Outlook(self.fleet))

    def becomes(self, *bots: Bot) -> None:
        for one in bots:
            self.fleet.put_bot(one)
        self.watch.see(bots, self.fleet, Outlook(self.fleet))

    def booked(self, net: float = 0.5) -> tuple[float, float]:
        sums = self.watch.ledger.at(NOW_S).buckets.get(bucket_of(net))
        return (sums.staked, sums.won) if sums else (0.0, 0.0)


def bet(
    name: str, family: str = "src", *, displaced: tuple = (), purpose: Purpose = Purpose.FORECAST
) -> tuple[Bot, Bot, Bot]:
    """The bot before, while it is warmed for the family, and after."""
    run = held(purpose, family, task_id=f"bet-{name}", net=0.5)
    slot, made = warm(family)
    done = replace(made, last_used_s=0.0, by_spec=family)
    return bot(name, *displaced), bot(name, warm(family, phase=Phase.WARMING), run=run), bot(name, (slot, done))


def uses(name: str, family: str = "src") -> Bot:
    """The bot runs a real task with the family's state."""
    return bot(name, warm(family, phase=Phase.IN_USE), run=held(family="", task_id=f"t-{name}"))


def test_a_bet_stakes_a_cold_start_and_wins_what_one_costs_more_than_a_warm_start() -> None:
    before, makes, after = bet("b1")
    pool = Watched(before)
    pool.becomes(makes)
    assert pool.booked() == (1.0, 0.0)
    pool.becomes(after)
    pool.becomes(uses("b1"))
    staked, won = pool.booked()
    assert staked == 1.0
    assert won == pytest.approx((60 - 2) / 60)


def test_a_family_with_dear_cold_starts_stakes_no_more_than_others() -> None:
    """Else one bet on it would close the bucket for all cheap families of the pool."""
    before, makes, after = bet("b1")
    pool = Watched(before, specs=[spec("src", cold_cost_s=6000.0, run_s=60.0)])
    pool.becomes(makes)
    assert pool.booked() == (1.0, 0.0)
    assert pool.watch.ledger.standing(0.5, NOW_S).is_open
    pool.becomes(after)
    pool.becomes(uses("b1"))
    assert 0.0 < pool.booked()[1] < 1.0


def test_a_bet_wins_nothing_while_there_is_a_copy_that_the_pool_had_anyway() -> None:
    before, makes, after = bet("b1")
    pool = Watched(before, bot("b2", warm("src")))
    pool.becomes(makes)
    pool.becomes(after)
    pool.becomes(uses("b1"))
    assert pool.booked() == (1.0, 0.0)
    pool.becomes(uses("b2"))  # Without the bet this task would have missed it: the other copy stood for it.
    assert pool.booked()[1] > 0


def test_a_copy_that_is_being_cleaned_stands_for_a_bet_as_an_idle_one_does() -> None:
    before, makes, after = bet("b1")
    cleaned = bot("b2", warm("src"), ("dirt", Slot(Phase.WARMING)), run=held(Purpose.CLEAN, "clean", slot="dirt"))
    pool = Watched(before, cleaned)
    pool.becomes(makes)
    pool.becomes(after)
    pool.becomes(uses("b1"))
    assert pool.booked() == (1.0, 0.0)


def test_a_bet_that_displaced_what_a_task_then_misses_pays_for_it_once() -> None:
    before, makes, after = bet("b1", displaced=(warm("lib"),))
    pool = Watched(before, bot("b2"), bot("b3"))
    pool.becomes(makes)
    pool.becomes(after)
    pool.becomes(uses("b2", "lib"))
    lost = pool.booked()[1]
    assert lost < 0
    pool.becomes(uses("b3", "lib"))
    assert pool.booked()[1] == lost


def test_a_bet_pays_for_what_it_displaced_when_another_bet_makes_it_again_and_that_is_used() -> None:
    """Together they brought nothing: without both the task would have met the state just so."""
    first, second = bet("b1", displaced=(warm("lib"),)), bet("b2", "lib")
    pool = Watched(first[0], second[0])
    for moment in (1, 2):
        pool.becomes(first[moment])
    for moment in (1, 2):
        pool.becomes(second[moment])
    assert pool.booked() == (2.0, 0.0)
    pool.becomes(uses("b2", "lib"))
    assert pool.booked() == (2.0, 0.0)
    pool.becomes(uses("b1"))
    assert pool.booked()[1] > 0


@pytest.mark.parametrize("purpose", [Purpose.FORECAST, Purpose.ANNOUNCED])
def test_forecasts_and_what_was_announced_are_booked_alike(purpose: Purpose) -> None:
    before, makes, after = bet("b1", purpose=purpose)
    pool = Watched(before)
    for moment in (makes, after, uses("b1")):
        pool.becomes(moment)
    assert pool.booked() == (1.0, pytest.approx(58 / 60))


def test_a_miss_of_what_no_bet_displaced_costs_no_bet_anything() -> None:
    before, makes, after = bet("b1")
    pool = Watched(before, bot("b2"))
    pool.becomes(makes)
    pool.becomes(after)
    pool.becomes(uses("b2", "lib"))
    assert pool.booked() == (1.0, 0.0)


def test_a_state_that_went_unused_brings_nothing() -> None:
    before, makes, after = bet("b1")
    pool = Watched(before, bot("b2"))
    pool.becomes(makes)
    pool.becomes(after)
    pool.becomes(bot("b1", warm("lib")))
    pool.becomes(uses("b2"))
    assert pool.booked() == (1.0, 0.0)


def test_a_warm_up_on_demand_is_no_bet() -> None:
    pool = Watched(bot("b1"))
    pool.becomes(bot("b1", warm("src", phase=Phase.WARMING), run=held(Purpose.ON_DEMAND, "src", net=0.5)))
    assert pool.booked() == (0.0, 0.0)
