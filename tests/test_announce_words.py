"""Tags and schedules: what they say, and what is wrong with them in words that name the limit."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import announce_schedule, announcement_board, announcements, errors, field_docs
from server.announce_body import DAYS, Announce, NewSchedule
from server.announce_schedule import Schedule
from server.announce_tag import entry_of
from server.documents import checked
from server.policy import followers
from server.policy.announce import PRIOR_TASKS, Entry

PAGE = Path(__file__).parents[1] / "docs" / "announcements.md"
NOW_S = 1_800_000_000.0
"""A Friday, 08:00 UTC."""


def tag(text: str) -> Entry:
    return entry_of(text, "t1", NOW_S, "user:mira/tag")


# ---- tags


@pytest.mark.parametrize(
    ("text", "state", "count", "delay_s"),
    [
        ("announce:tests+540", ("tests", ""), 1, 540),
        ("announce:tests*20+9m", ("tests", ""), 20, 540),
        ("announce:tests@r7*20+540s", ("tests", "r7"), 20, 540),
        ("announce:my-fw@UP1A.231005+1h", ("my-fw", "UP1A.231005"), 1, 3600),
        ("announce:app@1.0+build5*3+60", ("app", "1.0+build5"), 3, 60),
        ("announce:app@1.0+7+60", ("app", "1.0+7"), 1, 60),
        ("announce:tests+0", ("tests", ""), 1, 0),
    ],
)
def test_a_tag_says_what_follows_the_task(text: str, state: tuple[str, str], count: int, delay_s: float) -> None:
    found = tag(text)
    assert ((found.family, found.generation), found.count) == (state, count)
    assert (found.from_s, found.until_s) == (NOW_S + delay_s, NOW_S + delay_s + 90)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("announce:", "is not of the form"),
        ("announce:tests", "is not of the form"),
        ("announce:tests*20", "is not of the form"),
        ("announce:tests*x+9m", "is not of the form"),
        ("announce:tests+9d", "is not of the form"),
        ("announce:tests+-5", "is not of the form"),
        ("announce:Tests+9m", "is not FAMILY"),
        ("announce:tests@+9m", "is not FAMILY"),
        ("announce:tests*0+9m", "count must be 1 to 1000; 0 given"),
        ("announce:tests*1001+9m", "count must be 1 to 1000; 1001 given"),
        ("announce:tests+7h", "delay must be at most 21600 s; 25200 given"),
    ],
)
def test_a_wrong_tag_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        tag(text)


@given(st.text(max_size=60))
def test_no_tag_does_worse_than_be_refused(text: str) -> None:
    try:
        assert tag("announce:" + text).count >= 1
    except ValueError as error:
        assert str(error)


# ---- calls


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("count", 0, "must be at least 1; 0 given"),
        ("count", 1001, "must be at most"),
        ("count", True, "must be a whole number"),
        ("in_s", -1, "must be at least 0 s; -1 given"),
        ("in_s", 8 * 86_400, "must be at most"),
        ("for_s", 9, "must be at least 10 s; 9 given"),
        ("for_s", 3601, "must be at most"),
        ("confidence", 1.5, "must be at most 1; 1.5 given"),
        ("family", "Nope", "must have a-z"),
        ("generation", "-", "cannot be a generation"),
        ("source", "a b", "must have letters"),
        ("pool", "", "must have letters"),
        ("colour", "red", "is not a known field"),
    ],
)
def test_a_field_beyond_its_limit_is_refused_with_the_limit(field: str, value: object, says: str) -> None:
    body = {"pool": "p", "family": "src", "in_s": 60, field: value}
    with pytest.raises(errors.FieldErrors) as refused:
        checked(Announce, body)
    assert says in refused.value.errors[field]


def test_a_time_is_given_in_one_way() -> None:
    for times in ({}, {"in_s": 1, "from_s": NOW_S}):
        with pytest.raises(errors.FieldErrors, match="give in_s or from_s, and one of them only"):
            checked(Announce, {"pool": "p", "family": "src", **times})


# ---- schedules


def schedule(saved_s: float = NOW_S - 7 * 86_400, **fields: object) -> Schedule:
    body = {"pool": "p", "family": "src", "name": "nightly", "count": 30, "at": ["02:00"], **fields}
    return Schedule(checked(NewSchedule, body), "user:mira", saved_s)


def times(found: Schedule, from_s: float = NOW_S, days: int = 7) -> list[str]:
    entries = announce_schedule.entries(found, from_s, from_s + days * 86_400)
    return [f"{datetime.datetime.fromtimestamp(one.from_s, datetime.UTC):%a %H:%M}" for one in entries]


def test_a_schedule_announces_its_days_and_times() -> None:
    assert times(schedule(days=["mon", "wed"])) == ["Mon 02:00", "Wed 02:00"]
    assert len(times(schedule())) == 7
    assert times(schedule(at=["23:30", "09:15"]), days=1) == ["Fri 09:15", "Fri 23:30"]


def test_a_schedule_keeps_the_times_of_its_place_when_the_clocks_change() -> None:
    before = datetime.datetime(2026, 10, 24, 0, 0, tzinfo=datetime.UTC).timestamp()
    found = times(schedule(saved_s=before - 86_400, time_zone="Europe/Berlin", at=["04:00"]), before, 3)
    assert found == ["Sat 02:00", "Sun 03:00", "Mon 03:00"]


def test_a_schedule_announces_nothing_from_before_it_was_saved() -> None:
    assert times(schedule(saved_s=NOW_S + 3 * 86_400), days=4) == ["Tue 02:00"]


def test_the_same_time_is_the_same_entry_however_it_is_expanded() -> None:
    found = schedule()
    one = {entry.id: entry for entry in announce_schedule.entries(found, NOW_S, NOW_S + 5 * 86_400)}
    other = {entry.id: entry for entry in announce_schedule.entries(found, NOW_S + 86_400.5, NOW_S + 9 * 86_400)}
    assert len(one.keys() & other.keys()) == 4
    assert all(one[name] == other[name] for name in one.keys() & other.keys())


def test_a_saved_schedule_reads_back() -> None:
    found = schedule(time_zone="Europe/Berlin")
    assert announce_schedule.from_plain(found.to_plain()) == found
    assert announce_schedule.from_plain({**found.to_plain(), "body": {"name": "x"}}) is None


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("at", ["25:00"], "must be a time of day"),
        ("at", ["2:00"], "must be a time of day"),
        ("at", [], "must have at least 1"),
        ("days", ["someday"], "must be"),
        ("days", [], "must have at least 1"),
        ("time_zone", "Mars/Olympus", "is no time zone"),
        ("time_zone", "../../etc/passwd", "is no time zone"),
        ("name", "A b", "must have a-z"),
    ],
)
def test_a_wrong_schedule_is_refused_by_field(field: str, value: object, says: str) -> None:
    with pytest.raises(errors.FieldErrors) as refused:
        schedule(**{field: value})
    assert says in next(text for path, text in refused.value.errors.items() if path.startswith(field))


def test_days_and_times_are_kept_in_order_and_once() -> None:
    body = schedule(days=["sun", "mon", "mon"], at=["09:00", "02:00", "09:00"]).body
    assert (body.days, body.at) == (["mon", "sun"], ["02:00", "09:00"])
    assert schedule().body.days == list(DAYS)


# ---- the page about it


def test_the_page_about_announcements_has_the_fields_as_they_are() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("<!-- fields:") == 2
    assert field_docs.renewed(text) == text, "run: python -m server.field_docs docs/announcements.md"


@pytest.mark.parametrize("model", [Announce, NewSchedule])
def test_every_field_says_what_it_means_and_every_number_what_goes_wrong(model: type) -> None:
    for field in field_docs.describe(model):
        assert field.meaning, field.path
        if field.kind in ("number", "whole"):
            assert field.too_low and field.too_high, field.path


def test_the_examples_of_the_page_are_taken() -> None:
    text = PAGE.read_text(encoding="utf-8")
    (body,) = re.findall(r"-d '\n(.*?)'", text, re.DOTALL)
    assert checked(Announce, json.loads(body)).count == 20
    tags = re.findall(r"(?<![`\w])announce:[a-z][^\s`]*", text)
    assert [tag(one).count for one in tags] == [20]


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    limits = (
        f"{announcements.MOST_LIVE_PER_SOURCE} each",
        f"{announcements.MOST_LIVE_PER_POOL:,} |",
        f"schedules of a pool | {announcements.MOST_SCHEDULES} |",
        f"the last {announcements.OUTCOMES_KEPT} of a pool",
        f"{followers.MOST_KEYS} families and {followers.MOST_FOLLOWERS} followers",
        f"(came + {PRIOR_TASKS:g}) / (promised + {PRIOR_TASKS:g})",
    )
    for words in limits:
        assert words in text
    assert announcement_board.MOST_TAGS_PER_SOURCE == announcements.MOST_LIVE_PER_SOURCE
