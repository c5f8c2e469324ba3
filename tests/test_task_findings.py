"""What was found beside the protocol's model (A1 to A6), and what a claim checks again."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import pytest

from server import bot_management, sweeps, task_scheduler, task_stops, task_to_run
from server.access import LOCAL_USER
from server.policy.outcome import Preempt
from server.prewarm_gate import GateRefused
from server.task_scheduler import LostRace, SessionGone
from tests.life_world import LifeWorld, Machine, end, hand_out, keep_alive, report, start


@pytest.fixture
def bot(world: LifeWorld) -> Machine:
    bot = Machine(world)
    bot.handshake()
    return bot


# ---- A1


def test_a_task_that_commits_late_with_an_early_time_is_not_missed(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()

    def written_late() -> None:
        queue = task_scheduler.key_of("TaskToRun", task).get()
        queue.key = task_scheduler.key_of("TaskToRun", task[:-2] + "f0")
        queue.changed_s = world.clock.now_s() - 5
        queue.put()

    world.clock.advance(20)
    world.fresh()
    world.store.transaction(written_late)
    world.clock.advance(1)
    world.fresh(world.p2)
    assert world.p2.view.is_pending(task[:-2] + "f0")


# ---- A2


def test_a_claim_reads_three_records_and_writes_three(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    with world.store.ops.measure() as ops:
        task_scheduler.claim(world.p1, bot.token, task, "")
    assert (ops.reads, ops.writes, ops.queries, ops.transactions) == (3, 3, 0, 1)


# ---- A3


def test_a_view_from_before_the_last_preemption_gives_the_freed_bot_no_background_work(
    world: LifeWorld, bot: Machine
) -> None:
    world.prewarming()
    run = bot.warms()
    task = world.new_task(dimensions={"cpu": "none-has-it"})
    world.clock.advance(1)
    wanted = Preempt("bot1", run.delivery.n, run.task_id, task, "It waits.")
    assert task_stops.preempt(world.p1, wanted)
    with (
        mock.patch.object(world.p2.view, "refresh"),
        pytest.raises(GateRefused, match="older than the pool's last preemption"),
    ):
        hand_out(world.p2, bot.token)
    world.clock.advance(1)
    world.fresh(world.p2)
    hand_out(world.p2, bot.token)


# ---- A4


def test_two_machines_with_one_id_are_found_out_and_told(world: LifeWorld, bot: Machine) -> None:
    twin = Machine(world, bot.bot_id, name="twin")
    for _ in range(3):
        for newer, older in ((twin, bot), (bot, twin)):
            newer.handshake()
            with pytest.raises(SessionGone):
                older.lost_poll()
    assert world.bot().server_quarantined == "two machines use the bot id bot1"
    world.new_task()
    assert bot.poll().delivery is None
    bot_management.release(world.p1, LOCAL_USER, "bot1")
    assert bot.poll().delivery is not None
    assert world.bot().server_quarantined == ""


def test_a_bot_that_crashes_and_starts_again_and_again_is_one_machine(world: LifeWorld, bot: Machine) -> None:
    for _ in range(20):
        bot.handshake()
        bot.poll()
    assert world.bot().server_quarantined == ""


def test_a_poll_that_was_delayed_over_a_restart_now_and_then_makes_no_second_machine(
    world: LifeWorld, bot: Machine
) -> None:
    for number in range(20):
        before = bot.token
        bot.handshake()
        if number % 3 == 0:
            with pytest.raises(SessionGone):
                bot.lost_poll(token=before)
    assert world.bot().server_quarantined == ""


# ---- A5


def test_a_task_that_no_bot_lives_to_start_ends_after_three_claims(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    for _ in range(2):
        bot.takes(task)
        bot.handshake()
    assert world.state(task) == "PENDING"
    bot.takes(task)
    bot.handshake()
    assert world.state(task) == "BOT_DIED"
    assert world.result(task).error == "its bot started anew"
    assert (world.queue(task), world.holds()) == ("gone", "")
    assert bot.poll().delivery is None


def test_the_number_of_claims_is_the_pools_setting(world: LifeWorld, bot: Machine) -> None:
    world.configure(claims_without_start=1)
    task = world.new_task()
    bot.takes(task)
    world.clock.advance(31)
    sweeps.lapse_claims(world.p1, world.beat())
    assert world.state(task) == "BOT_DIED"


# ---- A6


def test_after_the_service_was_away_a_claim_gets_its_time_again(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    bot.takes(task)
    world.clock.advance(300)
    sweeps.lapse_claims(world.p2, world.beat(up_s=29))
    assert world.holds() == task
    sweeps.lapse_claims(world.p2, world.beat(up_s=31))
    assert world.holds() == ""


def test_a_foreign_bot_gets_its_longer_time_again_too(world: LifeWorld) -> None:
    bot = Machine(world, said=replace(report(), own=False))
    bot.handshake()
    task = world.new_task()
    bot.takes(task)
    assert world.result(task).claim_until_s == world.clock.now_s() + 60
    world.clock.advance(300)
    sweeps.lapse_claims(world.p2, world.beat(up_s=59))
    assert world.holds() == task
    sweeps.lapse_claims(world.p2, world.beat(up_s=61))
    assert world.holds() == ""


def test_after_the_service_was_away_bots_get_their_time_again(world: LifeWorld, bot: Machine) -> None:
    start(world.p1, bot.takes(world.new_task()))
    world.clock.advance(3000)
    sweeps.declare_deaths(world.p2, world.beat(up_s=599))
    assert world.bot().alive
    sweeps.declare_deaths(world.p2, world.beat(up_s=601))
    assert not world.bot().alive


# ---- a claim checks again what the view believed


def test_a_task_that_moved_on_to_a_slice_for_other_bots_is_not_given_by_an_old_view(
    world: LifeWorld, bot: Machine
) -> None:
    task = world.new_task(expiration_s=30, more_slices=[{"os": "mac"}])
    world.freeze(world.p2)
    world.clock.advance(31)
    sweeps.expire_tasks(world.p1, world.beat())
    assert (world.queue(task), world.result(task).slice_no) == ("pending", 1)
    with pytest.raises(LostRace):
        task_scheduler.claim(world.p2, bot.token, task, "")
    assert bot.poll(world.p2).delivery is None
    mac = Machine(world, "bot2", said=report("bot2", os=["mac"]))
    mac.handshake()
    mac.takes(task, world.p1)


def test_the_next_slice_brings_its_own_grace(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task(expiration_s=30, more_slices=[{"os": "mac"}])

    def shorter() -> None:
        request = task_scheduler.key_of("TaskRequest", task).get()
        request.slices[1]["properties"]["grace_period_secs"] = 7
        request.put()

    world.store.transaction(shorter)
    world.clock.advance(31)
    sweeps.expire_tasks(world.p1, world.beat())
    assert world.result(task).grace_period_s == 7


def test_a_task_past_its_time_is_given_to_nobody_though_no_sweep_came_yet(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task(expiration_s=30)
    world.clock.advance(31)
    with pytest.raises(LostRace):
        task_scheduler.claim(world.p1, bot.token, task, "")
    assert world.holds() == ""


def test_a_bot_that_moved_to_another_pool_takes_nothing_of_its_old_one(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    world.freeze(world.p2)
    bot.said = report(pool=["elsewhere"])
    bot.poll(world.p1)
    bot.said = report()
    entry = world.p2.view.bot("bot1")
    with pytest.raises(LostRace):
        task_scheduler.claim(world.p2, bot.token, task, "")
    assert entry.pool == "p"
    assert world.queue(task) == "pending"


def test_a_task_that_one_bot_could_not_take_is_not_forgotten(world: LifeWorld, bot: Machine) -> None:
    """The process whose view was wrong still gives it to the next bot that fits."""
    task = world.new_task()
    world.freeze(world.p2)
    bot.said = report(pool=["elsewhere"])
    bot.poll(world.p1)
    entry = world.p2.view.bot("bot1")
    assert entry.pool == "p"
    assert task_to_run.answer_poll(world.p2, bot.token, entry, 0.0).delivery is None
    other = Machine(world, "bot2")
    other.handshake(world.p2)
    other.takes(task, world.p2)


# ---- what is booked is booked once


def test_a_repeated_start_counts_once_also_when_the_run_is_being_stopped(world: LifeWorld, bot: Machine) -> None:
    world.prewarming()
    task = world.new_task(caches=["src"])
    run = bot.takes(task)
    start(world.p1, run)
    world.cancel(task)
    assert start(world.p2, run).must_stop
    keep_alive(world.p2, run)
    end(world.p1, run)
    starts = sum(service.pages.counters().get("p/src/cold_starts", 0) for service in world.services)
    assert starts == 1


def test_trouble_with_the_ledger_is_no_trouble_of_the_bot(
    world: LifeWorld, bot: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object) -> None:
        raise RuntimeError("a bug")

    task = world.new_task()
    run = bot.takes(task)
    monkeypatch.setattr("server.ledger.book", fails)
    assert not start(world.p1, run).must_stop
    assert end(world.p1, run).ok
    assert world.state(task) == "COMPLETED"
