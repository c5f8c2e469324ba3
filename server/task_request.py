"""New tasks: normalise, tag, find what they want warm; create in at most 2 reads and 3 writes, once per request id.

A task that names a parent costs a third read: a view may be too old to say that the parent is over.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from server import errors
from server.access import Permission, Principal
from server.fleet_view import refresh_quietly
from server.records import RETAIN_TASK_S, expiry, key_of, put_multi
from server.records.task import PENDING, TaskRequest, TaskResult, TaskToRun
from server.task_ids import new_task_id, parse_task_id
from server.task_properties import NewTask, Slice

if TYPE_CHECKING:
    from server.service import Service

log = structlog.get_logger(__name__)

LOWEST_FREE_PRIORITY = 20
"""More important ones need a permission; without it they become this."""
BACKGROUND_PRIORITY = 255
REMEMBERED_S = 7 * 86_400.0
"""For so long a request id stands for the task that was made with it."""
MOST_IDS = 5
"""Ids that are tried: two tasks of one millisecond may draw the same one."""


@dataclass(frozen=True, slots=True)
class Created:
    """A task and whether this call made it (False for a repeated request)."""

    request: TaskRequest
    result: TaskResult
    is_new: bool


def new_task(service: Service, principal: Principal, wanted: NewTask) -> Created:
    """Creates a task, or returns the one that the same caller made with this request_uuid in the last seven days.

    Raises:
        PermissionDenied, Unauthenticated: no right to create tasks in the pool.
        NotFound, FailedPrecondition: the parent task is missing or finished.
        ResourceExhausted: the disk is nearly full, or too many tasks wait in the pool.
    """
    pool = wanted.pool()
    principal.require(Permission.POOL_CREATE_TASK, pool)
    if _is_crowded(service, pool):
        refresh_quietly(service.view)  # others may have taken them by now
    for _ in range(MOST_IDS):
        now_s = service.clock.now_s()
        with service.store.context():
            request = _request(service, principal, wanted, now_s)
            result, queue = _result(request, pool), _queue(request, pool)
        if wanted.evaluate_only:
            return Created(request, result, True)
        created = service.store.transaction(functools.partial(_create, service, wanted, request, result, queue))
        if created is not None:
            break
    else:
        raise errors.Contention("no free task id was found")
    if created.is_new:
        _note(service, request, queue, now_s)
    return created


def _create(
    service: Service, wanted: NewTask, request: TaskRequest, result: TaskResult, queue: TaskToRun
) -> Created | None:
    """Within a transaction: the task, new or as it is known; None when another one has its id."""
    if wanted.request_uuid:
        known, key = _find(request.authenticated, wanted.request_uuid, request.created_s)
        if known is not None:
            return Created(known, key_of(TaskResult, known.task_id).get(), False)
        request.key, result.request_key = key_of(TaskRequest, key), key
    service.refuse_when_full()
    if _is_crowded(service, result.pool):
        most = service.config.pool(result.pool).max_pending
        raise errors.ResourceExhausted(f"{most} tasks wait in pool {result.pool} already; more are not taken")
    if request.parent_task_id:
        _check_parent(request.parent_task_id)
    if result.key.get() is not None:
        return None
    put_multi([request, result, queue])
    return Created(request, result, True)


def _find(caller: str, request_uuid: str, now_s: float) -> tuple[TaskRequest | None, str]:
    """The caller's task of this request id, unless it is too old to be meant; and the key of a new one.

    A request id that is used again after that time leads on from the task that had it before.
    """
    key = request_key(caller, request_uuid)
    while (known := key_of(TaskRequest, key).get()) is not None:
        if now_s - known.created_s <= REMEMBERED_S:
            return known, key
        key = request_key(caller, f"{request_uuid}\n{known.task_id}")
    return None, key


def _is_crowded(service: Service, pool: str) -> bool:
    return service.view.count_pending(pool) >= service.config.pool(pool).max_pending


def _note(service: Service, request: TaskRequest, queue: TaskToRun, now_s: float) -> None:
    """Demand and plan hear of it. The task is accepted: trouble here must not say otherwise."""
    try:
        service.pages.arrived(queue.pool, queue.wishes, now_s)
        service.announced.tagged(request, queue.pool)
        service.note_new_task(queue)
    except Exception:
        log.exception("new_task_not_noted", task=queue.key.id())


def _request(service: Service, principal: Principal, wanted: NewTask, now_s: float) -> TaskRequest:
    task_id = new_task_id(now_s, service.rng)
    pool = wanted.pool()
    priority = wanted.priority
    if priority < LOWEST_FREE_PRIORITY and not principal.may(Permission.POOL_HIGH_PRIORITY, pool):
        priority = LOWEST_FREE_PRIORITY
    slices, until_s = [], now_s
    for piece in wanted.task_slices:
        until_s += piece.expiration_secs
        slices.append(slice_record(service, piece, wanted.tags, until_s))
    key = request_key(principal.identity, wanted.request_uuid) if wanted.request_uuid else task_id
    return TaskRequest(
        id=key,
        task_id=task_id,
        name=wanted.name,
        slices=slices,
        priority=priority,
        tags=all_tags(wanted, principal, priority),
        user=wanted.user,
        authenticated=principal.identity,
        realm=wanted.realm,
        service_account=wanted.service_account or "none",
        parent_task_id=parse_task_id(wanted.parent_task_id) if wanted.parent_task_id else "",
        bot_ping_tolerance_s=float(wanted.bot_ping_tolerance_secs),
        created_s=now_s,
        expire_at=expiry(now_s, RETAIN_TASK_S),
    )


def request_key(caller: str, request_uuid: str) -> str:
    """Key of the TaskRequest of a caller's request id; hashed, since both may be long."""
    return "u-" + hashlib.sha256(f"{caller}\n{request_uuid}".encode()).hexdigest()[:40]


