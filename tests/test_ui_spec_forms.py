"""Specs in forms: registered, edited as revisions, two editors at once, errors at the field, nothing typed is lost."""

from __future__ import annotations

import pytest

from handlers.ui import form_fields, spec_form
from server import config, documents, prewarm_spec
from server.access import LOCAL_USER
from server.policy.hold_out import Arm
from server.spec_body import SpecBody
from tests.specs import body
from tests.ui_world import SPEC, Pages, error_at, text, value_of


@pytest.fixture
def pages(tmp_path):
    world = Pages(tmp_path)
    yield world
    world.close()


@pytest.fixture
def registered(pages):
    pages.send("/specs/new", SPEC, status=303)
    return pages


def test_an_open_breaker_is_told_in_sentences_and_ends_with_resume(registered):
    registered.breaks()
    said = text(registered.get("/specs/my-src"))
    assert "Breaker open" in said and "Active" not in said
    assert "The circuit breaker is open: 3 runs in a row failed on 3 bots. It is not prewarmed until" in said
    assert registered.app.get("/api/v1/specs").json["specs"][0]["breaker"] == "3 runs in a row failed on 3 bots"
    resumed = registered.app.post_json("/api/v1/specs/my-src/resume", {})
    assert resumed.json["breaker"] == ""
    said = text(registered.get("/specs/my-src"))
    assert "Breaker open" not in said and "Active" in said


def test_what_is_wrong_is_listed_in_the_order_of_the_form(pages):
    page = pages.send("/specs/new", {**SPEC, "task.caches": "a", "family": "X", "cold_cost_s": "-1"}, status=400)
    listed = [item.find("code").get_text() for item in page.html.find(id="problems").find_all("li")]
    assert listed == ["family", "task.caches", "cold_cost_s"]


def test_a_spec_whose_runs_all_failed_is_not_said_to_be_untried(registered):
    registered.service.pages.count("local/my-src/failed", 2)
    said = text(registered.get("/specs/my-src"))
    assert "2 runs failed, none ended well." in said and "not prewarmed yet" not in said


def test_a_revision_is_shown_as_it_was_written_without_defaults(registered):
    registered.send("/specs/my-src/edit", {**SPEC, "generation": "r2", "base_revision": "1", "note": "new"}, status=303)
    first = registered.get("/specs/my-src/revisions/1").html.find(class_="diff").get_text()
    assert "family: my-src" in first and "env" not in first and "null" not in first
    lines = registered.get("/specs/my-src/revisions/2").html.find(class_="diff").find_all(class_=["add", "del"])
    assert [line.get_text()[1:] for line in lines] == ["generation: r1", "generation: r2"]


def test_who_registers_a_spec_in_a_pool_in_shadow_mode_is_told_that_nothing_is_handed_out(pages):
    page = pages.send("/specs/new", SPEC, status=303).follow()
    assert "my-src is registered. local is in shadow mode, so nothing is handed out" in text(page)


def spec(pages, family: str = "my-src"):
    return prewarm_spec.get_spec(pages.service, LOCAL_USER, family)


def edit(pages, base: int, **changes):
    return pages.send("/specs/my-src/edit", {**SPEC, "base_revision": str(base), **changes})


# ---- registering


def test_a_registered_spec_is_what_was_typed(registered):
    found = spec(registered).body
    assert found.task.command == ["python3", "sync.py"]
    assert [(cache.name, cache.path) for cache in found.task.caches] == [("my_src", "src")]
    assert (found.cold_cost_s, found.run_s, found.warm_cost_s) == (100, 30, 2)


def test_the_list_and_the_page_show_it(registered):
    page = registered.get("/specs")
    assert "my-src" in page.html.table.get_text() and "Active" in page.html.table.get_text()
    assert "It was not prewarmed yet." in text(registered.get("/specs/my-src"))


def test_every_field_of_a_spec_is_in_the_form_under_its_yaml_name(pages):
    names = {control.get("name") for control in pages.get("/specs/new").html.find_all(["input", "select", "textarea"])}
    assert {doc.path for doc in spec_form.DOCS} <= names


