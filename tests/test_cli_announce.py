"""`./pilot announce` and `./pilot announced` against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from client.announce import Span
from tests.local_fleet import POOL, Pilot, running

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilot]:
    with running(tmp_path_factory.mktemp("announce")) as found:
        yield found


def test_what_is_announced_is_listed_and_withdrawn(pilot: Pilot) -> None:
    told = pilot("announce", "my-src@r7", "--pool", POOL, "--count", "20", "--in", "9m", "--source", "ci")
    assert told.stdout.startswith("20 × my-src@r7 due in 9 m: ")
    assert f"no spec makes my-src in pool {POOL}" in told.stderr
    entry_id = told.stdout.split()[-1].rstrip(".")
    lines = [line.split("\t") for line in pilot("announced", "--pool", POOL).stdout.splitlines()]
    (row,) = [line for line in lines if line[0] == entry_id]
    assert row[1:4] == ["my-src@r7", "20", "0"]
    assert row[-2:] == ["user:local/ci", "announced"]
    gone = pilot("announced", "retract", entry_id, "--pool", POOL)
    assert gone.stdout == "my-src@r7 by user:local/ci is withdrawn; 0 of 20 had come.\n"
    assert entry_id not in pilot("announced").stdout


def test_the_same_id_announces_once(pilot: Pilot) -> None:
    given = ("announce", "twice", "--pool", POOL, "--in", "1h", "--id", "build-7", "--json")
    first, again = json.loads(pilot(*given).stdout), json.loads(pilot(*given).stdout)
    assert (first["id"], first["from_s"]) == (again["id"], again["from_s"])


def test_a_schedule_is_made_listed_and_ended(pilot: Pilot) -> None:
    given = ("--pool", POOL, "--count", "30", "--at", "02:00,14:30", "--days", "mon,fri")
    told = pilot("announced", "schedule", "nightly", "my-src", *given)
    assert told.stdout == "nightly: 30 × my-src, mon fri at 02:00 14:30 UTC.\n"
    assert f"{POOL}: every week\n" in pilot("announced").stdout
    assert pilot("announced", "unschedule", "nightly", "--pool", POOL).stdout == "nightly has ended.\n"
    assert "every week" not in pilot("announced").stdout


def test_a_wrong_tag_of_a_task_is_told(pilot: Pilot) -> None:
    pilot("run", "--pool", POOL, "--tag", "announce:nonsense", "--", "true")
    assert "the tag announce:nonsense announced nothing: is not of the form" in pilot("announced").stderr


def test_a_limit_is_named(pilot: Pilot) -> None:
    told = pilot("announce", "my-src", "--pool", POOL, "--count", "0", "--in", "9m")
    assert told.exit_code == 1
    assert "count: must be at least 1; 0 given" in told.stderr


def test_with_json_all_of_it_is_printed(pilot: Pilot) -> None:
    (pool,) = [one for one in json.loads(pilot("announced", "--json").stdout)["pools"] if one["pool"] == POOL]
    assert {"live", "outcomes", "sources", "schedules", "refused_tags", "learned"} <= pool.keys()


@pytest.mark.parametrize(
    ("given", "length_s"), [("540", 540), ("90s", 90), ("9m", 540), ("1.5h", 5400), ("2d", 172_800)]
)
def test_lengths_of_time_have_units(given: str, length_s: float) -> None:
    assert Span().convert(given, None, None) == length_s


@pytest.mark.parametrize("given", ["", "m", "9x", "-5", "nine"])
def test_what_is_no_length_of_time_is_refused(given: str) -> None:
    @click.command()
    @click.option("--in", "in_s", type=Span())
    def command(in_s: float) -> None:
        pass

    told = CliRunner().invoke(command, ["--in", given])
    assert told.exit_code == 2
    assert "is not a length of time such as 540, 9m or 2h" in told.output
