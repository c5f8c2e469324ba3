"""What dies under `./pilot up`: when it is started again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from client.keep_up import KeepUp
from client.local_fleet import FleetError, LocalFleet


def fleet_of(folder: Path, code: int) -> LocalFleet:
    """One bot that ends at once with an exit code."""
    fleet = LocalFleet(folder, 1)
    command = [sys.executable, "-c", f"raise SystemExit({code})"]
    fleet.bots.append(fleet._start("b", command, {}))
    return fleet


def dies_at(fleet: LocalFleet, keep: KeepUp, said: list[str], now_s: float) -> str:
    """Looks when the bot, or else the server, has just ended; returns what is said of it."""
    (fleet.bots or [fleet.server])[0].process.wait(10)
    keep.look(now_s)
    return said.pop().partition(";")[0]


def test_each_death_in_a_row_makes_the_pause_longer_up_to_30_s(tmp_path: Path) -> None:
    fleet, said = fleet_of(tmp_path, 7), []
    keep = KeepUp(fleet, said.append)
    now_s, pauses = 1000.0, []
    for pause_s in (1, 2, 4, 8, 16, 30, 30):
        pauses.append(dies_at(fleet, keep, said, now_s))
        before = fleet.bots[0].process
        keep.look(now_s + pause_s - 0.1)
        assert fleet.bots[0].process is before
        now_s += pause_s
        keep.look(now_s)
        assert fleet.bots[0].process is not before
    assert pauses == [f"b ended with code 7 and starts again in {n} s" for n in (1, 2, 4, 8, 16, 30, 30)]
    now_s += 60
    assert dies_at(fleet, keep, said, now_s) == "b ended with code 7 and starts again in 1 s"


def test_a_bot_that_was_told_to_leave_stays_away_and_is_told_of_once(tmp_path: Path) -> None:
    fleet, said = fleet_of(tmp_path, 0), []
    keep = KeepUp(fleet, said.append)
    before = fleet.bots[0].process
    assert dies_at(fleet, keep, said, 1000.0) == "b was told to leave and has ended"
    keep.look(2000.0)
    assert (said, fleet.bots[0].process is before) == ([], True)


def server_of(folder: Path, code: int) -> tuple[LocalFleet, list[str], KeepUp]:
    """A fleet whose server says a word and ends with an exit code; what is said of it; who looks after it."""
    fleet = LocalFleet(folder, 1)
    fleet.server = fleet._start("server", [sys.executable, "-c", f"print('oh'); raise SystemExit({code})"], {})
    said: list[str] = []
    return fleet, said, KeepUp(fleet, said.append)


def test_a_server_that_ends_again_and_again_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    fleet, said, keep = server_of(tmp_path, 7)
    now_s, told = 1000.0, []
    for pause_s in (1, 2, 4, 8):
        told.append(dies_at(fleet, keep, said, now_s))
        now_s += pause_s
        keep.look(now_s)
    assert told == [f"the server ended with code 7 and starts again in {n} s" for n in (1, 2, 4, 8)]
    with pytest.raises(FleetError, match=r"(?s)ended 5 times in a row, each within 10 s .* code 7:\noh"):
        dies_at(fleet, keep, said, now_s)


def test_a_server_that_is_killed_now_and_then_is_started_again_each_time(tmp_path: Path) -> None:
    fleet, said, keep = server_of(tmp_path, 7)
    for number in range(1, 8):
        now_s = 1000.0 * number
        assert dies_at(fleet, keep, said, now_s) == "the server ended with code 7 and starts again in 1 s"
        before = fleet.server
        keep.look(now_s + 1)
        assert fleet.server is not before


def test_a_server_that_was_told_to_stop_is_not_started_again(tmp_path: Path) -> None:
    fleet, said, keep = server_of(tmp_path, 0)
    with pytest.raises(FleetError, match="the server was told to stop"):
        dies_at(fleet, keep, said, 1000.0)
    assert said == []
