"""Bots as the server keeps them: reports, sessions, quarantine, farewell, silence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from server import bot_management, errors, sweeps
from server.access import CLIENT, LOCAL_USER, Principal
from server.bot_session import Token
from server.task_scheduler import SessionGone
from tests.life_world import LifeWorld, Machine, end, keep_alive, report, start

DAY_S = 86_400.0


@pytest.fixture
def bot(world: LifeWorld) -> Machine:
    bot = Machine(world)
    bot.handshake()
    return bot


def cost_of_poll(world: LifeWorld, bot: Machine) -> tuple[int, int]:
    world.fresh()
    with world.store.ops.measure() as ops:
        bot_management.merge_report(world.p1, bot.token, bot.says())
    return ops.reads, ops.writes


# ---- reports


def test_a_bot_is_in_the_store_from_its_handshake_on(world: LifeWorld, bot: Machine) -> None:
    record = world.bot()
    assert (record.pool, record.version, record.alive, record.foreign) == ("p", "v1", True, False)
    assert record.dimensions == {"id": ["bot1"], "pool": ["p"]}
    assert record.first_seen_s == record.last_seen_s == world.clock.now_s()


def test_what_no_scheduler_cares_about_is_no_news(world: LifeWorld, bot: Machine) -> None:
    bot.said = report(state={"uptime": 17, "disks": {"/": {"free_mb": 3.0}}, "sleep_streak": 4})
    assert cost_of_poll(world, bot) == (0, 0)


@pytest.mark.parametrize(
    "said",
    [
        report(os=["Linux"]),
        replace(report(), version="v2"),
        report(state={"quarantined": "no disk"}),
        report(state={"maintenance": "new disk"}),
        report(state={"named_caches": {"src": [["ab", 1_000_000], 17]}}),
    ],
    ids=["dimensions", "version", "quarantine", "maintenance", "caches"],
)
def test_what_matters_costs_one_read_and_one_write_and_is_known_everywhere(
    world: LifeWorld, bot: Machine, said: Any
) -> None:
    bot.said = said
    assert cost_of_poll(world, bot) == (1, 1)
    assert cost_of_poll(world, bot) == (0, 0)
    assert world.p2.view.bot("bot1").fingerprint == said.fingerprint()


def test_a_cache_that_grows_a_little_is_no_news_and_one_that_doubles_is(world: LifeWorld, bot: Machine) -> None:
    bot.said = report(state={"named_caches": {"src": [["ab", 1_000_000], 17]}})
    cost_of_poll(world, bot)
    bot.said = report(state={"named_caches": {"src": [["ab", 1_040_000], 99]}})
    assert cost_of_poll(world, bot) == (0, 0)
    bot.said = report(state={"named_caches": {"src": [["ab", 2_100_000], 99]}})
    assert cost_of_poll(world, bot) == (1, 1)


def test_the_large_rest_of_a_bots_state_is_not_kept(world: LifeWorld, bot: Machine) -> None:
    bot.said = report(state={"python": {"packages": ["x"] * 1000}, "named_caches": {}, "hostname": "h", "env": {}})
    bot.handshake()
    assert set(world.bot().state) == {"named_caches", "hostname", "pilotlight_bot"}


def test_a_bot_that_moves_to_another_pool_leaves_the_first(world: LifeWorld, bot: Machine) -> None:
    bot.said = report(pool=["q"])
    bot.poll()
    world.fresh()
    for service in world.services:
        assert [entry.policy.id for entry in service.view.bots("p")] == []
        assert [entry.policy.id for entry in service.view.bots("q")] == ["bot1"]


def test_a_bot_without_news_does_not_expire(world: LifeWorld, bot: Machine) -> None:
    for _ in range(40):
        world.clock.advance(DAY_S)
        world.store.sweep_expired(world.clock.now_s())
        world.fresh()
        bot.poll()
    assert world.bot().first_seen_s == world.clock.now_s() - 40 * DAY_S
    world.clock.advance(29 * DAY_S)
    world.store.sweep_expired(world.clock.now_s())
    assert world.bot() is None


# ---- sessions


def test_a_poll_with_another_bots_token_is_refused(world: LifeWorld, bot: Machine) -> None:
    with pytest.raises(errors.InvalidArgument, match="belongs to bot 'bot1', not 'bot2'"):
        bot_management.merge_report(world.p1, bot.token, report("bot2"))


def test_a_poll_of_a_bot_that_the_store_does_not_know_starts_anew(world: LifeWorld) -> None:
    with pytest.raises(SessionGone):
        bot_management.merge_report(world.p1, Token("bot9", "s"), report("bot9"))


@pytest.mark.parametrize("text", [None, 7, "", "A", "a b", "x" * 51, "ü"])
def test_a_session_id_that_does_not_look_like_one_is_refused(text: Any) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        bot_management.check_session_id(text)
    assert caught.value.field == "session_id"


def test_a_recorded_session_id_is_taken() -> None:
    assert bot_management.check_session_id("532751638c5149258803692b5c44de6c/19822")


def test_a_restart_that_loses_nothing_leaves_what_runs_elsewhere_alone(world: LifeWorld, bot: Machine) -> None:
    other = Machine(world, "bot2")
    other.handshake()
    run = other.takes(world.new_task(dimensions={"id": "bot2"}))
    start(world.p1, run)
    bot.handshake()
    assert not keep_alive(world.p2, run).must_stop


# ---- quarantine by the server


def fail(world: LifeWorld, bot: Machine, name: str, exit_code: int = 1, after_s: float = 1.0) -> None:
    run = bot.takes(world.new_task(name=name, dimensions={"id": bot.bot_id}))
    start(world.p1, run)
    world.clock.advance(after_s)
    end(world.p1, run, exit_code=exit_code)


def test_a_bot_that_fails_task_after_task_at_once_is_quarantined_and_told_why(world: LifeWorld, bot: Machine) -> None:
    for number in range(4):
        fail(world, bot, f"task {number}")
        assert world.bot().server_quarantined == ""
    fail(world, bot, "task 4")
    assert "black hole: failed 5 tasks" in world.bot().server_quarantined
    world.new_task(dimensions={"id": "bot1"})
    for service in world.services:
        assert bot.poll(service).delivery is None
        assert service.view.bot("bot1").policy.quarantined.startswith("black hole")


def test_one_success_in_between_makes_it_no_black_hole(world: LifeWorld, bot: Machine) -> None:
    for number in range(12):
        fail(world, bot, f"task {number}", exit_code=0 if number % 4 == 3 else 1)
    assert world.bot().server_quarantined == ""


def test_one_broken_task_that_is_tried_again_and_again_makes_no_black_hole(world: LifeWorld, bot: Machine) -> None:
    for _ in range(12):
        fail(world, bot, "the same")
    assert world.bot().server_quarantined == ""


def test_slow_failures_make_no_black_hole(world: LifeWorld, bot: Machine) -> None:
    for number in range(8):
        fail(world, bot, f"task {number}", after_s=60)
    assert world.bot().server_quarantined == ""


def test_an_operator_lets_it_go_on_and_a_client_may_not(world: LifeWorld, bot: Machine) -> None:
    for number in range(5):
        fail(world, bot, f"task {number}")
    with pytest.raises(errors.PermissionDenied):
        bot_management.release(world.p2, Principal("user:other", CLIENT), "bot1")
    bot_management.release(world.p2, LOCAL_USER, "bot1")
    world.fresh()
    fail(world, bot, "again")
    assert world.bot().server_quarantined == ""
    with pytest.raises(errors.UnknownBot):
        bot_management.release(world.p2, LOCAL_USER, "bot9")


# ---- farewell


def test_a_bot_that_says_goodbye_is_gone_and_back_with_its_next_poll(world: LifeWorld, bot: Machine) -> None:
    bot_management.leave(world.p1, bot.token, "Signal was received")
    assert (world.bot().alive, world.bot().state["left"]) == (False, "Signal was received")
    world.fresh()
    bot.poll(world.p2)
    assert world.bot().alive
    assert "left" not in world.bot().state


def test_a_goodbye_during_a_run_does_not_end_the_run(world: LifeWorld, bot: Machine) -> None:
    task = world.new_task()
    run = bot.takes(task)
    start(world.p1, run)
    bot_management.leave(world.p2, bot.token, "Signal was received")
    assert (world.bot().alive, world.state(task)) == (True, "RUNNING")
    assert end(world.p1, run).ok


def test_a_goodbye_of_a_former_session_changes_nothing(world: LifeWorld, bot: Machine) -> None:
    old = bot.token
    bot.handshake()
    bot_management.leave(world.p2, old, "late")
    assert world.bot().alive


# ---- silence


def test_a_bot_that_is_seen_by_any_process_is_alive(world: LifeWorld, bot: Machine) -> None:
    for _ in range(30):
        world.clock.advance(60)
        bot.poll(world.p1)
        world.p1.pages.flush()
        sweeps.declare_deaths(world.p2, world.beat())
        assert world.bot().alive
    world.clock.advance(661)
    sweeps.declare_deaths(world.p2, world.beat())
    assert not world.bot().alive


def test_a_bot_that_only_updates_its_run_is_alive(world: LifeWorld, bot: Machine) -> None:
    run = bot.takes(world.new_task())
    start(world.p1, run)
    for _ in range(30):
        world.clock.advance(60)
        keep_alive(world.p1, run)
        world.p1.pages.flush()
        sweeps.declare_deaths(world.p2, world.beat())
    assert world.state(run.task_id) == "RUNNING"


def test_word_of_a_run_that_is_not_the_bots_any_more_is_no_sign_of_life(world: LifeWorld, bot: Machine) -> None:
    """The old runner of a machine that was replaced goes on for a while; the new one has died."""
    old = bot.takes(world.new_task())
    start(world.p1, old)
    bot.handshake()
    world.clock.advance(60)
    task = world.new_task()
    start(world.p1, bot.takes(task))
    for _ in range(11):
        world.clock.advance(60)
        assert keep_alive(world.p2, old).must_stop
        sweeps.declare_deaths(world.p2, world.beat())
    assert world.state(task) == "BOT_DIED"


def test_when_many_fall_silent_at_once_nobody_is_declared_dead_and_somebody_is_told(world: LifeWorld) -> None:
    bots = [Machine(world, f"bot{number}") for number in range(8)]
    for bot in bots:
        bot.handshake()
    world.clock.advance(601)
    for bot in bots[:3]:
        bot.poll()
    sweeps.declare_deaths(world.p1, world.beat())
    assert world.p1.alarm == "5 of 8 bots of p fell silent at once; none was declared dead"
    assert all(world.bot(bot.bot_id).alive for bot in bots)
    world.clock.advance(2)
    world.p2.view.refresh()
    assert world.p2.alarm == world.p1.alarm, "every process shows it, whoever swept"
    bots[3].poll()
    sweeps.declare_deaths(world.p1, world.beat())
    assert world.p1.alarm == ""
    world.clock.advance(2)
    world.p2.view.refresh()
    assert world.p2.alarm == ""
    assert [world.bot(bot.bot_id).alive for bot in bots] == [True] * 4 + [False] * 4


def test_a_pool_that_fell_silent_keeps_no_other_pools_dead_alive(world: LifeWorld) -> None:
    for number in range(4):
        Machine(world, f"p{number}").handshake()
    for number in range(10):
        Machine(world, f"q{number}", said=report(f"q{number}", pool=["q"])).handshake()
    world.clock.advance(601)
    for number in range(1, 10):
        bot = Machine(world, f"q{number}", said=report(f"q{number}", pool=["q"]))
        bot.token = Token(bot.bot_id, world.bot(bot.bot_id).session_id)
        bot.poll()
    sweeps.declare_deaths(world.p1, world.beat())
    assert world.p1.alarm == "4 of 4 bots of p fell silent at once; none was declared dead"
    assert (world.bot("p0").alive, world.bot("q0").alive) == (True, False)


def test_a_person_can_say_that_the_silent_ones_are_gone(world: LifeWorld) -> None:
    world.configure(death_alarm_share=1.0)
    for number in range(5):
        Machine(world, f"b{number}").handshake()
    world.clock.advance(601)
    sweeps.declare_deaths(world.p1, world.beat())
    assert not any(world.bot(f"b{number}").alive for number in range(5))
