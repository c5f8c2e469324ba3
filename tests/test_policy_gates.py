"""The nine gates: each lets through or refuses with its numbers, in words, and says what would have changed it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.policy import gates
from server.policy.model import Gate, GateCheck, Purpose, Thresholds
from server.policy.plan import plan
from tests.policy_world import NOW_S, bot, demand, gate, spec, task, view

T = Thresholds(mode="live")
SRC = spec("src")

SENTENCES: list[tuple[GateCheck, bool, str, str]] = [
    (gates.switch_gate("builders", SRC, T, gate()), True, "Prewarming is on in builders and for src.", ""),
    (
        gates.switch_gate("builders", SRC, T, gate(stopped=True)),
        False,
        "The stop switch refused: prewarming is stopped.",
        "Start prewarming again.",
    ),
    (
        gates.switch_gate("builders", SRC, replace(T, mode="off"), gate()),
        False,
        "The switch refused: prewarming is off in builders.",
        "mode live in the configuration of builders.",
    ),
    (
        gates.switch_gate("builders", replace(SRC, active=False), T, gate()),
        False,
        "The switch refused: src is paused or retired.",
        "Resume src.",
    ),
    (
        gates.shadow_gate("builders"),
        False,
        "The switch refused: builders is in shadow mode, so hand-outs are recorded and not made.",
        "mode live in the configuration of builders.",
    ),
    (gates.pending_gate("b1", 0), True, "No pending task fits b1.", ""),
    (
        gates.pending_gate("b1", 1),
        False,
        "Pending work refused: 1 pending task fits b1.",
        "No pending task that this bot could take.",
    ),
    (
        gates.pending_gate("b1", 3),
        False,
        "Pending work refused: 3 pending tasks fit b1.",
        "No pending task that this bot could take.",
    ),
    (
        gates.utilization_gate(0.6, True, 0, T, NOW_S),
        True,
        "60 % of the bots are busy with real tasks, the limit is 80 %.",
        "",
    ),
    (
        gates.utilization_gate(0.85, False, 0, T, NOW_S),
        False,
        "Utilization refused: 85 % of the bots are busy with real tasks, the limit is 80 %.",
        "Fewer busy bots, or utilization_stop above 85 %.",
    ),
    (
        gates.utilization_gate(0.5, False, NOW_S - 12, T, NOW_S),
        False,
        "Utilization refused: 50 % of the bots are busy; it must be below 72 % for 30 s and has been for 12 s.",
        "Another 18 s below 72 %.",
    ),
    (
        gates.utilization_gate(0.75, False, 0, T, NOW_S),
        False,
        "Utilization refused: 75 % of the bots are busy; it must be below 72 % for 30 s.",
        "A level below 72 %.",
    ),
    (gates.reserve_gate(6, 40, T), True, "After this hand-out 5 idle bots would remain, the reserve is 4.", ""),
    (
        gates.reserve_gate(4, 40, T),
        False,
        "The reserve refused: after this hand-out 3 idle bots would remain, the reserve is 4.",
        "One more idle bot, or reserve_share at most 7.5 %.",
    ),
    (
        gates.reserve_gate(5, 100, T),
        False,
        "The reserve refused: after this hand-out 4 idle bots would remain, the reserve is 10.",
        "6 more idle bots, or reserve_share at most 4 %.",
    ),
    (
        gates.reserve_gate(2, 4, replace(T, reserve_min=2)),
        False,
        "The reserve refused: after this hand-out 1 idle bot would remain, the reserve is 2.",
        "One more idle bot, or reserve_min at most 1.",
    ),
    (
        gates.reserve_gate(9, 40, T, growth_p90=8.4),
        False,
        "The reserve refused: after this hand-out 8 idle bots would remain, the reserve is 9.",
        "One more idle bot, or less growth of tasks than the 8.4 seen lately.",
    ),
    (
        gates.reserve_gate(1, 5, T, who=" that fit src"),
        False,
        "The reserve refused: after this hand-out 0 idle bots that fit src would remain, the reserve is 1.",
        "One more idle bot, or reserve_share at most 0 % and reserve_min at most 0.",
    ),
    (gates.shares_gate(SRC, 3, 1, 20, T, 0), True, "src 1 of 10, all specs 3 of 10 runs.", ""),
    (
        gates.shares_gate(SRC, 10, 1, 20, T, 0),
        False,
        "The share refused: 10 of 10 background runs are on in the pool.",
        "A background run that ends, or background_share at least 55 %.",
    ),
    (
        gates.shares_gate(SRC, 5, 5, 20, replace(T, spec_share=0.25), 0),
        False,
        "The share refused: 5 of 5 runs of src are on.",
        "A run of src that ends, or spec_share at least 30 %.",
    ),
    (
        gates.shares_gate(replace(SRC, max_running=2), 5, 2, 20, T, 0),
        False,
        "The share refused: 2 of 2 runs of src are on.",
        "A run of src that ends, or max_running at least 3.",
    ),
    (
        gates.shares_gate(SRC, 3, 1, 20, T, 60),
        False,
        "The share refused: 60 hand-outs in the last minute, the limit is 60.",
        "A minute's wait, or hand_outs_per_min at least 61.",
    ),
    (gates.bot_gate(bot("b1", idle_s=11), SRC, T, NOW_S), True, "b1 is healthy and has been idle for 11 s.", ""),
    (
        gates.bot_gate(bot("b1", idle_s=4), SRC, T, NOW_S),
        False,
        "The bot refused: b1 has been idle for 4.0 s, it must be for 10 s.",
        "Another 6.0 s idle, or min_idle_s at most 4.",
    ),
    (
        gates.bot_gate(bot("b1", quarantined="disk full"), SRC, T, NOW_S),
        False,
        "The bot refused: b1 is quarantined: disk full.",
        "A healthy b1.",
    ),
    (gates.bot_gate(bot("b1", alive=False), SRC, T, NOW_S), False, "The bot refused: b1 is dead.", "A healthy b1."),
    (
        gates.bot_gate(bot("b1", backoff_until_s={"src": NOW_S + 300}), SRC, T, NOW_S),
        False,
        "The bot refused: src failed on b1, it is not tried there for another 5 m.",
        "The end of that back-off.",
    ),
    (
        gates.bot_gate(bot("b1", quiet_until_s=NOW_S + 20), SRC, T, NOW_S),
        False,
        "The bot refused: b1 may still end an old run, it is kept quiet for another 20 s.",
        "The end of that time.",
    ),
    (gates.breaker_gate(SRC, gate()), True, "The breaker of src is closed.", ""),
    (
        gates.breaker_gate(SRC, gate(open_breakers={"src": "3 runs failed in a row on 2 bots"})),
        False,
        "The circuit breaker refused: src is paused, 3 runs failed in a row on 2 bots.",
        "Repair src and close its breaker.",
    ),
    (gates.fresh_view_gate(0.8, T), True, "The server saw the fleet 0.8 s ago.", ""),
    (
        gates.fresh_view_gate(40, T),
        False,
        "The view refused: the server saw the fleet 40 s ago, 15 s is the limit.",
        "A store that answers; or view_max_age_s at least 40.",
    ),
    (
        gates.fresh_view_gate(-60, T),
        False,
        "The view refused: it is from the future, a clock jumped.",
        "A new view of the fleet.",
    ),
    (
        gates.fresh_view_gate(float("nan"), T),
        False,
        "The view refused: it is from the future, a clock jumped.",
        "A new view of the fleet.",
    ),
    (gates.ledger_gate(gate(), T), True, "The ledger is not losing.", ""),
    (
        gates.ledger_gate(gate(ledger_losing="9 background seconds were spent for each one saved"), T),
        False,
        "The ledger refused: 9 background seconds were spent for each one saved.",
        "Less than 5 background seconds per saved second.",
    ),
]


@pytest.mark.parametrize(("check", "passed", "text", "change"), SENTENCES, ids=[row[2][:50] for row in SENTENCES])
def test_sentence(check: GateCheck, passed: bool, text: str, change: str) -> None:
    assert check.passed is passed
    assert check.text.replace("\u00a0", " ") == text
    assert check.would_change.replace("\u00a0", " ") == change


CLOSED = {
    Gate.SWITCH: {"state": gate(stopped=True)},
    Gate.PENDING: {"tasks": [task("t1"), task("t2"), task("t3"), task("t4"), task("t5"), task("t6"), task("t7")]},
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


@pytest.mark.parametrize("closed", CLOSED)
def test_one_closed_gate_keeps_everything_back_and_names_itself(closed: Gate) -> None:
    world = {"specs": [SRC], "demand": {"src": demand(60)}} | CLOSED[closed]
    made = plan(view([bot(f"b{number}") for number in range(6)], **world))
    assert not any(advice.background for advice in made.advice.values())
    refused = made.advice["b0"].refused
    assert refused is not None and refused.gate is closed
    assert refused.would_change


def test_all_nine_gates_stand_beside_a_refusal_also_those_after_it() -> None:
    made = plan(view([bot("b1")], specs=[SRC], demand={"src": demand(60)}))
    refused = made.advice["b1"].refused
    assert refused is not None and refused.gate is Gate.RESERVE
    assert [check.gate for check in refused.checks] == list(Gate)[:9]
    assert [check.gate for check in refused.checks if not check.passed] == [Gate.RESERVE]
    assert [check.gate for check in made.gates] == list(Gate)[:9]


def test_a_value_too_small_says_both_numbers_and_shows_its_sum() -> None:
    made = plan(view([bot("b1"), bot("b2")], specs=[SRC], demand={"src": demand(0.05)}))
    refused = made.advice["b1"].refused
    assert refused is not None
    assert refused.text.replace("\u00a0", " ") == (
        "The value refused: warming b1 for src@g1 is worth 4.7 % of a cold start, the threshold is 15 %."
    )
    assert refused.would_change == "More demand for src, or value_threshold at most 0.04."
    assert refused.values[0].text.replace("\u00a0", " ") == (
        "src@g1: 0.05 × 58 s saved − 0 s for the state displaced − 0 s for the risk of a preemption"
        " − 0 s run cost = 2.8 s"
    )


def counts(**fields: object) -> gates.Counts:
    """Numbers of a pool of 20 bots of which 10 are idle and nothing runs."""
    defaults = {"usable": 20, "idle": 10, "running_all": 0, "running_spec": 0, "utilization": 0.5, "gate_open": True}
    return gates.Counts(**(defaults | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "counted", "refusing"),
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
    fields: dict, counted: gates.Counts, refusing: Gate | None
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
    } | fields
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
