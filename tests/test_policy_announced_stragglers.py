"""Who names the generation before the current one is believed: it is warmed for what was announced, never as a bet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from server.policy import shadow_score
from server.policy.decision import decide
from server.policy.fleet import Fleet
from server.policy.minds import Minds
from server.policy.model import Announcement, Bot, Demand, Order, Phase, Purpose, Slot
from server.policy.outcome import HandOut
from server.policy.plan import plan
from tests.policy_world import NOW_S, bot, demand, held, spec, task, view, warm

CURRENT, FORMER = spec("src", "g3", sequence=3), spec("src", "g2", sequence=2)
BOTH = (CURRENT, FORMER)


def announced(generation: str, **fields: Any) -> Announcement:
    """Two tasks that want src are due within a minute, says who is believed."""
    defaults: dict[str, Any] = {"count": 2, "from_s": NOW_S + 60, "until_s": NOW_S + 150}
    return Announcement(family="src", generation=generation, confidence=0.9, source="ci", **(defaults | fields))


def handed_out(bots: list[Bot], *said: Announcement, specs: Any = BOTH, **fields: Any) -> dict[str, HandOut]:
    made = plan(view(bots, specs=specs, announcements=said, **fields))
    return {name: advice.background for name, advice in made.advice.items() if advice.background is not None}


def idle(number: int) -> list[Bot]:
    return [bot(f"b{n}") for n in range(number)]


def test_the_generation_before_is_warmed_for_tasks_that_are_announced_by_its_name() -> None:
    given = handed_out(idle(10), announced("g2"))
    assert [(one.generation, one.purpose) for one in given.values()] == [("g2", Purpose.ANNOUNCED)] * 2


@pytest.mark.parametrize(
    ("said", "specs", "warmed"),
    [
        ("g1", BOTH, []),  # older still: its spec is not kept
        ("", BOTH, ["g3", "g3"]),  # any generation serves, so the current one does
        ("g2", (CURRENT,), []),  # nobody knows how it is made
        ("g2", (CURRENT, replace(FORMER, active=False)), []),
    ],
)
def test_no_older_one_is_nor_one_that_is_not_named_or_paused(said: str, specs: Any, warmed: list[str]) -> None:
    given = handed_out(idle(10), announced(said), specs=specs)
    assert [one.generation for one in given.values()] == warmed


def test_demand_alone_never_has_the_generation_before_warmed() -> None:
    """All that was asked for so far is g2; it is bet on the successor, and on nothing else."""
    asked: dict[str, Demand] = {"src": demand(60)}
    given = handed_out(idle(10), demand=asked, generation_demand={("src", "g2"): demand(60)})
    assert given and {(one.generation, one.purpose) for one in given.values()} == {("g3", Purpose.FORECAST)}


def test_copies_that_are_there_serve_what_is_announced() -> None:
    bots = [bot("w1", warm("src", "g2")), bot("w2", warm("src", "g2")), *idle(6)]
    assert handed_out(bots, announced("g2")) == {}


def test_copies_of_the_current_generation_are_not_given_up_for_nothing() -> None:
    """A straggler may cost users of the current generation no more than it gains."""
    asked = {"src": demand(240, duration_s=60.0)}
    own = {("src", "g3"): demand(240, duration_s=60.0)}
    bots = [bot(f"w{n}", warm("src", "g3")) for n in range(3)]
    assert handed_out(bots, announced("g2", count=1), demand=asked, generation_demand=own) == {}
    quiet = {"src": demand(0.01)}
    given = handed_out(bots, announced("g2", count=1), demand=quiet, generation_demand={("src", "g3"): demand(0.01)})
    assert [one.generation for one in given.values()] == ["g2"]


def stopped(purpose: Purpose, *said: Announcement, copies: int = 0) -> list[str]:
    """Which of two runs of g2 are stopped; b1 began first."""
    bots = [
        bot("b1", run=held(purpose, "src", "g2", since_s=NOW_S - 30)),
        bot("b2", run=held(purpose, "src", "g2", since_s=NOW_S - 20, n=8)),
        *(bot(f"w{n}", warm("src", "g2")) for n in range(copies)),
    ]
    return [one.bot for one in plan(view(bots, specs=BOTH, announcements=said)).useless]


def test_a_run_that_began_for_announced_tasks_goes_on_as_it_would_for_the_newest() -> None:
    assert stopped(Purpose.ANNOUNCED, announced("g2")) == []
    assert stopped(Purpose.ANNOUNCED) == []


def test_of_the_bets_that_a_newer_generation_ends_as_many_go_on_as_are_announced() -> None:
    """Else the same work would begin again at once."""
    assert stopped(Purpose.FORECAST) == ["b1", "b2"]
    assert stopped(Purpose.FORECAST, announced("g2")) == []
    assert stopped(Purpose.FORECAST, announced("g2", count=1)) == ["b2"]
    assert stopped(Purpose.FORECAST, announced("g2", count=1), copies=1) == ["b1", "b2"]
    assert stopped(Purpose.FORECAST, announced("")) == ["b1", "b2"]
    much_later = announced("g2", from_s=NOW_S + 7200, until_s=NOW_S + 7300)
    assert stopped(Purpose.FORECAST, much_later) == ["b1", "b2"]


@pytest.mark.parametrize(("said", "warmed"), [("g4", []), ("g3", ["g3", "g3"]), ("g2", []), ("", [])])
def test_where_tasks_moved_on_to_one_that_nobody_makes_the_last_one_made_is_the_one_before(
    said: str, warmed: list[str]
) -> None:
    known = {"g2": 2, "g3": 3}
    of = [replace(one, order=Order.FIRST_SEEN, registered_s=NOW_S - 5000, known_generations=known) for one in BOTH]
    moved_on = {("src", "g4"): demand(60, first_arrival_s=NOW_S - 600)}
    asked = {"src": demand(60)}
    given = handed_out(idle(10), announced(said), specs=of, demand=asked, generation_demand=moved_on)
    assert [one.generation for one in given.values()] == warmed


def test_a_stale_copy_is_made_again_where_it_is() -> None:
    """Nothing is lost there, while others hold what is asked for."""
    old = "cache", Slot(Phase.WARM, "src", "g2", since_s=NOW_S - 90_000, last_used_s=NOW_S - 90_000)
    bots = [bot("s", old), bot("o1", warm("oth")), bot("o2", warm("oth"))]
    asked = {"oth": demand(20, duration_s=60.0)}
    given = handed_out(bots, announced("g2", count=1), specs=(*BOTH, spec("oth")), demand=asked)
    assert list(given) == ["s"] and given["s"].value is not None and given["s"].value.displaced_s == 0.0


def test_in_shadow_mode_it_is_scored_by_what_its_own_spec_says_and_pays_for_what_it_displaces() -> None:
    quiet = {"demand": {"src": demand(0.01)}, "generation_demand": {("src", "g3"): demand(0.01)}}
    of = (CURRENT, replace(FORMER, run_s=90.0))
    bots = [bot(f"w{n}", warm("src", "g3")) for n in range(3)]
    seen = view(bots, specs=of, announcements=[announced("g2", count=1)], **quiet)
    (made,) = shadow_score.decided(seen, {"src": 58.0})
    assert (made.generation, made.run_s, made.displaces) == ("g2", 90.0, ("src", "g3"))


def test_who_takes_any_generation_leaves_to_stragglers_the_copy_that_is_made_for_them() -> None:
    bots = [bot("w2", warm("src", "g2")), bot("w3", warm("src", "g3"))]

    def taken(*said: Announcement) -> str:
        seen = view(bots, specs=BOTH, tasks=[task("t1", "src")], announcements=said)
        return decide(Minds.about(Fleet(seen)), {}).assigned.by_task["t1"].bot.id

    assert taken() == "w2"
    assert taken(announced("g2", count=1)) == "w3"
