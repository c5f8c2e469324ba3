"""Tasks: the list, one task with its output, and why it got this bot or waits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import flask
from werkzeug.wrappers import Response

from handlers.ui import fragments, recent_tasks
from handlers.ui.visit import Route, Visit
from server import errors, fleet_report, task_output, task_results, task_scheduler
from server.access import Permission
from server.records.task import LIVE, TaskRequest, TaskResult
from server.task_results import STATE_QUERIES, ListQuery, list_tasks

PER_PAGE = 100
FRAGMENTS = {
    "head": "task/head.html",
    "act": "task/act.html",
    "why": "task/why.html",
    "output": "task/output.html",
    "facts": "task/facts.html",
}
SHOWN_BYTES = 256 * 1024
"""Output on the page: the last so many bytes; all of it is one click away."""
MOST_LINES = 5000
STATES = (
    ("", "All"),
    ("QUERY_PENDING", "Pending"),
    ("QUERY_RUNNING", "Running"),
    ("QUERY_COMPLETED_SUCCESS", "Finished"),
    ("QUERY_COMPLETED_FAILURE", "Failed"),
    ("QUERY_TIMED_OUT", "Timed out"),
    ("QUERY_KILLED", "Stopped"),
    ("QUERY_CANCELED", "Cancelled"),
    ("QUERY_EXPIRED", "Expired"),
    ("QUERY_BOT_DIED", "Bot died"),
)
KINDS = (("", "All"), ("forecast", "Warming"), ("on_demand", "Warming for a task"), ("clean", "Cleaning"))
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def tasks(visit: Visit) -> Response:
    """The list, newest first, by state, kind and tag."""
    state, kind, after, tag = (visit.text(name) for name in ("state", "kind", "after", "tag"))
    if state and state not in STATE_QUERIES:
        raise errors.InvalidArgument(f"state: {state[:60]!r} is not a state query", field="state")
    tags = [text for text in (tag.strip(), f"purpose:{kind}" if kind else "") if text]
    query = ListQuery(limit=PER_PAGE, cursor=after, state=state or "QUERY_ALL", tags=tuple(tags))
    page = list_tasks(visit.service, visit.principal, query)
    asked = {name: value for name, value in (("state", state), ("kind", kind), ("tag", tag)) if value}
    more = "/tasks?" + urlencode({**asked, "after": page.cursor}) if page.cursor else ""
    return visit.render(
        "tasks.html",
        rows=[recent_tasks.row(result) for result in page.items],
        states=STATES,
        kinds=KINDS,
        state=state,
        kind=kind,
        tag=tag,
        more=more,
        after=after,
    )


def task(visit: Visit, task_id: str) -> Response:
    """One task."""
    model = live_model(visit, task_id)
    parts = fragments.rendered(visit, FRAGMENTS, model)
    return visit.render("task.html", parts=parts.html, revision=parts.revision, **model)


def live_model(visit: Visit, task_id: str) -> dict[str, Any]:
    """The model of all parts of the page.

    Raises:
        InvalidArgument: not an id. UnknownTask. PermissionDenied.
    """
    result = task_results.get_result(visit.service, visit.principal, task_id)
    request = task_results.get_request(visit.service, visit.principal, task_id)
    output, cut = _end_of_output(visit, str(result.key.id()))
    live = result.state in LIVE
    return {
        "result": result,
        "live": live,
        "may_cancel": live and visit.principal.may(Permission.TASK_CANCEL, result.pool),
        "row": recent_tasks.row(result),
        "piece": _slice(request, result),
        "request": request,
        "why": fleet_report.why_task(visit.service, visit.principal, task_id),
        "lines": output,
        "cut": cut,
    }


def _slice(request: TaskRequest, result: TaskResult) -> dict[str, Any]:
    slices = request.slices or [{}]
    return slices[min(result.slice_no, len(slices) - 1)]


def _end_of_output(visit: Visit, task_id: str) -> tuple[list[str], bool]:
    """The last lines, and whether others stand before them."""
    offset, data = task_output.tail(visit.service, task_id, SHOWN_BYTES)
    lines = plain(data).split("\n")
    if not lines[-1]:
        lines.pop()
    if offset and len(lines) > 1:
        del lines[0]  # the rest of a line
    return lines[-MOST_LINES:], offset > 0 or len(lines) > MOST_LINES


def plain(data: bytes) -> str:
    """Output as text: colours and other control codes are dropped, a carriage return ends a line."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


def output(visit: Visit, task_id: str) -> Response:
    """All output, as the task wrote it; never as something that a browser would run."""
    result = task_results.get_result(visit.service, visit.principal, task_id)
    windows = _windows(visit, str(result.key.id()))
    return flask.Response(windows, content_type="text/plain; charset=utf-8")


def _windows(visit: Visit, task_id: str) -> Iterator[bytes]:
    at = 0
    while data := task_output.read(visit.service, task_id, at):
        yield data
        at += len(data)


def cancel(visit: Visit, task_id: str) -> Response:
    """Cancels a task that waits, stops one that runs."""
    result = task_results.get_result(visit.service, visit.principal, task_id)
    visit.principal.require(Permission.TASK_CANCEL, result.pool)
    done, ran = task_scheduler.cancel(visit.service, str(result.key.id()), kill_running=True)
    said = (
        "It is being stopped."
        if done and ran
        else "It is cancelled."
        if done
        else "It had ended already; nothing changed."
    )
    return visit.back(f"/tasks/{result.key.id()}", said)


def old_address(visit: Visit) -> Response:
    """Swarming's `/task?id=`."""
    task_id = visit.text("id")
    return flask.redirect(flask.url_for("ui.task_pages_task_get", task_id=task_id) if task_id else "/tasks", 302)


def old_list(visit: Visit) -> Response:
    """Swarming's `/tasklist`, with the first of its filters `f=key:value` that is a tag."""
    asked = visit.asked.args.getlist("f")
    tag = next((text for text in asked if ":" in text and not text.startswith("state:")), "")
    return flask.redirect("/tasks?" + urlencode({"tag": tag.removesuffix("-tag")}) if tag else "/tasks", 302)


ROUTES = (
    Route("GET", "/tasks", Permission.POOL_LIST_TASKS, tasks),
    Route("GET", "/tasks/<task_id>", Permission.TASK_GET, task),
    Route("GET", "/tasks/<task_id>/output", Permission.TASK_GET, output),
    Route("POST", "/tasks/<task_id>/cancel", Permission.TASK_CANCEL, cancel),
    Route("GET", "/task", Permission.TASK_GET, old_address),
    Route("GET", "/tasklist", Permission.POOL_LIST_TASKS, old_list),
)