WRONG = {
    "family": ("Bad Name", "must have a-z, 0-9"),
    "generation": ("a b", "must have letters, digits"),
    "order": ("whenever", "must be 'registered' or 'first_seen'"),
    "pool": ("a/b", "must have letters, digits"),
    "slot": ("Big Slot", "must have a-z, 0-9"),
    "purpose": ("fun", "must be 'prewarm' or 'clean'"),
    "dimensions": ("os", "must have a 'key: value' a line"),
    "serves.named_caches": ("Not A Cache", "must have a-z, 0-9"),
    "serves.tags": ("no-colon", "must have the form key:value"),
    "makes.named_cache": ("UPPER", "must have a-z, 0-9"),
    "makes.dimension": ("no-colon", "must have the form key:value"),
    "task.command": ("", "is missing"),
    "task.env": ("A: 1", "must be text; put it in quotes"),
    "task.env_prefixes": ("PATH: bin", "must be a list"),
    "task.relative_cwd": ("/abs", "is not relative"),
    "task.caches": ("my_src: /abs", "is not relative"),
    "task.execution_timeout_s": ("29", "must be at least 30 s; 29 given"),
    "task.io_timeout_s": ("5.5", "must be a whole number"),
    "task.grace_period_s": ("999", "must be at most 30 s, which is max_background_grace_s of the pool"),
    "task.cas_input_root": ("digest: x", "must be a mapping"),
    "task.outputs": ("/abs", "is not relative"),
    "fresh_for_s": ("1", "must be at least 60 s"),
    "cold_cost_s": ("dear", "must be a number"),
    "warm_cost_s": ("101", "must be at most cold_cost_s (100); 101 given"),
    "run_s": ("4000", "must be at most task.execution_timeout_s"),
    "expected_per_h": ("-1", "must be at least 0"),
    "resumable": ("perhaps", "must be true or false"),
    "survives_reboot": ("nan", "must be true or false"),
    "max_running": ("many", "must be a whole number"),
    "run_cost_s": ("inf", "must be a finite number"),
    "letters": ("ABC", "must have two letters or digits"),
    "note": ("x" * 1001, "may have at most 1000 characters"),
}


def test_every_field_has_its_wrong_value_below():
    assert set(WRONG) == {doc.path for doc in spec_form.DOCS}


@pytest.mark.parametrize("field", WRONG)
def test_what_is_wrong_is_said_at_the_field_and_what_was_typed_is_kept(pages, field):
    typed, rule = WRONG[field]
    page = pages.send("/specs/new", {**SPEC, field: typed}, status=400)
    assert rule.lower() in (error_at(page, field) or text(page)).lower()
    assert page.html.find(id="problems").find("a", href=f"#f-{field.replace('.', '-')}")
    assert value_of(page, field) == typed
    assert value_of(page, "cold_cost_s") == ("dear" if field == "cold_cost_s" else "100")
    assert not pages.service.view.specs() and prewarm_spec.list_specs(pages.service, LOCAL_USER) == []


def test_a_reason_that_is_too_long_is_said_at_its_field_in_every_form(pages):
    page = pages.send("/specs/new", {**SPEC, "note": "x" * 1001}, status=400)
    assert error_at(page, "note") == "May have at most 1000 characters."
    page = pages.send("/config/defaults", {"base_revision": "1", "note": "x" * 1001}, status=400)
    assert error_at(page, "note") == "May have at most 1000 characters."
    assert page.html.find(id="problems").find("a", href=f"#{page.html.find(attrs={'name': 'note'})['id']}")


@pytest.mark.parametrize(
    ("command", "hinted"),
    [("echo hi", True), ("echo\nhi", False), ("echo", False), ('["echo hi"]', False), ("echo hi there\n", True)],
)
def test_a_command_on_one_line_is_said_to_be_one_argument(pages, command, hinted):
    page = pages.send("/specs/new", {**SPEC, "task.command": command, "cold_cost_s": "dear"}, status=400)
    hint = page.html.find(id="f-task-command-w")
    assert "write each argument on a line of its own" in hint.get_text() and hint.has_attr("hidden") is not hinted
    assert "an argument a line" in page.html.find(id="f-task-command-h").get_text()


