"""Which generation is newer, and that an old one is not warmed again."""

from __future__ import annotations

from typing import Any

import pytest

from server.policy.model import Demand, Order, Phase, Purpose, Wish
from server.policy.order import is_newer, superseded
from server.policy.plan import plan
from tests.policy_world import NOW_S, bot, demand, held, spec, task, view, warm

REGISTERED = spec("src", "r9", sequence=2, known_generations={"r8": 1, "r9": 2, "r10": 3})
SEEN = spec("src", "abc", order=Order.FIRST_SEEN, registered_s=NOW_S - 100)


@pytest.mark.parametrize(
    ("which", "generation", "first_seen_s", "newer"),
    [
        (REGISTERED, "r10", 0, True),
        (REGISTERED, "r8", NOW_S, False),
        (REGISTERED, "r9", NOW_S, False),
        (REGISTERED, "r11-mistyped", NOW_S, False),
        (REGISTERED, "", NOW_S, False),
        (SEEN, "def", NOW_S - 50, True),
        (SEEN, "old", NOW_S - 200, False),
        (SEEN, "unknown", 0.0, False),
    ],
)
def test_newer_is_what_the_spec_says_and_never_the_order_of_strings(
    which: Any, generation: str, first_seen_s: float, newer: bool
) -> None:
    assert is_newer(which, generation, first_seen_s) is newer


def test_a_generation_registered_as_older_is_never_newer_whenever_it_was_seen() -> None:
    rolled = spec("src", "g1", sequence=3, order=Order.FIRST_SEEN, known_generations={"g2": 2}, registered_s=NOW_S - 9)
    assert not is_newer(rolled, "g2", NOW_S)


@pytest.mark.parametrize(
    ("known", "why"),
    [
        ({"successors": [spec("src", "r10", sequence=3)]}, "src@r10 was registered after it"),
        ({"demanded": {"r10": Demand(arrivals=1)}}, "a task asked for the newer src@r10"),
        ({"reported": {"r10": ("b7", NOW_S)}}, "b7 holds the newer src@r10"),
        ({"successors": [spec("src", "r8", sequence=1)]}, ""),
        ({"demanded": {"r8": Demand(arrivals=5)}, "reported": {"r8": ("b7", NOW_S)}}, ""),
    ],
)
def test_a_generation_ends_when_a_newer_one_is_registered_asked_for_or_reported(known: Any, why: str) -> None:
    assert superseded(REGISTERED, **known) == why


def test_a_straggler_that_uses_an_old_revision_supersedes_nothing() -> None:
    """The bot has held the old revision only since a straggler's task ended, but it was first asked for long ago."""
    old = {"old": Demand(arrivals=9, first_arrival_s=NOW_S - 9999)}
    assert superseded(SEEN, demanded=old, reported={"old": ("b7", NOW_S)}) == ""


def test_a_task_that_asks_for_a_newer_generation_ends_the_warming_of_the_old_one() -> None:
    old = spec("src", "r9", sequence=2, known_generations={"r9": 2, "r10": 3})
    idle = [bot(f"b{number}") for number in range(4)]
    asked = {("src", "r10"): Demand(arrivals=1, first_arrival_s=NOW_S)}
    before = plan(view(idle, specs=[old], demand={"src": demand(60)}))
    after = plan(view(idle, specs=[old], demand={"src": demand(60)}, generation_demand=asked))
    assert any(advice.background for advice in before.advice.values())
    assert not any(advice.background for advice in after.advice.values())
    refused = after.advice["b0"].refused
    assert refused is not None
    assert refused.text == "src@r9 is not warmed any more: a task asked for the newer src@r10."
    assert refused.would_change == "A spec for the newer generation of src."


def test_a_run_for_an_old_generation_goes_on_while_a_task_waits_for_it() -> None:
    new = spec("src", "g2", sequence=2)
    running = bot("b1", run=held(Purpose.FORECAST, "src", "g1"))
    waits = task("t1", wishes=(Wish("src", "g1"),), dimensions=(("pool", ("elsewhere",)),))
    assert plan(view([running], specs=[new], tasks=[waits])).useless == ()
    (ended,) = plan(view([running], specs=[new])).useless
    assert ended.text == ("b1 stops warming src@g1: src@g2 is the newer generation, and no task waits for this one.")


def test_what_is_still_warm_for_the_old_generation_stays_until_something_needs_the_place() -> None:
    new = spec("src", "g2", sequence=2)
    bots = [bot("stale", warm("src", "g1", phase=Phase.STALE)), bot("empty"), bot("spare")]
    stragglers = {("src", "g1"): demand(1, first_arrival_s=NOW_S - 9999)}
    made = plan(view(bots, specs=[new], demand={"src": demand(2)}, generation_demand=stragglers))
    assert made.advice["empty"].background is not None
    assert made.advice["stale"].background is None


def test_where_nobody_asks_for_the_old_generation_by_name_its_bots_move_to_the_new_one() -> None:
    new = spec("src", "g2", sequence=2)
    bots = [bot("a-empty"), bot("b-old", warm("src", "g1")), bot("spare")]
    made = plan(view(bots, specs=[new], demand={"src": demand(2)}))
    assert made.advice["b-old"].background is not None


def test_an_old_checkout_that_serves_any_task_is_not_given_up_for_another_family() -> None:
    """Tasks that name no generation are served by the former one until its bots have moved."""
    specs = [spec("src", "g2", sequence=2, max_running=1), spec("lib")]
    bots = [bot("b1", warm("src", "g1")), bot("b2", warm("src", "g1"))]
    asked = {"src": demand(600), "lib": demand(5)}
    made = plan(view(bots, specs=specs, demand=asked))
    assert {a.background.family for a in made.advice.values() if a.background} == {"src"}
    paused = plan(view(bots, specs=[spec("src", "g2", sequence=2, active=False), spec("lib")], demand=asked))
    assert not any(advice.background for advice in paused.advice.values())
