"""What a bot says of itself, checked, and the fingerprint that tells whether it matters.

The state that a bot sends differs in every poll (uptime, free disk, streak); only what the fingerprint covers counts as
a change: dimensions, health, version, names of caches and their size classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from unicodedata import category

import orjson

from server import errors
from server.pool_config import pool_name

LONGEST_KEY = 64
LONGEST_VALUE = 256
MOST_VALUES = 512
LARGEST_STATE = 60_000
"""Bytes of the state as JSON; of a larger one only what the server needs is kept."""
LARGEST_DIMENSIONS = 128_000
NEEDED_STATE = ("quarantined", "maintenance", "named_caches", "named_caches_lost", "named_caches_heads")
DEEPEST = 64
"""Levels of lists and objects within each other that a state or statistic may have."""
LONGEST_REASON = 1000
"""Characters of a bot's own words, such as why it is quarantined; the rest is cut."""


@dataclass(frozen=True, slots=True)
class Report:
    """A checked report. `malformed` says what is wrong with dimensions or state; such a bot is quarantined."""

    bot_id: str
    dimensions: dict[str, list[str]]
    state: dict[str, Any]
    version: str
    malformed: str = ""
    external_ip: str = ""
    authenticated_as: str = ""
    own: bool = field(default=False)
    """Whether it is Pilotlight's own bot."""

    @property
    def pool(self) -> str:
        """The pool that it serves."""
        return (self.dimensions.get("pool") or ["default"])[0]

    @property
    def quarantined(self) -> str:
        """Why the bot, or the server on reading its report, wants it quarantined; "" when fine."""
        reason = self.state.get("quarantined") or self.dimensions.get("quarantined")
        if reason:
            return reason if isinstance(reason, str) else "the bot says so"
        return self.malformed

    @property
    def maintenance(self) -> str:
        """The bot's own word for its maintenance, "" when it is in none."""
        reason = self.state.get("maintenance")
        return reason if isinstance(reason, str) else ("maintenance" if reason else "")

    def caches(self) -> dict[str, int]:
        """Named caches that it holds, with their sizes in bytes; unreadable entries have size 0."""
        caches = self.state.get("named_caches")
        if not isinstance(caches, dict):
            return {}
        return {str(name): _size(entry) for name, entry in caches.items()}

    def lost_caches(self) -> list[str]:
        """Those of them of which much went while no run had them: they are not what the last run left."""
        lost = self.state.get("named_caches_lost")
        return sorted({name for name in lost if isinstance(name, str)}) if isinstance(lost, list) else []

    def heads(self) -> dict[str, list[str]]:
        """Per named cache: the commits that git checkouts in it are at."""
        return heads_in(self.state)

    def fingerprint(self) -> str:
        """Changes exactly when something changed that a scheduler cares about."""
        classes = sorted((name, size.bit_length()) for name, size in self.caches().items())
        facts = [self.dimensions, self.quarantined, self.maintenance, self.version, classes]
        facts += [part for part in (self.lost_caches(), self.heads()) if part]
        return hashlib.sha256(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:24]


def heads_in(state: Mapping[str, Any]) -> dict[str, list[str]]:
    """Per named cache: the commits that git checkouts in it are at, by a bot's state."""
    heads = state.get("named_caches_heads")
    if not isinstance(heads, dict):
        return {}
    return {
        name: [one for one in commits if isinstance(one, str)]
        for name, commits in sorted(heads.items())
        if isinstance(commits, list)
    }


def _size(entry: Any) -> int:
    try:
        return max(0, int(entry[0][1]))
    except (TypeError, ValueError, IndexError, KeyError):
        return 0


