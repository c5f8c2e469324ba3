"""`/healthz`, `/metrics` and the machines' routes."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import main
from handlers import metrics
from server.errors import StoreUnavailable
from server.records.config import Latest
from server.version import VERSION
from tests.server_world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "data", generation="7", internal_token="internal-token-0123456789")
    yield world
    world.close()


def test_it_says_who_answers_and_that_it_is_ready(world: World) -> None:
    answer = world.client(world.process("p1")).get("/healthz")
    assert answer.status_code == 200
    assert answer.json == {
        "status": "ok",
        "ready": True,
        "pid": os.getpid(),
        "process": "p1",
        "generation": "7",
        "store": "ok",
        "version": VERSION,
    }


def test_it_is_not_ready_while_the_store_is_gone_and_is_again_afterwards(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = world.client()

    def gone(*_: Any) -> None:
        raise StoreUnavailable("the disk is away")

    with monkeypatch.context() as patch:
        patch.setattr(Latest, "get_by_id", gone)
        answer = client.get("/healthz")
        assert answer.status_code == 503
        assert (answer.json["ready"], answer.json["store"]) == (False, "the disk is away")
    world.clock.advance(1.0)
    assert client.get("/healthz").json["ready"] is True


def test_asking_often_costs_the_store_one_read_a_second(world: World) -> None:
    client = world.client()
    with world.store.ops.measure() as ops:
        for _ in range(50):
            client.get("/healthz")
    assert ops.reads == 1


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION


def test_metrics_count_requests_polls_and_the_store(world: World) -> None:
    app = main.create_app(world.process())
    client = app.test_client()
    client.get("/healthz")
    with app.app_context():
        metrics.count_poll("sleep")
    text = client.get("/metrics").get_data(as_text=True)
    assert 'pilotlight_requests_total{route="/healthz",status="200"}' in text
    assert 'pilotlight_polls_total{answer="sleep"}' in text
    assert 'pilotlight_store_ops_total{op="reads"}' in text


def test_warming_up_answers(world: World) -> None:
    assert world.client().get("/_ah/warmup").json == {"ready": True}


def test_the_bell_runs_jobs_and_says_how_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from server import jobs

    monkeypatch.setattr(jobs, "_handlers", {})
    ran: list[str] = []
    service = world.process()

    @jobs.handler("note")
    def note(service: Any, payload: Any) -> None:
        ran.append(payload["n"])

    for n in range(50):
        service.store.transaction(lambda n=n: jobs.add("note", str(n), {"n": n}, 0.0, service.clock.now_s()))
    bell = {"Authorization": "Bearer internal-token-0123456789"}
    assert world.client(service).post("/internal/jobs/run", headers=bell).json["ran"] == 50
    assert sorted(ran) == list(range(50))


def test_cron_names_the_sweeps_that_there_are(world: World) -> None:
    bell = {"Authorization": "Bearer internal-token-0123456789"}
    answer = world.client().get("/internal/cron/nosuch", headers=bell)
    assert answer.status_code == 404
    assert "lapse" in answer.json["error"]["message"]
