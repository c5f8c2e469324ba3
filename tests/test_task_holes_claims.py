"""Holes that the protocol closes around claims and their tokens: each test plays what once broke it."""

from __future__ import annotations

import pytest

from server import sweeps, task_scheduler
from server.bot_session import Token
from server.task_scheduler import HoldsRun, LostRace, SessionGone
from tests.life_world import LifeWorld, Machine, end, hand_out, start


@pytest.fixture
def bot(world: LifeWorld) -> Machine:
    bot = Machine(world)
    bot.handshake()
    return bot


def clone_of(bot: Machine) -> Machine:
    return Machine(bot.world, bot.bot_id, name="clone")


# ---- H1


def test_a_clone_is_not_given_the_run_that_the_first_machine_was_given(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    first = bot.takes(task)
    clone = clone_of(bot)
    clone.handshake(world.p2)
    second = clone.takes(task, world.p2)
    assert second.delivery.n > first.delivery.n
    assert start(world.p2, second).must_stop is False
    assert start(world.p1, first).must_stop


def test_a_late_start_of_the_first_machine_does_not_pass_for_the_clones(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    first = bot.takes(task)
    world.clock.advance(31)
    sweeps.lapse_claims(world.p2, world.beat())
    clone = clone_of(bot)
    clone.handshake(world.p2)
    second = clone.takes(task, world.p2)
    assert start(world.p1, first).must_stop
    assert not start(world.p2, second).must_stop
    end(world.p1, first, exit_code=9)
    assert (world.state(task), world.holds()) == ("RUNNING", task)


# ---- H2


def test_a_run_whose_runner_died_is_not_delivered_again_by_a_process_that_believes_it_is_only_offered(
    world: LifeWorld, bot: Machine
) -> None:
    task = world.new_task()
    run = bot.takes(task)
    world.fresh(world.p2)
    world.freeze(world.p2)
    start(world.p1, run)
    assert bot.poll(world.p2).delivery is None
    assert world.state(task) == "BOT_DIED"


# ---- H3


def test_a_start_after_the_claim_lapsed_is_refused_though_the_task_waits_again(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    first = bot.takes(task)
    world.clock.advance(31)
    sweeps.lapse_claims(world.p2, world.beat())
    assert start(world.p1, first).must_stop
    other = Machine(world, "bot2")
    other.handshake(world.p2)
    assert not start(world.p2, other.takes(task, world.p2)).must_stop
    assert start(world.p1, first).must_stop


# ---- H4


def test_a_late_canceled_of_a_former_claim_cancels_nothing(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    first = bot.takes(task)
    world.clock.advance(31)
    sweeps.lapse_claims(world.p1, world.beat())
    assert start(world.p1, first).must_stop
    second = bot.takes(task)
    assert end(world.p2, first, None, canceled=True).must_stop
    assert end(world.p2, first, 0).must_stop
    assert (world.state(task), world.holds()) == ("PENDING", task)
    assert not start(world.p1, second).must_stop


# ---- H18


def test_a_bot_that_polls_a_process_which_missed_its_claim_gets_its_run_again(world: LifeWorld, bot: Machine) -> None:
    task, other_task = world.new_task(), world.new_task()
    world.freeze(world.p2)
    lost = bot.lost_poll(world.p1)
    assert lost.delivery.task_id == task
    answer = bot.poll(world.p2)
    assert (answer.delivery.task_id, answer.delivery.n) == (task, lost.delivery.n)
    assert world.queue(other_task) == "pending"


def test_only_a_delivery_keeps_an_offer_alive(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    world.freeze(world.p2)
    world.p2.view.forget_pending(task)
    bot.lost_poll(world.p1)
    until_s = world.result(task).claim_until_s
    for _ in range(4):
        world.clock.advance(5)
        assert bot.lost_poll(world.p2).delivery is None
    assert world.result(task).claim_until_s == until_s
    world.clock.advance(5)
    assert bot.lost_poll(world.p1).delivery is not None
    assert world.result(task).claim_until_s == until_s + 25


# ---- H19


def test_a_client_sees_pending_until_the_start_and_never_again_afterwards(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    for _ in range(2):
        bot.takes(task)
        assert (world.state(task), world.result(task).bot_id, world.result(task).started_s) == ("PENDING", "", 0.0)
        world.clock.advance(31)
        sweeps.lapse_claims(world.p2, world.beat())
        assert world.state(task) == "PENDING"
    start(world.p1, bot.takes(task))
    assert (world.state(task), world.result(task).bot_id) == ("RUNNING", "bot1")


# ---- the fence itself (C0)


def test_a_claim_is_numbered_upwards_even_for_a_bot_that_was_deleted_and_came_back(
    world: LifeWorld, bot: Machine
) -> None:
    first = bot.takes(world.new_task())
    world.clock.advance(1)
    with world.store.context():
        world.bot().key.delete()
    bot.handshake()
    second = bot.takes(world.new_task())
    assert second.delivery.n > first.delivery.n


def test_a_token_of_a_later_answer_copies_session_and_claim_from_the_one_that_came(
    world: LifeWorld, bot: Machine
) -> None:
    run = bot.takes(world.new_task())
    start(world.p1, run)
    end(world.p1, run)
    assert bot.poll(world.p2).token == run.token
    bot.handshake()
    assert bot.poll(world.p2).token == Token("bot1", "bot1/m/2", 0)
    with pytest.raises(SessionGone):
        bot.lost_poll(world.p1, run.token)


def test_a_bot_never_holds_two_runs(world: LifeWorld, bot: Machine) -> None:
    world.prewarming()
    task, second = world.new_task(), world.new_task()
    bot.takes(task)
    with pytest.raises(HoldsRun):
        task_scheduler.claim(world.p2, bot.token, second, "")
    with pytest.raises(HoldsRun):
        hand_out(world.p2, bot.token)
    with pytest.raises(LostRace):
        other = Machine(world, "bot2")
        task_scheduler.claim(world.p2, other.handshake(), task, "")
    assert world.entries() == []


def test_a_claim_for_a_session_that_is_not_current_is_refused_in_the_store(world: LifeWorld, bot: Machine) -> None:
    world.prewarming()
    old = bot.token
    bot.handshake()
    task = world.new_task()
    with pytest.raises(SessionGone):
        task_scheduler.claim(world.p1, old, task, "")
    with pytest.raises(SessionGone):
        hand_out(world.p1, old)
