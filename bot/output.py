"""Output of a running command, between the thread that reads it and the one that sends it."""

from __future__ import annotations

import threading
import time

CHUNK_BYTES = 250_000
BUFFER_BYTES = 8 * 1024 * 1024


class OutputBuffer:
    """Bytes not yet sent, with their offset in the whole output.

    A full buffer makes the writer wait, and with it, through the pipe, the command: output is slowed down, not lost.
    """

    def __init__(self, limit_bytes: int = BUFFER_BYTES) -> None:
        self._limit = limit_bytes
        self._data = bytearray()
        self._offset = 0
        self._abandoned = False
        self._kicked = False
        self._changed = threading.Condition()
        self._last_write_s = time.monotonic()
        self._oldest_s: float | None = None

    def write(self, data: bytes) -> None:
        """Appends output, waiting for room; dropped once the buffer is abandoned."""
        with self._changed:
            while len(self._data) >= self._limit and not self._abandoned:
                self._changed.wait()
            self._last_write_s = time.monotonic()
            if self._abandoned or not data:
                return
            if not self._data:
                self._oldest_s = self._last_write_s
            self._data += data
            self._changed.notify_all()

    def take(self, limit_bytes: int = CHUNK_BYTES) -> tuple[int, bytes]:
        """Removes up to `limit_bytes`; returns their offset and them."""
        with self._changed:
            data, offset = bytes(self._data[:limit_bytes]), self._offset
            del self._data[: len(data)]
            self._offset += len(data)
            self._oldest_s = time.monotonic() if self._data else None
            self._changed.notify_all()
            return offset, data

    def pending(self) -> int:
        """Bytes not yet taken."""
        with self._changed:
            return len(self._data)

    def pending_since_s(self) -> float | None:
        """Monotonic time since which the oldest byte waits, or None when there is none."""
        with self._changed:
            return self._oldest_s

    def silent_since_s(self) -> float:
        """Monotonic time of the last output; now, while the writer waits for room."""
        with self._changed:
            return time.monotonic() if len(self._data) >= self._limit else self._last_write_s

    def is_full(self) -> bool:
        """Whether the writer has to wait."""
        with self._changed:
            return len(self._data) >= self._limit

    def wait(self, timeout_s: float | None, enough_bytes: int, for_first: bool) -> None:
        """Waits for the time (None: no limit), a kick, `enough_bytes`, or (`for_first`) any byte: what comes first."""
        with self._changed:
            enough = 1 if for_first else enough_bytes
            self._changed.wait_for(lambda: self._kicked or len(self._data) >= enough, timeout_s)
            self._kicked = False

    def kick(self) -> None:
        """Ends the wait of the sender."""
        with self._changed:
            self._kicked = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Takes no more output: what is written from now on is dropped, and no writer waits."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()
