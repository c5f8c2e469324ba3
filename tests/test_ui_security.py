"""Who may see and do what on the pages, and what keeps other sites out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from webtest import TestApp

import main
from handlers import errors as error_answers
from handlers import ui
from handlers.ui import security
from server.access import ADMIN, ANONYMOUS, CLIENT, OPERATOR, Permission, Principal
from tests.ui_world import SPEC, Pages, text


@pytest.fixture
def pages(tmp_path):
    world = Pages(tmp_path)
    world.caller = Principal("user:mira", ADMIN)
    app = Flask("pages", root_path="", template_folder=_folder("templates"), static_folder=_folder("static"))
    error_answers.init_app(app)
    app.register_blueprint(ui.make_blueprint(world.service, lambda asked: world.caller))
    world.full, world.app = world.app, TestApp(app)
    yield world
    world.close()


def _folder(name: str) -> str:
    return str(Path(__file__).parents[1] / name)


def bot(pages, *args, **state):
    mine, pages.app = pages.app, pages.full
    pages.bot(*args, **state)
    pages.app = mine


def test_every_page_has_the_strict_policy(pages):
    for address in ("/", "/tasks", "/bots", "/specs", "/specs/new", "/config", "/switch", "/nothing"):
        page = pages.get(address, status="*")
        assert page.headers["Content-Security-Policy"] == (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
            "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        assert page.headers["Cache-Control"] == "no-store"


def test_nobody_without_credentials_gets_past_any_route(pages):
    pages.caller = ANONYMOUS
    for route in ui.ROUTES:
        answer = pages.app.request(address_of(route), method=route.method, status="*")
        assert answer.status_int == 401, route
        assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_a_form_without_our_signature_changes_nothing(pages):
    for route in ui.ROUTES:
        if route.method == "POST":
            answer = pages.app.post(address_of(route), {"stopped": "true", "theme": "dark"}, status="*")
            assert answer.status_int == 403, route
            assert "the form is too old or was not made here" in text(answer).lower()
    assert not pages.service.view.switch().stopped


def address_of(route) -> str:
    """An address of the route; its parts need not exist."""
    return re.sub(r"<[^>]*>", "1", route.path)


def test_a_form_of_another_browser_is_refused(pages):
    token = pages.get("/specs/new").html.find("input", attrs={"name": "csrf_token"})["value"]
    pages.app.reset()
    assert pages.app.post("/switch", {"csrf_token": token, "stopped": "true"}, status="*").status_int == 403


def test_any_process_takes_the_forms_of_any_other(tmp_path):
    one = Pages(tmp_path)
    other = TestApp(main.create_app(one.process("p2")), cookiejar=one.app.cookiejar)
    token = one.get("/specs/new").html.find("input", attrs={"name": "csrf_token"})["value"]
    assert other.post("/specs/new", {"csrf_token": token, **SPEC}, status="*").status_int == 303
    one.close()


def test_whoever_may_only_look_sees_no_switch_and_cannot_set_it(pages):
    pages.caller = Principal("user:visitor", CLIENT)
    page = pages.get("/tasks")
    assert page.html.find(id="switch") is None
    assert page.html.find(string=re.compile("Register")) is None
    assert pages.app.post("/switch", {"stopped": "true"}, status="*").status_int == 403
    assert "specs.edit" in text(pages.get("/specs/new", status=403))


def test_an_operator_of_one_pool_can_neither_stop_all_nor_change_the_config(pages):
    pages.caller = Principal("user:olga", OPERATOR | {Permission.CONFIG_EDIT}, frozenset({"local"}))
    assert pages.app.post("/switch", {"stopped": "true"}, status="*").status_int == 403
    assert "You may look, but not save" in text(pages.get("/config/pools/local"))
    assert pages.app.post("/config/pools/local", {}, status="*").status_int == 403


def test_whoever_is_confined_to_a_pool_sees_nothing_of_the_others(pages):
    bot(pages, "b1"), bot(pages, "secret-1", pool="secret")
    pages.caller = Principal("user:olga", OPERATOR, frozenset({"local"}))
    for address in ("/", "/bots", "/specs", "/config", "/find?q=secret"):
        assert "secret-1" not in pages.get(address).text, address
    assert pages.get("/bots/secret-1", status="*").status_int == 403
    assert pages.get("/config/pools/secret", status="*").status_int == 403
    assert pages.send("/specs/new", {**SPEC, "pool": "secret"}).status_int == 403


def test_a_spec_can_not_be_moved_into_a_pool_of_others(pages):
    pages.caller = Principal("user:olga", OPERATOR, frozenset({"local"}))
    assert pages.send("/specs/new", SPEC).status_int == 303
    answer = pages.send("/specs/my-src/edit", {**SPEC, "pool": "secret", "base_revision": "1"})
    assert answer.status_int == 403


def test_cookies_are_for_the_server_alone_and_for_https_where_there_is_https(tmp_path):
    world = Pages(tmp_path, public_url="https://pilotlight.example")
    answer = world.app.get("/specs/new", headers={"Host": "pilotlight.example"})
    cookie = answer.headers["Set-Cookie"]
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=Lax"))
    assert security.is_secure(world.service)
    world.close()


def test_files_have_the_hash_of_their_content_in_the_address_and_are_kept(pages):
    page = pages.get("/specs")
    sheet = page.html.find("link", rel="stylesheet")["href"]
    assert "immutable" in pages.get(sheet).headers["Cache-Control"]
    old = re.sub("/assets/[0-9a-f]+/", "/assets/0000/", sheet)
    assert "immutable" not in pages.get(old).headers["Cache-Control"]
    pages.get("/assets/0000/../main.py", status=404)
