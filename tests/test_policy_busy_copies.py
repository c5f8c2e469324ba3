"""Copies that tasks use, or that are on bots which work on something else: how far they count as copies to come."""

from __future__ import annotations

import pytest

from server.policy.fleet import Fleet
from server.policy.model import Phase
from server.policy.outlook import Outlook
from server.policy.uses import Use
from server.policy.value import coming_free
from tests.policy_world import NOW_S, bot, busy, demand, held, spec, task, view, warm


def test_a_copy_that_has_been_busy_for_long_is_not_expected_back_soon() -> None:
    """Decision 36: two idle copies behind one that has just begun, and one that has run for ten hours."""
    assert coming_free([0.0, 300.0], 300.0, 3600.0) == pytest.approx(2 * 3600 / 3900)
    assert coming_free([10 * 3600.0], 300.0, 3600.0) == pytest.approx(1 / 11)
    assert coming_free([], 300.0, 3600.0) == 0.0


def outlook_with_busy(ran_s: float) -> Outlook:
    runs = [busy(f"b{number}", ran_s=ran_s) for number in range(3)]
    return Outlook(Fleet(view([*runs, bot("idle", warm("src"))], specs=[spec("src")], demand={"src": demand(6)})))


def test_the_only_idle_copy_is_worth_more_the_longer_the_busy_ones_have_run() -> None:
    worths = [outlook_with_busy(ran_s).forecast(("src", "g1"), 1) for ran_s in (0.0, 250.0, 3600.0, 36_000.0)]
    assert worths[0] == worths[1] < worths[2] < worths[3]
    in_all = [outlook_with_busy(ran_s).need_in_all(("src", "g1"), 1) for ran_s in (0.0, 36_000.0)]
    assert in_all[0] < in_all[1]


def test_a_run_on_a_cold_bot_is_no_older_for_its_start() -> None:
    """Its cold start of a minute is not work yet."""
    outlook = outlook_with_busy(0.0)
    assert outlook.works_from_s(Use(NOW_S, ("src",))) == NOW_S + outlook.cold_s("src")
    assert outlook.works_from_s(Use(NOW_S)) == NOW_S


def test_what_was_worked_out_is_forgotten_when_other_tasks_use_the_state() -> None:
    fleet = Fleet(
        view([bot("b1", warm("src")), bot("b2", warm("src"))], specs=[spec("src")], demand={"src": demand(6)})
    )
    outlook = Outlook(fleet)
    before = outlook.forecast(("src", "g1"), 1), outlook.need_and_miss(("src", "g1"), 1)
    fleet.begin(task("t1", "src"), fleet.by_id["b1"], ("src", "g1"))
    after = outlook.forecast(("src", "g1"), 1), outlook.need_and_miss(("src", "g1"), 1)
    assert after[0] < before[0]
    assert after[1] < before[1]


@pytest.mark.parametrize(("phase", "counts"), [(Phase.WARM, True), (Phase.STALE, False)])
def test_what_is_stale_beside_other_work_keeps_no_bet_from_making_it_anew(phase: Phase, counts: bool) -> None:
    runs = bot(
        "b1", ("b", busy("b1", "lib").slots["cache"]), warm("src", slot="a", phase=phase), run=held(family="lib")
    )
    alone = bot("b1", ("b", busy("b1", "lib").slots["cache"]), run=held(family="lib"))
    specs = [spec("src", slot="a"), spec("lib", slot="b")]
    with_copy, without = [
        Outlook(Fleet(view([one], specs=specs, demand={"src": demand(6)}))).need_and_miss(("src", "g1"), 1)
        for one in (runs, alone)
    ]
    assert (with_copy < without) is counts
    assert counts or with_copy == without


def test_a_bet_counts_copies_on_bots_that_work_on_something_else_and_dispatch_does_not() -> None:
    """Decision 37. Both bots hold src; one of them runs a task of lib now."""
    both = dict([warm("src", slot="a"), warm("lib", slot="b")])
    bots = [bot("b1", *both.items()), bot("b2", *both.items())]
    specs = [spec("src", slot="a"), spec("lib", slot="b")]
    fleet = Fleet(view(bots, specs=specs, demand={"src": demand(6), "lib": demand(6)}))
    outlook, state = Outlook(fleet), ("src", "g1")
    kept, bet = outlook.forecast(state, 2), outlook.need_and_miss(state, 2)
    fleet.begin(task("t1", "lib"), fleet.by_id["b1"], ("lib", "g1"))
    assert outlook.forecast(state, 2) == kept
    assert outlook.need_and_miss(state, 2)[0] < bet[0]
    assert outlook.need_and_miss(state, 2)[1] < bet[1]
    fleet.put_bot(fleet.by_id["b1"])
    assert outlook.need_and_miss(state, 2) == bet
