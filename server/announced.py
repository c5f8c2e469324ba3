"""What was announced, as processes hold it: an entry with where it comes from, and a pool's record read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import structlog

from server import announce_schedule
from server.announce_schedule import Schedule
from server.policy.announce import Entry, Score
from server.records.announcement import PoolAnnouncements

log = structlog.get_logger(__name__)

CALL, TAG, SCHEDULE, LEARNED = "call", "tag", "schedule", "followers"
"""Where entries come from."""


@dataclass(frozen=True, slots=True)
class Said:
    """An entry, by whom it was announced and how. `about` is the task, schedule or leader that it comes from."""

    entry: Entry
    by: str
    origin: str
    about: str = ""

    def to_plain(self) -> dict[str, Any]:
        """As records keep it and the API shows it."""
        return {**asdict(self.entry), "by": self.by, "origin": self.origin, "about": self.about}

    def at(self, retracted_s: float) -> Said:
        """The same, withdrawn at that time."""
        return replace(self, entry=replace(self.entry, retracted_s=retracted_s))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an entry that has closed; `came` counts all tasks that its source may call its own."""

    said: Said
    came: int
    scored: bool = True

    def to_plain(self) -> dict[str, Any]:
        """As records keep it and the API shows it."""
        return {**self.said.to_plain(), "came": self.came, "scored": self.scored}


@dataclass(frozen=True, slots=True)
class Posted:
    """A pool's record."""

    changes: int = -1
    said: tuple[Said, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    retracted: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, Score] = field(default_factory=dict)
    outcomes: tuple[Outcome, ...] = ()
    settled_s: float = 0.0


def read(record: PoolAnnouncements) -> Posted:
    """The record's values; what another version wrote and this one cannot read is left out."""
    said = [one for one in map(_said, record.entries) if one is not None]
    schedules = [one for one in map(announce_schedule.from_plain, record.schedules) if one is not None]
    outcomes = [one for one in map(_outcome, record.outcomes) if one is not None]
    if len(said) + len(schedules) < len(record.entries) + len(record.schedules):
        log.warning("announcements_not_readable", pool=record.key.id())
    return Posted(
        changes=record.changes,
        said=tuple(said),
        schedules=tuple(schedules),
        retracted=dict(record.retracted),
        scores={source: Score(*values) for source, values in record.scores.items()},
        outcomes=tuple(outcomes),
        settled_s=record.settled_s,
    )


_FIELDS = tuple(Entry.__dataclass_fields__)


def _said(plain: Mapping[str, Any]) -> Said | None:
    try:
        entry = Entry(**{name: plain[name] for name in _FIELDS})
        return Said(entry, plain["by"], plain["origin"], plain["about"])
    except (KeyError, TypeError):
        return None


def _outcome(plain: Mapping[str, Any]) -> Outcome | None:
    said = _said(plain)
    return None if said is None else Outcome(said, plain["came"], plain["scored"])
