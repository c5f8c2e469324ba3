"""Schedules: what comes every week at the same times, as entries; a function of the schedule and the clock alone."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server import errors
from server.announce_body import DAYS, NewSchedule, zone
from server.documents import checked, known_only
from server.policy.announce import Entry

SOURCE = "schedule/"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A saved schedule: by whom and when."""

    body: NewSchedule
    by: str
    saved_s: float

    def to_plain(self) -> dict[str, Any]:
        """As a record keeps it."""
        return {"body": self.body.model_dump(mode="json"), "by": self.by, "saved_s": self.saved_s}


def from_plain(plain: Mapping[str, Any]) -> Schedule | None:
    """The opposite; None if this version, or this machine without the time zone, cannot read it."""
    try:
        body = checked(NewSchedule, known_only(NewSchedule, plain["body"]))
    except errors.FieldErrors:
        return None
    return Schedule(body, plain["by"], plain["saved_s"])


def entries(schedule: Schedule, from_s: float, until_s: float) -> Iterator[Entry]:
    """What the schedule announces as due from `from_s` until `until_s`, nothing from before it was saved."""
    body, place = schedule.body, zone(schedule.body.time_zone)
    days = {DAYS.index(day) for day in body.days}
    times = [datetime.time.fromisoformat(at) for at in body.at]
    date = datetime.datetime.fromtimestamp(from_s, place).date() - datetime.timedelta(days=1)
    last = datetime.datetime.fromtimestamp(until_s, place).date() + datetime.timedelta(days=1)
    while date <= last:
        for time in times if date.weekday() in days else ():
            due_s = datetime.datetime.combine(date, time, place).timestamp()
            if max(from_s, schedule.saved_s) <= due_s < until_s:
                yield _entry(schedule, due_s)
        date += datetime.timedelta(days=1)


def _entry(schedule: Schedule, due_s: float) -> Entry:
    body = schedule.body
    return Entry(
        id=f"schedule.{body.name}.{int(due_s)}",
        family=body.family,
        generation=body.generation,
        count=body.count,
        from_s=due_s,
        until_s=due_s + body.for_s,
        confidence=body.confidence,
        source=f"{SOURCE}{body.name}",
        at_s=schedule.saved_s,
    )
