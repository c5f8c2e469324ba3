"""What changed lately, for readers that each remember how far they have read."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Feed(Generic[Key]):
    """Keys by when they changed last. Its memory grows with the number of keys, not with that of changes."""

    def __init__(self) -> None:
        self.end = 0
        """What a reader remembers who has read all of it."""
        self._changed: dict[Key, int] = {}

    def note(self, key: Key) -> None:
        """The key has changed, or is about to."""
        self.end += 1
        self._changed.pop(key, None)
        self._changed[key] = self.end

    def since(self, end: int) -> list[Key]:
        """The keys that changed after the feed had that end, the latest first."""
        found = []
        for key in reversed(self._changed):
            if self._changed[key] <= end:
                break
            found.append(key)
        return found
