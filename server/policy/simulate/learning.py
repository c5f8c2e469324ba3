"""What follows what in a replay: announced to the policy as the server announces it to itself, and judged likewise.

A server takes arrivals in by its sweeps, up to half a minute later; here it is at once.
"""

from __future__ import annotations

from server.policy.announce import Arrival, Book, Entry, Score
from server.policy.followers import Followers
from server.policy.learned import FOLLOWERS, entries_of


class Learning:
    """The followers of one pool, and how far they are believed."""

    def __init__(self, since_s: float) -> None:
        self._followers, self._score = Followers(since_s), Score()
        self._own = Book()
        """Learned entries alone: they are judged by themselves."""
        self._open: list[Entry] = []

    def arrive(self, came: Arrival, most: float, book: Book) -> list[Entry]:
        """What is to be announced after this arrival.

        Args:
            came: the arrival.
            most: the largest number of tasks to expect of a family.
            book: all that is announced.
        """
        if self._open:
            self._own.arrive(came)
        expected = self._followers.arrive(came.family, came.at_s, most)
        if not expected:
            return []
        made = [entry for entry, _ in entries_of(expected, book.announcements(came.at_s, {}), came.at_s)]
        for entry in made:
            self._own.add(entry)
        self._open += made
        return made

    def scores(self, now_s: float) -> dict[str, Score]:
        """How far learned entries are believed, by what came of those that closed."""
        closed = [entry for entry in self._open if entry.closes_s <= now_s]
        for entry in closed:
            self._score = self._score.add(entry, self._own.came(entry.id), now_s)
        if closed:
            self._open = [entry for entry in self._open if entry.closes_s > now_s]
        return {FOLLOWERS: self._score}