def test_all_that_is_wrong_is_said_at_once(pages):
    page = pages.send("/specs/new", {**SPEC, "family": "Bad", "task.caches": "nonsense", "cold_cost_s": "x"})
    assert [bool(error_at(page, name)) for name in ("family", "task.caches", "cold_cost_s", "run_s")] == [True] * 3 + [
        False
    ]
    assert "3 fields have to be mended; nothing was saved." in text(page)


def test_a_field_that_the_form_does_not_have_is_named_and_nothing_is_saved(pages):
    page = pages.send("/specs/new", {**SPEC, "colour": "red"}, status=400)
    assert "The form has no field colour" in text(page)
    pages.get("/specs/my-src", status=404)
    page = pages.send("/config/defaults", {"base_revision": "1", "utilisation_stop": "0.5"}, status=400)
    assert "The form has no field utilisation_stop" in text(page)


def test_a_family_that_exists_is_said_at_its_field(registered):
    page = registered.send("/specs/new", SPEC, status=409)
    assert "exists already: revision 1, active" in error_at(page, "family")


def test_what_was_typed_is_shown_and_never_run(pages):
    page = pages.send("/specs/new", {**SPEC, "family": '"><script>alert(1)</script>'}, status=400)
    assert "<script>alert" not in page.text
    assert value_of(page, "family") == '"><script>alert(1)</script>'


# ---- YAML beside the form


def test_a_spec_can_be_written_as_yaml(pages):
    pages.send("/specs/new?as=yaml", {"yaml": documents.dump_yaml(body(pool="local"))}, status=303)
    assert spec(pages, "chromium-src").body.dimensions == {"os": ["Linux", "Ubuntu"], "cores": ["8", "16"]}


def test_broken_yaml_is_said_with_its_line_and_kept(pages):
    page = pages.send("/specs/new?as=yaml", {"yaml": "family: x\n  bad: [\n"}, status=400)
    assert "YAML: line 2" in text(page)
    assert value_of(page, "yaml") == "family: x\n  bad: [\n"


def test_wrong_fields_in_yaml_are_named(pages):
    page = pages.send("/specs/new?as=yaml", {"yaml": documents.dump_yaml(body(famliy="x"))}, status=400)
    assert "famliy is not a known field; did you mean family?" in text(page)


# ---- editing


def test_the_form_shows_the_current_revision_and_saves_a_new_one(registered):
    page = registered.get("/specs/my-src/edit")
    assert {name: value_of(page, name) for name in SPEC} == SPEC
    edit(registered, 1, generation="r2", note="new branch")
    found = spec(registered)
    assert (found.revision, found.generation) == (2, "r2")
    assert "new branch" in text(registered.get("/specs/my-src"))


def test_an_edit_that_changes_nothing_in_the_form_changes_nothing_in_the_spec(pages):
    everything = body(
        serves__tags=["kind:build"],
        task__env={"A": "1", "B": "x: y"},
        task__env_prefixes={"PATH": ["bin", "tools/bin"]},
        task__command=["sh", "-c", "echo a\necho b", " spaced "],
        task__outputs=["[odd]", "b"],
        resumable=True,
        pool="local",
    )
    before = prewarm_spec.create(pages.service, LOCAL_USER, everything).body
    page = pages.get("/specs/chromium-src/edit")
    fields = {doc.path: value_of(page, doc.path) for doc in spec_form.DOCS}
    pages.send("/specs/chromium-src/edit", {**fields, "base_revision": "1"}, status=303)
    assert spec(pages, "chromium-src").body == before


def test_a_field_that_is_wrong_tells_the_saved_value(registered):
    page = edit(registered, 1, cold_cost_s="x")
    assert error_at(page, "cold_cost_s") == "Must be a number. The saved value is 100."
    assert spec(registered).revision == 1


