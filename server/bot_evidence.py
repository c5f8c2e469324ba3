"""What a bot's report shows of the state that a spec makes: a named cache is there or not, a dimension has a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from server import bot_report, spec_body
from server.loaded_spec import RETIRED
from server.policy.dimensions import matches

if TYPE_CHECKING:
    from server.bot_report import Report
    from server.loaded_spec import LoadedSpec
    from server.policy.model import Slot

Dimensions = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a report shows.

    Attributes:
        present: whether a state of the spec's family is there.
        generation: which one, "" where the evidence does not tell (a cache has a name and no version).
        is_news: whether the bot has it since its last report. Otherwise nobody knows since when, and it is no sign that
            users have moved on to it: bots had it before the spec was registered.
    """

    present: bool
    generation: str = ""
    is_news: bool = False


def shown(spec: LoadedSpec, specs: Iterable[LoadedSpec], report: Report, before: Dimensions) -> Shown | None:
    """What a report shows of a spec's state; None when its evidence is of another kind.

    Args:
        spec: whose state.
        specs: all of the bot's pool.
        report: what the bot says.
        before: its dimensions by its last report; none if this is the first.
    """
    makes = spec.body.makes
    if makes.named_cache:
        return Shown(makes.named_cache in report.caches() and makes.named_cache not in report.lost_caches())
    if not makes.dimension:
        return None
    key, _, value = makes.dimension.partition(":")
    if value in report.dimensions.get(key, ()):
        return Shown(True, spec.generation)
    other = _other_generation(spec, specs, report.dimensions)
    return Shown(bool(other), other, bool(other) and key in before and other not in before[key])


def moved(spec: LoadedSpec, slot: Slot, report: Report, state_before: Mapping[str, Any]) -> str:
    """The commit that the state's cache was moved to by a task that did not say so, "" if none did.

    It can be told where the generation is a commit: a checkout in the cache was at it by the last report, and none is.
    """
    cache = spec.body.makes.named_cache
    now = report.heads().get(cache or "", [])
    if not now or slot.generation not in bot_report.heads_in(state_before).get(cache or "", []):
        return ""
    return "" if slot.generation in now else now[0]


def _other_generation(spec: LoadedSpec, specs: Iterable[LoadedSpec], dimensions: Mapping[str, list[str]]) -> str:
    """The other generation of the family that a bot has by the spec's dimension, "" if it cannot be told.

    It can where the spec's generation is named as its value is (`UP1A` by `device_os:UP1A`): the other value then names
    the other generation. Not so for bots of another kind, and where another spec goes by the same dimension.
    """
    key, value = _pair(spec)
    values = dimensions.get(key, [])
    if value != spec.generation or not matches(spec.policy.dimensions, _sets(dimensions)):
        return ""
    known = [one for one in values if one in spec.policy.known_generations]
    if known:
        return max(known, key=lambda one: spec.policy.known_generations[one])
    is_shared = any(_pair(other)[0] == key for other in specs if other is not spec and other.state != RETIRED)
    return values[0] if len(values) == 1 and not is_shared and spec_body.is_generation(values[0]) else ""


def _pair(spec: LoadedSpec) -> tuple[str, str]:
    key, _, value = (spec.body.makes.dimension or "").partition(":")
    return key, value


def _sets(dimensions: Mapping[str, list[str]]) -> dict[str, frozenset[str]]:
    return {key: frozenset(values) for key, values in dimensions.items()}
