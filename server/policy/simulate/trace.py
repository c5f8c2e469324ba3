"""Arrivals of real tasks, as recorded or made up: what a replay is fed with."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

COLUMNS = ("submit_s", "duration_s", "key", "pool", "priority")
NO_PRIORITY = 100
HOUR_S, DAY_S = 3600.0, 86_400.0
LONGEST_S = 3653 * DAY_S
BUSY_HOUR = 0.9
"""The busy hour is this quantile of the hours of a trace in which anything runs."""


class Dice(Protocol):
    """The randomness that a replay needs; `random.Random` has it."""

    def random(self) -> float:
        """Evenly from 0 to 1."""

    def uniform(self, a: float, b: float) -> float:
        """Evenly from a to b."""

    def expovariate(self, lambd: float) -> float:
        """Exponentially, with mean 1 / lambd."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A real task: when it comes, how long its useful work takes, which warm state it wants.

    `key` is `family` or `family:version`, as the trace has it (`family@generation` is read alike).
    """

    submit_s: float
    duration_s: float
    key: str
    family: str = ""
    generation: str = ""
    priority: int = NO_PRIORITY


class BadTrace(ValueError):
    """The trace is not in the common form; says which line and why."""


def split_key(key: str) -> tuple[str, str]:
    """(family, generation) of a key; the generation is "" where the key names none."""
    for separator in ("@", ":"):
        family, found, generation = key.rpartition(separator)
        if found and family and generation:
            return family, generation
    return key, ""


def read(lines: Iterable[str]) -> list[Arrival]:
    """Arrivals from CSV lines with a header, in order of submission.

    Whole days before the first are left out, so that a trace may be in the time of the epoch.

    Raises:
        BadTrace: a column is missing, a value is no number or out of range, or it all takes more than ten years.
    """
    reader = csv.DictReader(lines, skipinitialspace=True)
    absent = [name for name in COLUMNS[:3] if name not in (reader.fieldnames or ())]
    if absent:
        raise BadTrace(f"the header lacks {', '.join(absent)}")
    found: list[Arrival] = []
    for number, row in enumerate(reader, start=2):
        try:
            found.append(_arrival(row))
        except ValueError as error:
            raise BadTrace(f"line {number}: {error}") from error
    found.sort(key=lambda arrival: arrival.submit_s)
    before_s = found[0].submit_s // DAY_S * DAY_S if found else 0.0
    if found and found[-1].submit_s - before_s > LONGEST_S:
        raise BadTrace("from the first to the last submit_s it takes more than ten years")
    return [replace(one, submit_s=one.submit_s - before_s) for one in found] if before_s else found


def _arrival(row: Mapping[str, str | None]) -> Arrival:
    """One line's; raises ValueError, which names the field."""
    key = row["key"] or ""
    if not key:
        raise ValueError("key is empty")
    priority = row.get("priority") or str(NO_PRIORITY)
    try:
        urgency = int(float(priority))
    except (OverflowError, ValueError) as error:
        raise ValueError(f"priority is {priority!r}, not a number") from error
    return Arrival(_time_s(row, "submit_s"), _time_s(row, "duration_s"), key, *split_key(key), urgency)


def _time_s(row: Mapping[str, str | None], name: str) -> float:
    told = row[name] or ""
    try:
        time_s = float(told)
    except ValueError:
        time_s = math.nan
    if not 0.0 <= time_s < math.inf:
        raise ValueError(f"{name} is {told!r}, not a number of seconds from 0 on")
    return time_s


def jittered(arrivals: Sequence[Arrival], dice: Dice, jitter_s: float) -> list[Arrival]:
    """Another path: arrivals displaced evenly by up to ± `jitter_s` seconds, never before 0.

    Tasks of one moment and key are one batch and move together.
    """
    if jitter_s <= 0.0:
        return list(arrivals)
    shifts: dict[tuple[float, str], float] = {}
    moved: list[Arrival] = []
    for arrival in arrivals:
        batch = arrival.submit_s, arrival.key
        if batch not in shifts:
            shifts[batch] = dice.uniform(-jitter_s, jitter_s)
        moved.append(replace(arrival, submit_s=max(0.0, arrival.submit_s + shifts[batch])))
    return sorted(moved, key=lambda arrival: arrival.submit_s)


def busy_hour_load(spans: Iterable[tuple[float, float]], until_s: float) -> float:
    """Bots that are occupied on average in the busy hour, from (begin, end) of occupations, up to `until_s`."""
    hours = [0.0] * (int(until_s // HOUR_S) + 1)
    for begin_s, end_s in spans:
        at_s = begin_s
        while at_s < end_s and at_s // HOUR_S < len(hours):
            hour = int(at_s // HOUR_S)
            next_s = min(end_s, (hour + 1) * HOUR_S)
            hours[hour] += next_s - at_s
            at_s = next_s
    occupied = sorted(hour for hour in hours if hour)
    return occupied[min(len(occupied) - 1, int(BUSY_HOUR * len(occupied)))] / HOUR_S if occupied else 0.0