def test_a_superseded_generation_cannot_come_back_by_an_edit(registered):
    edit(registered, 1, generation="r2")
    page = edit(registered, 2, generation="r1")
    assert "roll back to revision 1" in error_at(page, "generation")


def test_two_editors_of_different_fields_both_keep_their_changes(registered):
    edit(registered, 1, run_s="40")
    page = edit(registered, 1, cold_cost_s="120", note="mine")
    assert page.status_int == 409
    assert "local saved revision 2 while you edited; nothing of yours was saved." in text(page)
    assert (value_of(page, "run_s"), value_of(page, "cold_cost_s"), value_of(page, "note")) == ("40", "120", "mine")
    assert value_of(page, "base_revision") == "2"


def test_two_editors_of_one_field_choose(registered):
    edit(registered, 1, cold_cost_s="120")
    page = edit(registered, 1, cold_cost_s="130")
    choice = page.html.find("fieldset", class_="pick").get_text(" ")
    assert "yours: 130" in " ".join(choice.split()) and "theirs: 120" in " ".join(choice.split())
    assert spec(registered).body.cold_cost_s == 120
    edit(registered, 2, **{"cold_cost_s": "130", "pick.cold_cost_s": "theirs", "run_s": "35"})
    assert (spec(registered).body.cold_cost_s, spec(registered).body.run_s) == (120, 35)
    edit(registered, 3, **{"cold_cost_s": "130", "pick.cold_cost_s": "mine"})
    assert spec(registered).body.cold_cost_s == 130


def test_a_conflict_of_yaml_is_settled_in_the_form(registered):
    edit(registered, 1, cold_cost_s="120")
    yaml = spec_form.yaml_of(spec(registered).body).replace("cold_cost_s: 120.0", "cold_cost_s: 140")
    page = registered.send("/specs/my-src/edit?as=yaml", {"yaml": yaml, "base_revision": "1"}, status=409)
    assert value_of(page, "cold_cost_s") == "140"


@pytest.mark.parametrize("base", ["", "x", "7", "-1", "1e3"])
def test_a_form_without_a_true_base_revision_saves_nothing(registered, base):
    answer = registered.send("/specs/my-src/edit", {**SPEC, "base_revision": base, "cold_cost_s": "150"})
    assert answer.status_int in (400, 404)
    assert spec(registered).revision == 1


# ---- life


def test_a_spec_is_paused_resumed_retired_and_resumed(registered):
    for verb, state in (("pause", "paused"), ("resume", "active"), ("retire", "retired"), ("resume", "active")):
        registered.send("/specs/my-src", {}, f"/specs/my-src/{verb}", status=303)
        assert spec(registered).state == state
        assert state.capitalize() in registered.get("/specs/my-src").html.h1.get_text()


def test_a_retired_spec_is_not_edited(registered):
    registered.send("/specs/my-src", {}, "/specs/my-src/retire", status=303)
    assert registered.get("/specs/my-src").html.find("a", href="/specs/my-src/edit") is None
    assert "is retired" in text(edit(registered, 1, cold_cost_s="150"))


def test_rolling_back_makes_an_earlier_generation_current_again(registered):
    edit(registered, 1, generation="r2")
    registered.send("/specs/my-src", {"revision": "1"}, "/specs/my-src/rollback", status=303)
    assert (spec(registered).revision, spec(registered).generation) == (3, "r1")


def test_a_revision_shows_what_it_changed(registered):
    edit(registered, 1, cold_cost_s="150", note="slower disks")
    page = registered.get("/specs/my-src/revisions/2")
    assert [line.get_text() for line in page.html.find_all(class_="del")] == ["−cold_cost_s: 100.0"]
    assert [line.get_text() for line in page.html.find_all(class_="add")] == ["+cold_cost_s: 150.0"]
    assert "slower disks" in text(page)
    registered.get("/specs/my-src/revisions/9", status=404)


