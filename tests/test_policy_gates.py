"""The nine gates: each lets through or refuses with its numbers, in words, and says what would have changed it."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import combinations

import pytest

from server.policy import gates
from server.policy.model import Gate, Phase, Purpose, Thresholds
from server.policy.outcome import PoolPlan
from server.policy.plan import plan
from tests.policy_world import NOW_S, bot, demand, gate, held, spec, task, view, warm

T = Thresholds(mode="live")
SRC = spec("src")

CLOSED = {
    Gate.SWITCH: {"state": gate(stopped=True)},
    Gate.PENDING: {"tasks": [task("t1")]},
    Gate.UTILIZATION: {"state": gate(open=False, below_since_s=0.0)},
    Gate.RESERVE: {"state": gate(growth_p90=6.0)},
    Gate.SHARES: {"thresholds": replace(T, background_share=0.0)},
    Gate.BOT: {"thresholds": replace(T, min_idle_s=3600.0)},
    Gate.BREAKER: {"state": gate(open_breakers={"src": "it failed"})},
    Gate.FRESH_VIEW: {"view_age_s": 60.0},
    Gate.LEDGER: {"state": gate(ledger_losing="it loses")},
    Gate.NO_SPEC: {"specs": []},
    Gate.VALUE: {"demand": {"src": demand(0)}},
}


def with_closed(*closed: Gate) -> PoolPlan:
    """The plan of six idle bots and one spec in demand, with these gates closed."""
    world: dict = {"specs": [SRC], "demand": {"src": demand(60)}}
    for one in closed:
        for name, value in CLOSED[one].items():
            both = name in world and name in ("state", "thresholds")
            world[name] = _changed(world[name], value, gate() if name == "state" else T) if both else value
    return plan(view([bot(f"b{number}") for number in range(6)], **world))


def _changed(one: object, other: object, usual: object) -> object:
    """`one`, with what is not as usual in `other`."""
    return replace(one, **{f.name: getattr(other, f.name) for f in fields(other) if _differs(f.name, other, usual)})


def _differs(name: str, one: object, other: object) -> bool:
    return bool(getattr(one, name) != getattr(other, name))


@pytest.mark.parametrize("closed", CLOSED)
def test_one_closed_gate_keeps_everything_back_and_names_itself(closed: Gate) -> None:
    made = with_closed(closed)
    assert not any(advice.background for advice in made.advice.values())
    refused = made.advice["b0"].refused
    assert refused is not None and refused.gate is closed
    assert refused.would_change
    assert "; and " not in refused.would_change


@pytest.mark.parametrize(("first", "second"), [pair for pair in combinations(CLOSED, 2) if Gate.NO_SPEC not in pair])
def test_with_two_gates_closed_both_must_change(first: Gate, second: Gate) -> None:
    alone = [with_closed(one).advice["b0"].refused for one in (first, second)]
    both = with_closed(first, second).advice["b0"].refused
    assert both is not None
    assert both.gate is first
    for one in alone:
        assert one is not None
        assert one.would_change.rpartition(", or ")[2].removesuffix(".").lower() in both.would_change.lower()


def test_a_bot_that_no_spec_fits_is_told_of_the_closed_gates_too() -> None:
    refused = with_closed(Gate.LEDGER, Gate.NO_SPEC).advice["b0"].refused
    assert refused is not None and refused.gate is Gate.NO_SPEC
    assert refused.would_change == (
        "A spec whose dimensions b0 has; and "
        "at most 5 background seconds per saved second, or a larger ledger_max_cost."
    )


def test_a_bot_in_back_off_from_a_spec_with_an_open_breaker_waits_for_the_breaker_alone() -> None:
    """The end of the back-off would change nothing, and who resumes the spec ends both."""
    state = gate(open_breakers={"src": "3 runs failed in a row on 3 bots"})
    bots = [bot(f"b{number}", failed_s={"src": NOW_S - 60}) for number in range(3)]
    refused = plan(view(bots, specs=[SRC], demand={"src": demand(60)}, state=state)).advice["b0"].refused
    assert refused is not None and refused.gate is Gate.BREAKER
    assert refused.would_change == "Repair src and resume it."
    resumed = replace(SRC, resumed_s=NOW_S - 1)
    made = plan(view(bots, specs=[resumed], demand={"src": demand(60)}))
    assert any(advice.background for advice in made.advice.values())


def test_in_shadow_mode_a_closed_gate_is_not_all_that_must_change() -> None:
    made = plan(view([bot("b1")], specs=[SRC], demand={"src": demand(60)}, thresholds=replace(T, mode="shadow")))
    refused = made.advice["b1"].refused
    assert refused is not None and refused.gate is Gate.RESERVE
    assert refused.would_change.endswith("; and mode live in the configuration of p.")
    assert "shadow mode" in refused.checks[0].text


def test_a_bot_whose_only_spec_is_paused_is_told_to_resume_it() -> None:
    made = plan(view([bot("b1"), bot("b2")], specs=[replace(SRC, active=False)]))
    refused = made.advice["b1"].refused
    assert refused is not None
    assert refused.text == "No active spec fits b1: src is paused or retired."
    assert refused.would_change == "Resume src, or a spec whose dimensions b1 has."


def test_a_dirty_bot_that_nothing_cleans_is_not_said_to_lack_value() -> None:
    bots = [bot(f"b{number}", warm("fw", phase=Phase.DIRTY, slot="disk")) for number in range(3)]
    refused = plan(view(bots, specs=[SRC], demand={"src": demand(60)})).advice["b0"].refused
    assert refused is not None and refused.gate is Gate.BOT
    assert refused.would_change == "A clean-up of slot disk."


def test_bots_for_one_spec_that_are_busier_than_the_pool_do_not_lend_it_their_level() -> None:
    """The gate opens by the pool's level: another one beside "and has been below" would be untrue."""
    kind = (("kind", ("a",)),)
    bots = [bot("a1", extra={"kind": ["a"]}), *(bot(f"b{number}") for number in range(5))]
    bots += [bot(f"a{number}", extra={"kind": ["a"]}, run=held()) for number in range(2, 5)]
    picky = replace(SRC, dimensions=SRC.dimensions + kind)
    state = gate(open=False, below_since_s=NOW_S - 12)
    refused = plan(view(bots, specs=[picky], demand={"src": demand(60)}, state=state)).advice["a1"].refused
    assert refused is not None
    assert refused.text.replace("\u00a0", " ") == (
        "Utilization refused: 33 % of the usable bots are busy or asked for by waiting tasks; "
        "it must be below 72 % for 30 s and has been for 12 s."
    )


