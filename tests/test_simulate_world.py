"""The virtual fleet: what a task waits for, and what becomes of bots and their states."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from server.policy.fleet import Fleet
from server.policy.model import Thresholds
from server.policy.simulate.affinity import Affinity, NoAffinity
from server.policy.simulate.ceiling import Ceiling
from server.policy.simulate.mirror import Mirror
from server.policy.simulate.off import Off
from server.policy.simulate.options import Options
from server.policy.simulate.pilotlight import Pilotlight
from server.policy.simulate.replay import POLICIES, make_policy, replay
from server.policy.simulate.world import FORECAST, Books, World
from tests.simulate_world import arrivals, poisson, rolling

ONE_BOT = Options(bots=1, cold_s=60.0, warm_s=2.0, skip_share=0.0)
FRICTIONS = {"hear_s": 1.0, "prewarm_failures": 0.2, "bot_lives_s": 20_000.0, "repair_s": 300.0}


def run(tasks, options, policy) -> Books:
    return World(tasks, options, policy, random.Random(1)).run()


def test_the_first_task_pays_the_cold_start_and_the_next_of_its_key_only_the_warm_one():
    books = run(arrivals((0, 100, "a"), (500, 100, "a")), ONE_BOT, Affinity())
    assert [start.overhead_s for start in books.started] == [60.0, 2.0]


def test_a_task_of_another_key_takes_the_only_slot_so_the_former_state_is_gone():
    books = run(arrivals((0, 10, "a"), (500, 10, "b"), (900, 10, "a")), ONE_BOT, Affinity())
    assert [start.warm for start in books.started] == [False, False, False]


def test_two_slots_keep_two_states_and_lose_the_one_used_longest_ago():
    tasks = arrivals((0, 10, "a"), (200, 10, "b"), (400, 10, "a"), (600, 10, "c"), (800, 10, "a"), (1000, 10, "b"))
    books = run(tasks, replace(ONE_BOT, slots=2), Affinity())
    assert [start.warm for start in books.started] == [False, False, True, False, True, False]


def test_a_task_that_finds_no_bot_waits_for_the_end_of_the_run_before_it():
    books = run(arrivals((0, 100, "a"), (10, 100, "a")), ONE_BOT, Affinity())
    assert books.started[1].queue_s == 150.0
    assert books.started[1].overhead_s == 152.0


def test_affinity_finds_the_warm_bot_where_no_affinity_takes_the_one_idle_longest():
    tasks = arrivals((0, 10, "a"), (1, 50, "b"), (500, 10, "b"))
    two = replace(ONE_BOT, bots=2)
    assert run(tasks, two, Affinity()).started[-1].warm
    assert not run(tasks, two, NoAffinity()).started[-1].warm


@pytest.mark.parametrize(
    "policy", [NoAffinity(), Affinity(), Off(ONE_BOT, Thresholds()), Pilotlight(ONE_BOT, Thresholds())]
)
def test_whoever_dispatches_the_more_urgent_task_goes_first(policy):
    first, urgent = replace(arrivals((10, 50, "b"))[0], priority=1), replace(arrivals((20, 50, "a"))[0], priority=0)
    tasks = [arrivals((0, 100, "b"))[0], first, urgent]
    assert [start.task.key for start in run(tasks, ONE_BOT, policy).started] == ["b", "a", "b"]


def test_the_server_sees_generations_side_by_side_where_there_is_room():
    two = replace(ONE_BOT, slots=2)
    world = World([], two, Affinity(), random.Random(1))
    world.bots[0].states.update({"fw:1": 10.0, "fw:2": 20.0})
    seen = Mirror(two).bot(world, world.bots[0])
    assert {slot.generation for slot in seen.slots.values()} == {"1", "2"}


def test_replayed_states_do_not_age():
    two = replace(ONE_BOT, bots=2)
    policy = Pilotlight(two, Thresholds(mode="live"))
    world = World(arrivals((0, 10, "a"), (3 * 86_400, 10, "b")), two, policy, random.Random(1))
    world.run()
    fleet = Fleet(policy.view(world))
    assert len(fleet.fresh["a", "current"]) == 1


class _WarmsOnce(Affinity):
    tick_s = 10.0

    def prewarm(self, world: World) -> None:
        if not world.books.prewarms:
            world.warm(next(iter(world.idle.values())), "a", FORECAST)


def test_a_warm_up_that_is_stopped_keeps_its_bot_for_the_grace_and_leaves_nothing():
    options = replace(ONE_BOT, cold_s=600.0, grace_s=30.0)
    books = run(arrivals((100, 10, "a")), options, _WarmsOnce())
    assert books.preempted == 1
    assert books.started[0].queue_s == 30.0
    assert not books.started[0].warm
    assert books.background_s == 120.0


def test_a_warm_up_that_ends_within_the_grace_is_used():
    books = run(arrivals((100, 10, "a")), replace(ONE_BOT, cold_s=110.0), _WarmsOnce())
    assert books.started[0].overhead_s == 22.0
    assert (books.prewarms, books.used) == (1, 1)


def test_a_bot_that_sleeps_between_polls_hears_of_a_task_when_it_asks():
    options = replace(ONE_BOT, sleeping_polls=True, sleep_s=40.0)
    waits = [
        start.queue_s
        for start in run(arrivals(*[(1000.0 * n, 10, "a") for n in range(50)]), options, Affinity()).started
    ]
    assert max(waits) > 20.0
    assert max(waits) <= 48.0


@pytest.mark.parametrize(
    "frictions", [{}, FRICTIONS, {**FRICTIONS, "sleeping_polls": True}], ids=["ideal", "real", "polls"]
)
@pytest.mark.parametrize("name", POLICIES)
def test_every_task_starts_under_every_policy_and_the_same_inputs_give_the_same_figures(name, frictions):
    tasks = poisson("abcdef", hours=4, per_h=60)
    options = Options(bots=5, skip_share=0.0, **frictions)
    first, again = (replay(name, tasks, options, random.Random(3)) for _ in range(2))
    assert len({start.task.number for start in first.started}) == len(tasks)
    assert first.overhead == again.overhead
    assert min(first.queue) >= 0.0
    assert min(first.overhead) >= options.warm_s


@pytest.mark.parametrize("name", ["off", "pilotlight"])
def test_no_bot_ever_runs_two_things_at_once(name):
    tasks = poisson("abc", hours=4, per_h=100)
    path = replay(name, tasks, Options(bots=4, skip_share=0.0), random.Random(3))
    changes = sorted([(begin, 1) for begin, _ in path.occupied] + [(end, -1) for _, end in path.occupied])
    level = top = 0
    for _, change in changes:
        level += change
        top = max(top, level)
    assert top <= 4


def test_a_task_that_meets_only_cold_bots_waits_for_whichever_bot_is_warm_first():
    tasks = arrivals((0, 20, "a"), (70, 10, "a"))
    options = Options(bots=3, cold_s=600.0, skip_share=0.0)
    books = run(tasks, options, Off(options, Thresholds()))
    second = books.started[1]
    assert books.on_demand == 1
    assert second.warm
    assert second.at_s == 620.0  # the first bot is free then, 50 s before the warm-up is done


def test_the_only_idle_bot_is_bound_early():
    options = Options(bots=2, cold_s=60.0, skip_share=0.0)
    books = run(arrivals((0, 1000, "a"), (10, 10, "a")), options, Off(options, Thresholds()))
    assert books.on_demand == 0
    assert books.started[1].queue_s == 0.0


def test_what_the_server_runs_never_prewarms_a_superseded_generation_and_is_of_use_when_versions_move():
    tasks = rolling(hours=12)
    options = Options(bots=8)
    own, base = (replay(name, tasks, options, random.Random(3)) for name in ("pilotlight", "affinity"))
    assert own.prewarms > 0
    assert own.stale == 0
    assert own.total_s < base.total_s


def test_a_pool_in_shadow_mode_warms_nothing():
    options = Options(bots=8)
    policy = Pilotlight(options, Thresholds(mode="shadow"))
    assert run(rolling(hours=3), options, policy).prewarms == 0
    assert policy.decisions > 0


def test_the_clairvoyant_is_ahead_of_affinity():
    tasks = poisson("abcdefgh", hours=8, per_h=60)
    best, base = (replay(name, tasks, Options(bots=8), random.Random(3)) for name in ("ceiling", "affinity"))
    assert best.total_s < 0.6 * base.total_s


def test_the_clairvoyant_is_in_nobodys_way():
    tasks = poisson("abcdefgh", hours=8, per_h=100)
    path = replay("ceiling", tasks, Options(bots=8, cold_s=120.0), random.Random(3))
    assert path.used > 10
    assert path.preempted == 0


def test_the_clairvoyant_warms_nothing_that_nobody_asked_for_before():
    tasks = arrivals((0, 10, "a"), (2000, 10, "b"), (4000, 10, "a"), (6000, 10, "b"))
    options = replace(ONE_BOT, bots=3, slots=1)
    books = run(tasks, options, Ceiling(options, tasks))
    assert [start.warm for start in books.started] == [False, False, True, True]
    assert books.prewarms == 0
    alone = replace(ONE_BOT, bots=2)
    tasks = arrivals((0, 10, "a"), (1000, 10, "b"), (2000, 10, "c"), (4000, 10, "a"))
    books = run(tasks, alone, Ceiling(alone, tasks))
    assert books.started[-1].warm


class _Watched:
    """A policy that looks at every bot before it acts: no state too many, the one used longest ago first."""

    def __init__(self, policy):
        self.policy, self.tick_s, self.most_states = policy, policy.tick_s, 0

    def __getattr__(self, name):
        return getattr(self.policy, name)

    def act(self, world):
        holders = {}
        for bot in world.bots:
            uses = list(bot.states.values())
            self.most_states = max(self.most_states, len(uses))
            assert len(uses) + (bot.run is not None and bot.run.task is None) <= world.options.slots
            assert uses == sorted(uses)
            assert set(bot.unused) <= set(bot.states)
            if bot.run is None and bot.alive:
                for key in bot.states:
                    holders.setdefault(key, set()).add(bot.number)
        assert {key: set(bots) for key, bots in world.copies.items() if bots} == holders
        self.policy.act(world)


@pytest.mark.parametrize("frictions", [{}, FRICTIONS], ids=["ideal", "real"])
@pytest.mark.parametrize("name", [name for name in POLICIES if name != "pilotlight"])
def test_bots_with_several_slots_keep_the_states_used_last_and_idle_copies_are_known(name, frictions):
    tasks = poisson("abcdefgh", hours=6, per_h=80)
    options = Options(bots=5, slots=3, **frictions)
    policy = _Watched(make_policy(name, options, tasks, Thresholds()))
    books = World(tasks, options, policy, random.Random(3)).run()
    assert policy.most_states == 3
    assert len({start.task.number for start in books.started}) == len(tasks)


def test_a_task_sacrifices_the_oldest_state_of_all_bots_where_none_has_room():
    tasks = arrivals(
        (0, 10, "a"), (1, 10, "b"), (200, 10, "c"), (201, 10, "d"),  # a and c on one bot, b and d on the other
        (400, 10, "a"), (600, 10, "e"), (800, 10, "a"), (850, 10, "c"), (900, 10, "b"),
    )  # fmt: skip
    books = run(tasks, replace(ONE_BOT, bots=2, slots=2), Affinity())
    warm = {(start.task.submit_s, start.task.key): start.warm for start in books.started}
    assert warm[800, "a"] and warm[850, "c"]
    assert not warm[900, "b"]


@pytest.mark.parametrize("name", ["affinity", "off", "ceiling"])
def test_more_slots_make_no_more_cold_starts(name):
    tasks = poisson("abcdefghijkl", hours=12, per_h=40)
    rates = [replay(name, tasks, Options(bots=5, slots=slots), random.Random(3)).warm_rate for slots in (1, 2, 4)]
    assert rates == sorted(rates)
    assert rates[0] < rates[-1]
