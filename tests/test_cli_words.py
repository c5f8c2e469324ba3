"""Numbers, times and tables as people read them."""

from __future__ import annotations

import pytest

from client import tables
from client.api import ApiError
from client.options import explain
from client.run import task_request
from client.words import ago, duration, plain, share, size
from server.proto import swarming_pb2 as swarming

HASH = "05240738e93c961c25ef8e2cd1246d80c41f4737"


@pytest.mark.parametrize(
    ("time_s", "words"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (38.4, "38 s"),
        (89.4, "89 s"),
        (90, "1 m 30 s"),
        (215, "3 m 35 s"),
        (3600, "1 h"),
        (28_440, "7 h 54 m"),
        (90_000, "1 d 1 h"),
        (19 * 86_400 + 5000, "19 d"),
        (-3, "−3.0 s"),
    ],
)
def test_durations_have_two_units_at_most(time_s: float, words: str) -> None:
    assert plain(duration(time_s)) == words
    assert " " not in duration(time_s)


def test_sizes_come_in_powers_of_ten() -> None:
    assert [plain(size(n)) for n in (0, 999, 1000, 31_542_816, 123_456_789, 5 * 10**12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "31.5 MB",
        "123 MB",
        "5.0 TB",
    ]


def test_shares_are_whole_percent_but_small_ones() -> None:
    assert [plain(share(part)) for part in (0, 0.014, 0.25, 1)] == ["0 %", "1.4 %", "25 %", "100 %"]


def test_never_is_empty_and_the_future_is_now() -> None:
    assert (ago(0, 100), plain(ago(101, 100))) == ("", "0.0 s ago")


def test_a_spec_that_stopped_by_itself_is_not_called_active() -> None:
    spec = {"family": "src", "state": "active", "pool": "p", "generation": "r1", "revision": 1}
    broken = {**spec, "breaker": "3 runs in a row failed on 3 bots"}
    sheet = tables.of_specs([{**spec, "breaker": ""}, broken], {})
    assert [row[1].text for row in sheet.rows] == ["active", "breaker open"]
    assert tables.sentences_of_breakers([{**spec, "breaker": ""}, broken]) == [
        "The circuit breaker of src is open: 3 runs in a row failed on 3 bots. Repair it, then ./pilot specs resume src"
    ]


POOL = {"pool": "p", "mode": "live", "bots": 2, "idle": 1, "busy": 1, "utilization": 0.5, "reserve": 1}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "p (live): 1 of 2 bots idle, 1 busy; 50 % busy or asked for, reserve 1."),
        (
            {"bots": 1, "busy": 0, "utilization": 0.0},
            "p (live): 1 of 1 bot idle, 0 busy; 0 % busy or asked for, reserve 1.",
        ),
        (
            {"idle": 0, "silent": 1, "utilization": 1.0},
            "p (live): 0 of 2 bots idle, 1 busy, 1 silent; 100 % busy or asked for, reserve 1.",
        ),
        (
            {"self_shadow": {"why": "it loses"}},
            "p (shadow by itself): 1 of 2 bots idle, 1 busy; 50 % busy or asked for, reserve 1.",
        ),
        ({"bots": 0, "idle": 0, "busy": 0, "utilization": None}, "p (live): no bots."),
        ({"idle": 0, "busy": 0, "utilization": None}, "p (live): 0 of 2 bots idle, 0 busy, none that can take work."),
    ],
)
def test_a_pool_is_told_in_a_sentence_that_is_true_without_bots_too(changes: dict, sentence: str) -> None:
    assert plain(tables.sentence_of_pool({**POOL, **changes})) == sentence


def test_gates_are_told_without_the_tails_of_hashes() -> None:
    sheet = tables.of_gates([{"gate": "value", "passed": False, "text": f"b1 already holds src@{HASH}."}])
    assert sheet.rows[0][2] == "b1 already holds src@05240738e9."


def test_a_background_task_is_told_with_its_generation_cut_short() -> None:
    task = swarming.TaskResultResponse(
        name=f"forecast: src@{HASH}", state=swarming.COMPLETED, tags=["purpose:forecast"]
    )
    name = tables.of_tasks([task], 0.0).rows[0][2]
    assert isinstance(name, tables.Cell) and name.text == "forecast: src@05240738e9"


def test_a_task_without_a_name_is_called_by_its_command_as_one_plain_line() -> None:
    request = task_request(pool="p", command=["python3", "-c", "print('hi')\nprint(1)"])
    assert request.name == "python3 -c print('hi') print(1)"


