"""What the outside tells a running bot: signals."""

from __future__ import annotations

import contextlib
import queue
import signal
from collections.abc import Iterator
from enum import Enum


class Event(Enum):
    """What can happen to a running command."""

    EXITED = "exited"
    MUST_STOP = "must_stop"  # the server wants it stopped
    UPDATE_FAILED = "update_failed"  # the server can no longer be told
    HAND_BACK = "hand_back"  # the bot must leave now
    HURRY = "hurry"  # and may not wait for the command's grace


class Leave(BaseException):
    """The bot was told to leave while it was idle. No Exception: nothing on the way out may swallow it."""


class Control:
    """Turns signals into what they mean in the bot's situation.

    Idle: leave at once. Running: the first one lets the task finish (unless `hand_back_at_once`), the next one hands
    the task back, one more cuts short the grace that its command has for that.
    """

    def __init__(self, hand_back_at_once: bool = False) -> None:
        self.leaving = False
        self._handing_back = False
        self._hand_back_at_once = hand_back_at_once
        self._idle = False
        # SimpleQueue, since its put() may be called from a signal handler.
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def install(self) -> None:
        """Takes SIGTERM and SIGINT (SIGBREAK on Windows)."""
        for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), lambda number, frame: self.told_to_leave())

    def told_to_leave(self) -> None:
        """What a signal does."""
        if self._handing_back:
            self.events.put(Event.HURRY)
        elif self.leaving or self._hand_back_at_once:
            self._handing_back = True
            self.events.put(Event.HAND_BACK)
        self.leaving = True
        if self._idle:
            self._idle = False
            raise Leave

    def handing_back(self) -> bool:
        """Whether a running task has to be given up."""
        return self._handing_back

    @contextlib.contextmanager
    def idle(self) -> Iterator[None]:
        """In here a signal raises `Leave`, whatever the bot waits for."""
        self._idle = True
        try:
            if self.leaving:
                raise Leave
            yield
        finally:
            self._idle = False

    def new_events(self) -> queue.SimpleQueue[Event]:
        """Forgets the events of the run before."""
        self.events = queue.SimpleQueue()
        if self._handing_back:
            self.events.put(Event.HAND_BACK)
        return self.events
