"""The API for specs, config and stop switch, as a program uses it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask import Flask
from webtest import TestApp

from handlers import bodies
from handlers import errors as error_answers
from handlers.prewarm_api import ROUTES, make_blueprint
from server import config, documents
from server.access import ADMIN, ANONYMOUS, CLIENT, OPERATOR, Principal
from tests import server_world
from tests.specs import body

YAML = {"Content-Type": "application/yaml"}


class Bell:
    """A carrier that nobody hears."""

    def ring(self, due_s: float = 0.0) -> None:
        pass


class World(server_world.World):
    """A server with this API, and whoever calls it."""

    def __init__(self, place) -> None:
        super().__init__(place)
        self.service = self.process()
        self.service.carrier = Bell()
        config.ensure_first(self.service)
        self.caller = Principal("user:mira", ADMIN)
        app = Flask("api")
        bodies.init_app(app, lambda _request: True)
        error_answers.init_app(app)
        app.register_blueprint(make_blueprint(self.service, lambda asked: self.caller))
        self.app = TestApp(app)

    def save(self, revision: int, **changes):
        return self.app.put_json(
            "/api/v1/specs/chromium-src", body(**changes), headers={"If-Match": f'"{revision}"'}, status="*"
        )


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture
def app(world):
    return world.app


@pytest.fixture
def registered(app):
    return app.post_json("/api/v1/specs", body())


def message(answer) -> str:
    return answer.json["error"]["message"]


# ---- specs


def test_a_registered_spec_says_where_it_is_and_which_revision(app, registered):
    assert (registered.status_int, registered.headers["ETag"]) == (201, '"1"')
    found = app.get(registered.headers["Location"])
    assert (found.json["state"], found.json["letters"], found.headers["ETag"]) == ("active", "CS", '"1"')
    assert found.json["body"]["task"]["command"] == ["python3", "sync.py"]
    assert [spec["family"] for spec in app.get("/api/v1/specs").json["specs"]] == ["chromium-src"]


def test_a_spec_can_be_sent_as_yaml_and_comes_back_as_the_same_file(app):
    text = documents.dump_yaml(body(generation="2026-11-24", letters="NO"))
    assert app.post("/api/v1/specs", text, headers=YAML, status=201)
    file = app.get("/api/v1/specs/chromium-src", headers={"Accept": "application/yaml"})
    assert file.headers["ETag"] == '"1"'
    saved = app.put("/api/v1/specs/chromium-src", file.body, headers={**YAML, "If-Match": file.headers["ETag"]})
    assert (saved.json["generation"], saved.json["letters"], saved.json["revision"]) == ("2026-11-24", "NO", 2)


def test_wrong_fields_are_answered_by_their_paths(app):
    found = app.post_json("/api/v1/specs", body(family="X", task__grace_period_s=99), status=400)
    assert set(found.json["error"]["errors"]) == {"family", "task.grace_period_s"}
    assert found.json["error"]["field"] == "family"
    assert app.get("/api/v1/specs").json == {"specs": []}


def test_an_unknown_field_is_refused_by_name(app):
    found = app.post_json("/api/v1/specs", body(colour="red"), status=400)
    assert found.json["error"]["errors"] == {"colour": "is not a known field"}


def test_an_edit_must_name_the_revision_it_is_based_on(world, app, registered):
    found = app.put_json("/api/v1/specs/chromium-src", body(), status=428)
    assert "If-Match" in message(found)
    assert world.save(1, cold_cost_s=300).headers["ETag"] == '"2"'


def test_a_stale_edit_is_answered_with_what_the_other_editor_saved(world, app, registered):
    world.save(1, cold_cost_s=300)
    found = world.save(1, cold_cost_s=400)
    assert (found.status_int, found.headers["ETag"]) == (412, '"2"')
    error = found.json["error"]
    assert (error["revision"], error["author"], error["theirs"]["cold_cost_s"]) == (2, "user:mira", 300)
    assert app.get("/api/v1/specs/chromium-src").json["body"]["cold_cost_s"] == 300


@pytest.mark.parametrize("given", ["*", "x", '"1", "2"', '"-1"', '"99999999999"'])
def test_an_if_match_that_names_no_revision_is_refused(app, registered, given):
    app.put_json("/api/v1/specs/chromium-src", body(), headers={"If-Match": given}, status=400)


def test_a_spec_is_paused_resumed_and_retired(app, registered):
    for verb, state in (("pause", "paused"), ("resume", "active"), ("retire", "retired")):
        found = app.post_json(f"/api/v1/specs/chromium-src/{verb}", {"why": "so"})
        assert (found.json["state"], found.json["state_why"]) == (state, "so")
    refused = app.post_json("/api/v1/specs/chromium-src/pause", {}, status=400)
    assert message(refused) == "chromium-src is retired; nothing was changed"


def test_a_roll_back_is_a_new_revision(world, app, registered):
    world.save(1, generation="r2")
    found = app.post_json("/api/v1/specs/chromium-src/rollback", {"revision": 1})
    assert (found.json["revision"], found.json["generation"]) == (3, "r1")
    revisions = app.get("/api/v1/specs/chromium-src/revisions?limit=2").json["revisions"]
    assert [(saved["revision"], saved["note"]) for saved in revisions] == [(3, "roll back to revision 1"), (2, "")]
    rest = app.get("/api/v1/specs/chromium-src/revisions?before=2").json["revisions"]
    assert [saved["revision"] for saved in rest] == [1]


@pytest.mark.parametrize("value", [{}, {"revision": "x"}, {"revision": True}, {"revision": 1, "more": 1}])
def test_a_roll_back_must_say_to_which_revision(app, registered, value):
    app.post_json("/api/v1/specs/chromium-src/rollback", value, status=400)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "before=-1", "limit=" + "9" * 30])
def test_a_page_of_another_size_is_refused(app, registered, query):
    app.get(f"/api/v1/specs/chromium-src/revisions?{query}", status=400)


def test_a_family_that_nobody_registered_is_not_found(app):
    assert message(app.get("/api/v1/specs/nope", status=404)) == "there is no spec 'nope'"
    app.post_json("/api/v1/specs/nope/pause", {}, status=404)
    app.put_json("/api/v1/specs/nope", body(), headers={"If-Match": '"1"'}, status=404)


def test_the_same_family_twice_is_refused(app, registered):
    assert app.post_json("/api/v1/specs", body(), status=409).json["error"]["field"] == "family"


# ---- bodies


@pytest.mark.parametrize(
    ("text", "kind", "status", "says"),
    [
        (b"{", "application/json", 400, "JSON: line 1"),
        (b"[]", "application/json", 400, "must be a mapping"),
        (b'{"family": "a", "family": "b"}', "application/json", 400, "'family' is given twice"),
        (b'{"run_s": NaN}', "application/json", 400, "NaN"),
        (b"\xff\xfe", "application/json", 400, "JSON"),
        (b"[" * 100_000, "application/json", 400, "nested too deeply"),
        (b"a: b: c", "application/yaml", 400, "YAML: line 1"),
        (b"a: 1\na: 2", "application/yaml", 400, "'a' is given twice"),
        (b"a: &x [1]\nb: *x", "application/yaml", 400, "aliases are not read"),
        (b"a: !!python/name:os.system", "application/yaml", 400, "could not determine a constructor"),
        (b"{}", "text/plain", 415, "send application/json or application/yaml"),
        (b"", "", 415, "send application/json or application/yaml"),
        (b" " * (256 * 1024 + 1), "application/json", 413, "at most 256 KiB"),
        (b" " * (2 * 1024 * 1024), "application/json", 413, ""),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_with_the_reason(app, text, kind, status, says):
    found = app.post("/api/v1/specs", text, headers={"Content-Type": kind}, status=status)
    assert says in message(found)
    assert app.get("/api/v1/specs").json == {"specs": []}


def test_a_page_of_another_site_cannot_pause_a_spec_with_a_plain_form(app, registered):
    app.post("/api/v1/specs/chromium-src/pause", {"why": "x"}, status=415)
    app.post("/api/v1/switch", {"stopped": "true"}, status=415)


# ---- config


def test_the_config_is_read_changed_and_read_again(app):
    found = app.get("/api/v1/config")
    assert (found.headers["ETag"], found.json["body"]["defaults"]["mode"]) == ('"1"', "shadow")
    changed = {"defaults": {"reserve_min": 3}, "pools": {"lab": {"mode": "live"}}}
    saved = app.put_json("/api/v1/config?note=try", changed, headers={"If-Match": found.headers["ETag"]})
    assert (saved.headers["ETag"], saved.json["note"], saved.json["author"]) == ('"2"', "try", "user:mira")
    again = app.get("/api/v1/config").json["body"]
    assert (again["pools"], again["defaults"]["reserve_min"]) == ({"lab": {"mode": "live"}}, 3)
    assert [one["revision"] for one in app.get("/api/v1/config/revisions").json["revisions"]] == [2, 1]


def test_the_config_comes_and_goes_as_a_yaml_file(world, app):
    file = app.get("/api/v1/config", headers={"Accept": "application/yaml"})
    assert "mode: shadow" in file.text
    text = file.text.replace("pools: {}", "pools:\n  lab:\n    mode: off\n")
    app.put("/api/v1/config", text, headers={**YAML, "If-Match": '"1"'})
    assert world.service.config.pool("lab").mode == "off"


def test_a_wrong_config_is_refused_by_field(app):
    value = {"pools": {"lab": {"sleep_max_s": 9999, "colour": 1}}}
    found = app.put_json("/api/v1/config", value, headers={"If-Match": '"1"'}, status=400)
    assert found.json["error"]["errors"] == {
        "pools.lab.sleep_max_s": "must be at most 600 s; 9999 given",
        "pools.lab.colour": "is not a known field",
    }
    assert app.get("/api/v1/config").headers["ETag"] == '"1"'


def test_a_config_change_without_or_with_a_stale_revision_is_refused(app):
    app.put_json("/api/v1/config", {}, status=428)
    app.put_json("/api/v1/config", {}, headers={"If-Match": '"1"'})
    found = app.put_json("/api/v1/config", {}, headers={"If-Match": '"1"'}, status=412)
    assert found.json["error"]["theirs"]["pools"] == {}


# ---- the switch


def test_prewarming_is_stopped_and_started_again(app):
    assert app.get("/api/v1/switch").json["stopped"] is False
    stopped = app.post_json("/api/v1/switch", {"stopped": True, "why": "disks"}).json
    assert (stopped["stopped"], stopped["by"], stopped["why"], stopped["epoch"]) == (True, "user:mira", "disks", 1)
    assert app.get("/api/v1/switch").json == stopped
    assert app.post_json("/api/v1/switch", {"stopped": False}).json["stopped"] is False


@pytest.mark.parametrize("value", [{}, {"stopped": "perhaps"}, {"stopped": None}, {"stop": True}])
def test_a_switch_that_is_neither_on_nor_off_is_refused(app, value):
    app.post_json("/api/v1/switch", value, status=400)
    assert app.get("/api/v1/switch").json["stopped"] is False


# ---- who may


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
def test_nobody_gets_in_without_credentials(world, app, route):
    world.caller = ANONYMOUS
    method, path = route[0], "/api/v1" + route[1].replace("<family>", "x")
    app.request(path, method=method, body=b"{}" if method != "GET" else b"", status=401)


@pytest.mark.parametrize("route", [route for route in ROUTES if route[0] != "GET"], ids=lambda r: f"{r[0]} {r[1]}")
def test_whoever_only_runs_tasks_changes_nothing(world, app, route):
    world.caller = Principal("user:noah", CLIENT)
    path = "/api/v1" + route[1].replace("<family>", "x")
    app.request(path, method=route[0], body=b"{}", status=403)


def test_an_operator_edits_specs_and_stops_but_leaves_the_config_alone(world, app, registered):
    world.caller = Principal("user:noah", OPERATOR)
    assert world.save(1, cold_cost_s=300).status_int == 200
    app.post_json("/api/v1/switch", {"stopped": True})
    app.put_json("/api/v1/config", {}, headers={"If-Match": '"1"'}, status=403)


def test_whoever_is_confined_to_a_pool_touches_nothing_of_others(world, app, registered):
    world.caller = replace(world.caller, pools=frozenset({"lab"}))
    assert app.get("/api/v1/specs").json == {"specs": []}
    app.get("/api/v1/specs/chromium-src", status=403)
    app.get("/api/v1/specs/chromium-src/revisions", status=403)
    assert world.save(1, pool="lab").status_int == 403
    app.post_json("/api/v1/specs/chromium-src/retire", {}, status=403)
    app.post_json("/api/v1/specs", body(family="mine", pool="lab"), status=201)
    moved = body(family="mine", pool="builders")
    app.put_json("/api/v1/specs/mine", moved, headers={"If-Match": '"1"'}, status=403)
    app.post_json("/api/v1/specs", body(family="theirs"), status=403)
    app.post_json("/api/v1/specs", body(family="theirs", pool=""), status=403)
    app.put_json("/api/v1/config", {}, headers={"If-Match": '"1"'}, status=403)
    app.post_json("/api/v1/switch", {"stopped": True}, status=403)


@pytest.mark.parametrize("value", ["yes", "true", 1, None])
def test_a_flag_is_true_or_false_and_nothing_like_it(app, value):
    error = app.post_json("/api/v1/specs", body(resumable=value), status=400).json["error"]
    assert error["errors"] == {"resumable": "must be true or false"}
