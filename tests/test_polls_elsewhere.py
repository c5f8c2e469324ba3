"""When a bot polls next, as a process knows it that is not the only one which the bot polls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from server.policy import model
from server.policy.model import Purpose
from server.seen_polls import NEVER, SeenPoll, presence, silence_s, with_presence
from tests.policy_world import bot, held
from tests.server_world import World

NOW_S = 10_000.0
LATE_S = 50.0


def told(here: SeenPoll = NEVER, elsewhere: SeenPoll = NEVER, **fields: float) -> model.Bot:
    """A bot that has been idle for long, with these polls."""
    known = replace(bot("b1"), **{"idle_since_s": NOW_S - 1000.0, **fields})
    return with_presence(known, presence(known, here, elsewhere, NOW_S, LATE_S), NOW_S)


def poll(ago_s: float, next_in_s: float, held: bool = False) -> SeenPoll:
    return SeenPoll(NOW_S - ago_s, NOW_S + next_in_s, held)


def test_the_last_poll_counts_wherever_it_was() -> None:
    assert told(poll(5, 5), poll(20, -10)).next_poll_s == NOW_S + 5
    assert told(poll(20, -10), poll(5, 7)).next_poll_s == NOW_S + 7
    assert told(poll(20, -10), poll(5, 7)).last_seen_s == NOW_S - 5


def test_a_poll_held_here_is_held_and_one_that_was_followed_by_another_elsewhere_is_not() -> None:
    assert told(poll(3, 0, held=True)).held_poll
    assert not told(poll(30, 0, held=True), poll(3, 2)).held_poll


def test_a_bot_that_polls_elsewhere_is_due_within_its_pace_until_news_must_have_come() -> None:
    assert told(elsewhere=poll(40, -30)).next_poll_s == NOW_S + 10
    assert told(elsewhere=poll(LATE_S + 11, -LATE_S - 1)).next_poll_s < NOW_S, "it would have been seen"


def test_a_bot_that_polls_now_here_and_now_there_is_not_late_because_it_does_not_come_here() -> None:
    assert told(poll(12, -2), poll(30, -20)).next_poll_s == NOW_S + 10


def test_a_bot_that_polls_this_process_alone_and_does_not_come_is_late() -> None:
    assert told(poll(12, -2)).next_poll_s == NOW_S - 2
    assert told(poll(12, -2), poll(3600, -3590)).next_poll_s == NOW_S - 2, "it was elsewhere an hour ago"


def test_a_bot_whose_run_was_not_heard_of_for_long_may_be_gone() -> None:
    run = held(Purpose.FORECAST, "src", since_s=NOW_S - 100.0)

    def silent(heard_ago_s: float, since_s: float = NOW_S - 20.0, **fields: object) -> bool:
        here = SeenPoll(NOW_S - heard_ago_s, 0.0, held=False)
        runs = replace(bot("b1", run=run), **fields)
        return with_presence(runs, presence(runs, here, NEVER, NOW_S, LATE_S), NOW_S, since_s).silent

    assert (silent(19), silent(21)) == (False, True)
    assert not silent(21, held=replace(run, since_s=NOW_S - 5.0)), "it has just begun"
    assert not silent(500, held=None), "without a run it is asked by its polls"
    assert not silent(500, since_s=0.0), "this process has not listened for long enough"


def test_a_run_may_be_silent_for_a_keep_alive_and_a_half_and_as_long_as_others_take_to_tell() -> None:
    assert (silence_s(10.0, 0.0), silence_s(2.0, 0.0), silence_s(60.0, 50.0)) == (20.0, 20.0, 145.0)


def test_after_a_restart_the_bots_of_before_are_about_to_poll() -> None:
    assert told(last_seen_s=NOW_S - 20.0).next_poll_s == NOW_S + 20
    assert told(last_seen_s=NOW_S - 600.0).next_poll_s < NOW_S


def test_a_guess_lasts_as_long_as_the_plan_that_is_made_with_it() -> None:
    """A bot whose polls are held elsewhere comes at any moment, again and again."""
    assert told(elsewhere=poll(10, -10)).next_poll_s == NOW_S + 3


def test_a_bot_that_has_just_ended_a_run_polls_at_once_whatever_it_was_told_before_it() -> None:
    assert told(poll(1, 0), idle_since_s=NOW_S).next_poll_s == NOW_S
    assert told(SeenPoll(NOW_S, 0.0, False), idle_since_s=NOW_S).next_poll_s == NOW_S


def test_what_a_process_saw_itself_is_not_taken_for_news_of_another(tmp_path: Path) -> None:
    """Pages round times; a poll that is held here must not look as if it had moved on."""
    world = World(tmp_path / "data")
    try:
        one, two = world.process("one"), world.process("two")
        now_s = world.clock.now_s()
        one.pages.seen("b1", now_s + 0.06, now_s + 20.0)
        assert one.pages.seen_elsewhere("b1") == (0.0, 0.0)
        one.pages.flush()
        two.pages.merge()
        assert two.pages.seen_elsewhere("b1") == pytest.approx((now_s + 0.1, now_s + 20.0), abs=0.01)
    finally:
        world.close()


def test_a_bot_whose_poll_is_long_overdue_is_not_counted_on_and_not_taken_for_dead() -> None:
    late = told(poll(400, -390))
    assert (late.alive, late.overdue) == (False, True)
    dead = told(poll(400, -390), alive=False)
    assert (dead.alive, dead.overdue) == (False, False), "it was declared dead"
    assert told(poll(60, -50)).alive and not told(poll(60, -50)).overdue
