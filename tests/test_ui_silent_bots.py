"""Bots whose polls are overdue: pages, API and command line call them silent, and count on none of them."""

from __future__ import annotations

import json

import pytest

from tests.ui_world import SPEC, Pages, text

HELD = {"my_src": [["src", 100], 1.0]}
SILENT_S = 400.0
"""Longer than polls may be overdue, and shorter than `death_timeout_s`."""


@pytest.fixture
def pages(tmp_path):
    world = Pages(tmp_path)
    world.send("/specs/new", SPEC, status=303)
    for name in ("b1", "b2"):
        world.bot(name, named_caches=HELD)
    world.clock.advance(SILENT_S)
    world.bot("b3", named_caches=HELD)
    yield world
    world.close()


def test_the_fleet_page_counts_them_as_silent_and_not_as_ready(pages):
    page = pages.get("/")
    assert page.html.h1.get_text().startswith("Degraded: 2 bots of 3 silent or lost.")
    assert "3 bots in 1 pool · 0 % busy with real tasks · 2 silent" in text(page)
    assert "2 bots in local are silent" in page.html.find(id="needs").get_text()
    assert [square[1] for square in _squares(page)] == ["idle", "silent", "silent"]


def _squares(page):
    return json.loads(page.html.find(id="map-data").get_text())["pools"][0]["squares"]


def test_lists_and_the_page_of_a_bot_have_the_same_word(pages):
    assert "1 idle · 2 silent" in text(pages.get("/bots"))
    assert text(pages.get("/bots?state=silent")).count("its poll is overdue") == 2
    assert "Silent: its poll is overdue." in text(pages.get("/bots/b1"))
    assert "b1 is silent: its poll is overdue. " in text(pages.get("/bots/b1"))
    assert "Idle for" in text(pages.get("/bots/b3"))


def test_the_api_counts_them_apart_and_what_they_hold_is_no_stock(pages):
    report = pages.app.get("/api/v1/fleet").json
    assert {bot["id"]: bot["status"] for bot in report["bots"]} == {"b1": "silent", "b2": "silent", "b3": "idle"}
    pool = report["pools"][0]
    assert (pool["bots"], pool["idle"], pool["silent"], pool["dead"]) == (3, 1, 2, 0)
    assert sum(row["warm"] for row in pool["families"]) == 1
    assert pool["reserve"] <= 1


def test_who_polls_again_is_silent_no_more(pages):
    pages.bot("b1", named_caches=HELD)
    assert "Idle for" in text(pages.get("/bots/b1"))
