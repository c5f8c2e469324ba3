"""Background work that gives way on both instances, in a deployment of its own.

Nobody uses what these tests have warmed. In a pool that other tests share, its ledger would soon refuse such bets.
"""

from __future__ import annotations

import time

import pytest

from client.api import state_name
from tests.app_engine.conftest import App, wait_for
from tests.app_engine.deployment import Instance
from tests.app_engine.tasks import LONG, ended, task

pytestmark = [pytest.mark.emulator, pytest.mark.processes]


def warming(app: App, instance: Instance, family: str) -> set[str]:
    """Bots that run a prewarm for the family, as one instance tells."""
    found = app.fleet(instance)["bots"]
    return {bot["id"] for bot in found if bot["status"] == "background" and family in bot["status_text"]}


def test_a_background_run_on_one_instances_bot_stops_for_a_task_taken_in_at_the_other(app: App) -> None:
    with app.registered(app.a, "slow", *LONG, run_s="60") as family:
        wait_for(lambda: warming(app, app.a, family) == {"bot-a", "bot-b"}, 20.0, "both are being warmed")
        began_s = time.monotonic()
        task_id = app.api(app.a).new_task(task("true", id="bot-b"))
        result = ended(app.api(app.a), task_id)
        assert (state_name(result), result.bot_id) == ("COMPLETED", "bot-b")
        assert time.monotonic() - began_s < 10.0, "a second until the bot hears of it, one of grace, a poll"
        stopped = app.api(app.b).tasks(tags=[f"spec:{family}"], state="QUERY_KILLED")
        assert [run.bot_id for run in stopped] == ["bot-b"]
        assert "bot-a" in warming(app, app.b, family), "the other run goes on"


def test_the_stop_switch_in_the_page_of_one_instance_ends_background_work_of_all(app: App) -> None:
    with app.registered(app.b, "much", *LONG, run_s="60") as family:
        wait_for(lambda: warming(app, app.b, family) == {"bot-a", "bot-b"}, 20.0, "both are being warmed")
        page = app.browser.send(f"{app.a.url}/switch", {"stopped": "true", "why": "a test"}, f"{app.a.url}/switch")
        assert page.status == 303, page.text
        try:
            began_s = time.monotonic()
            wait_for(lambda: not app.gate_entries(), 15.0, "no run is left")
            assert time.monotonic() - began_s < 10.0
            wait_for(lambda: app.fleet(app.b)["stopped"], 5.0, "the other instance knows")
            assert "a test" in app.browser.get(f"{app.b.url}/").text
            since_s = time.time()
            task_id = app.api(app.b).new_task(task("true"))
            assert ended(app.api(app.b), task_id).exit_code == 0, "real work goes on"
            time.sleep(2.0)
            assert app.api(app.a).tasks(tags=[f"spec:{family}"], since_s=since_s) == []
            assert {one.path for one in app.cloud.delivered if one.status == 200} >= {"/internal/jobs/run"}
        finally:
            page = app.browser.send(f"{app.b.url}/switch", {"stopped": "false"}, f"{app.b.url}/switch")
        assert page.status == 303, page.text
        wait_for(lambda: warming(app, app.a, family), 20.0, "it goes on when the switch is set back")
