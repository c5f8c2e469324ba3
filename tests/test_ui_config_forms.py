"""Thresholds in forms: changed, checked at the field, kept as revisions; two editors; the defaults of all pools."""

from __future__ import annotations

import pytest

from handlers.ui import config_form
from server import config
from tests.ui_world import Pages, error_at, text, value_of

LOCAL = "/config/pools/local"


@pytest.fixture
def pages(tmp_path):
    world = Pages(tmp_path)
    yield world
    world.close()


def save(pages, base: int, address: str = LOCAL, **changes):
    return pages.send(address, {"base_revision": str(base), **changes})


def test_every_setting_is_in_the_form_under_its_yaml_name_and_in_a_group(pages):
    names = {control.get("name") for control in pages.get(LOCAL).html.find_all(["input", "select", "textarea"])}
    assert set(config_form.NAMES) <= names
    grouped = [name for _, _, paths in config_form.GROUPS for name in paths]
    assert sorted(grouped) == sorted(config_form.NAMES)


def test_a_pool_shows_what_the_defaults_mean_for_it(pages):
    page = pages.get(LOCAL)
    assert value_of(page, "utilization_stop") == ""
    assert page.html.find(attrs={"name": "utilization_stop"})["placeholder"] == "0.8"
    save(pages, 1, "/config/defaults", utilization_stop="0.9")
    assert pages.get(LOCAL).html.find(attrs={"name": "utilization_stop"})["placeholder"] == "0.9"


def test_a_change_takes_effect_in_its_pool_alone_and_is_kept_with_its_reason(pages):
    assert save(pages, 1, mode="live", min_idle_s="5", note="let it go live").status_int == 303
    held = pages.service.config
    assert (held.pool("local").mode, held.pool("local").min_idle_s, held.pool("other").mode) == ("live", 5, "shadow")
    page = pages.get("/config")
    assert "Revision 2" in text(page) and "let it go live" in text(page)
    assert "Idle bots are prewarmed in local." in page.html.h1.get_text()


def test_an_emptied_field_goes_back_to_the_default(pages):
    save(pages, 1, mode="live", min_idle_s="5")
    save(pages, 2, mode="live", min_idle_s="")
    assert pages.service.config.current.overrides == {"local": {"mode": "live"}}


@pytest.mark.parametrize(
    ("field", "typed", "rule"),
    [
        ("utilization_stop", "1.5", "Must be at most 1; 1.5 given"),
        ("utilization_start", "0.85", "Must be below utilization_stop (0.8); 0.85 given"),
        ("reserve_min", "2.5", "Must be a whole number"),
        ("mode", "on", "Must be 'off', 'shadow' or 'live'; on given"),
        ("drained", "perhaps", "Must be true or false"),
        ("death_timeout_s", "10", "Must be at least 180 s"),
        ("sleep_max_s", "nan", "Must be a finite number"),
        ("breaker_bots", "5", "Must be at most breaker_failures (3)"),
    ],
)
def test_what_is_wrong_is_said_at_the_field_and_nothing_is_saved(pages, field, typed, rule):
    page = save(pages, 1, **{field: typed, "value_threshold": "0.3"})
    assert page.status_int == 400
    assert error_at(page, field).startswith(rule)
    assert (value_of(page, field), value_of(page, "value_threshold")) == (typed, "0.3")
    assert pages.service.config.revision == 1


def test_defaults_that_break_a_pools_own_setting_name_that_pool(pages):
    save(pages, 1, utilization_start="0.7")
    page = save(pages, 2, "/config/defaults", utilization_stop="0.6", utilization_start="0.5")
    assert "pools.local.utilization_start must be below utilization_stop (0.6)" in text(page)
    assert pages.service.config.revision == 2


def test_two_editors_of_a_pool_keep_both_changes_and_choose_where_both_changed(pages):
    save(pages, 1, min_idle_s="5", reserve_min="2")
    page = save(pages, 1, min_idle_s="7", polls_per_s="10")
    assert page.status_int == 409
    assert "local saved revision 2 while you edited" in text(page)
    assert [value_of(page, name) for name in ("min_idle_s", "reserve_min", "polls_per_s")] == ["7", "2", "10"]
    assert "theirs: 5" in " ".join(page.html.find("fieldset", class_="pick").get_text(" ").split())
    save(pages, 2, **{"min_idle_s": "7", "pick.min_idle_s": "theirs", "reserve_min": "2", "polls_per_s": "10"})
    found = pages.service.config.pool("local")
    assert (found.min_idle_s, found.reserve_min, found.polls_per_s) == (5, 2, 10)


def test_an_edit_of_another_pool_meanwhile_is_a_conflict_that_loses_nothing(pages):
    save(pages, 1, "/config/pools/lab", mode="live")
    page = save(pages, 1, min_idle_s="7")
    assert page.status_int == 409 and "No field was changed by both of you" in text(page)
    save(pages, 2, min_idle_s="7")
    held = pages.service.config
    assert (held.pool("lab").mode, held.pool("local").min_idle_s) == ("live", 7)


def test_a_link_can_bring_an_edit_already_typed(pages):
    page = pages.get(f"{LOCAL}?set=mode:live&set=min_idle_s:3&set=nothing:1")
    assert (value_of(page, "mode"), value_of(page, "min_idle_s")) == ("live", "3")
    assert pages.service.config.revision == 1


def test_a_revision_shows_what_it_changed_and_can_hold_again(pages):
    save(pages, 1, mode="live")
    save(pages, 2, mode="off", note="a bad day")
    page = pages.get("/config/revisions/3")
    assert [line.get_text().strip() for line in page.html.find_all(class_="add")] == ["+    mode: 'off'"]
    fields = {"revision": "2", "base_revision": "3"}
    pages.send("/config/revisions/2", fields, "/config/restore", status=303)
    assert pages.service.config.pool("local").mode == "live"
    assert config.list_revisions(pages.service, 1)[0].note == "as in revision 2"


def test_a_pool_can_be_set_up_before_its_first_bot_and_only_under_a_possible_name(pages):
    assert pages.get("/config/pool?name=lab", status=302).headers["Location"] == "/config/pools/lab"
    assert "no pool can be called" in text(pages.get("/config/pools/a%20b", status=404)).lower()


@pytest.mark.parametrize("base", ["", "x", "9", "-1"])
def test_a_form_without_a_true_base_revision_saves_nothing(pages, base):
    assert pages.send(LOCAL, {"base_revision": base, "mode": "live"}).status_int in (400, 404)
    assert pages.service.config.revision == 1


def test_a_button_pressed_twice_saves_once_and_is_no_conflict(pages):
    for _ in range(2):
        assert save(pages, 1, mode="live", note="let it go live").status_int == 303
    assert pages.service.config.revision == 2
    assert save(pages, 1, mode="off").status_int == 409
