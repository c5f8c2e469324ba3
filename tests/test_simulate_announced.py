"""Announcements in a replay: which are made, when a policy hears of them, and when it is asked to act."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from server.policy.simulate.affinity import Affinity
from server.policy.simulate.announced import Heralds, announcements
from server.policy.simulate.options import Options
from server.policy.simulate.replay import POLICIES, replay
from server.policy.simulate.world import ANNOUNCED, World
from tests.simulate_world import arrivals, poisson

FAST = Options(bots=3, cold_s=60.0, skip_share=0.0)


def made(tasks, seed=1, **heralds):
    return announcements(tasks, Heralds(**heralds), random.Random(seed))


def test_a_share_of_the_tasks_is_announced_that_long_ahead():
    tasks = poisson("abc", hours=100, per_h=20)
    said = made(tasks, share=0.5, lead_s=600.0)
    assert len(said) == pytest.approx(len(tasks) / 2, rel=0.1)
    assert {(one.due_s, one.key) for one in said} <= {(task.submit_s, task.key) for task in tasks}
    assert all(one.at_s == max(0.0, one.due_s - 600.0) and one.until_s == one.due_s + 90.0 for one in said)
    assert [one.at_s for one in said] == sorted(one.at_s for one in said)
    assert {(one.confidence, one.source) for one in said} == {(0.9, "replay")}


def test_the_false_share_is_of_all_announcements_and_names_any_key_at_any_time():
    tasks = [*poisson("abcdef", hours=100, per_h=20), *arrivals((360_000.0, 1.0, "src:7"))]
    true = {(task.submit_s, task.key) for task in tasks}
    said = made(tasks, share=0.5, false_share=0.25)
    wrong = [one for one in said if (one.due_s, one.key) not in true]
    assert len(wrong) == pytest.approx(0.25 * len(said), abs=1)
    by_key = Counter(one.key for one in wrong)
    assert set(by_key) == {*"abcdef", "src:7"}
    assert min(by_key.values()) > 0.5 * len(wrong) / 7
    assert {(one.family, one.generation) for one in wrong if one.key == "src:7"} == {("src", "7")}
    dues = sorted(one.due_s for one in wrong)
    assert dues[len(dues) // 2] == pytest.approx(180_000.0, rel=0.2)


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"share": 0.5, "false_share": 1.0}, {"share": 0.5, "lead_s": -1.0}])
def test_shares_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match="false share"):
        made(arrivals((0, 1, "a")), **wrong)


class _Listens(Affinity):
    """Warms what is announced when it is due within one cold time and half a minute."""

    def __init__(self):
        self.heard, self.asked, self.open = [], [], []

    def announced(self, world, announcement):
        self.heard.append((world.now_s, announcement.key))
        self.open.append(announcement)

    def prewarm(self, world: World) -> None:
        self.asked.append(world.now_s)
        for one in list(self.open):
            if world.idle and one.due_s - world.now_s <= world.options.cold_s + 30.0:
                self.open.remove(one)
                world.warm(next(iter(world.idle.values())), one.key, ANNOUNCED)


def listened(tasks, options=FAST, lead_s=600.0):
    policy = _Listens()
    said = [one for one in made(tasks, share=1.0, lead_s=lead_s) if one.key != "x"]
    return policy, World(tasks, options, policy, random.Random(1), said).run()


def test_a_policy_hears_at_the_moment_and_is_asked_then_and_when_the_warm_up_is_due():
    policy, books = listened(arrivals((0, 1, "x"), (5003, 10, "a")))
    assert policy.heard == [(4403.0, "a")]
    assert {4403.0, 4920.0} <= set(policy.asked)  # 90 s before it is due, on the grid of ten seconds
    assert [start.warm for start in books.started] == [False, True]
    assert (books.prewarms, books.used) == (1, 1)


def test_many_announcements_due_together_wake_the_policy_together():
    tasks = arrivals((0, 1, "x"), *[(5000 + 0.5 * n, 10, "a") for n in range(10)])
    policy, _ = listened(tasks, Options(bots=30, skip_share=0.0))
    assert [at for at in policy.asked if 4900 <= at < 4970] == [4910.0, 4920.0]


def test_with_delays_bots_hear_within_a_second_of_what_is_announced():
    policy, _ = listened(arrivals((0, 1, "x"), (5003, 10, "a")), Options(bots=3, hear_s=1.0))
    assert any(4403.0 < at <= 4404.0 for at in policy.asked)
    assert 4403.0 not in policy.asked


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "pilotlight"])
def test_a_policy_that_does_not_listen_is_replayed_as_if_nobody_had_announced_anything(name):
    tasks = poisson("abcd", hours=6, per_h=60)
    without = replay(name, tasks, FAST, random.Random(3))
    said = made(tasks, share=0.5, false_share=0.1)
    assert replay(name, tasks, FAST, random.Random(3), announced=said).overhead == without.overhead


@pytest.mark.parametrize("is_false", [False, True])
def test_the_first_task_of_a_new_generation_is_waited_for_where_it_was_truly_announced(is_false):
    """Who knows that it will be asked for has registered it; a name that somebody makes up is known to nobody."""
    tasks = arrivals(*[(600 * n, 30, "src:r1") for n in range(60)], (40_000, 30, "src:r2"))
    said = [one for one in made(tasks, share=1.0, lead_s=600.0) if one.generation == "r2"]
    path = replay(
        "pilotlight", tasks, FAST, random.Random(3), announced=[replace(one, is_false=is_false) for one in said]
    )
    assert path.started[-1].warm is not is_false


def test_whatever_order_generations_are_announced_in_none_is_prewarmed_once_a_later_one_was_asked_for():
    """Generations in quick succession, some asked for by tasks that nobody announced, before one that was."""
    dice, now_s, found = random.Random(5), 0.0, []
    while (now_s := now_s + dice.expovariate(1 / 20.0)) < 8 * 3600.0:
        lasts_s, ahead = dice.uniform(30.0, 90.0), dice.choice((0, 0, 0, 0, 0, 1, 2))
        found.append((now_s, lasts_s, f"src:{int(now_s // 300) + ahead}"))
    tasks, options = arrivals(*found), replace(FAST, bots=14, cold_s=300.0)
    path = replay("pilotlight", tasks, options, random.Random(3), announced=made(tasks, share=0.5, lead_s=600.0))
    assert path.prewarms > 5
    assert path.stale == 0
