"""Counters for Prometheus at `/metrics`: requests, what polls were answered with, what the store was asked.

The workers of one server add up through a folder (PROMETHEUS_MULTIPROC_DIR, made by `serve`): whichever of them is
asked answers for all, and what a killed one counted stays.
"""

from __future__ import annotations

import os
import threading
from dataclasses import asdict

import prometheus_client
from flask import Blueprint, Flask, Response, current_app, g, has_app_context, request
from prometheus_client import CollectorRegistry, Counter, Histogram, multiprocess, values

from handlers.auth import Authenticate
from server.access import Permission
from server.service import Service

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
EXTENSION = "pilotlight_metrics"
STORE_EVERY_S = 1.0
BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0)


class Metrics:
    """The counters of one application."""

    def __init__(self, service: Service) -> None:
        if os.environ.get(SHARED_FOLDER):
            values.ValueClass = values.MultiProcessValue()  # it was chosen when the library was imported: in the master
        self._registry = own = CollectorRegistry()
        self.requests = Counter(
            "pilotlight_requests_total", "Requests by route and status", ["route", "status"], registry=own
        )
        self.seconds = Histogram(
            "pilotlight_request_seconds",
            "Time to answer, held polls included",
            ["route"],
            buckets=BUCKETS_S,
            registry=own,
        )
        self.polls = Counter(
            "pilotlight_polls_total", "Polls by what they were answered with", ["answer"], registry=own
        )
        self._store_ops = Counter(
            "pilotlight_store_ops_total", "Entities and calls that the store was asked for", ["op"], registry=own
        )
        self._ops = service.store.ops
        self._known: dict[str, int] = {}
        self._carried_s = float("-inf")
        self._lock = threading.Lock()

    def text(self, now_s: float) -> bytes:
        """All counters, of all workers, in Prometheus's format."""
        self.carry_store_ops(now_s)
        registry = self._registry
        if os.environ.get(SHARED_FOLDER):
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
        return prometheus_client.generate_latest(registry)

    def carry_store_ops(self, now_s: float) -> None:
        """Takes the store's own counts over, at most once a second."""
        if now_s - self._carried_s < STORE_EVERY_S or not self._lock.acquire(blocking=False):
            return
        try:
            self._carried_s = now_s
            totals = asdict(self._ops.totals())
            for name, total in totals.items():
                self._store_ops.labels(name).inc(total - self._known.get(name, 0))
            self._known = totals
        finally:
            self._lock.release()


def count_poll(answer: str) -> None:
    """A poll was answered: run, sleep, bot_restart, …"""
    if has_app_context() and EXTENSION in current_app.extensions:
        current_app.extensions[EXTENSION].polls.labels(answer).inc()


def init_app(app: Flask, service: Service) -> None:
    """Counts every request."""
    metrics = app.extensions[EXTENSION] = Metrics(service)

    @app.before_request
    def begin() -> None:
        g.began_s = service.clock.monotonic_s()

    @app.after_request
    def end(response: Response) -> Response:
        now_s = service.clock.monotonic_s()
        route = request.url_rule.rule if request.url_rule else "(none)"
        metrics.requests.labels(route, str(response.status_code)).inc()
        metrics.seconds.labels(route).observe(now_s - g.get("began_s", now_s))
        metrics.carry_store_ops(now_s)
        return response


def make_blueprint(service: Service, authenticate: Authenticate) -> Blueprint:
    """The route `/metrics`, for clients."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def metrics() -> Response:
        authenticate(request).require(Permission.SERVER_PEEK)
        text = current_app.extensions[EXTENSION].text(service.clock.monotonic_s())
        return Response(text, content_type=prometheus_client.CONTENT_TYPE_LATEST)

    return routes
