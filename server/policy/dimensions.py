"""Which bots satisfy which requirement.

A requirement is a tuple of (key, alternatives). The bot needs one of the alternatives of every entry: alternatives
are OR, and a key that repeats is AND.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from server.policy.model import Bot

Requirement = tuple[tuple[str, tuple[str, ...]], ...]
Dimensions = Mapping[str, frozenset[str]]

ID = "id"


def matches(requirement: Requirement, dimensions: Dimensions) -> bool:
    """Whether a bot with these dimensions satisfies the requirement."""
    return not missing(requirement, dimensions)


def missing(requirement: Requirement, dimensions: Dimensions) -> Requirement:
    """The entries of the requirement that these dimensions do not satisfy, in their order."""
    return tuple((key, values) for key, values in requirement if not _has_one(dimensions, key, values))


def _has_one(dimensions: Dimensions, key: str, values: tuple[str, ...]) -> bool:
    held = dimensions.get(key)
    return held is not None and any(value in held for value in values)


class Fits:
    """Answers "does this bot fit?" for many bots and many requirements.

    Bots that look alike in every dimension that any requirement names (their own id aside) form one group, and each
    distinct requirement is compared once with each group. So the work grows with kinds of bots, not with bots.
    """

    def __init__(self, bots: Iterable[Bot], requirements: Iterable[Requirement]) -> None:
        self._distinct = frozenset(requirements)
        keys = sorted({key for requirement in self._distinct for key, _ in requirement if key != ID})
        self.group_of: dict[str, int] = {}
        self._bots: dict[str, Bot] = {}
        self._group_dimensions: list[dict[str, frozenset[str]]] = []
        numbers: dict[tuple[frozenset[str] | None, ...], int] = {}
        for bot in bots:
            look = tuple([bot.dimensions.get(key) for key in keys])
            number = numbers.setdefault(look, len(numbers))
            if number == len(self._group_dimensions):
                self._group_dimensions.append({key: held for key, held in zip(keys, look, strict=True) if held})
            self.group_of[bot.id] = number
            self._bots[bot.id] = bot
        self._groups: dict[Requirement, frozenset[int]] = {}
        self._ids: dict[Requirement, Requirement] = {}

    def __contains__(self, requirement: Requirement) -> bool:
        return requirement in self._distinct

    def knowing(self, requirement: Requirement) -> Fits:
        """The same bots and one requirement more."""
        return Fits(self._bots.values(), self._distinct | {requirement})

    @property
    def group_count(self) -> int:
        """How many kinds of bots there are."""
        return len(self._group_dimensions)

    def groups(self, requirement: Requirement) -> frozenset[int]:
        """The groups that satisfy everything in the requirement but a wish for a bot of a certain id.

        Raises:
            KeyError: the requirement was not among those given at the start (its keys may not have been looked at).
        """
        found = self._groups.get(requirement)
        if found is None:
            if requirement not in self._distinct:
                raise KeyError(f"requirement {requirement!r} was not announced")
            ids = tuple(entry for entry in requirement if entry[0] == ID)
            rest = tuple(entry for entry in requirement if entry[0] != ID)
            found = frozenset(number for number, held in enumerate(self._group_dimensions) if matches(rest, held))
            self._groups[requirement], self._ids[requirement] = found, ids
        return found

    def names_a_bot(self, requirement: Requirement) -> bool:
        """Whether the requirement asks for a bot by its id."""
        self.groups(requirement)
        return bool(self._ids[requirement])

    def fits(self, requirement: Requirement, bot_id: str) -> bool:
        """Whether the bot (one of those given at the start) satisfies the requirement."""
        if self.group_of[bot_id] not in self.groups(requirement):
            return False
        ids = self._ids[requirement]
        if not ids:
            return True
        return matches(ids, {ID: self._bots[bot_id].dimensions.get(ID) or frozenset((bot_id,))})
