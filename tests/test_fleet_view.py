"""What a process knows of the fleet: how it hears of what others did, how old that is, and that it never says no."""

from __future__ import annotations

import random
from unittest import mock

import pytest

from server import errors, prewarm_spec, sweeps, switch, task_scheduler
from server.access import LOCAL_USER
from server.policy.model import Gate
from server.prewarm_gate import GateRefused
from server.records import key_of
from server.view_budget import BURST_REFRESHES, QUERIES_PER_REFRESH, QUERIES_PER_S, RefreshBudget
from server.view_looks import LOOK_EVERY_S
from tests.life_world import FAMILY, POOL, LifeWorld, Machine, end, hand_out, keep_alive, start


@pytest.fixture
def bot(world: LifeWorld) -> Machine:
    bot = Machine(world)
    bot.handshake()
    return bot


def pending(world: LifeWorld, process: int = 1) -> list[str]:
    return [entry.policy.id for entry in world.services[process].view.pending(POOL)]


# ---- hearing of it


def test_a_process_knows_at_once_what_it_did_itself_and_others_with_the_next_look(world: LifeWorld) -> None:
    with mock.patch.object(world.p2.view, "refresh"):
        task = world.new_task(world.p1)
    assert (pending(world, 0), pending(world, 1)) == ([task], [])
    world.clock.advance(1)
    assert world.p2.view.refresh()
    assert pending(world, 1) == [task]


def test_it_looks_once_a_second_however_many_ask(world: LifeWorld) -> None:
    world.clock.advance(1)
    assert [world.p1.view.refresh() for _ in range(5)] == [True, False, False, False, False]
    world.clock.advance(0.5)
    assert not world.p1.view.refresh()


def test_news_of_another_process_are_fetched_at_once_when_somebody_is_eager(world: LifeWorld, bot: Machine) -> None:
    world.p2.view.refresh(force=True)
    assert not world.p2.view.refresh(eager=True)
    other = world.store.open(world.settings.store_url, rng=random.Random(2))
    with other.context():
        record = key_of("Bot", "bot1").get()
        record.changed_s, record.version = record.changed_s + 1, "v2"
        record.put()
    other.close()
    assert world.p2.view.refresh(eager=True)
    assert world.p2.view.bot("bot1").version == "v2"


def test_a_delta_costs_the_same_whatever_the_size_of_the_fleet(world: LifeWorld) -> None:
    def cost() -> tuple[int, int]:
        world.clock.advance(60)
        world.fresh()
        world.clock.advance(60)
        with world.store.ops.measure() as ops:
            world.p2.view.refresh(force=True)
        return ops.queries, ops.results

    before = cost()
    for number in range(30):
        Machine(world, f"b{number}").handshake()
        world.new_task()
    assert cost() == before == (2, 0)