def parse(body: dict[str, Any], *, external_ip: str = "", authenticated_as: str = "") -> Report:
    """Reads the report in a request's body.

    Raises:
        InvalidArgument: without exactly one bot id nothing can be said of the bot at all; its pool cannot be one; or
            the state cannot be kept.
    """
    raw_dimensions, state = body.get("dimensions"), body.get("state", {})
    ids = raw_dimensions.get("id") if isinstance(raw_dimensions, dict) else None
    if not isinstance(ids, list) or len(ids) != 1 or not _is_plain(ids[0], LONGEST_VALUE):
        rule = f"exactly one bot id of 1 to {LONGEST_VALUE} characters, none of them a control character, is needed"
        raise errors.InvalidArgument(f"dimensions.id: {rule}", field="dimensions.id")
    dimensions, wrong = _dimensions(raw_dimensions or {})
    for pool in dimensions.get("pool", ()):
        try:
            pool_name(pool)
        except ValueError as error:
            raise errors.InvalidArgument(f"dimensions.pool: {pool[:80]!r} {error}", field="dimensions.pool") from error
    if not isinstance(state, dict):
        state, wrong = {}, wrong or "state: must be an object"
    state, too_large = _state(state)
    version = body.get("version")
    return Report(
        bot_id=ids[0],
        dimensions=dimensions,
        state=state,
        version=version[:LONGEST_VALUE] if isinstance(version, str) else "",
        malformed=wrong or too_large,
        external_ip=external_ip,
        authenticated_as=authenticated_as,
        own=bool(state.get("pilotlight_bot")),
    )


def is_deep(value: Any) -> bool:
    """Whether lists and objects of a JSON value are within each other more than DEEPEST levels."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [child for one in level for child in _children(one)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _state(raw: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The state within its limits, and what is wrong with it if even what the server needs of it is beyond them.

    Raises:
        InvalidArgument: it is nested too deeply.
    """
    if is_deep(raw):
        raise errors.InvalidArgument(f"state: is nested more than {DEEPEST} levels deep", field="state")
    state = raw
    for key in ("quarantined", "maintenance"):
        reason = raw.get(key)
        if isinstance(reason, str) and len(reason) > LONGEST_REASON:
            state = {**state, key: f"{reason[:LONGEST_REASON]}…"}
        elif isinstance(reason, dict | list):
            state = {**state, key: bool(reason)}
    if len(orjson.dumps(state)) <= LARGEST_STATE:
        return state, ""
    state = {key: state[key] for key in NEEDED_STATE if key in state}
    if len(orjson.dumps(state)) <= LARGEST_STATE:
        return state, ""
    state = {key: state[key] for key in NEEDED_STATE[:2] if key in state}
    return state, f"state.named_caches: more than {LARGEST_STATE} bytes"


_CONTROL = ("Cc", "Zl", "Zp")
"""Unicode's categories of control characters and of separators that end a line."""


def _is_plain(text: Any, longest: int) -> bool:
    """Text of 1 to `longest` characters, no control character among them."""
    return isinstance(text, str) and 1 <= len(text) <= longest and not any(category(c) in _CONTROL for c in text)


def _dimensions(raw: dict[Any, Any]) -> tuple[dict[str, list[str]], str]:
    """The dimensions that can be used, and what is wrong with the others."""
    good: dict[str, list[str]] = {}
    wrong = ""
    for key, values in raw.items():
        if not _is_plain(key, LONGEST_KEY):
            wrong = f"dimensions: {str(key)[:80]!r} is not a key of 1 to {LONGEST_KEY} characters"
        elif not isinstance(values, list) or not values:
            wrong = f"dimensions.{key}: must be a list of at least one value"
        elif not all(_is_plain(value, LONGEST_VALUE) for value in values):
            wrong = f"dimensions.{key}: each value must be text of 1 to {LONGEST_VALUE} characters"
        elif len(set(values)) != len(values):
            wrong = f"dimensions.{key}: a value is given twice"
        else:
            good[key] = sorted(values)
    if sum(len(values) for values in good.values()) > MOST_VALUES:
        wrong = f"dimensions: more than {MOST_VALUES} values"
    elif len(orjson.dumps(good)) > LARGEST_DIMENSIONS:
        wrong = f"dimensions: more than {LARGEST_DIMENSIONS} bytes"
    else:
        return good, wrong
    return {key: good[key][:1] for key in ("id", "pool") if key in good}, wrong