def test_a_name_stays_within_its_row_whatever_is_in_it() -> None:
    task = swarming.TaskResultResponse(name="one\ttwo\n\x1b[2Jthree  four")
    name = tables.of_tasks([task], 0.0).rows[0][2]
    assert isinstance(name, tables.Cell) and name.text == "one two [2Jthree four"


def test_a_failed_task_shows_its_exit_code() -> None:
    task = swarming.TaskResultResponse(state=swarming.COMPLETED, exit_code=3)
    state = tables.of_tasks([task], 0.0).rows[0][1]
    assert isinstance(state, tables.Cell) and (state.text, state.style) == ("exit code 3", tables.BAD)


def test_a_task_that_its_bot_handed_back_says_so_and_how_long_it_ran() -> None:
    task = swarming.TaskResultResponse(task_id="t0", state=swarming.BOT_DIED)
    task.started_ts.FromSeconds(100)
    task.completed_ts.FromSeconds(112)
    sheets = [tables.of_tasks([task], 500.0), tables.of_tasks([task], 500.0, {"t0"})]
    assert [sheet.rows[0][1].text for sheet in sheets] == ["bot died", "handed back"]
    assert [plain(sheet.rows[0][-1]) for sheet in sheets] == ["12 s", "12 s"]


def test_a_bot_that_is_dead_is_never_shown_as_idle() -> None:
    bot = swarming.BotInfo(bot_id="b", is_dead=True)
    cell = tables.of_bots([bot], {"bots": [{"id": "b", "status": "idle"}]}, 0.0).rows[0][1]
    assert isinstance(cell, tables.Cell) and cell.text == "dead"


def test_what_a_bot_holds_says_when_it_is_not_simply_warm() -> None:
    slots = {
        "cache": {"family": "src", "generation": HASH, "phase": "warm"},
        "firmware": {"family": "fw", "generation": "", "phase": "in_use"},
        "disk": {"family": "", "phase": "cold"},
    }
    rows = tables.of_bots([swarming.BotInfo(bot_id="b")], {"bots": [{"id": "b", "slots": slots}]}, 0.0).rows
    assert rows[0][3] == "src@05240738e9, fw (in use)"


def test_a_refusal_tells_every_field() -> None:
    error = ApiError(400, "two fields are wrong", {"slot": "must be short", "pool": "is missing"})
    assert explain(error, "http://x").splitlines() == [
        "two fields are wrong",
        "  slot: must be short",
        "  pool: is missing",
    ]


def test_measured_savings_are_a_figure_only_when_they_are_proven() -> None:
    spec = {"family": "src", "state": "active", "pool": "p", "generation": "r1", "revision": 1, "breaker": ""}
    measured = {"saved_s": 12.0, "low_s": 3.0, "high_s": 21.0, "is_known": True, "is_proven": True}

    def shown(**changes: object) -> str:
        sheet = tables.of_specs([spec], {"src": {"measured": {**measured, **changes}}})
        return plain(str(sheet.rows[0][-1]))

    assert shown() == "12 s ± 9.0 s a task"
    assert shown(is_proven=False) == "not proven"
    assert shown(is_known=False) == ""
    known = {"src": {"measured": {"text": "Tasks get to work 12 s sooner.", "held_out": 41.0}}}
    assert tables.sentences_of_savings(known) == ["src: Tasks get to work 12 s sooner."]
    assert tables.sentences_of_savings({"src": {"measured": {"text": "Not yet.", "held_out": 0.0}}}) == []


def test_kinds_of_decisions_are_told_in_words() -> None:
    counts = {"refused": {"value": 12_000, "fresh_view": 2}, "handed_out": {"forecast": 30}, "others": {"held_back": 4}}
    assert [list(row) for row in tables.of_counts(counts).rows] == [
        ["refused: value", "12,000"],
        ["handed out: forecast", "30"],
        ["held back", "4"],
        ["refused: fresh view", "2"],
    ]


def test_what_shadow_mode_would_have_gained_is_told_for_its_pools_only() -> None:
    text = "In shadow mode: 4 prewarms would have been made and 2 used."
    ledger = {"src": {"shadow": {"text": text}}, "lib": {"shadow": None}, "fw": {}}
    assert tables.sentences_of_shadow(ledger) == [f"src: {text}"]


def test_bets_of_each_worth_are_told_with_what_came_back() -> None:
    row = {"low": 0.177, "high": 0.25, "staked": 10.0, "won": -0.5, "opens_in_s": 7200.0}
    assert [plain(str(cell)) for cell in tables.of_bets([row]).rows[0]] == [
        "18 % to 25 %", "10.0", "-0.5", "2 h",
    ]  # fmt: skip