def test_the_pools_gates_say_what_would_open_them() -> None:
    bots = [bot("b1", idle_s=4), bot("b2", idle_s=2)]
    state = gate(open=False, below_since_s=0.0, open_breakers={"src": "", "fw": ""}, ledger_losing="it loses")
    off = replace(T, background_share=0.0, mode="off")
    made = plan(view(bots, tasks=[task(f"t{n}") for n in range(3)], state=state, thresholds=off, view_age_s=99.0))
    assert not any(check.passed for check in made.gates)
    assert all(check.would_change.endswith(".") for check in made.gates)
    assert [check.would_change for check in made.gates if check.gate is Gate.BREAKER] == [
        "Repair fw and src and resume them."
    ]


@pytest.mark.parametrize(
    ("idle_s", "said"),
    [
        ((4,), "0 of 1 idle bot has been idle for 10 s. Another 6.0 s idle, or min_idle_s at most 4."),
        ((60,), "1 of 1 idle bot has been idle for 10 s."),
        ((60, 4), "1 of 2 idle bots has been idle for 10 s."),
        ((60, 60), "2 of 2 idle bots have been idle for 10 s."),
        ((), "No bot is idle. An idle bot."),
    ],
)
def test_idle_bots_of_a_pool_are_counted_in_good_english(idle_s: tuple[float, ...], said: str) -> None:
    made = plan(view([bot(f"b{number}", idle_s=one_s) for number, one_s in enumerate(idle_s)]))
    check = next(check for check in made.gates if check.gate is Gate.BOT)
    assert f"{check.text} {check.would_change}".strip().replace("\u00a0", " ") == said


@pytest.mark.parametrize(
    ("bots", "text"), [([], "p has no bots."), ([bot("b1", alive=False)], "No bot of p can take work.")]
)
def test_a_pool_without_a_bot_is_not_called_full(bots: list, text: str) -> None:
    made = plan(view(bots))
    check = next(check for check in made.gates if check.gate is Gate.UTILIZATION)
    assert not check.passed and check.text == text
    assert not any("100" in one.text for one in made.gates)


def test_all_nine_gates_stand_beside_a_refusal_also_those_after_it() -> None:
    made = plan(view([bot("b1")], specs=[SRC], demand={"src": demand(60)}))
    refused = made.advice["b1"].refused
    assert refused is not None and refused.gate is Gate.RESERVE
    assert [check.gate for check in refused.checks] == list(Gate)[:9]
    assert [check.gate for check in refused.checks if not check.passed] == [Gate.RESERVE]
    assert [check.gate for check in made.gates] == list(Gate)[:9]


