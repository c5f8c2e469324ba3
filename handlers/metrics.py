"""Counters for Prometheus at `/metrics`: requests, what polls were answered with, what the store was asked."""

from __future__ import annotations

import os
import threading
from dataclasses import asdict

import prometheus_client
from flask import Blueprint, Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram, multiprocess

from handlers.auth import Authenticate
from server.access import Permission
from server.service import Service

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of prometheus-client: a folder through which the workers of one server add up."""
STORE_EVERY_S = 1.0

requests_total = Counter("pilotlight_requests_total", "Requests by route and status", ["route", "status"])
request_seconds = Histogram(
    "pilotlight_request_seconds",
    "Time to answer, held polls included",
    ["route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0),
)
polls_total = Counter("pilotlight_polls_total", "Polls by what they were answered with", ["answer"])
store_ops_total = Counter("pilotlight_store_ops_total", "Entities and calls that the store was asked for", ["op"])


def count_poll(answer: str) -> None:
    """A poll was answered: run, sleep, bot_restart, …"""
    polls_total.labels(answer).inc()


def init_app(app: Flask, service: Service) -> None:
    """Counts every request."""
    store = _StoreCounter(service)

    @app.before_request
    def begin() -> None:
        g.began_s = service.clock.monotonic_s()

    @app.after_request
    def end(response: Response) -> Response:
        now_s = service.clock.monotonic_s()
        route = request.url_rule.rule if request.url_rule else "(none)"
        requests_total.labels(route, str(response.status_code)).inc()
        request_seconds.labels(route).observe(now_s - g.get("began_s", now_s))
        store.add(now_s)
        return response


def make_blueprint(authenticate: Authenticate) -> Blueprint:
    """The route `/metrics`, for clients."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def metrics() -> Response:
        authenticate(request).require(Permission.SERVER_PEEK)
        registry = prometheus_client.REGISTRY
        if os.environ.get(SHARED_FOLDER):
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
        return Response(prometheus_client.generate_latest(registry), content_type=prometheus_client.CONTENT_TYPE_LATEST)

    return routes


class _StoreCounter:
    """Carries the store's own counts over, at most once a second."""

    def __init__(self, service: Service) -> None:
        self._ops = service.store.ops
        self._known: dict[str, int] = {}
        self._at_s = float("-inf")
        self._lock = threading.Lock()

    def add(self, now_s: float) -> None:
        if now_s - self._at_s < STORE_EVERY_S or not self._lock.acquire(blocking=False):
            return
        try:
            self._at_s = now_s
            totals = asdict(self._ops.totals())
            for name, total in totals.items():
                store_ops_total.labels(name).inc(total - self._known.get(name, 0))
            self._known = totals
        finally:
            self._lock.release()
