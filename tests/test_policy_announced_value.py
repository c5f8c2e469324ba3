"""What is warmed for announced tasks: when, how many copies, and in place of what."""

from __future__ import annotations

import pytest

from server.policy.bet_ledger import BetLedger
from server.policy.model import Announcement, Purpose
from server.policy.plan import plan
from tests.policy_world import NOW_S, bot, busy, demand, spec, view, warm


def announced(**fields: object) -> Announcement:
    """Two tasks for src in three minutes."""
    defaults = {
        "family": "src",
        "generation": "",
        "count": 2,
        "from_s": NOW_S + 80,
        "until_s": NOW_S + 600,
        "confidence": 0.9,
        "source": "ci",
    }
    return Announcement(**(defaults | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "copies"),
    [
        (announced(), 2),
        (announced(count=3), 3),
        (announced(from_s=NOW_S + 60 + 179), 2),  # a cold start and three minutes ahead: later the pool may be full
        (announced(from_s=NOW_S + 60 + 181), 0),
        (announced(from_s=NOW_S + 3600, until_s=NOW_S + 7200), 0),
        (announced(from_s=NOW_S - 900, until_s=NOW_S - 1), 0),
        (announced(confidence=0.1), 0),
        (announced(generation="g1"), 2),
        (announced(generation="g2"), 0),
        (announced(family="other"), 0),
    ],
)
def test_what_was_announced_is_warmed_in_time_and_no_more(said: Announcement, copies: int) -> None:
    bots = [bot(f"b{number}") for number in range(10)]
    made = plan(view(bots, specs=[spec("src")], announcements=[said]))
    given_work = [advice.background for advice in made.advice.values() if advice.background]
    assert [work.purpose for work in given_work] == [Purpose.ANNOUNCED] * copies


def test_warm_and_warming_copies_count_against_what_was_announced() -> None:
    bots = [bot("b0", warm("src")), *(bot(f"b{number}") for number in range(1, 10))]
    made = plan(view(bots, specs=[spec("src")], announcements=[announced()]))
    assert sum(1 for advice in made.advice.values() if advice.background) == 1


@pytest.mark.parametrize(
    ("ran_s", "is_cold", "copies"),
    [(2.0, False, 0), (100.0, False, 1), (2.0, True, 0), (2.0, True, 1)],
    ids=["ends soon", "goes on and on", "will have started up and ended", "starts up for long yet"],
)
def test_busy_copies_count_where_they_should_have_ended_by_then(ran_s: float, is_cold: bool, copies: int) -> None:
    """Tasks of src take 20 s; the cold start of a busy bot takes a minute, or ten."""
    cold_s = 600.0 if is_cold and copies else 60.0
    bots = [busy("b0", ran_s=ran_s, is_cold=is_cold), *(bot(f"b{number}") for number in range(1, 10))]
    asked = {"src": demand(0.1, duration_s=20.0, cold_cost_s=cold_s)}
    said = [announced(count=1, from_s=NOW_S + 100)]
    made = plan(view(bots, specs=[spec("src", run_s=60.0)], demand=asked, announcements=said))
    assert sum(1 for advice in made.advice.values() if advice.background) == copies


def test_nothing_is_warmed_for_announcements_whose_like_brought_nothing_so_far() -> None:
    """They come as they were said to, yet what is made is displaced before."""
    bots = [bot(f"b{number}") for number in range(10)]
    for bets, copies in ((0, 2), (50, 0)):
        ledger = BetLedger()
        for _ in range(bets):
            ledger = ledger.bet(0.8, NOW_S).bet(0.9, NOW_S)
        made = plan(view(bots, specs=[spec("src")], announcements=[announced()], bets=ledger))
        assert sum(1 for advice in made.advice.values() if advice.background) == copies


def test_tasks_that_come_one_after_the_other_need_one_copy() -> None:
    """Ten tasks of six seconds, a minute apart: each is done long before the next."""
    bots = [bot(f"b{number}") for number in range(20)]
    said = [announced(count=1, from_s=NOW_S + 30 + 60 * number) for number in range(10)]
    asked = {"src": demand(0.1, duration_s=6.0, cold_cost_s=600.0)}
    made = plan(view(bots, specs=[spec("src", run_s=600.0)], demand=asked, announcements=said))
    assert sum(1 for advice in made.advice.values() if advice.background) == 1


@pytest.mark.parametrize(
    ("there", "work_s", "count", "copies"),
    [
        (0, 20.0, 8, 4),
        (4, 20.0, 6, 0),
        (4, 2000.0, 6, 2),
        (4, 20.0, 40, 15),
    ],
    ids=["nothing is there", "two wait for a short one", "two wait for a long task", "many wait for short ones"],
)
def test_a_burst_gets_copies_where_waiting_for_those_that_serve_it_costs_more(
    there: int, work_s: float, count: int, copies: int
) -> None:
    """Tasks that come at once, of a state that takes ten minutes to make."""
    bots = [bot(f"w{number}", warm("src")) for number in range(there)] + [bot(f"b{number}") for number in range(30)]
    asked = {"src": demand(0.1, duration_s=work_s, cold_cost_s=600.0)}
    said = [announced(count=count, from_s=NOW_S + 300)]
    made = plan(view(bots, specs=[spec("src", run_s=600.0)], demand=asked, announcements=said))
    assert sum(1 for advice in made.advice.values() if advice.background) == copies


def test_what_is_due_now_takes_the_place_of_what_is_due_later() -> None:
    """What is due in half an hour can be made again by then."""
    bots = [bot("b1", warm("lib")), bot("b2", warm("lib"))]
    said = [announced(count=1), announced(family="lib", count=2, from_s=NOW_S + 1800, until_s=NOW_S + 1900)]
    made = plan(view(bots, specs=[spec("src"), spec("lib")], announcements=said))
    assert [work.family for advice in made.advice.values() if (work := advice.background)] == ["src"]
    soon = [announced(count=1), announced(family="lib", count=2, from_s=NOW_S + 80)]
    made = plan(view(bots, specs=[spec("src"), spec("lib")], announcements=soon))
    assert not any(advice.background for advice in made.advice.values())


def test_of_two_that_are_due_at_about_the_same_time_none_takes_the_place_of_the_other() -> None:
    """They would in turns, each until its own time has come."""
    said = [announced(count=1, from_s=NOW_S + 200), announced(family="lib", count=1, from_s=NOW_S + 190)]
    for held in ("src", "lib"):
        made = plan(view([bot("b1", warm(held))], specs=[spec("src"), spec("lib")], announcements=said))
        assert not any(advice.background for advice in made.advice.values())


@pytest.mark.parametrize(("fresh_for_s", "due_in_s", "copies"), [(150.0, 134.0, 1), (150.0, 140.0, 0), (60.0, 91.0, 0)])
def test_what_is_announced_is_not_warmed_so_early_that_it_is_stale_by_then(fresh_for_s, due_in_s, copies) -> None:
    said = announced(count=1, from_s=NOW_S + due_in_s)
    made = plan(view([bot("b1"), bot("b2")], specs=[spec("src", fresh_for_s=fresh_for_s)], announcements=[said]))
    assert sum(1 for advice in made.advice.values() if advice.background) == copies
