"""What machines call: the bell for jobs, cron, warm-up of an instance, and `/healthz` for whoever watches."""

from __future__ import annotations

import os
import threading
from typing import Any

import orjson
import structlog
from flask import Blueprint, Response, request

from handlers.auth import Authenticate
from server import errors, jobs
from server.access import Permission
from server.carriers import CloudTasksCarrier
from server.records.config import Latest
from server.service import Service
from server.version import VERSION

log = structlog.get_logger(__name__)

JOBS_PER_ROUND = 20
ROUNDS = 10
"""A ring does so many rounds at most, to stay far below the time that a queue allows; then it rings again."""
CRON_EVERY_S = 60.0
SHORTEST_PERIOD_S = 10.0
PROBE_EVERY_S = 1.0


def make_blueprint(service: Service, authenticate: Authenticate) -> Blueprint:
    """The routes.

    Args:
        service: of this process.
        authenticate: for internal calls.
    """
    routes = Blueprint("internal", __name__)
    health = Health(service)

    @routes.post("/internal/jobs/run")
    def run_jobs() -> Response:
        authenticate(request).require(Permission.INTERNAL)
        return _json(_run_jobs(service))

    @routes.route("/internal/cron/<name>", methods=["GET", "POST"])
    def cron(name: str) -> Response:
        principal = authenticate(request)
        principal.require(Permission.INTERNAL)
        if name == "jobs":
            return _json(_run_jobs(service))
        ran = service.carrier.sweeps.run_now(name)
        if request.headers.get("X-Appengine-Cron"):
            _ring_until_next_cron(service, name)
        return _json({"ran": ran})

    @routes.get("/_ah/warmup")
    def warm_up() -> Response:
        # App Engine calls it before the instance gets traffic; anybody else may, for it does no more than a poll does.
        service.view.refresh()
        return _json({"ready": health.is_ready()})

    @routes.get("/healthz")
    def healthz() -> Response:
        found = health.report()
        return _json(found, 200 if found["ready"] else 503)

    return routes


class Health:
    """Whether this process can serve: its store answers, or did a moment ago."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._probed_s = float("-inf")
        self._problem = "not looked at yet"

    def is_ready(self) -> bool:
        """Whether requests are worth sending here."""
        return not self._probe()

    def report(self) -> dict[str, Any]:
        """What `/healthz` shows."""
        problem = self._probe()
        return {
            "status": "unavailable" if problem else "ok",
            "ready": not problem,
            "pid": os.getpid(),
            "process": self._service.process_id,
            "generation": self._service.settings.generation,
            "store": problem or "ok",
            "version": VERSION,
        }

    def _probe(self) -> str:
        """Why the store does not answer, "" if it does; asked at most once a second, however often this is called."""
        with self._lock:
            now_s = self._service.clock.monotonic_s()
            if now_s - self._probed_s >= PROBE_EVERY_S:
                try:
                    with self._service.store.context():
                        Latest.get_by_id("latest")
                    self._problem = ""
                except errors.PilotlightError as error:
                    self._problem = error.text
                self._probed_s = now_s
            return self._problem


def _run_jobs(service: Service) -> dict[str, Any]:
    ran = failed = 0
    for _ in range(ROUNDS):
        rung = jobs.run_due(service, JOBS_PER_ROUND)
        ran, failed = ran + rung.ran, failed + rung.failed
        if not 0.0 < rung.next_due_s <= service.clock.now_s():
            break
    if failed or 0.0 < rung.next_due_s <= service.clock.now_s():
        service.carrier.ring(rung.next_due_s)  # jobs that wait for their first time have a bell of their own
    return {"ran": ran, "failed": failed, "next_due_s": rung.next_due_s}


def _ring_until_next_cron(service: Service, name: str) -> None:
    """Cron comes once a minute; a sweep that is due more often is rung in between by Cloud Tasks."""
    carrier = service.carrier
    period_s = max(SHORTEST_PERIOD_S, carrier.sweeps.wanted_s[name])
    if isinstance(carrier, CloudTasksCarrier):
        now_s, later_s = service.clock.now_s(), period_s
        while later_s < CRON_EVERY_S:
            carrier.ring_sweep(name, now_s + later_s)
            later_s += period_s


def _json(body: dict[str, Any], status: int = 200) -> Response:
    response = Response(orjson.dumps(body), status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
