"""The only place of the server that reads a clock."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Time as the server sees it; every time in the server is seconds since the Unix epoch, as a float."""

    def now_s(self) -> float:
        """Wall-clock seconds since the Unix epoch."""

    def monotonic_s(self) -> float:
        """Seconds that never go backwards; only differences have a meaning."""

    def sleep(self, duration_s: float) -> None:
        """Waits; a fake clock only moves."""


class SystemClock:
    """The machine's own clock."""

    def now_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def sleep(self, duration_s: float) -> None:
        time.sleep(max(0.0, duration_s))


class FakeClock:
    """A clock that only its owner moves."""

    def __init__(self, now_s: float = 1_800_000_000.0) -> None:
        self._now_s = now_s
        self._monotonic_s = 0.0
        self._lock = threading.Lock()

    def now_s(self) -> float:
        return self._now_s

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def sleep(self, duration_s: float) -> None:
        self.advance(duration_s)

    def advance(self, duration_s: float) -> None:
        """Time passes for both clocks."""
        with self._lock:
            self._now_s += duration_s
            self._monotonic_s += max(0.0, duration_s)

    def jump(self, duration_s: float) -> None:
        """The wall clock is set to another time; the monotonic one is not."""
        with self._lock:
            self._now_s += duration_s
