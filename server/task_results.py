"""Reading tasks: one by key, many by key, lists by time, state and tags. Always from the store, never from the view."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from server import cursors, errors
from server.access import Permission, Principal
from server.records import get_multi, key_of, task
from server.records.task import TaskRequest, TaskResult
from server.task_ids import parse_task_id

if TYPE_CHECKING:
    from server.service import Service

MOST_PER_PAGE = 1000
DEFAULT_PER_PAGE = 100
CURSORS = "tasks"
MOST_SCANNED = 5000
"""Results that one page looks at; a page that found too little goes on from its cursor."""

StateTest = Callable[[TaskResult], bool]
STATE_QUERIES: dict[str, tuple[tuple[str, ...], StateTest | None]] = {
    "QUERY_PENDING": ((task.PENDING,), None),
    "QUERY_RUNNING": ((task.RUNNING,), None),
    "QUERY_PENDING_RUNNING": (task.LIVE, None),
    "QUERY_COMPLETED": ((task.COMPLETED,), None),
    "QUERY_COMPLETED_SUCCESS": ((task.COMPLETED,), lambda result: not result.failure),
    "QUERY_COMPLETED_FAILURE": ((task.COMPLETED,), lambda result: result.failure),
    "QUERY_EXPIRED": ((task.EXPIRED,), None),
    "QUERY_TIMED_OUT": ((task.TIMED_OUT,), None),
    "QUERY_BOT_DIED": ((task.BOT_DIED,), None),
    "QUERY_CANCELED": ((task.CANCELED,), None),
    "QUERY_ALL": ((), None),
    "QUERY_DEDUPED": ((task.COMPLETED,), lambda result: False),
    "QUERY_KILLED": ((task.KILLED,), None),
    "QUERY_NO_RESOURCE": ((task.NO_RESOURCE,), None),
    "QUERY_CLIENT_ERROR": ((task.CLIENT_ERROR,), None),
}
"""Swarming's StateQuery → states of the index, and what the index cannot tell."""


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What a list asks for; `state` is a name of StateQuery, times are seconds, 0 for open, `end_s` exclusive."""

    limit: int = 0
    cursor: str = ""
    state: str = "QUERY_ALL"
    tags: tuple[str, ...] = ()
    start_s: float = 0.0
    end_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Page:
    """A page of results, newest first, and where the next begins ("" when there is none)."""

    items: list[TaskResult] = field(default_factory=list)
    cursor: str = ""


def get_result(service: Service, principal: Principal, task_id: str) -> TaskResult:
    """A task's result, by either form of its id.

    Raises:
        InvalidArgument: not an id. UnknownTask: no such task. PermissionDenied, Unauthenticated.
    """
    with service.store.context():
        result = key_of(TaskResult, parse_task_id(task_id)).get()
    if result is None:
        raise errors.UnknownTask(f"no task {task_id}", field="task_id")
    principal.require(Permission.TASK_GET, result.pool)
    return result


def get_request(service: Service, principal: Principal, task_id: str) -> TaskRequest:
    """What was asked for. Raises as `get_result` does."""
    result = get_result(service, principal, task_id)
    with service.store.context():
        request = key_of(TaskRequest, result.request_key).get()
    if request is None:
        raise errors.UnknownTask(f"no request of task {task_id}", field="task_id")
    return request


def get_results(
    service: Service, principal: Principal, task_ids: Sequence[str]
) -> list[TaskResult | errors.PilotlightError]:
    """Results in the order asked; an error in place of one that cannot be had."""
    parsed: list[str | errors.PilotlightError] = []
    for text in task_ids:
        try:
            parsed.append(parse_task_id(text))
        except errors.InvalidArgument as error:
            parsed.append(error)
    with service.store.context():
        found = iter(get_multi([key_of(TaskResult, one) for one in parsed if isinstance(one, str)]))
    answers: list[TaskResult | errors.PilotlightError] = []
    for one, text in zip(parsed, task_ids, strict=True):
        if not isinstance(one, str):
            answers.append(one)
            continue
        result = next(found)
        if result is None:
            answers.append(errors.UnknownTask(f"no task {text}", field="task_id"))
        elif not principal.may(Permission.TASK_GET, result.pool):
            answers.append(errors.PermissionDenied(f"{principal.identity} may not see task {text}"))
        else:
            answers.append(result)
    return answers


def list_tasks(service: Service, principal: Principal, query: ListQuery) -> Page:
    """Tasks that fit all filters, newest first.

    Raises:
        InvalidArgument: names the filter at fault. PermissionDenied, Unauthenticated.
    """
    limit = page_limit(query.limit)
    tags = [_alternatives(text) for text in query.tags]
    pools = [value.partition(":")[2] for values in tags for value in values if value.startswith("pool:")]
    for pool in pools or [""]:
        principal.require(Permission.POOL_LIST_TASKS, pool)
    if query.start_s and query.end_s and query.start_s >= query.end_s:
        raise errors.InvalidArgument("start must be before end", field="start")
    if query.state not in STATE_QUERIES:
        raise errors.InvalidArgument(f"state: {query.state!r} is not a state query", field="state")
    states, test = STATE_QUERIES[query.state]
    after = _place(query.cursor) if query.cursor else None
    items: list[TaskResult] = []
    at_s, passed = after or (0.0, [])
    with service.store.context():
        for scanned, result in enumerate(_scan(states, tags, query, after), 1):
            at_s, passed = result.created_s, [*(passed if result.created_s == at_s else ()), str(result.key.id())]
            wanted = (not states or result.state in states) and (test is None or test(result))
            own = set(result.tags)
            if wanted and all(own.intersection(values) for values in tags) and _visible(principal, result):
                items.append(result)
            if len(items) == limit or scanned == MOST_SCANNED:
                return Page(items, cursors.write(CURSORS, at_s, passed))
    return Page(items)


def _visible(principal: Principal, result: TaskResult) -> bool:
    return principal.may(Permission.POOL_LIST_TASKS, result.pool)


def _scan(
    states: tuple[str, ...], tags: list[tuple[str, ...]], query: ListQuery, after: Place | None
) -> Iterator[TaskResult]:
    """Results by the most telling index, newest first, after the cursor's place."""
    found = TaskResult.query()
    single = next((values for values in tags if len(values) == 1), None)
    if single is not None:
        found = found.filter(TaskResult.tags == single[0])
    elif len(states) == 1:
        found = found.filter(TaskResult.state == states[0])
    elif states:
        found = found.filter(TaskResult.state.IN(list(states)))
    if query.start_s:
        found = found.filter(TaskResult.created_s >= query.start_s)
    if after is not None:
        found = found.filter(TaskResult.created_s <= after[0])
    elif query.end_s:
        found = found.filter(TaskResult.created_s < query.end_s)
    for result in found.order(-TaskResult.created_s):
        if after is None or result.created_s != after[0] or result.key.id() not in after[1]:
            yield result


def page_limit(limit: int) -> int:
    """How many a page may have: 0 means the default.

    Raises:
        InvalidArgument: negative or beyond the most.
    """
    if not 0 <= limit <= MOST_PER_PAGE:
        raise errors.InvalidArgument(f"limit: {limit} is not within 0 and {MOST_PER_PAGE}", field="limit")
    return limit or DEFAULT_PER_PAGE


def _alternatives(tag: str) -> tuple[str, ...]:
    """A tag filter `key:a|b` as the tags that satisfy it."""
    key, colon, value = tag.partition(":")
    if not colon or not key or not value or key != key.strip() or value != value.strip():
        raise errors.InvalidArgument(f"tags: {tag[:80]!r} is not key:value without outer spaces", field="tags")
    return tuple(f"{key}:{one}" for one in value.split("|"))


Place = tuple[float, list[str]]
"""Where a page ended: a time, and the tasks of just that time which were passed. In which order those of one time come
is the store's affair (Google's differ)."""


def _place(cursor: str) -> Place:
    at_s, passed = cursors.read(CURSORS, cursor, float, list)
    return at_s, [str(task_id) for task_id in passed]