def slice_record(service: Service, piece: Slice, tags: tuple[str, ...], deadline_s: float) -> dict[str, Any]:
    """A slice as records keep it: properties, dimensions, what it wants warm, and when it expires."""
    properties = piece.properties
    wishes = service.view.wishes_of(properties, tags)
    return {
        "properties": properties.model_dump(mode="json", exclude_defaults=True),
        "dimensions": properties.requirement(),
        "wishes": [[wish.family, wish.generation] for wish in wishes],
        "expiration_s": piece.expiration_secs,
        "deadline_s": deadline_s,
        "wait_for_capacity": piece.wait_for_capacity,
    }


def all_tags(wanted: NewTask, principal: Principal, priority: int) -> list[str]:
    """The task's own tags and those that the server adds, sorted and unique."""
    tags = set(wanted.tags)
    tags |= {
        f"priority:{priority}",
        f"realm:{wanted.realm or 'none'}",
        f"service_account:{wanted.service_account or 'none'}",
        f"user:{wanted.user or 'none'}",
        f"authenticated:{principal.identity}",
        "swarming.pool.task_template:none",
        "rbe:none",
    }
    if wanted.parent_task_id:
        tags.add(f"parent_task_id:{wanted.parent_task_id}")
    for piece in wanted.task_slices:
        for key, alternatives in piece.properties.requirement():
            tags |= {f"{key}:{alternative}" for alternative in alternatives}
    return sorted(tags)


def _result(request: TaskRequest, pool: str) -> TaskResult:
    first = request.slices[0]
    return TaskResult(
        id=request.task_id,
        request_key=str(request.key.id()),
        name=request.name,
        tags=request.tags,
        user=request.user,
        pool=pool,
        priority=request.priority,
        state=PENDING,
        created_s=request.created_s,
        modified_s=request.created_s,
        grace_period_s=float(first["properties"].get("grace_period_secs", 0)),
        wishes=first["wishes"],
        expire_at=request.expire_at,
    )


def _queue(request: TaskRequest, pool: str) -> TaskToRun:
    first = request.slices[0]
    return TaskToRun(
        id=request.task_id,
        pool=pool,
        priority=request.priority,
        created_s=request.created_s,
        slice=first,
        dimensions=first["dimensions"],
        wishes=first["wishes"],
        expires_s=first["deadline_s"],
        deadline_s=first["deadline_s"],
        changed_s=request.created_s,
        expire_at=request.expire_at,
    )


def _check_parent(parent_task_id: str) -> None:
    parent = key_of(TaskResult, parent_task_id).get()
    if parent is None:
        raise errors.UnknownTask(f"parent_task_id: no task {parent_task_id}", field="parent_task_id")
    if parent.state not in (PENDING, "RUNNING"):
        raise errors.FailedPrecondition(f"parent_task_id: task {parent_task_id} has finished", field="parent_task_id")
