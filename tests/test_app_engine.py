"""The files for App Engine name what there is, and their entry point starts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import main
from server import errors, sweeps
from server.assembly import MODULES_WITH_JOBS
from tests.server_process import ROOT, ServerProcess, free_port, kill
from tests.server_world import World

REPLACED_BY_TTL = {"retention"}


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text())


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What App Engine sets, with the two secret files in place."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "tokens").write_text("admin-token-0123456789 mira admin\n")
    (tmp_path / "secrets" / "bots").write_text("bot-secret-0123456789\n")
    monkeypatch.chdir(tmp_path)
    return {"PORT": "8081", "GOOGLE_CLOUD_PROJECT": "my-project", **read("app.yaml")["env_variables"]}


def test_its_variables_are_settings(environ: dict[str, str]) -> None:
    settings = main.load_settings(environ)
    assert settings.app_engine
    assert settings.port == 8081
    assert settings.store_url == "datastore:my-project"
    assert settings.bot_secret == "bot-secret-0123456789"
    assert settings.most_held_polls() == 0


def test_without_its_secrets_it_does_not_start(environ: dict[str, str]) -> None:
    with pytest.raises(errors.InvalidArgument, match="bot_secret"):
        main.load_settings({**environ, "PILOTLIGHT_BOT_SECRET": "file:missing"})


def test_a_variable_of_a_setting_that_does_not_exist_is_named(environ: dict[str, str]) -> None:
    with pytest.raises(errors.InvalidArgument, match="PILOTLIGHT_WORKER"):
        main.load_settings({**environ, "PILOTLIGHT_WORKER": "2"})


def test_the_queue_that_jobs_are_rung_through_is_in_queue_yaml(environ: dict[str, str]) -> None:
    queue = main.load_settings(environ).cloud_tasks_queue.rpartition("/")[2]
    assert queue in [entry["name"] for entry in read("queue.yaml")["queue"]]


def test_cron_rings_every_sweep_and_nothing_else() -> None:
    urls = {entry["url"] for entry in read("cron.yaml")["cron"]}
    names = {name for name, _, _ in sweeps.SWEEPS} - REPLACED_BY_TTL
    assert urls == {f"/internal/cron/{name}" for name in names | {"jobs"}}


def test_every_module_with_handlers_of_jobs_is_known_to_every_process() -> None:
    with_handlers = {
        path.stem for path in (ROOT / "server").glob("*.py") if "@jobs.handler(" in path.read_text(encoding="utf-8")
    }
    assert with_handlers == {module.__name__.rpartition(".")[2] for module in MODULES_WITH_JOBS}


def test_behind_the_front_end_a_request_has_the_scheme_and_the_address_of_its_caller(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("admin-token-0123456789 mira admin")
    secrets = {"client_tokens": str(tmp_path / "tokens"), "bot_secret": "bot-secret-0123456789"}
    asked = {
        "Authorization": "Bearer bot-secret-0123456789",
        "Host": "pilot.example",
        "X-Forwarded-Proto": "https",
        "X-Appengine-User-Ip": "198.51.100.7",
    }
    bot = {"dimensions": {"id": ["b1"], "pool": ["local"]}, "state": {}, "version": "1"}
    for app_engine, scheme, address in ((True, "https", "198.51.100.7"), (False, "http", "127.0.0.1")):
        world = World(tmp_path / f"data-{app_engine}", app_engine=app_engine, **secrets)
        service = world.process()
        client = world.client(service)
        assert f'SERVER = "{scheme}://pilot.example"' in client.get("/bootstrap", headers=asked).text
        assert client.post("/poll", json=bot, headers=asked).status_code == 200
        assert service.view.bot("b1").external_ip == address, "elsewhere anybody could say so"
        world.close()


@pytest.mark.processes
def test_its_entry_point_serves_on_the_port_that_it_is_given(tmp_path: Path) -> None:
    port = free_port()
    ours = {
        "PORT": str(port),
        "PILOTLIGHT_STORE_URL": f"embedded:{tmp_path / 'data'}",
        "PATH": f"{Path(os.sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    server = ServerProcess(tmp_path / "data", port=port)
    with server.log.open("ab") as log:
        server.process = subprocess.Popen(
            read("app.yaml")["entrypoint"].split(), cwd=ROOT, env={**os.environ, **ours}, stderr=log
        )
    try:
        assert server.wait_until_ready()["ready"]
    finally:
        for pid in [server.process.pid, *server.workers()]:
            kill(pid)
        server.process.wait()
