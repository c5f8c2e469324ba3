"""Bots: the list, one bot with what it holds and why it gets what it gets now."""

from __future__ import annotations

from collections import Counter
from typing import Any
from urllib.parse import urlencode

import flask
from werkzeug.wrappers import Response

from handlers.ui import fleet_model, fragments
from handlers.ui.chrome import refresh
from handlers.ui.visit import Route, Visit
from server import bot_list, bot_management, errors, fleet_report
from server.access import Permission

PER_PAGE = 100
FRAGMENTS = {"head": "bot/head.html", "holds": "bot/holds.html", "why": "bot/why.html"}


def bots(visit: Visit) -> Response:
    """The list, by pool and state, a hundred at a time."""
    refresh(visit.service)
    pool, state, after = visit.text("pool"), visit.text("state"), visit.text("after")
    if state and state not in fleet_report.BOT_STATUSES:
        known = ", ".join(fleet_report.BOT_STATUSES)
        raise errors.InvalidArgument(f"state: {state[:60]!r} is none of {known}", field="state")
    every = fleet_model.fleet(visit)["bots"]
    here = [bot for bot in every if not pool or bot["pool"] == pool]
    states = Counter(bot["status"] for bot in here)
    fitting = [bot for bot in here if not state or bot["status"] == state]
    left = [bot for bot in fitting if bot["id"] > after]
    shown = left[:PER_PAGE]
    more = ""
    if len(left) > PER_PAGE:
        more = "/bots?" + urlencode({"pool": pool, "state": state, "after": shown[-1]["id"]})
    return visit.render(
        "bots.html",
        bots=fleet_model.rows_of_bots(visit, shown),
        pools=sorted({bot["pool"] for bot in every}),
        states=dict(sorted(states.items())),
        pool=pool,
        state=state,
        fitting=len(fitting),
        every=len(every),
        more=more,
    )


def bot(visit: Visit, bot_id: str) -> Response:
    """One bot."""
    refresh(visit.service)
    model = live_model(visit, bot_id)
    parts = fragments.rendered(visit, FRAGMENTS, model)
    return visit.render("bot.html", parts=parts.html, revision=parts.revision, **model)


def live_model(visit: Visit, bot_id: str) -> dict[str, Any]:
    """The model of all parts of the page.

    Raises:
        UnknownBot.
    """
    listed = bot_list.get_bot(visit.service, visit.principal, bot_id)
    if visit.service.view.bot(bot_id) is None:
        visit.service.view.refresh(force=True)
    why = fleet_report.why_bot(visit.service, visit.principal, bot_id)
    row = fleet_model.rows_of_bots(visit, [why["bot"]])[0]
    slots = fleet_model.slots_of(visit, why["bot"])
    return {"bot": row, "slots": slots, "why": why, "entry": listed.entry, "task_name": listed.task_name}


def release(visit: Visit, bot_id: str) -> Response:
    """Lifts the server's own quarantine."""
    bot_management.release(visit.service, visit.principal, bot_id)
    return visit.back(f"/bots/{bot_id}", f"{bot_id} may take work again, unless it is quarantined by itself.")


def old_address(visit: Visit) -> Response:
    """Swarming's `/bot?id=`."""
    bot_id = visit.text("id")
    return flask.redirect(flask.url_for("ui.bot_pages_bot_get", bot_id=bot_id) if bot_id else "/bots", 302)


def old_list(visit: Visit) -> Response:
    """Swarming's `/botlist`, with its filters `f=key:value` as far as there is one here."""
    pool = next((text[5:] for text in visit.asked.args.getlist("f") if text.startswith("pool:")), "")
    return flask.redirect("/bots?" + urlencode({"pool": pool}) if pool else "/bots", 302)


ROUTES = (
    Route("GET", "/bots", Permission.POOL_LIST_BOTS, bots),
    Route("GET", "/bots/<path:bot_id>", Permission.POOL_LIST_BOTS, bot),
    Route("POST", "/bots/<path:bot_id>/release", Permission.SPEC_EDIT, release),
    Route("GET", "/bot", Permission.POOL_LIST_BOTS, old_address),
    Route("GET", "/botlist", Permission.POOL_LIST_BOTS, old_list),
)
