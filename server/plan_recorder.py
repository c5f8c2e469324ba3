"""Writes down what the plans of a process saw and decided, where somebody asked for it: a line of JSON each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

import structlog

from server.policy import model, outcome
from server.policy.recorded import decided, to_plain

log = structlog.get_logger(__name__)

MOST_BYTES = 2_000_000_000
"""A file is not written beyond this: it is for looking into something, not for keeping."""


class PlanRecorder:
    """One file, `plans-PROCESS.jsonl`; lines are {"view": …, "decided": …} as `policy/recorded.py` has them."""

    def __init__(self, folder: str, process_id: str) -> None:
        """`folder`: an existing one; "": nothing is recorded."""
        self._path = Path(folder) / f"plans-{process_id}.jsonl" if folder else None
        self._file: TextIO | None = None

    def keep(self, view: model.PoolView, plan: outcome.PoolPlan) -> None:
        """Appends a plan with the view that it was made from. Where that fails, nothing more is recorded."""
        if self._path is None:
            return
        line = json.dumps({"view": to_plain(view), "decided": decided(plan, view.now_s)}, separators=(",", ":"))
        try:
            if self._file is None:
                self._file = self._path.open("a", encoding="utf-8")
            if self._file.tell() > MOST_BYTES:
                raise OSError(f"it has {MOST_BYTES} bytes")
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            self._path = None
            log.warning("plans are not recorded any more", why=str(error))
