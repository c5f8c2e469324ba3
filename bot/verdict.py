"""What the server's answers have come to in the course of a run."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from typing import Any

from bot.control import Event
from bot.protocol import CallFailed


class Verdict:
    """Told by every thread that speaks with the server about the run; tells the one that watches the command."""

    def __init__(self, events: queue.SimpleQueue[Event]) -> None:
        self.must_stop = False
        self.failure: CallFailed | None = None
        self._events = events

    def heed(self, answer: Mapping[str, Any]) -> None:
        """An update was answered; the answer may be that the run is to stop."""
        if answer.get("must_stop") and not self.must_stop:
            self.must_stop = True
            self._events.put(Event.MUST_STOP)

    def fail(self, error: CallFailed) -> None:
        """An update was refused for good, or the server is out of reach: the run must not go on unseen."""
        self.failure = error
        self._events.put(Event.UPDATE_FAILED)
