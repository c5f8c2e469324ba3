"""Bots as people look at them: one by id from the store, lists from this process's view, which is refreshed first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from server import bot_management, cursors, errors
from server.access import Permission, Principal
from server.policy import dimensions
from server.records import get_multi, key_of
from server.records.task import TaskResult
from server.task_results import page_limit
from server.view_entries import BotEntry, bot_entry

if TYPE_CHECKING:
    from server.service import Service

Requirement = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class BotQuery:
    """What a list asks for.

    Attributes:
        limit: length of a page, 0 for the default.
        cursor: "" for the first page.
        dimensions: (key, value) that the bot has, all of them; `a|b` in a value allows either.
        quarantined, in_maintenance, is_dead, is_busy: None for either.
    """

    limit: int = 0
    cursor: str = ""
    dimensions: tuple[tuple[str, str], ...] = ()
    quarantined: bool | None = None
    in_maintenance: bool | None = None
    is_dead: bool | None = None
    is_busy: bool | None = None


@dataclass(frozen=True, slots=True)
class ListedBot:
    """A bot and the name of the task that it holds ("" if none)."""

    entry: BotEntry
    task_name: str = ""


@dataclass(frozen=True, slots=True)
class BotPage:
    """A page of bots in the order of their ids.

    Attributes:
        items: the bots.
        cursor: where the next page begins, "" if there is none.
        death_timeout_s: silence after which one of them counts as dead; the longest of the pools asked for.
    """

    items: list[ListedBot] = field(default_factory=list)
    cursor: str = ""
    death_timeout_s: float = 0.0


def get_bot(service: Service, principal: Principal, bot_id: str) -> ListedBot:
    """One bot, as the store has it.

    Raises:
        InvalidArgument: no id. UnknownBot: no such bot. PermissionDenied, Unauthenticated.
    """
    if not bot_id:
        raise errors.InvalidArgument("bot_id is missing", field="bot_id")
    entry = bot_entry(bot_management.load(service, bot_id))
    principal.require(Permission.POOL_LIST_BOTS, entry.pool)
    seen_s = max(entry.policy.last_seen_s, service.pages.last_seen(bot_id)[0])
    entry = replace(entry, policy=replace(entry.policy, last_seen_s=seen_s))
    return _with_names(service, [entry])[0]


def list_bots(service: Service, principal: Principal, query: BotQuery) -> BotPage:
    """Bots that fit all filters, in the order of their ids; only those of pools that the caller may see.

    Raises:
        InvalidArgument: names the filter at fault. PermissionDenied, Unauthenticated.
    """
    limit = page_limit(query.limit)
    wanted = tuple(_requirement(key, value) for key, value in query.dimensions)
    after = cursors.read("bots", query.cursor, str)[0] if query.cursor else ""
    pools = sorted({pool for key, values in wanted if key == "pool" for pool in values})
    for pool in pools or [""]:
        principal.require(Permission.POOL_LIST_BOTS, pool)
    service.view.refresh(eager=True)
    found: list[BotEntry] = []
    cursor = ""
    for entry in service.view.bots():
        if entry.policy.id <= after or not _fits(entry, query, wanted):
            continue
        if not principal.may(Permission.POOL_LIST_BOTS, entry.pool):
            continue
        if len(found) == limit:
            cursor = cursors.write("bots", found[-1].policy.id)
            break
        found.append(entry)
    death_timeout_s = max(service.config.pool(pool).death_timeout_s for pool in pools or [""])
    return BotPage(_with_names(service, found), cursor, death_timeout_s)


def _requirement(key: str, value: str) -> tuple[str, tuple[str, ...]]:
    for text in (key, value):
        if not text or text != text.strip():
            raise errors.InvalidArgument(
                f"dimensions: {key!r}: {value!r} has an empty part or outer spaces", field="dimensions"
            )
    return key, tuple(value.split("|"))


def _fits(entry: BotEntry, query: BotQuery, wanted: Requirement) -> bool:
    bot = entry.policy
    asked = (
        (query.quarantined, bool(bot.quarantined)),
        (query.in_maintenance, bool(bot.maintenance)),
        (query.is_dead, not bot.alive),
        (query.is_busy, entry.held is not None),
    )
    return all(wish is None or wish == fact for wish, fact in asked) and dimensions.matches(wanted, bot.dimensions)


def _with_names(service: Service, entries: Iterable[BotEntry]) -> list[ListedBot]:
    """The names of held tasks, in one look-up for all."""
    entries = list(entries)
    task_ids = [entry.held["task"] for entry in entries if entry.held]
    names: dict[str, str] = {}
    if task_ids:
        with service.store.context():
            results = get_multi([key_of(TaskResult, task_id) for task_id in task_ids])
        names = {result.key.id(): result.name for result in results if result is not None}
    return [ListedBot(entry, names.get(entry.held["task"], "") if entry.held else "") for entry in entries]
