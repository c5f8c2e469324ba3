"""The deployment that `app.yaml` describes, on Google's emulator: what operators, clients and bots see of it."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from client.api import ApiError, state_name
from server.records import Record
from server.store.client import Store
from tests.app_engine.browser import Browser
from tests.app_engine.conftest import App, wait_for
from tests.app_engine.deployment import BOT_SECRET, CLIENT_TOKEN, KILLED_AFTER_S, Instance, would_upload
from tests.app_engine.google_side import CALLER, call, cron, cron_urls
from tests.app_engine.tasks import LONG, ended, output, task
from tests.server_process import ROOT

pytestmark = [pytest.mark.emulator, pytest.mark.processes]


def is_free(app: App, instance: Instance, bot_id: str) -> bool:
    """Whether one instance knows that a bot is idle, and that no task waits."""
    seen = app.fleet(instance)
    idle = next(bot["status"] for bot in seen["bots"] if bot["id"] == bot_id) == "idle"
    return idle and sum(pool["pending"] for pool in seen["pools"]) == 0


def plain_poll(instance: Instance, bot_id: str) -> dict[str, Any]:
    """A poll of a bot of another make, in a pool of its own; each opens a session."""
    body = {"id": bot_id, "dimensions": {"id": [bot_id], "pool": ["lab"]}, "state": {}, "version": "1"}
    data = json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {BOT_SECRET}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{instance.url}/poll", data, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def run_of(answer: dict[str, Any]) -> str:
    """The task that an answer to a poll hands out, "" if none."""
    return f"{answer['manifest']['task_id'][:-1]}0" if answer["cmd"] == "run" else ""


def https(url: str) -> str:
    """The address as callers of the front end know it."""
    return url.replace("http:", "https:")


# ---- what was uploaded, and who may come in


def test_both_instances_are_ready_and_are_processes_of_their_own(app: App) -> None:
    found = [instance.health() for instance in app.instances]
    assert all(one is not None and one["ready"] for one in found)
    assert len({one["process"] for one in found if one}) == 2
    for instance in app.instances:
        assert call(f"{instance.url}/_ah/warmup", "GET", {}) == 200


def test_nothing_is_written_beside_the_uploaded_files(app: App) -> None:
    """The file system of an instance is read-only."""
    began_s = os.path.getmtime(app.files / "secrets" / "bots")
    written = [path for path in app.files.rglob("*") if path.is_file() and path.stat().st_ctime > began_s + 1]
    assert written == []


def test_nothing_is_uploaded_but_what_the_server_needs(app: App) -> None:
    folders = {path.name for path in app.files.iterdir() if path.is_dir()}
    assert folders == {"bot", "handlers", "secrets", "server", "static", "templates"}


def test_the_secret_files_are_uploaded_though_git_ignores_them(tmp_path: Path) -> None:
    for name in (".gcloudignore", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "tokens").touch()
    assert "secrets/tokens" in would_upload(tmp_path)


def test_what_is_uploaded_needs_nothing_else_of_the_repository(app: App) -> None:
    code = """
import sys
root, files = sys.argv[1:]
sys.path[:] = [files] + [path for path in sys.path if path not in ("", root, files)]
import main, handlers.ui, server.assembly, server.serving
print([name for name, module in sys.modules.items()
       if (getattr(module, "__file__", None) or "").startswith(root + "/") and ".pilot/" not in module.__file__])