def test_a_cost_that_is_far_too_high_is_named_where_no_demand_could_make_up_for_it() -> None:
    dear = replace(SRC, run_cost_s=1e6)
    refused = plan(view([bot("b1"), bot("b2")], specs=[dear], demand={"src": demand(5)})).advice["b1"].refused
    assert refused is not None and "is worth less than −1,000\u00a0% of a cold start" in refused.text
    assert refused.would_change == "A cold_cost_s and a run_cost_s of src that are about right."


def test_a_value_too_small_says_both_numbers_and_shows_its_sum() -> None:
    made = plan(view([bot("b1"), bot("b2")], specs=[SRC], demand={"src": demand(0.05)}))
    refused = made.advice["b1"].refused
    assert refused is not None
    assert refused.text.replace("\u00a0", " ") == (
        "The value refused: warming b1 for src@g1 is worth 2.5 % of a cold start, the threshold is 15 %."
    )
    assert refused.would_change == "More demand for src, or value_threshold at most 0.02."
    assert refused.values[0].text.replace("\u00a0", " ") == (
        "src@g1: 0.03 × 58 s saved − 0 s for what the bot holds − 0 s for the risk of a preemption"
        " − 0 s run cost = 1.5 s"
    )


def counts(**changed: object) -> gates.Counts:
    """Numbers of a pool of 20 bots of which 10 are idle and nothing runs."""
    defaults = {"usable": 20, "idle": 10, "running_all": 0, "running_spec": 0, "utilization": 0.5, "gate_open": True}
    return gates.Counts(**(defaults | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "counted", "refusing"),
    [
        ({}, counts(), None),
        ({}, counts(idle=2), Gate.RESERVE),
        ({}, counts(running_all=10), Gate.SHARES),
        ({}, counts(running_spec=10), Gate.SHARES),
        ({}, counts(utilization=0.8), Gate.UTILIZATION),
        ({}, counts(gate_open=False), Gate.UTILIZATION),
        ({"thresholds": replace(T, mode="shadow")}, counts(), Gate.SWITCH),
        ({"thresholds": replace(T, mode="off")}, counts(), Gate.SWITCH),
        ({"gate": gate(stopped=True)}, counts(), Gate.SWITCH),
        ({"planned_epoch": 4}, counts(), Gate.SWITCH),
        ({"view_at_s": NOW_S - 5, "gate": gate(preempted_s=NOW_S - 1)}, counts(), Gate.FRESH_VIEW),
        ({"purpose": Purpose.CLEAN}, counts(idle=0, running_all=99, utilization=1.0), None),
        ({"purpose": Purpose.ON_DEMAND}, counts(idle=0, running_all=99, utilization=1.0), None),
        ({"purpose": Purpose.ANNOUNCED}, counts(idle=2), Gate.RESERVE),
        ({"purpose": Purpose.CLEAN, "gate": gate(stopped=True)}, counts(), Gate.SWITCH),
        ({"gate": gate(recent_hand_outs_s=(NOW_S - 5,) * 60)}, counts(), Gate.SHARES),
        ({"gate": gate(recent_hand_outs_s=(NOW_S - 65,) * 60)}, counts(), None),
    ],
)
def test_the_pools_record_checks_again_with_its_own_counts(
    changed: dict, counted: gates.Counts, refusing: Gate | None
) -> None:
    ask = {
        "purpose": Purpose.FORECAST,
        "spec": SRC,
        "pool": "p",
        "thresholds": T,
        "gate": gate(),
        "planned_epoch": 0,
        "view_at_s": NOW_S - 1,
        "now_s": NOW_S,
    } | changed
    refused = gates.recheck(counts=counted, **ask)
    assert (refused.gate if refused else None) is refusing


def test_processes_that_each_saw_the_same_spare_bots_hand_out_no_more_than_there_are() -> None:
    """The record of the pool counts: eight views of "6 idle, reserve 2" give 4 hand-outs, not 32."""
    handed = 0
    for _ in range(8):
        for _ in range(4):
            if (
                gates.recheck(
                    Purpose.FORECAST, SRC, "p", T, gate(), counts(idle=6 - handed, running_all=handed), 0, NOW_S, NOW_S
                )
                is None
            ):
                handed += 1
    assert handed == 4
