"""Task ids in Swarming's format: time and 16 random bits in hex, then 0 for the task or 1 for its run.

Source: the published Swarming API; newer tasks have larger ids.
"""

from __future__ import annotations

import random
import re

from server import errors

EPOCH_2010_S = 1_262_304_000
_ID = re.compile(r"[0-9a-f]{9,16}")


def new_task_id(now_s: float, rng: random.Random, *, background: bool = False) -> str:
    """A new task id (the form that ends in 0) for a task made at `now_s`.

    Background tasks take the odd ones of the 16 random bits: they are written without a look whether the id is free.
    """
    number = int((now_s - EPOCH_2010_S) * 1000) << 20 | rng.getrandbits(15) << 5 | background << 4 | 1
    return f"{number:x}0"


def parse_task_id(text: str) -> str:
    """The task id meant by either form of an id.

    Raises:
        InvalidArgument: not an id.
    """
    if not isinstance(text, str) or not _ID.fullmatch(text) or text[-1] not in "01":
        raise errors.InvalidArgument(
            f"task_id: {str(text)[:64]!r} is not a task id (hex digits, ending in 0 or 1)", field="task_id"
        )
    return text[:-1] + "0"


def run_id(task_id: str) -> str:
    """The id of the task's run, which ends in 1."""
    return task_id[:-1] + "1"
