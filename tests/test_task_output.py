"""Output as packets at their offsets: windows of it, and its end without the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server import task_output
from server.service import Service
from tests.server_world import World

TASK = "7c2915b744a60510"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A process on a store of its own."""
    world = World(tmp_path)
    yield world.process()
    world.close()


def test_the_end_of_nothing_is_nothing(service: Service) -> None:
    assert task_output.tail(service, TASK, 100) == (0, b"")


def test_the_end_is_what_reading_all_of_it_ends_with(tmp_path: Path) -> None:
    world = World(tmp_path)
    service, number = world.process(), 0

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 3), st.binary(min_size=1, max_size=6)), max_size=12), st.integers(1, 40))
    def holds(pieces: list[tuple[int, bytes]], length: int) -> None:
        nonlocal number
        number += 1
        task, at = f"{number:015x}0", 0
        for hole, data in pieces:
            task_output.write(service, task, at + hole, data)
            at += hole + len(data)
        whole = task_output.read(service, task)
        offset, data = task_output.tail(service, task, length)
        assert data == whole[offset:]
        first = pieces[0][0] if pieces else 0
        assert offset == max(first, len(whole) - length) if whole else (offset, data) == (0, b"")

    holds()
    world.close()


def test_a_task_that_never_stops_talking_does_not_fill_the_store(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_output, "MOST_KEPT", 10)
    for at in range(0, 40, 4):
        task_output.write(service, TASK, at, b"abcd")
        task_output.write(service, TASK, at, b"abcd")
    assert task_output.read(service, TASK) == b"abcdabcdab" + task_output.LAST_WORDS


def test_output_that_ends_where_no_more_is_kept_is_kept_whole(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_output, "MOST_KEPT", 8)
    task_output.write(service, TASK, 0, b"abcdefgh")
    assert task_output.read(service, TASK) == b"abcdefgh"
    task_output.write(service, TASK, 8, b"i")
    assert task_output.read(service, TASK) == b"abcdefgh" + task_output.LAST_WORDS


def test_the_end_costs_what_it_holds_and_not_what_stands_before_it(service: Service) -> None:
    for number in range(40):
        task_output.write(service, TASK, number * 1000, b"x" * 1000)
    with service.store.ops.measure() as measured:
        offset, data = task_output.tail(service, TASK, 2500)
    assert (offset, len(data)) == (37_500, 2500)
    assert (measured.reads, measured.writes, measured.queries) == (3, 0, 1)


def test_many_small_packets_give_a_shorter_end(service: Service) -> None:
    for number in range(task_output.MOST_IN_TAIL + 10):
        task_output.write(service, TASK, number, b"x")
    assert task_output.tail(service, TASK, 10_000) == (10, b"x" * task_output.MOST_IN_TAIL)


def test_a_packet_far_away_makes_no_room_for_what_lies_between(service: Service) -> None:
    task_output.write(service, TASK, 0, b"first")
    task_output.write(service, TASK, task_output.MOST_KEPT - 4, b"last")
    offset, data = task_output.tail(service, TASK, 10)
    assert (offset, data) == (task_output.MOST_KEPT - 10, b"\0" * 6 + b"last")
