"""The head record: which revisions are the newest, whether prewarming is stopped, and whether many bots are silent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.records.config import Latest

if TYPE_CHECKING:
    from server.service import Service

KEY = "latest"


@dataclass(frozen=True, slots=True)
class Head:
    """A copy of the record. `spec_changes` and `switch_epoch` only ever grow; times are seconds."""

    config_revision: int = 0
    spec_changes: int = 0
    stopped: bool = False
    stopped_by: str = ""
    stopped_since_s: float = 0.0
    stopped_why: str = ""
    switch_epoch: int = 0
    alarm: str = ""


def record() -> Latest:
    """The record itself, a new one when there is none; for use in a transaction."""
    return Latest.get_by_id(KEY) or Latest(id=KEY)


def head_of(latest: Latest) -> Head:
    """Copy of a record."""
    return Head(
        config_revision=latest.config_revision,
        spec_changes=latest.spec_changes,
        stopped=latest.stopped,
        stopped_by=latest.stopped_by,
        stopped_since_s=latest.stopped_since_s,
        stopped_why=latest.stopped_why,
        switch_epoch=latest.switch_epoch,
        alarm=latest.alarm,
    )


def read(service: Service) -> Head:
    """The heads as they stand in the store: one look-up.

    Raises:
        StoreUnavailable: the store cannot be reached.
    """
    with service.store.context():
        return head_of(record())