"""
    ran = subprocess.run(
        [sys.executable, "-B", "-c", code, str(ROOT), str(app.files)], capture_output=True, text=True, cwd=app.files
    )
    assert ran.stdout == "[]\n", ran.stderr


def test_strangers_stay_out(app: App) -> None:
    for path in ("/", "/api/v1/fleet", "/bot_code", "/specs/new"):
        assert call(app.a.url + path, "GET", {}) == 401, path
    with pytest.raises(ApiError) as caught:
        app.api(app.a, "wrong-token-0123456789").get("/fleet")
    assert caught.value.status == 401
    with pytest.raises(ApiError) as caught:
        app.api(app.a, CLIENT_TOKEN).post("/switch", {"stopped": True})
    assert caught.value.status == 403, "a client is no operator"


def test_cron_and_queue_come_in_by_headers_that_nobody_from_outside_can_send(app: App) -> None:
    cron, queue = {"X-Appengine-Cron": "true"}, {"X-Appengine-Queuename": "pilotlight"}
    for path in cron_urls():
        assert call(app.b.url + path, "GET", {}) == 401
        assert call(app.front.url + path, "GET", cron) == 401, "the front end takes it out"
        assert call(app.b.url + path, "GET", cron) == 200
    assert call(app.front.url + "/internal/jobs/run", "POST", queue) == 401
    assert call(app.b.url + "/internal/jobs/run", "POST", queue) == 200


def test_bots_are_told_the_https_address_that_the_front_end_answers_on(app: App) -> None:
    request = urllib.request.Request(f"{app.front.url}/bootstrap", headers={"Authorization": f"Bearer {BOT_SECRET}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        script = answer.read().decode()
    assert f'SERVER = "{https(app.front.url)}"' in script
    said = app.browser.get(f"{app.front.url}/start").text
    assert f'curl -sSf -H "Authorization: Bearer $PILOTLIGHT_BOT_SECRET" {https(app.front.url)}/bootstrap' in said


def test_the_cookie_of_the_pages_goes_over_https_alone(app: App) -> None:
    page = Browser(app.browser.password).get(f"{app.a.url}/specs/new")
    (cookie,) = page.headers.get_all("Set-Cookie")
    assert "; Secure" in cookie and "; HttpOnly" in cookie


# ---- prewarming, from the form to the task


def test_a_spec_registered_in_the_form_at_one_instance_prewarms_the_bots_of_both_and_tasks_use_it(app: App) -> None:
    with app.registered(app.a, "src", "sh", "-c", "sleep 0.2; echo g1 > c/generation") as family:
        warm = wait_for(lambda: len(app.warm(app.b, family).get("g1", [])) == 2 and app.warm(app.b, family), 20, "warm")
        assert warm == {"g1": ["bot-a", "bot-b"]}
        api = app.api(app.b, CLIENT_TOKEN)
        task_id = api.new_task(task("cat", "c/generation", cache=family))
        assert ended(app.api(app.a), task_id).exit_code == 0
        assert output(app.api(app.a), task_id) == "g1\n", "the task found what the prewarm had made"
        assert "It was not prewarmed yet" not in app.browser.get(f"{app.b.url}/specs/{family}").text


def test_a_warm_bot_goes_first_wherever_the_task_came_in(app: App) -> None:
    with app.registered(app.a, "only_b", "touch", "c/made", dimensions="id: bot-b") as family:
        wait_for(lambda: app.warm(app.a, family) == {"g1": ["bot-b"]}, 20.0, "bot-b is warm, as the other one knows")
        for _ in range(3):
            wait_for(lambda: is_free(app, app.a, "bot-b"), 5.0, "it is free, and the other instance knows")
            task_id = app.api(app.a).new_task(task("ls", "c", cache=family))
            result = ended(app.api(app.a), task_id)
            assert result.bot_id == "bot-b", json.dumps(app.api(app.a).get(f"/why/tasks/{task_id}").body)
            assert output(app.api(app.b), task_id) == "made\n"


def test_a_new_generation_saved_at_the_other_instance_moves_the_bots_and_the_old_one_is_made_no_more(app: App) -> None:
    with app.registered(app.a, "rolling", "sh", "-c", "echo one > c/generation") as family:
        wait_for(lambda: len(app.warm(app.b, family).get("g1", [])) == 2, 20.0, "both are warm for g1")
        page = app.browser.send(
            f"{app.b.url}/specs/{family}/edit", {"generation": "g2", "task.command": "sh\n-c\necho two > c/generation"}
        )
        assert page.status == 303, page.text
        saved_s = time.time()
        wait_for(lambda: app.warm(app.a, family).get("g2"), 20.0, "a bot is warm for g2")
        time.sleep(2.0)
        runs = app.api(app.a).tasks(tags=[f"spec:{family}"], since_s=saved_s)
        assert runs and all("spec_revision:2" in run.tags for run in runs)


# ---- tasks


def test_a_task_taken_in_at_one_instance_runs_on_the_bot_of_the_other(app: App) -> None:
    for instance, bot_id in ((app.a, "bot-b"), (app.b, "bot-a")):
        began_s = time.monotonic()
        task_id = app.api(instance, CLIENT_TOKEN).new_task(task("echo", "hello", id=bot_id))
        result = ended(app.api(instance, CLIENT_TOKEN), task_id)
        assert (state_name(result), result.bot_id) == ("COMPLETED", bot_id)
        assert output(app.api(instance), task_id) == "hello\n"
        assert time.monotonic() - began_s < 10.0


def test_a_waiting_task_is_canceled_and_a_running_one_stopped_from_the_other_instance(app: App) -> None:
    a, b = app.api(app.a), app.api(app.b)
    waiting = a.new_task(task("true", id="nobody"))
    assert b.cancel(waiting, kill_running=False).canceled
    assert state_name(a.result(waiting)) == "CANCELED"
    running = a.new_task(task(*LONG, id="bot-b"))
    wait_for(lambda: output(b, running) == "here\n", 20.0, "its output, while it runs")
    began_s = time.monotonic()
    assert a.cancel(running, kill_running=True).was_running
    assert state_name(ended(b, running)) == "KILLED"
    assert time.monotonic() - began_s < 6.0, "a silent run hears of it with its next keep-alive, here every second"
    assert output(a, running) == "here\n"


def test_an_offer_that_a_bot_does_not_take_up_is_taken_back_by_cron_and_queue(app: App) -> None:
    """Cron comes once a minute; the queue rings the sweep in between, every ten seconds."""
    task_id = app.api(app.a).new_task(task("true", pool="lab"))
    taken = wait_for(lambda: run_of(plain_poll(app.b, "lab-1")), 10.0, "the offer")
    assert cron(app.a.url, "/internal/cron/lapse") == 200
    assert run_of(plain_poll(app.a, "lab-2")) == "", "it is offered to another bot"
    again = wait_for(lambda: run_of(plain_poll(app.a, "lab-2")), 25.0, "another bot gets it")
    assert taken == again == task_id
    assert {one.path for one in app.cloud.delivered if one.status == 200} >= {"/internal/cron/lapse"}
    assert app.api(app.a).cancel(task_id, kill_running=False).canceled


# ---- instances come and go


def test_a_bot_whose_polls_and_updates_are_spread_over_the_instances_runs_each_task_once(app: App) -> None:
    with app.bot("bot-c", app.front.url) as bot:
        wait_for(lambda: any(one.bot_id == "bot-c" for one in app.api().bots()), 15.0, "it is there")
        tasks = [app.api().new_task(task("echo", str(number), id="bot-c")) for number in range(5)]
        assert [ended(app.api(), task_id).exit_code for task_id in tasks] == [0] * 5
        assert [output(app.api(), task_id) for task_id in tasks] == [f"{number}\n" for number in range(5)]
        assert len(bot.journal("start")) == 5
        assert app.api().bot("bot-c").external_ip == CALLER


def test_an_instance_that_is_taken_away_ends_in_time_and_its_bot_loses_nothing(app: App) -> None:
    running = app.api(app.a).new_task(task("sh", "-c", "echo one; sleep 4; echo two", id="bot-b"))
    wait_for(lambda: output(app.api(app.a), running), 20.0, "it runs")
    assert app.b.end() < KILLED_AFTER_S
    waiting = app.api(app.a).new_task(task("true", id="bot-b"))
    app.b.start()
    app.b.wait_until_ready(30.0)
    assert state_name(ended(app.api(app.a), running, 40.0)) == "COMPLETED"
    assert output(app.api(app.b), running) == "one\ntwo\n"
    assert ended(app.api(app.b), waiting, 40.0).exit_code == 0
    starts = [line["task_id"][:-1] for line in app.bots["bot-b"].journal("start")]
    assert starts.count(running[:-1]) == 1
    for instance in app.instances:
        assert "Traceback" not in instance.said()


# ---- what the operator was told


def test_every_kind_of_record_that_expires_has_its_ttl_policy_in_the_docs(app: App) -> None:
    """After all that happened above."""
    importlib.import_module("server.assembly")  # and with it every kind
    kinds = re.search(r"for kind in (.*); do", (ROOT / "docs" / "deploy.md").read_text())[1].split()
    store = Store.open(f"datastore:{app.project}")
    expiring = set()
    with store.context():
        for kind in Record.__subclasses__():
            if any(record.expire_at for record in kind.query().fetch()):
                expiring.add(kind.__name__)
    store.close()
    assert expiring <= set(kinds)
    assert {"Bot", "TaskResult", "ProcessPage"} <= expiring
