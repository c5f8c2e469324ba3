"""The fleet page, and what stands in its place while there are no bots."""

from __future__ import annotations

from typing import Any

import orjson
from werkzeug.wrappers import Response

from handlers.ui import fleet_model, fragments, recent_tasks
from handlers.ui.chrome import refresh
from handlers.ui.fleet_map import map_data
from handlers.ui.visit import Route, Visit
from server import bot_code
from server.access import Permission

FRAGMENTS = {
    "head": "fleet/head.html",
    "tiles": "fleet/tiles.html",
    "needs": "fleet/needs.html",
    "map-data": "fleet/map_data.html",
    "gates": "fleet/gates.html",
    "stock": "fleet/stock.html",
    "bots": "fleet/bots.html",
    "tasks": "fleet/tasks.html",
}
RECENT = 8
EVERY_MS, EVERY_MS_OF_MANY, MANY_BOTS = 2000, 10_000, 1000
"""How often the page asks what is new: a large map is a large answer."""


def fleet(visit: Visit) -> Response:
    """The fleet; without any bot and task, how to begin."""
    refresh(visit.service)
    model = live_model(visit)
    if not model["report"]["bots"] and model["recent"] == []:
        return start(visit)
    parts = fragments.rendered(visit, FRAGMENTS, model)
    every_ms = EVERY_MS if len(model["report"]["bots"]) <= MANY_BOTS else EVERY_MS_OF_MANY
    return visit.render("fleet.html", parts=parts.html, revision=parts.revision, every_ms=every_ms, **model)


def live_model(visit: Visit, _name: str = "") -> dict[str, Any]:
    """The model of all parts of the page."""
    report, rows = fleet_model.fleet(visit), fleet_model.ledger(visit)
    totals = fleet_model.Totals.of(rows)
    found = fleet_model.needs(visit, report)
    return {
        "report": report,
        "verdict": fleet_model.verdict(report, totals, found),
        "summary": fleet_model.summary(report),
        "tiles": fleet_model.tiles(totals, visit.service.config.current.defaults.ledger_max_cost),
        "needs": found[: fleet_model.MOST_NEEDS],
        "needs_more": max(0, len(found) - fleet_model.MOST_NEEDS),
        "pools": [{**pool, "sentence": fleet_model.sentence_of_pool(pool)} for pool in report["pools"]],
        "bots": fleet_model.rows_of_bots(visit, report["bots"][: fleet_model.MOST_ROWS]),
        "bots_all": len(report["bots"]),
        "map_json": _for_script(map_data(visit, report)),
        "recent": recent_tasks.newest(visit, RECENT),
        "ledger": rows,
    }


def start(visit: Visit) -> Response:
    """Steps with the commands to take them."""
    address = visit.service.settings.public_url or visit.asked.url_root.rstrip("/")
    specs = sorted(visit.service.view.specs())
    bots = len(visit.service.view.bots())
    settings = visit.service.settings
    return visit.render(
        "start.html",
        address=address,
        start_command=bot_code.start_command(address, with_secret=bool(settings.bot_secret), pool="local"),
        specs=specs,
        bots=bots,
        store=settings.store_url,
        secret=bool(settings.bot_secret),
    )


def _for_script(value: Any) -> str:
    """JSON that can stand in a `<script>`: nothing in it ends the element."""
    text = orjson.dumps(value).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


ROUTES = (
    Route("GET", "/", Permission.POOL_LIST_BOTS, fleet),
    Route("GET", "/start", Permission.POOL_LIST_BOTS, start),
)
