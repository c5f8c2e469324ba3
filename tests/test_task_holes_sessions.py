"""Holes that the protocol closes around bots that restart, fall silent or come twice: each test plays one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server import sweeps, task_scheduler, task_stops
from tests.life_world import LifeWorld, Machine, Run, end, keep_alive, start


@pytest.fixture
def bot(world: LifeWorld) -> Machine:
    bot = Machine(world)
    bot.handshake()
    return bot


# ---- H5


def test_a_reboot_ends_the_run_at_the_handshake(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    start(world.p1, bot.takes(task))
    bot.handshake(world.p2)
    assert (world.state(task), world.holds()) == ("BOT_DIED", "")


def test_a_bot_that_polls_with_the_runs_own_token_has_that_run_behind_it(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    start(world.p1, bot.takes(task))
    bot.poll(world.p2)
    assert (world.state(task), world.holds()) == ("BOT_DIED", "")


def test_also_a_bot_that_quarantines_itself_after_its_run_leaves_no_run_behind(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    start(world.p1, bot.takes(task))
    bot.said = replace(bot.says(), state={"quarantined": "its loop failed"})
    assert bot.poll(world.p2).delivery is None
    assert (world.state(task), world.holds()) == ("BOT_DIED", "")


def test_a_bot_in_maintenance_is_not_delivered_its_offer_again(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    before = bot.token
    bot.takes(task)
    bot.said = replace(bot.says(), state={"maintenance": "new disk"})
    assert bot.lost_poll(world.p2, before).delivery is None
    assert world.holds() == task
    world.clock.advance(61)
    sweeps.lapse_claims(world.p1, world.beat())
    assert (world.queue(task), world.holds()) == ("pending", "")


# ---- H6


def test_a_poll_that_was_given_up_and_is_handled_late_does_not_end_the_run(world: LifeWorld, bot: Machine) -> None:
    given_up = bot.token
    task = world.new_task()
    run = bot.takes(task)
    start(world.p1, run)
    for service in world.services:
        answer = bot.lost_poll(service, given_up)
        assert answer.delivery is None
        assert answer.token == given_up
    assert world.state(task) == "RUNNING"
    assert not end(world.p1, run).must_stop


# ---- H7


def test_a_late_copy_of_an_old_handshake_takes_the_bot_from_nobody(world: LifeWorld, bot: Machine) -> None:
    bot.handshake()
    old = f"{bot.bot_id}/{bot.name}/{bot.sessions}"
    bot.handshake()
    task = world.new_task()
    run = bot.takes(task)
    start(world.p1, run)
    bot.repeat_handshake(world.p2, old)
    assert world.bot().session_id == bot.token.session
    assert not keep_alive(world.p2, run).must_stop


def test_a_repeat_of_the_current_handshake_changes_nothing(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    run = bot.takes(task)
    start(world.p1, run)
    bot.repeat_handshake(world.p2)
    assert (world.state(task), world.holds()) == ("RUNNING", task)
    assert not keep_alive(world.p1, run).must_stop


def test_the_last_five_sessions_are_remembered_as_past(world: LifeWorld, bot: Machine) -> None:
    for _ in range(6):
        bot.handshake()
    current = bot.token.session
    for number in range(2, 7):
        bot.repeat_handshake(session=f"{bot.bot_id}/{bot.name}/{number}")
    assert world.bot().session_id == current


# ---- H8


def test_a_process_that_does_not_know_of_the_claim_stops_no_healthy_run(world: LifeWorld, bot: Machine) -> None:
    world.fresh()
    world.freeze(world.p2)
    task = world.new_task()
    run = bot.takes(task)
    start(world.p1, run)
    assert not keep_alive(world.p2, run, b"x").must_stop


def test_a_process_that_knows_only_the_former_session_restarts_nobody(world: LifeWorld, bot: Machine) -> None:
    world.freeze(world.p2)
    bot.handshake(world.p1)
    for _ in range(5):
        bot.poll(world.p2)
    assert world.bot().server_quarantined == ""


def test_a_process_that_still_sees_the_former_run_asks_the_store_before_it_says_stop(
    world: LifeWorld, bot: Machine
) -> None:
    first = world.new_task()
    run = bot.takes(first)
    start(world.p1, run)
    world.fresh(world.p2)
    world.freeze(world.p2)
    end(world.p1, run)
    second = world.new_task(world.p1)
    run = bot.takes(second)
    start(world.p1, run)
    assert not keep_alive(world.p2, run).must_stop


# ---- H9


def test_a_bot_taken_for_dead_that_claims_is_alive_and_does_not_lose_what_it_claimed(
    world: LifeWorld, bot: Machine
) -> None:
    world.fresh()
    world.freeze(world.p2)
    world.clock.advance(601)
    task = world.new_task(world.p2)
    sweeps.declare_deaths(world.p1, world.beat())
    assert not world.bot().alive
    run = bot.takes(task, world.p2)
    assert world.bot().alive
    assert not start(world.p2, run).must_stop


def test_a_death_that_was_decided_before_the_claim_takes_nothing_away(world: LifeWorld, bot: Machine) -> None:
    since_s = world.clock.now_s()
    world.clock.advance(601)
    task = world.new_task()
    bot.takes(task)
    assert not task_stops.declare_dead(world.p2, "bot1", since_s)
    assert (world.holds(), world.bot().alive) == (task, True)


def test_death_ends_what_the_store_says_the_bot_holds(world: LifeWorld, bot: Machine) -> None:
    world.freeze(world.p2)
    task = world.new_task(world.p1)
    start(world.p1, bot.takes(task))
    assert world.p2.view.bot("bot1").held is None
    world.clock.advance(601)
    assert task_stops.declare_dead(world.p2, "bot1", world.clock.now_s() - 1)
    assert (world.state(task), world.holds()) == ("BOT_DIED", "")


# ---- H10


@pytest.mark.parametrize("how", ["handshake", "death", "poll"])
def test_a_killed_run_is_killed_however_it_ends(world: LifeWorld, bot: Machine, how: str) -> None:
    task = world.new_task()
    start(world.p1, bot.takes(task))
    assert world.cancel(task) == (True, True)
    if how == "handshake":
        bot.handshake(world.p2)
    elif how == "poll":
        bot.poll(world.p2)
    else:
        world.clock.advance(601)
        sweeps.declare_deaths(world.p2, world.beat())
    assert world.state(task) == "KILLED"


# ---- H11


def test_a_bot_whose_offer_was_canceled_can_take_the_next_task(world: LifeWorld, bot: Machine) -> None:
    first = world.new_task()
    run = bot.takes(first)
    assert world.cancel(first, world.p2) == (True, False)
    second = world.new_task()
    assert bot.poll(world.p2).delivery.task_id == second
    assert start(world.p1, run).must_stop


def test_an_offered_task_does_not_expire_under_its_bot(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task(expiration_s=30)
    run = bot.takes(task)
    world.clock.advance(31)
    sweeps.expire_tasks(world.p1, world.beat())
    assert (world.state(task), world.holds()) == ("PENDING", task)
    sweeps.lapse_claims(world.p1, world.beat())
    sweeps.expire_tasks(world.p1, world.beat())
    assert (world.state(task), world.holds()) == ("EXPIRED", "")
    assert start(world.p1, run).must_stop


# ---- H20


def ended_by_handshake(world: LifeWorld, bot: Machine) -> Run:
    run = bot.takes(world.new_task(grace=30))
    start(world.p1, run)
    bot.handshake(world.p2)
    return run


def test_a_machine_whose_runner_may_still_live_is_given_nothing_for_a_while(world: LifeWorld, bot: Machine) -> None:
    ended_by_handshake(world, bot)
    second = world.new_task()
    for _ in range(2):
        assert [bot.poll(service).delivery for service in world.services] == [None, None]
        world.clock.advance(24)
    world.clock.advance(3)
    assert bot.poll(world.p2).delivery.task_id == second


def test_the_old_runners_last_word_ends_the_wait(world: LifeWorld, bot: Machine) -> None:
    run = ended_by_handshake(world, bot)
    second = world.new_task()
    assert bot.poll(world.p1).delivery is None
    assert keep_alive(world.p2, run).must_stop
    assert bot.poll(world.p1).delivery is None
    assert end(world.p2, run, exit_code=-15).ok
    world.fresh()
    assert bot.poll(world.p1).delivery.task_id == second
    assert world.state(run.task_id) == "BOT_DIED"


def test_an_error_of_the_old_runner_is_its_last_word_too(world: LifeWorld, bot: Machine) -> None:
    run = ended_by_handshake(world, bot)
    second = world.new_task()
    task_scheduler.task_error(world.p2, run.token, run.task_id, "it was killed", {})
    world.fresh()
    assert bot.poll(world.p1).delivery.task_id == second


def test_the_last_word_of_a_still_older_run_does_not_end_the_wait(world: LifeWorld, bot: Machine) -> None:
    older = bot.takes(world.new_task())
    start(world.p1, older)
    end(world.p1, older)
    ended_by_handshake(world, bot)
    world.new_task()
    assert end(world.p2, older).ok
    world.fresh()
    assert bot.poll(world.p2).delivery is None
