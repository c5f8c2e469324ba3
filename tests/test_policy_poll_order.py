"""Whom the plan of one process chooses among bots that are alike: one that will soon come and hear of it."""

from __future__ import annotations

from server.policy.model import Bot, Thresholds
from server.policy.plan import plan
from tests.policy_world import NOW_S, bot, demand, spec, view

ONE_ABOVE_THE_RESERVE = Thresholds(mode="live", reserve_min=2, reserve_share=0.0)


def chosen(*bots: Bot) -> list[str]:
    """The bots that are to be prewarmed, with room for one."""
    wanted = {"src": demand(600)}
    made = plan(view(bots, specs=[spec("src")], demand=wanted, thresholds=ONE_ABOVE_THE_RESERVE))
    return [name for name, advice in made.advice.items() if advice.background is not None]


def test_a_bot_that_fell_silent_does_not_keep_the_last_place_above_the_reserve_from_those_that_ask() -> None:
    silent = bot("a", next_poll_s=NOW_S - 60)
    assert chosen(silent, bot("b", next_poll_s=NOW_S + 5), bot("c", next_poll_s=NOW_S + 9)) == ["b"]


def test_a_bot_that_is_a_little_late_is_expected_first() -> None:
    late = bot("c", next_poll_s=NOW_S - 1)
    assert chosen(bot("a", next_poll_s=NOW_S + 5), bot("b", next_poll_s=NOW_S + 9), late) == ["c"]


def test_a_process_chooses_bots_that_poll_itself_though_others_poll_another_process_sooner() -> None:
    others = [bot(name, next_poll_s=NOW_S + 1, polls_elsewhere=True) for name in ("a", "b")]
    assert chosen(*others, bot("c", next_poll_s=NOW_S + 9)) == ["c"]


def test_where_all_poll_elsewhere_the_soonest_is_chosen() -> None:
    later_s = {"a": 9, "b": 1, "c": 5}
    bots = [bot(name, next_poll_s=NOW_S + wait_s, polls_elsewhere=True) for name, wait_s in later_s.items()]
    assert chosen(*bots) == ["b"]
