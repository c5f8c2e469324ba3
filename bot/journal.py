"""The bot's own record of what it ran, for audits: it owes nothing to what the server remembers."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

ROTATE_BYTES = 16 * 1024 * 1024


class Journal:
    """Lines of JSON, each on the disk before `write` returns.

    A line is {t: seconds since the epoch, event, bot_id, pid: the bot's process, …}; `start` and `end` of a run also
    have task_id, run_id (this bot's own) and n (the server's number of the claim, or null). `start` stands there right
    before user code starts.
    """

    def __init__(self, path: Path, bot_id: str) -> None:
        """Opens the journal for appending; a long one becomes `NAME.1` first, at the start of a bot only."""
        if path.exists() and path.stat().st_size > ROTATE_BYTES:
            os.replace(path, path.with_name(path.name + ".1"))
        self._file = open(path, "ab")  # noqa: SIM115 -- open for the life of the bot
        self._bot_id = bot_id
        if self._file.tell() and not _ends_with_newline(path):
            self._file.write(b"\n")  # a line cut off by a crash must not swallow the next

    def write(self, event: str, **fields: Any) -> None:
        """Appends one line."""
        line = {"t": time.time(), "event": event, "bot_id": self._bot_id, "pid": os.getpid(), **fields}
        self._file.write(json.dumps(line, sort_keys=True).encode("utf-8") + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _ends_with_newline(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
