"""Lists on terminals of any width: what people copy stays whole, and no line is longer than the terminal."""

from __future__ import annotations

import io
import re
import sys

import pytest

from client import announce, tables
from client.screen import Sheet, show
from server.proto import swarming_pb2 as swarming

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
TASK, OTHER = "7c43797056dd6e10", "7c43796e95b99810"
NOW_S = 10_000.0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(sheet: Sheet, width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    show(sheet, "")
    return COLOURS.sub("", screen.getvalue()).splitlines()


def tasks() -> Sheet:
    found = [
        swarming.TaskResultResponse(task_id=TASK, name="checks out, builds and tests all", bot_id="builder-linux-17"),
        swarming.TaskResultResponse(task_id=OTHER, name="true", bot_id="local-1"),
    ]
    for task in found:
        task.state, task.exit_code = swarming.COMPLETED, 101
        task.created_ts.FromSeconds(9_000)
        task.started_ts.FromSeconds(9_215)
        task.duration = 215.0
    return tables.of_tasks(found, NOW_S)


def announced() -> Sheet:
    row = {
        "id": "schedule.nightly.1796090400",
        "family": "sample-src",
        "count": 20,
        "came": 0,
        "from_s": NOW_S + 80_000,
        "until_s": NOW_S + 90_000,
        "confidence": 0.9,
        "believed": 0.9,
        "source": "user:local/the-builder",
        "origin": "schedule",
    }
    return announce._live([row], NOW_S)


@pytest.mark.parametrize("width", [24, 40, 60, 80, 100, 200])
def test_the_ids_of_tasks_and_bots_are_whole_at_any_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    told = lines(tasks(), width, monkeypatch)
    assert max(map(len, told)) <= width
    assert [any(name in line for line in told) for name in (TASK, OTHER, "local-1")] == [True] * 3


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_ids_of_announcements_are_whole_at_any_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    told = lines(announced(), width, monkeypatch)
    assert max(map(len, told)) <= width
    assert any("schedule.nightly.1796090400" in line for line in told)


def test_a_list_of_tasks_is_a_table_on_80_columns_and_wraps_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    told = lines(tasks(), 80, monkeypatch)
    assert told[0].split() == ["task", "state", "name", "bot", "made", "waited", "ran"]
    words = set(" ".join(told[2:]).split())
    assert {"exit", "code", "101", TASK, OTHER, "builder-linux-17"} <= words


def test_columns_in_which_nothing_stands_are_left_out_only_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = Sheet(["id", "note", "what"], [["a", "", "x" * 20]])
    assert "note" in lines(sheet, 40, monkeypatch)[0]
    assert "note" not in lines(sheet, 26, monkeypatch)[0]


def test_a_list_of_specs_is_a_table_on_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"family": "sample-src", "state": "active", "pool": "local", "generation": "05240738e93c", "revision": 1}
    ledger = {"prewarms": 0, "never_used": 0, "failed": 0, "background_s": 0.0, "saved_s": 0.0, "measured": None}
    told = lines(tables.of_specs([{**spec, "breaker": ""}], {"sample-src": ledger}), 80, monkeypatch)
    assert told[0].split()[:3] == ["family", "state", "pool"]
    assert {"sample-src", "active", "local"} <= set(told[2].split())
