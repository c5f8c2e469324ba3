"""Clean-ups in a replay: who pays for them, and what the books say."""

from __future__ import annotations

import random

import pytest

from server.policy.simulate.affinity import Affinity
from server.policy.simulate.options import Options
from server.policy.simulate.replay import CLEAN_AT_ONCE, replay
from server.policy.simulate.world import World
from tests.simulate_world import arrivals, poisson

ONE_BOT = Options(bots=1, cold_s=60.0, warm_s=2.0, clean_s=40.0, skip_share=0.0)
FRICTIONS = {"hear_s": 1.0, "prewarm_failures": 0.2, "bot_lives_s": 20_000.0, "repair_s": 300.0}


class _Cleans(Affinity):
    """Cleans at once, and preempts a clean-up for a task if it is told to."""

    def __init__(self, preempts=False):
        self.preempts = preempts

    def prewarm(self, world: World) -> None:
        for bot in list(world.idle.values()):
            if bot.dirty:
                world.clean(bot)

    def preempt(self, world: World) -> None:
        for bot in world.background.values():
            if self.preempts and bot.run is not None and not bot.run.wanted:
                world.preempt(bot)


def run(tasks, policy, options=ONE_BOT):
    world = World(tasks, options, policy, random.Random(1))
    return world.run(), world


def test_the_next_task_on_a_dirty_bot_pays_for_the_clean_up_before_its_own_start():
    books, world = run(arrivals((0, 100, "a"), (500, 100, "a"), (1000, 100, "b")), Affinity())
    assert [start.overhead_s for start in books.started] == [60.0, 42.0, 100.0]
    assert (books.owed_s, books.paid_s, books.clean_s) == (80.0, 80.0, 0.0)
    assert world.bots[0].run.end_s == 1200.0


def test_a_bot_that_was_cleaned_in_the_background_keeps_its_state_and_costs_the_next_task_nothing():
    books, world = run(arrivals((0, 100, "a"), (500, 100, "a")), _Cleans())
    assert [start.overhead_s for start in books.started] == [60.0, 2.0]
    assert (books.owed_s, books.paid_s, books.clean_s) == (40.0, 0.0, 40.0)
    assert not world.bots[0].dirty


def test_a_task_that_waits_for_a_clean_up_pays_for_what_was_left_of_it():
    books, _ = run(arrivals((0, 100, "a"), (190, 100, "a")), _Cleans())  # freed at 160, clean at 200
    second = books.started[1]
    assert (second.at_s, second.overhead_s, second.queue_s) == (200.0, 12.0, 10.0)
    assert (books.owed_s, books.paid_s) == (40.0, 10.0)


def test_a_clean_up_that_is_preempted_was_for_nothing():
    options = Options(bots=1, clean_s=300.0, grace_s=30.0, skip_share=0.0)
    books, _ = run(arrivals((0, 100, "a"), (200, 100, "a")), _Cleans(preempts=True), options)
    assert books.preempted == 1
    assert books.started[1].overhead_s == 30.0 + 300.0 + 2.0
    assert books.clean_s == 200.0 + 30.0 - 160.0
    assert (books.owed_s, books.paid_s) == (300.0, 300.0)


def test_a_warm_up_on_a_dirty_bot_leaves_it_dirty():
    class Warms(Affinity):
        def prewarm(self, world: World) -> None:
            if world.now_s > 100.0 and not world.books.prewarms:
                world.warm(world.bots[0], "b", "forecast")

    books, _ = run(arrivals((0, 100, "a"), (500, 100, "b")), Warms())
    assert [start.overhead_s for start in books.started] == [60.0, 42.0]


def test_a_bot_that_crashed_in_a_task_comes_back_dirty():
    options = Options(bots=1, clean_s=40.0, bot_lives_s=500.0, repair_s=100.0, skip_share=0.0)
    books, _ = run(arrivals((0, 1500, "a"), (500_000, 1, "a")), Affinity(), options)
    assert books.deaths > 0
    assert books.owed_s == 40.0 * (len(books.started) - 1)


def test_no_clean_ups_are_counted_where_none_are_asked_for():
    path = replay("affinity", poisson("ab", hours=3, per_h=60), Options(bots=4), random.Random(1))
    assert path.clean_hidden is None


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("frictions", [{}, FRICTIONS], ids=["ideal", "real"])
def test_cleaning_at_once_hides_nearly_all_clean_ups_where_bots_are_idle_and_delays_nobody(frictions, slots):
    tasks = poisson("abcdef", hours=12, per_h=60)
    options = Options(bots=10, clean_s=60.0, slots=slots, skip_share=0.0, **frictions)
    bound, off = (replay(name, tasks, options, random.Random(3)) for name in (CLEAN_AT_ONCE, "off"))
    assert off.clean_hidden == 0.0
    assert off.clean_s == 0.0
    assert 0.85 < bound.clean_hidden <= 1.0
    assert bound.clean_s > 0.0
    assert bound.total_s < 0.5 * off.total_s
    if options.ideal:
        assert bound.queue[int(0.99 * len(bound.queue))] <= off.queue[int(0.99 * len(off.queue))]
    assert len({start.task.number for start in bound.started}) == len(tasks)
