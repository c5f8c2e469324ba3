"""What each of the nine gates says when it lets through or refuses: its numbers, and what would have changed it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from server.policy import gates
from server.policy.model import Phase, Thresholds
from server.policy.outcome import GateCheck
from tests.policy_world import NOW_S, bot, gate, spec, warm

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
        gates.switch_gate("builders", replace(SRC, active=False), replace(T, mode="off"), gate(stopped=True)),
        False,
        "The stop switch refused: prewarming is stopped.",
        "Start prewarming again; and mode live in the configuration of builders; and resume src.",
    ),
    (
        gates.switch_gate("builders", SRC, replace(T, mode="shadow"), gate()),
        True,
        "builders is in shadow mode: hand-outs are recorded, not made.",
        "",
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
        "60 % of the usable bots are busy or asked for by waiting tasks, the limit is 80 %.",
        "",
    ),
    (
        gates.utilization_gate(0.85, False, 0, T, NOW_S),
        False,
        "Utilization refused: 85 % of the usable bots are busy or asked for by waiting tasks, the limit is 80 %.",
        "A level below 72 % for 30 s, or utilization_start and utilization_stop above 85 %.",
    ),
    (
        gates.utilization_gate(0.85, True, 0, T, NOW_S, " that fit src"),
        False,
        "Utilization refused: 85 % of the usable bots that fit src are busy or asked for by waiting tasks, "
        "the limit is 80 %.",
        "Fewer busy bots that fit src, or utilization_stop above 85 %.",
    ),
    (
        gates.utilization_gate(0.5, False, NOW_S - 12, T, NOW_S),
        False,
        "Utilization refused: 50 % of the usable bots are busy or asked for by waiting tasks; "
        "it must be below 72 % for 30 s and has been for 12 s.",
        "Another 18 s below 72 %.",
    ),
    (
        gates.utilization_gate(0.75, False, 0, T, NOW_S),
        False,
        "Utilization refused: 75 % of the usable bots are busy or asked for by waiting tasks; "
        "it must be below 72 % for 30 s.",
        "A level below 72 % for 30 s.",
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
        gates.reserve_gate(4, 40, T, growth_p90=8.4),
        False,
        "The reserve refused: after this hand-out 3 idle bots would remain, the reserve is 9.",
        "6 more idle bots, or less growth of tasks than the 8.4 seen lately and reserve_share at most 7.5 %.",
    ),
    (
        gates.reserve_gate(3, 3, T, growth_p90=140.2),
        False,
        "The reserve refused: after this hand-out 2 idle bots would remain, the reserve is 3.",
        "139 more idle bots, or less growth of tasks than the 140.2 seen lately.",
    ),
    (
        gates.reserve_gate(0, 5, T, who=" that fit src"),
        False,
        "The reserve refused: no bot that fits src is idle, the reserve is 1.",
        "2 more idle bots.",
    ),
    (
        gates.reserve_gate(1, 5, T, who=" that fit src"),
        False,
        "The reserve refused: after this hand-out 0 idle bots that fit src would remain, the reserve is 1.",
        "One more idle bot, or reserve_share at most 0 % and reserve_min at most 0.",
    ),
    (gates.shares_gate(SRC, 3, 1, 20, T, 0), True, "3 of 10 background runs are on or planned, 1 of 10 of src.", ""),
    (
        gates.shares_gate(SRC, 10, 1, 20, T, 0),
        False,
        "The share refused: 10 of 10 background runs are on or planned.",
        "A background run that ends, or background_share at least 55 %.",
    ),
    (
        gates.shares_gate(SRC, 5, 5, 20, replace(T, spec_share=0.25), 0),
        False,
        "The share refused: 5 of 5 runs of src are on or planned.",
        "A run of src that ends, or spec_share at least 30 %.",
    ),
    (
        gates.shares_gate(replace(SRC, max_running=2), 5, 2, 20, T, 0),
        False,
        "The share refused: 2 of 2 runs of src are on or planned.",
        "A run of src that ends, or max_running at least 3.",
    ),
    (
        gates.shares_gate(SRC, 3, 1, 20, T, 60),
        False,
        "The share refused: 60 hand-outs of the last minute or planned, the limit is 60.",
        "A minute's wait, or hand_outs_per_min at least 61.",
    ),
    (
        gates.shares_gate(replace(SRC, max_running=1), 10, 5, 20, replace(T, spec_share=0.25), 60),
        False,
        "The share refused: 10 of 10 background runs are on or planned.",
        "A run of src that ends, or background_share at least 55 % and max_running at least 6 and spec_share at least "
        "30 %; and a minute's wait, or hand_outs_per_min at least 61.",
    ),
    (
        gates.shares_gate(SRC, 0, 0, 20, replace(T, background_share=0.0), 0),
        False,
        "The share refused: 0 of 0 background runs are on or planned.",
        "background_share at least 5 %.",
    ),
    (
        gates.bot_gate(bot("b1", idle_s=11), SRC, T, gate(), NOW_S),
        True,
        "b1 is healthy and has been idle for 11 s.",
        "",
    ),
    (
        gates.bot_gate(bot("b1", idle_s=4), SRC, T, gate(), NOW_S),
        False,
        "The bot refused: b1 has been idle for 4.0 s, it must be for 10 s.",
        "Another 6.0 s idle, or min_idle_s at most 4.",
    ),
    (
        gates.bot_gate(
            bot("b1", idle_s=4, failed_s={"src": NOW_S - 300}, quiet_until_s=NOW_S + 20), SRC, T, gate(), NOW_S
        ),
        False,
        "The bot refused: b1 may still end an old run, it is kept quiet for another 20 s.",
        "Another 20 s; and another 6.0 s idle, or min_idle_s at most 4; and the end of that time, or resuming src.",
    ),
    (
        gates.bot_gate(bot("b1", warm("fw", phase=Phase.DIRTY, slot="disk")), SRC, T, gate(), NOW_S),
        False,
        "The bot refused: slot disk of b1 is dirty.",
        "A clean-up of slot disk.",
    ),
    (
        gates.bot_gate(bot("b1", failed_s={"src": NOW_S - 300}), replace(SRC, resumed_s=NOW_S - 5), T, gate(), NOW_S),
        True,
        "b1 is healthy and has been idle for 10 m.",
        "",
    ),
    (
        gates.bot_gate(bot("b1", failed_s={"src": NOW_S - 5}), replace(SRC, resumed_s=NOW_S - 300), T, gate(), NOW_S),
        False,
        "The bot refused: src failed on b1, it is not tried there for another 9 m 55 s.",
        "The end of that time, or resuming src.",
    ),
    (
        gates.bot_gate(bot("b1", quarantined="disk full"), SRC, T, gate(), NOW_S),
        False,
        "The bot refused: b1 is quarantined: disk full.",
        "A healthy b1.",
    ),
    (
        gates.bot_gate(bot("b1", alive=False, overdue=True), SRC, T, gate(), NOW_S),
        False,
        "The bot refused: b1 is silent: its poll is overdue.",
        "A poll of b1.",
    ),
    (
        gates.bot_gate(bot("b1", alive=False), SRC, T, gate(), NOW_S),
        False,
        "The bot refused: b1 is dead.",
        "A healthy b1.",
    ),
    (
        gates.bot_gate(bot("b1", failed_s={"src": NOW_S - 300}), SRC, T, gate(), NOW_S),
        False,
        "The bot refused: src failed on b1, it is not tried there for another 5 m.",
        "The end of that time, or resuming src.",
    ),
    (
        gates.bot_gate(bot("b1", quiet_until_s=NOW_S + 20), SRC, T, gate(), NOW_S),
        False,
        "The bot refused: b1 may still end an old run, it is kept quiet for another 20 s.",
        "Another 20 s.",
    ),
    (gates.breaker_gate(SRC, gate()), True, "The breaker of src is closed.", ""),
    (
        gates.breaker_gate(SRC, gate(open_breakers={"src": "3 runs failed in a row on 2 bots"})),
        False,
        "The circuit breaker of src refused: 3 runs failed in a row on 2 bots.",
        "Repair src and resume it.",
    ),
    (gates.fresh_view_gate(0.8, T), True, "The server saw the fleet 0.8 s ago.", ""),
    (
        gates.fresh_view_gate(40, T),
        False,
        "The view refused: the server saw the fleet 40 s ago, 15 s is the limit.",
        "A store that answers, or view_max_age_s at least 40.",
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
        "At most 5 background seconds per saved second, or a larger ledger_max_cost.",
    ),
]


@pytest.mark.parametrize(("check", "passed", "text", "change"), SENTENCES, ids=[row[2][:50] for row in SENTENCES])
def test_sentence(check: GateCheck, passed: bool, text: str, change: str) -> None:
    assert check.passed is passed
    assert check.text.replace("\u00a0", " ") == text
    assert check.would_change.replace("\u00a0", " ") == change
