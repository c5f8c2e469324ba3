"""Announced demand over HTTP: the API as a program uses it, the page as a person sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from webtest import TestApp, TestResponse

from handlers import announce_api, bodies
from handlers import errors as error_answers
from server import announcements
from server.access import ADMIN, ANONYMOUS, CLIENT, Principal
from tests.ui_world import Pages, text

TASK = {"pool": "local", "family": "my-src", "count": 20, "in_s": 540}
SCHEDULE = {"pool": "local", "family": "my-src", "name": "nightly", "count": 30, "at": ["02:00"]}


class World(Pages):
    """The whole server with its pages, and this API once more for callers with other rights."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.caller = Principal("user:mira", CLIENT)
        app = Flask("api")
        bodies.init_app(app, lambda _request: True)
        error_answers.init_app(app)
        app.register_blueprint(announce_api.make_blueprint(self.service, lambda asked: self.caller))
        self.api = TestApp(app)
        self.bot("b1")

    def announce(self, status: int = 201, **changes: Any) -> Any:
        return self.api.post_json("/api/v1/announcements", {**TASK, **changes}, status=status).json

    def shown(self) -> dict[str, Any]:
        """What the API shows of the pool."""
        (pool,) = self.api.get("/api/v1/announcements?pool=local").json["pools"]
        return pool

    def arrive(self, tags: tuple[str, ...] = ("warm:my-src",)) -> None:
        """A task comes, a second later."""
        self.clock.advance(1.0)
        properties = {
            "command": ["true"],
            "dimensions": [{"key": "pool", "value": "local"}],
            "execution_timeout_secs": 60,
            "grace_period_secs": 30,
        }
        piece = {"expiration_secs": 600, "properties": properties}
        body = {"name": "t", "priority": 100, "task_slices": [piece], "tags": list(tags)}
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        self.app.post_json("/prpc/swarming.v2.Tasks/NewTask", body, headers=headers)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_an_announcement_is_answered_with_what_was_understood(world: World) -> None:
    found = world.announce(generation="r7", confidence=0.5, source="ci")
    assert (found["family"], found["generation"], found["count"], found["left"]) == ("my-src", "r7", 20, 20)
    assert found["from_s"] == pytest.approx(world.clock.now_s() + 540)
    assert found["until_s"] == found["from_s"] + 90
    assert (found["source"], found["by"], found["believed"]) == ("user:mira/ci", "user:mira", 0.5)
    assert found["notes"] == ["no spec makes my-src in pool local, so nothing is warmed for it"]
    assert [row["id"] for row in world.shown()["live"]] == [found["id"]]


def test_the_same_call_again_is_answered_with_200_and_the_same(world: World) -> None:
    first = world.announce(request_id="build-7")
    assert world.announce(200, request_id="build-7") == first


def test_it_can_be_sent_as_yaml(world: World) -> None:
    body = "pool: local\nfamily: my-src\nin_s: 60\n"
    headers = {"Content-Type": "application/yaml"}
    assert world.api.post("/api/v1/announcements", body, headers=headers, status=201).json["count"] == 1


def test_wrong_fields_are_answered_by_name_and_limit(world: World) -> None:
    error = world.announce(400, count=0, in_s=-1)["error"]
    assert error["errors"] == {
        "count": "must be at least 1; 0 given",
        "in_s": "must be at least 0 s; -1 given",
    }
    assert world.shown()["live"] == []


def test_a_source_with_too_many_is_answered_with_429_and_the_limit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "MOST_LIVE_PER_SOURCE", 1)
    world.announce()
    error = world.announce(429)["error"]
    assert (error["field"], error["message"]) == (
        "source",
        "user:mira has 1 live announcements in the pool; 1 are allowed",
    )


def test_what_came_is_shown_and_then_how_it_turned_out(world: World) -> None:
    world.announce(count=2)
    world.clock.advance(450.0)
    world.arrive()
    (row,) = world.shown()["live"]
    assert (row["count"], row["came"], row["left"], row["may_retract"]) == (2, 1, 1, True)
    world.clock.advance(800.0)
    announcements.settle(world.service, "local", 0.0)
    shown = world.shown()
    assert shown["live"] == []
    assert [(one["count"], one["came"]) for one in shown["outcomes"]] == [(2, 1)]
    (source,) = shown["sources"]
    assert (source["source"], source["came"]) == ("user:mira", pytest.approx(1.0, rel=0.01))
    assert source["share"] == pytest.approx((1 + 5) / (1.8 + 5), rel=0.01)


