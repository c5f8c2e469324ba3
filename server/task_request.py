"""New tasks: normalise, tag, find what they want warm, create in 1 read and 3 writes, idempotent by request id."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from server import errors
from server.access import Permission, Principal
from server.records import RETAIN_TASK_S, expiry, key_of, put_multi
from server.records.task import PENDING, TaskRequest, TaskResult, TaskToRun
from server.task_ids import new_task_id, parse_task_id
from server.task_properties import NewTask, Slice

if TYPE_CHECKING:
    from server.service import Service

LOWEST_FREE_PRIORITY = 20
"""More important ones need a permission; without it they become this."""
BACKGROUND_PRIORITY = 255


@dataclass(frozen=True, slots=True)
class Created:
    """A task and whether this call made it (False for a repeated request)."""

    request: TaskRequest
    result: TaskResult
    is_new: bool


def new_task(service: Service, principal: Principal, wanted: NewTask) -> Created:
    """Creates a task, or returns the one that the same caller made with this request_uuid.

    Raises:
        PermissionDenied, Unauthenticated: no right to create tasks in the pool.
        NotFound, FailedPrecondition: the parent task is missing or finished.
        ResourceExhausted: the disk is nearly full.
    """
    pool = wanted.pool()
    principal.require(Permission.POOL_CREATE_TASK, pool)
    service.refuse_when_full()
    now_s = service.clock.now_s()
    with service.store.context():
        request = _request(service, principal, wanted, now_s)
        result, queue = _result(request, pool), _queue(request, pool)
    if wanted.evaluate_only:
        return Created(request, result, True)

    def create() -> Created:
        known = request.key.get() if wanted.request_uuid else None
        if known is not None:
            return Created(known, key_of(TaskResult, known.task_id).get(), False)
        if request.parent_task_id:
            _check_parent(request.parent_task_id)
        put_multi([request, result, queue])
        return Created(request, result, True)

    created = service.store.transaction(create)
    if created.is_new:
        service.pages.arrived(pool, created.result.wishes, now_s)
        service.note_new_task(queue)
    return created


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
        "swarming.pool.template:none",
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
