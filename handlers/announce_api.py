"""Announced demand as an API: who expects which tasks, schedules, and how it turned out. JSON or YAML in, JSON out."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Request, Response

from handlers import prewarm_api
from handlers.prewarm_api import Call, Routes, json_answer
from server import announcement_report, announcements
from server.access import Permission, Principal
from server.announce_body import Announce, NewSchedule
from server.documents import Document
from server.fleet_view import refresh_quietly
from server.service import Service


class InPool(Document):
    """Body of what is done with a thing of a pool."""

    pool: str


def show(call: Call) -> Response:
    """Live entries, schedules, sources with their scores, outcomes, refused tags, what was learned; `?pool=`."""
    refresh_quietly(call.service.view, eager=True)
    return json_answer(announcement_report.report(call.service, call.principal, call.asked.args.get("pool", "")))


def announce(call: Call) -> Response:
    """Announces; 201, or 200 when a call with this request id did it before."""
    wanted = call.form(Announce)
    said, is_new = announcements.announce(call.service, call.principal, wanted)
    shown = announcement_report.shown(call.service, wanted.pool, said)
    notes = announcement_report.notes_on(call.service, wanted.pool, wanted.family, wanted.generation)
    return json_answer({**shown, "notes": notes}, 201 if is_new else 200)


def retract(call: Call, entry_id: str) -> Response:
    """Withdraws what is left of an entry."""
    pool = call.form(InPool).pool
    if not any(one.entry.id == entry_id for one in call.service.announced.said(pool)):
        refresh_quietly(call.service.view, eager=True)  # another process may have taken it
    said = announcements.retract(call.service, call.principal, pool, entry_id)
    return json_answer(announcement_report.shown(call.service, pool, said))


def save_schedule(call: Call) -> Response:
    """Makes a schedule, or replaces the one of its name."""
    schedule = announcements.save_schedule(call.service, call.principal, call.form(NewSchedule))
    body = schedule.body
    notes = announcement_report.notes_on(call.service, body.pool, body.family, body.generation)
    return json_answer({**body.model_dump(mode="json"), "by": schedule.by, "notes": notes})


def remove_schedule(call: Call, name: str) -> Response:
    """Ends a schedule."""
    pool = call.form(InPool).pool
    announcements.remove_schedule(call.service, call.principal, pool, name)
    return json_answer({"pool": pool, "name": name, "removed": True})


ROUTES: Routes = (
    ("GET", "/announcements", Permission.SPEC_VIEW, "", show),
    ("POST", "/announcements", Permission.POOL_CREATE_TASK, "", announce),
    ("POST", "/announcements/<entry_id>/retract", Permission.POOL_CREATE_TASK, "", retract),
    ("POST", "/announcements/schedules", Permission.SPEC_EDIT, "", save_schedule),
    ("POST", "/announcements/schedules/<name>/remove", Permission.SPEC_EDIT, "", remove_schedule),
)
"""As in `prewarm_api`; the use cases ask again with the pool."""


def make_blueprint(service: Service, authenticate: Callable[[Request], Principal]) -> Blueprint:
    """The API below /api/v1; `authenticate` says who calls."""
    return prewarm_api.make_blueprint(service, authenticate, "announce_api", ROUTES)