def test_a_task_that_was_claimed_elsewhere_leaves_the_queue_here(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    world.fresh()
    assert pending(world) == [task]
    bot.takes(task, world.p1)
    world.clock.advance(1)
    world.p2.view.refresh()
    assert pending(world) == []
    assert world.p2.view.bot("bot1").policy.held.task_id == task


def test_what_is_older_than_known_is_left_aside(world: LifeWorld, bot: Machine) -> None:
    old = world.bot()
    bot.takes(world.new_task())
    world.p1.view.apply([old])
    assert world.p1.view.bot("bot1").held is not None


def test_tasks_stand_by_priority_then_by_age(world: LifeWorld) -> None:
    late, urgent, first = world.new_task(priority=200), world.new_task(priority=30), world.new_task(priority=30)
    assert pending(world) == [urgent, first, late]


def test_what_left_the_store_leaves_the_view_with_the_next_full_look(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    with world.store.context():
        key_of("Bot", "bot1").delete()
        key_of("TaskToRun", task).delete()
    world.clock.advance(60)
    world.fresh()
    assert (world.p2.view.bot("bot1") is None, pending(world)) == (False, [task])
    world.clock.advance(700)
    world.fresh()
    assert (world.p2.view.bot("bot1"), pending(world)) == (None, [])


def test_full_looks_of_processes_are_spread(world: LifeWorld) -> None:
    due = {world.process(f"q{number}").view for number in range(5)}
    for view in due:
        view.refresh(force=True)
    assert len({view._looks._full_due_s for view in due}) > 1


def test_specs_and_switch_come_with_the_next_look(world: LifeWorld) -> None:
    world.prewarming()
    world.clock.advance(1)
    prewarm_spec.pause(world.p1, LOCAL_USER, FAMILY)
    switch.set_switch(world.p1, LOCAL_USER, True, "why")
    world.p2.view.refresh()
    assert not world.p2.view.specs()[FAMILY].policy.active
    assert world.p2.view.switch().stopped
    assert world.p2.view.gate(POOL).stopped


# ---- how old it is


def test_a_view_that_never_looked_hands_out_nothing(world: LifeWorld) -> None:
    world.prewarming(expected_per_h=100)
    fresh = world.process("q")
    world.freeze(fresh)
    assert fresh.view.age_s() == float("inf")
    bot = Machine(world)
    bot.handshake(fresh)
    assert bot.poll(fresh).delivery is None


def test_an_old_view_gives_real_work_and_no_background_work(world: LifeWorld, bot: Machine) -> None:
    world.prewarming(expected_per_h=100)
    task = world.new_task()
    world.freeze(world.p2)
    world.clock.advance(16)
    bot.takes(task, world.p2)
    other = Machine(world, "bot2")
    other.token = other.repeat_handshake(world.p2)
    assert other.poll(world.p2).delivery is None
    assert world.p2.view.plan(POOL).advice["bot2"].refused.gate is Gate.FRESH_VIEW


def test_while_the_store_is_lost_bots_sleep_for_a_while_and_keep_what_they_have(world: LifeWorld, bot: Machine) -> None:
    run = bot.takes(world.new_task())
    start(world.p1, run)
    other = Machine(world, "bot2")
    other.handshake()
    world.clock.advance(LOOK_EVERY_S)
    with mock.patch.object(world.p1.view, "take_in", side_effect=errors.StoreUnavailable("gone")):
        sleeps = [other.poll(world.p1).sleep_s for _ in range(20)]
        assert all(5 <= sleep_s <= 15 for sleep_s in sleeps)
        assert len(set(sleeps)) > 10
        assert not keep_alive(world.p1, run).must_stop
    world.clock.advance(2)
    assert other.poll(world.p1).sleep_s < 5


def test_a_store_that_nobody_changed_is_asked_for_nothing_between_two_looks(world: LifeWorld, bot: Machine) -> None:
    world.fresh()
    with world.store.ops.measure() as ops:
        for _ in range(4):
            world.clock.advance(1)
            assert world.p2.view.refresh()
            assert world.p2.view.age_s() == 0
    assert ops.calls == 0
    world.clock.advance(1)
    with world.store.ops.measure() as ops:
        world.p2.view.refresh()
    assert ops.queries == 2


def test_a_store_that_cannot_tell_is_asked_each_time(world: LifeWorld, bot: Machine) -> None:
    with mock.patch.object(world.store, "data_version", return_value=None), world.store.ops.measure() as ops:
        for _ in range(4):
            world.clock.advance(2)
            assert world.p2.view.refresh()
    assert ops.queries == 8


def test_a_clock_set_back_makes_the_view_look_again(world: LifeWorld, bot: Machine) -> None:
    world.fresh()
    world.clock.jump(-5)
    with mock.patch.object(world.p2.view, "refresh"):
        task = world.new_task(world.p1)
    world.clock.jump(-0.5)
    world.p2.view.refresh()
    assert pending(world) == [task]
    assert world.p2.view.age_s() == 0


@pytest.mark.parametrize("jump_s", [-3600, 3600, -86_400 * 400])
def test_after_a_jump_of_the_clock_tasks_are_run_as_before(world: LifeWorld, bot: Machine, jump_s: float) -> None:
    run = bot.takes(world.new_task(), world.p1)
    start(world.p1, run)
    world.clock.jump(jump_s)
    for service in world.services:
        assert not keep_alive(service, run).must_stop
    assert end(world.p2, run).ok
    task = world.new_task(world.p2)
    second = bot.takes(task, world.p1)
    assert second.delivery.n > run.delivery.n
    assert not start(world.p2, second).must_stop
    sweeps.lapse_claims(world.p1, world.beat())
    assert world.state(task) == "RUNNING"


def test_a_bot_that_was_silent_for_minutes_is_given_work_by_its_first_poll(world: LifeWorld, bot: Machine) -> None:
    bot.poll(world.p2)
    world.clock.advance(400)
    task = world.new_task()
    world.p2.view.plan(POOL)  # the bot counts as gone
    bot.takes(task, world.p2)


# ---- it never says no


def test_a_view_that_took_a_bot_for_free_asks_the_store_before_it_stops_a_run(world: LifeWorld, bot: Machine) -> None:
    run = bot.takes(world.new_task())
    start(world.p1, run)
    start(world.p2, run)
    world.fresh()
    world.p2.view.free_for_poll(run.token)
    assert not keep_alive(world.p2, run).must_stop


def test_a_keep_alive_at_a_process_that_does_not_know_the_claim_yet_costs_nothing(
    world: LifeWorld, bot: Machine
) -> None:
    world.freeze(world.p2)
    run = bot.takes(world.new_task(world.p1))
    start(world.p1, run)
    start(world.p2, run)
    with world.store.ops.measure() as ops:
        assert not keep_alive(world.p2, run).must_stop
    assert (ops.reads, ops.writes, ops.queries) == (0, 0, 0)


def test_the_first_poll_after_a_run_gets_the_next_task_at_a_process_that_missed_the_end(
    world: LifeWorld, bot: Machine
) -> None:
    run = bot.takes(world.new_task())
    start(world.p1, run)
    task = world.new_task(world.p1)
    world.fresh()
    world.freeze(world.p2)
    end(world.p1, run)
    bot.token = run.token
    assert world.p2.view.bot("bot1").held is not None
    bot.takes(task, world.p2)


def test_a_refusal_of_the_gate_is_kept_for_those_who_ask_why(world: LifeWorld, bot: Machine) -> None:
    world.prewarming(expected_per_h=100)
    other = Machine(world, "bot2")
    other.handshake()
    hand_out(world.p1, other.token)
    world.fresh(world.p2)
    world.freeze(world.p2)
    world.clock.advance(1)
    switch.set_switch(world.p1, LOCAL_USER, True)
    assert bot.poll(world.p2).delivery is None
    at_s, refused = world.p2.view.refusal("bot1")
    assert (at_s, refused.gate) == (world.clock.now_s(), Gate.SWITCH)
    with pytest.raises(GateRefused):
        hand_out(world.p2, bot.token)


def test_a_lost_race_costs_one_try_and_the_next_head_is_taken(world: LifeWorld, bot: Machine) -> None:
    first, second = world.new_task(), world.new_task()
    world.freeze(world.p2)
    faster = Machine(world, "bot2")
    faster.handshake(world.p1)
    task_scheduler.claim(world.p1, faster.token, first, "")
    bot.takes(second, world.p2)
    assert world.p2.pages.counters()["p/lost_race"] == 1


def test_a_drained_pool_gives_no_real_work(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    world.configure(drained=True)
    assert [bot.poll(service).delivery for service in world.services] == [None, None]
    world.configure(drained=False)
    bot.takes(task)


# ---- the budget of looks


def test_looks_are_bounded_on_average_and_may_come_in_a_short_burst() -> None:
    budget = RefreshBudget()
    assert [budget.take(0.0) for _ in range(BURST_REFRESHES + 1)] == [True] * BURST_REFRESHES + [False]
    taken = sum(budget.take(number / 100) for number in range(1, 100_001))
    assert taken * QUERIES_PER_REFRESH / 1000 == pytest.approx(QUERIES_PER_S, rel=0.02)


def test_a_pause_earns_no_more_than_one_burst() -> None:
    budget = RefreshBudget()
    budget.take(0.0)
    assert sum(budget.take(10_000.0) for _ in range(100)) == BURST_REFRESHES


def test_the_claim_itself_is_what_counts(world: LifeWorld, bot: Machine) -> None:
    """Two processes that both see the task as pending: one claims it."""
    task = world.new_task()
    other = Machine(world, "bot2")
    other.handshake()
    world.fresh()
    for service in world.services:
        world.freeze(service)
    assert bot.poll(world.p1).delivery.task_id == task
    assert other.poll(world.p2).delivery is None
    with pytest.raises(task_scheduler.LostRace):
        task_scheduler.claim(world.p2, other.token, task, "")