# ---- the parts of forms


def test_a_merge_takes_what_only_one_changed_and_asks_about_what_both_did():
    base = {"a": "1", "b": "1", "c": "1", "d": "1"}
    mine, theirs = {**base, "a": "2", "c": "2", "d": "5"}, {**base, "b": "3", "c": "3", "d": "5"}
    merged = form_fields.merge(base, mine, theirs)
    assert merged.texts == {"a": "2", "b": "3", "c": "2", "d": "5"}
    assert (merged.both, merged.taken) == ({"c": "3"}, ("b",))


@pytest.mark.parametrize(
    "items", [["a", "b c"], ["[x"], [""], ["two\nlines"], [" edge "], ["- dash"], ["a: b"], ["é", "#x"]]
)
def test_a_list_comes_back_from_the_form_as_it_was(items):
    doc = next(doc for doc in spec_form.DOCS if doc.path == "task.command")
    back, wrong = form_fields.body_of({doc.path: form_fields.text_of(items, doc)}, [doc])
    assert (back, wrong) == ({"task": {"command": items}}, {})


def test_texts_of_a_spec_leave_defaults_empty():
    texts = spec_form.texts_of(SpecBody.model_validate(body()))
    assert (
        texts["cold_cost_s"] == "200"
        and texts["warm_cost_s"] == ""
        and texts["dimensions"] == "os: Linux|Ubuntu\ncores: 8|16"
    )


def test_a_spec_tells_what_is_measured_of_its_savings_and_how_sure_that_is(registered):
    pages = registered
    now_s = pages.clock.now_s()
    page = text(pages.get("/specs/my-src"))
    assert "Not measured yet: 0 tasks with prewarming and 0 without" in page
    assert "held out 5 % of the time" in page
    for window in range(200):
        pages.service.pages.compared("local", "my-src", Arm.TREATED, window, 10.0 + window % 3, now_s)
        pages.service.pages.compared("local", "my-src", Arm.HELD_OUT, window, 50.0 + window % 5, now_s)
    page = text(pages.get("/specs/my-src"))
    assert "Tasks get to work 41 s sooner" in page and "200 tasks with prewarming and 200 without" in page
    assert "41 s a task" in text(pages.get("/specs"))
    config.save_config(pages.service, LOCAL_USER, {"defaults": {"holdout_share": 0}}, 1)
    assert "Nothing is held out in local" in text(pages.get("/specs/my-src"))


def test_a_spec_in_shadow_mode_tells_what_would_have_come_of_it(registered):
    page = text(registered.get("/specs/my-src"))
    assert "In shadow mode: no prewarm would have been made so far." in page
    for name, number in {"prewarms": 4, "used": 2, "saved_s": 196, "lost_s": 20, "spent_s": 120}.items():
        registered.service.pages.count(f"local/my-src/shadow_{name}", number)
    page = text(registered.get("/specs/my-src"))
    assert "4 prewarms would have been made and 2 used, 3 m 16 s of waiting saved, 20 s lost by what they" in page
    assert "for 2 m of idle time" in page
    config.save_config(registered.service, LOCAL_USER, {"defaults": {"mode": "live"}}, 1)
    assert "In shadow mode" not in text(registered.get("/specs/my-src"))


def test_a_button_pressed_twice_saves_once_and_is_no_conflict(registered):
    for _ in range(2):
        answer = registered.send("/specs/my-src/edit", {**SPEC, "cold_cost_s": "50", "base_revision": "1"})
        assert answer.status_int == 303
    assert "Revision 3" not in registered.get("/specs/my-src").text
    answer = registered.send("/specs/my-src/edit", {**SPEC, "cold_cost_s": "60", "base_revision": "1"})
    assert answer.status_int == 409


def test_a_cache_that_the_task_does_not_fill_is_said_at_the_caches(registered):
    page = registered.send("/specs/new", {**SPEC, "family": "other", "makes.named_cache": "other"}, status=400)
    assert "must have other among them" in error_at(page, "task.caches").lower()
