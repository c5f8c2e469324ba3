"""What tasks announce by a tag: `announce:FAMILY[@GENERATION][*COUNT]+DELAY`, as in `announce:tests@r7*20+9m`.

COUNT tasks (1 if left out) that want the state follow DELAY after the task was created; DELAY is in seconds, or has an
s, m or h behind it.
"""

from __future__ import annotations

import re
import zlib

from server.announce_body import state_of
from server.policy.announce import CONFIDENCE, GRACE_S, MOST_COUNT, Entry

TAG = "announce:"
LONGEST_DELAY_S = 6 * 3600.0
MOST_PER_TASK = 8
_FORM = re.compile(r"(?P<state>[^*\s]+?)(?:\*(?P<count>[0-9]{1,9}))?\+(?P<delay>[0-9]{1,9})(?P<unit>[smh]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def entry_of(tag: str, task_id: str, created_s: float, source: str) -> Entry:
    """What a task's tag announces.

    Raises:
        ValueError: the tag is not of the form above, or beyond a limit; the text says which.
    """
    found = _FORM.fullmatch(tag.removeprefix(TAG))
    if not found:
        raise ValueError("is not of the form announce:FAMILY[@GENERATION][*COUNT]+DELAY, such as announce:tests*20+9m")
    family, generation = state_of(found["state"])
    count, delay_s = int(found["count"] or 1), float(int(found["delay"]) * _UNITS[found["unit"]])
    if not 1 <= count <= MOST_COUNT:
        raise ValueError(f"count must be 1 to {MOST_COUNT}; {count} given")
    if delay_s > LONGEST_DELAY_S:
        raise ValueError(f"delay must be at most {LONGEST_DELAY_S:g} s; {delay_s:g} given")
    from_s = created_s + delay_s
    return Entry(
        id=entry_id(tag, task_id),
        family=family,
        generation=generation,
        count=count,
        from_s=from_s,
        until_s=from_s + GRACE_S,
        confidence=CONFIDENCE,
        source=source,
        at_s=created_s,
    )


def entry_id(tag: str, task_id: str) -> str:
    """Id of the entry that a task's tag makes, the same at every process."""
    return f"tag.{task_id}.{zlib.crc32(tag.encode()):08x}"
