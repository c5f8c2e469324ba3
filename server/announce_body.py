"""What announcements and schedules say: their fields and limits."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from server.documents import Document, Number, Whole, setting
from server.policy.announce import CONFIDENCE, GRACE_S, MOST_COUNT
from server.pool_config import PoolName
from server.records import DAY_S
from server.spec_body import Family, is_family, is_generation

FURTHEST_S = 7 * DAY_S
SHORTEST_S, LONGEST_S = 10.0, 3600.0
MOST_TIMES = 48
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)
"""By their number in `datetime.date.weekday()`."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_SOURCE = re.compile(r"[A-Za-z0-9._-]{0,64}")
_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")


def _generation(value: str) -> str:
    if value and not is_generation(value):
        raise ValueError(f"{value[:60]!r} cannot be a generation; leave it out when any serves")
    return value


def _source(value: str) -> str:
    if not _SOURCE.fullmatch(value):
        raise ValueError("must have letters, digits, '.', '_' or '-', at most 64")
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("must have a-z, 0-9, '_' or '-', at most 40, and begin with a letter or digit")
    return value


def _time(value: str) -> str:
    if not _TIME.fullmatch(value):
        raise ValueError(f"must be a time of day such as 02:30; {value[:20]!r} given")
    return value


def _zone(value: str) -> str:
    try:
        zone(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{value[:60]!r} is no time zone that this server knows") from error
    return value


def zone(name: str) -> datetime.tzinfo:
    """A time zone by its name.

    Raises:
        ZoneInfoNotFoundError, ValueError, OSError: there is none.
    """
    return datetime.UTC if name == "UTC" else zoneinfo.ZoneInfo(name)


class Expected(Document):
    """What is to come: so many tasks of a pool that want a state."""

    pool: PoolName = setting(..., "pool of the tasks")
    family: Family = setting(..., "family of the state that they want")
    generation: Annotated[str, AfterValidator(_generation)] = setting(
        "", "its generation, known or not; empty: any serves", rule="as in specs"
    )
    count: Whole = setting(
        1,
        "how many tasks",
        low=1,
        high=MOST_COUNT,
        unit="tasks",
        too_low="the last of them start cold",
        too_high="bots are warmed for nobody, and the source is believed less",
    )
    for_s: Number = setting(
        GRACE_S,
        "for how long after that time they may come; what has not come by then lapses",
        low=SHORTEST_S,
        high=LONGEST_S,
        unit="s",
        too_low="tasks that come late find it lapsed",
        too_high="bots are kept warm for what will not come any more",
    )
    confidence: Number = setting(
        CONFIDENCE,
        "how sure it is, as a probability",
        low=0.05,
        high=1,
        too_low="nothing is warmed for it",
        too_high="the source is believed less once it turns out",
    )


class Announce(Expected):
    """An announcement as a caller sends it."""

    in_s: Number | None = setting(
        None,
        "from now on, when the first task is due",
        low=0,
        high=FURTHEST_S,
        unit="s",
        rule="this or `from_s`",
        too_low="there is no time left to warm a bot",
        too_high="tasks come before it counts for them",
    )
    from_s: Number | None = setting(
        None,
        "the same as a time, in seconds since 1970",
        low=0,
        unit="s",
        rule="this or `in_s`; at most 60 s ago",
        too_low="as for `in_s`",
        too_high="as for `in_s`",
    )
    source: Annotated[str, AfterValidator(_source)] = setting(
        "", "which of the caller's sources says so; each is scored for itself", rule="at most 64 characters"
    )
    request_id: Annotated[str, Field(max_length=128)] = setting(
        "",
        "the same caller's call with the same id announces once, as long as the entry is listed",
        rule="at most 128 characters",
    )

    @model_validator(mode="after")
    def _one_time(self) -> Announce:
        if (self.in_s is None) == (self.from_s is None):
            raise ValueError("give in_s or from_s, and one of them only")
        return self


class NewSchedule(Expected):
    """What comes every week at the same times."""

    name: Annotated[str, AfterValidator(_name)] = setting(
        ..., "name of the schedule within its pool", rule="a-z, 0-9, '_' or '-', at most 40"
    )
    days: Annotated[list[Day], Field(min_length=1)] = setting(
        list(DAYS), "days of the week", rule="`mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`"
    )
    at: Annotated[list[Annotated[str, AfterValidator(_time)]], Field(min_length=1, max_length=MOST_TIMES)] = setting(
        ..., "times of day", rule=f"such as 02:30; 1 to {MOST_TIMES} of them"
    )
    time_zone: Annotated[str, AfterValidator(_zone)] = setting(
        "UTC", "where these are the days and times", rule="such as `Europe/Berlin`"
    )

    @field_validator("days", "at")
    @classmethod
    def _once(cls, value: list[Any], info: ValidationInfo) -> list[Any]:
        return sorted(set(value), key=DAYS.index if info.field_name == "days" else None)


def state_of(text: str) -> tuple[str, str]:
    """Family and generation out of FAMILY or FAMILY@GENERATION.

    Raises:
        ValueError: it is neither.
    """
    family, at, generation = text.partition("@")
    if not is_family(family) or (at and not is_generation(generation)):
        raise ValueError(f"{text[:80]!r} is not FAMILY or FAMILY@GENERATION")
    return family, generation