def test_others_may_not_withdraw_it(world: World) -> None:
    found = world.announce()
    path = f"/api/v1/announcements/{found['id']}/retract"
    world.caller = Principal("user:noah", CLIENT)
    assert world.shown()["live"][0]["may_retract"] is False
    world.api.post_json(path, {"pool": "local"}, status=403)
    world.caller = Principal("user:mira", CLIENT)
    assert world.api.post_json(path, {"pool": "local"}).json["retracted_s"] == world.clock.now_s()
    assert world.shown()["live"] == []
    world.api.post_json("/api/v1/announcements/nope/retract", {"pool": "local"}, status=404)


def test_schedules_are_the_operators(world: World) -> None:
    world.api.post_json("/api/v1/announcements/schedules", SCHEDULE, status=403)
    world.caller = Principal("user:olga", ADMIN)
    saved = world.api.post_json("/api/v1/announcements/schedules", SCHEDULE).json
    assert (saved["by"], saved["time_zone"], len(saved["days"])) == ("user:olga", "UTC", 7)
    assert [one["name"] for one in world.shown()["schedules"]] == ["nightly"]
    assert {row["origin"] for row in world.shown()["live"]} == {"schedule"}
    path = "/api/v1/announcements/schedules/nightly/remove"
    assert world.api.post_json(path, {"pool": "local"}).json["removed"] is True
    world.api.post_json(path, {"pool": "local"}, status=404)
    assert world.shown()["live"] == []


def test_whoever_is_confined_to_a_pool_sees_and_does_nothing_elsewhere(world: World) -> None:
    world.announce()
    world.caller = Principal("user:x", ADMIN, frozenset({"lab"}))
    assert [pool["pool"] for pool in world.api.get("/api/v1/announcements").json["pools"]] == []
    world.api.get("/api/v1/announcements?pool=local", status=403)
    world.announce(403)
    world.api.post_json("/api/v1/announcements/schedules", SCHEDULE, status=403)


@pytest.mark.parametrize("route", announce_api.ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
def test_nobody_gets_in_without_credentials(world: World, route: tuple[Any, ...]) -> None:
    world.caller = ANONYMOUS
    path = "/api/v1" + route[1].replace("<entry_id>", "x").replace("<name>", "x")
    world.api.request(path, method=route[0], body=b"{}" if route[0] != "GET" else b"", status=401)


def test_a_page_of_another_site_cannot_announce_with_a_plain_form(world: World) -> None:
    world.api.post("/api/v1/announcements", {"pool": "local", "family": "x", "in_s": "1"}, status=415)


# ---- the page


def page(world: World) -> TestResponse:
    return world.get("/announced")


def test_the_page_says_how_to_announce_when_nothing_is(world: World) -> None:
    assert page(world).html.h1.get_text() == "Nothing is announced."
    assert "./pilot announce FAMILY --pool POOL --count 20 --in 9m" in text(page(world))


def test_the_page_tells_what_is_expected_by_whom_and_what_became_of_it(world: World) -> None:
    world.announce(count=2, generation="r7")
    world.clock.advance(450.0)
    world.arrive(("warm:my-src@r7", "announce:lib*3+9m", "announce:broken"))
    found = page(world)
    assert found.html.h1.get_text() == "4 tasks announced for the next hour."
    words = text(found)
    assert "my-src @r7 local 2 1 in 89 s in 2 m 59 s 90 % 90 % user:mira Announced" in words
    assert "user:local/tag By a task's tag" in words
    assert "announce:broken is not of the form" in words
    world.clock.advance(800.0)
    announcements.settle(world.service, "local", 0.0)
    words = text(page(world))
    assert "Of the last 5 tasks that were announced, 1 came." in words
    assert "my-src @r7 local 2 1" in words
    assert "user:local/tag local 2.7 0.0 65 %" in words


def test_an_announcement_is_withdrawn_with_a_button(world: World) -> None:
    found = world.announce()
    answer = world.send("/announced", {"pool": "local"}, f"/announced/{found['id']}/retract")
    assert answer.status_int == 303
    assert "Withdrawn: what user:mira expected of my-src." in text(answer.follow())
    assert world.shown()["live"] == []


def test_a_schedule_is_shown_and_ended_with_a_button(world: World) -> None:
    world.caller = Principal("user:olga", ADMIN)
    world.api.post_json("/api/v1/announcements/schedules", {**SCHEDULE, "days": ["mon", "tue"]})
    assert "nightly my-src local 30 mon, tue 02:00 UTC user:olga" in text(page(world))
    address = "/announced/schedules/nightly/remove"
    assert world.send("/announced", {"pool": "local"}, address).status_int == 303
    assert "nightly my-src" not in text(page(world))


def test_a_tag_cannot_put_markup_on_the_page(world: World) -> None:
    hostile = "announce:<script>alert(1)</script>"
    world.arrive((hostile,))
    assert "<script>alert(1)" not in page(world).text
    assert hostile in text(page(world))
