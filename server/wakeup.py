"""Tells held polls that something changed: at once within this process, in milliseconds within this machine.

A held poll waits in its own request thread. One watcher thread runs only while a poll is held: it asks the embedded
store for its data version every 5 ms (other processes of this machine) and refreshes the view once a second.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from server.fleet_view import refresh_quietly
from server.view_looks import REFRESH_EVERY_S

if TYPE_CHECKING:
    from server.service import Service

LOOK_EVERY_S = 0.005


class Wakeup:
    """Counts changes and lets threads wait for the next one."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._condition = threading.Condition()
        self._changes = 0
        self._held = 0
        self._watching = False
        self._draining = False
        self._most = service.settings.most_held_polls()

    @property
    def held(self) -> int:
        """Calls that are held at the moment."""
        return self._held

    @property
    def draining(self) -> bool:
        """Whether the process is leaving and sends held polls home."""
        return self._draining

    def changes(self) -> int:
        """The number to pass to `wait()`: what the caller has seen."""
        return self._changes

    def notify(self) -> None:
        """Something changed that a held poll may care about."""
        with self._condition:
            self._changes += 1
            self._condition.notify_all()

    def drain(self) -> None:
        """Sends all held calls home; none is held afterwards (a worker stops)."""
        with self._condition:
            self._draining = True
            self._condition.notify_all()

    def enter(self, *, poll: bool = True) -> bool:
        """Takes a place for a call that is to be held; False when all are taken or the process is leaving.

        Half of the places are for polls alone: what an idle bot hears late, a task waits for.
        """
        with self._condition:
            if self._draining or self._held >= (self._most if poll else self._most // 2):
                return False
            self._held += 1
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="wakeup", daemon=True).start()
            return True

    def leave(self) -> None:
        """Gives the place back."""
        with self._condition:
            self._held -= 1

    def wait(self, seen: int, longest_s: float) -> bool:
        """Waits for a change after `seen`; False when the time is over or the process is leaving."""
        with self._condition:
            self._condition.wait_for(lambda: self._changes != seen or self._draining, longest_s)
            return self._changes != seen and not self._draining

    def _watch(self) -> None:
        service = self._service
        version, looked_s = service.store.data_version(), service.clock.monotonic_s()
        known = version if service.view.has_seen(version) else -1
        pause = threading.Event()
        while True:
            with self._condition:
                if self._held == 0:
                    self._watching = False
                    return
            pause.wait(LOOK_EVERY_S if known is not None else REFRESH_EVERY_S)
            now_s = service.clock.monotonic_s()
            try:
                version = service.store.data_version()
            except Exception:  # the store is gone: polls go home by their own time
                version = known
            if version != known or now_s - looked_s >= REFRESH_EVERY_S:
                looked_s = now_s
                refresh_quietly(service.view, eager=version != known)
                if version == known or service.view.has_seen(version):
                    known = version
                    self.notify()
