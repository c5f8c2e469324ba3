"""The journal, through crashes and years."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bot import journal
from bot.journal import Journal


def lines(path: Path) -> list[str]:
    return [json.loads(line)["event"] for line in path.read_text().splitlines()]


def test_lines_are_added_to_those_of_a_former_life(tmp_path: Path) -> None:
    for event in ("start", "end"):
        opened = Journal(tmp_path / "journal.jsonl", "bot1")
        opened.write(event, task_id="a1")
        opened.close()
    assert lines(tmp_path / "journal.jsonl") == ["start", "end"]


def test_a_line_cut_off_by_a_crash_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"event": "start"}\n{"eve')
    opened = Journal(path, "bot1")
    opened.write("end")
    opened.close()
    first, cut, last = path.read_text().splitlines()
    assert (json.loads(first)["event"], cut, json.loads(last)["event"]) == ("start", '{"eve', "end")


def test_a_long_journal_is_put_aside_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "ROTATE_BYTES", 10)
    for event in ("old", "new"):
        opened = Journal(tmp_path / "journal.jsonl", "bot1")
        opened.write(event)
        opened.close()
    assert lines(tmp_path / "journal.jsonl") == ["new"]
    assert lines(tmp_path / "journal.jsonl.1") == ["old"]
