"""What a former life of the bot may have left behind: a running command, and caches lent to it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot import files, processes
from bot.caches import CacheStore
from bot.journal import Journal

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Leftover:
    """A run of a former life that is over now, and of which the server may not know it."""

    task_id: str
    session: str  # the token that speaks for it


class RunRecord:
    """The run under way, on the disk from before anything of it happens until all of it is cleared away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._value: dict[str, Any] = {}

    def begin(self, run_id: str, task_id: str, caches: Mapping[str, Path], session: str | None) -> None:
        """Before caches are lent and the command is started; `session` is the token that speaks for this run."""
        lent = {name: str(path) for name, path in caches.items()}
        self._value = {"run_id": run_id, "task_id": task_id, "caches": lent, "session": session}
        files.write_json(self._path, self._value)

    def started(self, pid: int) -> None:
        """The command runs, as this process."""
        self._value.update(pid=pid, mark=processes.start_mark(pid))
        files.write_json(self._path, self._value)

    def clear(self) -> None:
        """Nothing of the run is left."""
        if self._path.exists():
            self._path.unlink()

    def recover(self, caches: CacheStore, work_dir: Path, journal: Journal) -> Leftover | None:
        """At the start of the bot, before it speaks to the server: ends and clears away the run of a former life."""
        record = files.read_json(self._path, {})
        found = None
        if record:
            killed = processes.kill_leftover(record.get("pid"), record.get("mark", ""), record.get("run_id", ""))
            _log.warning("the run of task %s was left over; killed %s", record.get("task_id"), killed or "nothing")
            journal.write("leftover", task_id=record.get("task_id"), killed=killed)
            if record.get("task_id") and record.get("session"):
                found = Leftover(record["task_id"], record["session"])
        caches.recover({name: Path(path) for name, path in record.get("caches", {}).items()})
        files.remove_tree(work_dir)
        self.clear()
        return found
