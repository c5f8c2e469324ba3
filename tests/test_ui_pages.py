"""What a person sees: sentences from the numbers, bots, tasks, why; and the addresses that Swarming's tools print."""

from __future__ import annotations

import json

import pytest

from server import errors, fleet_report, sweeps, task_output
from server.policy.outcome import Hold
from server.records.pool import PoolGate
from tests.ui_world import SPEC, Pages, text


@pytest.fixture
def pages(tmp_path):
    world = Pages(tmp_path)
    yield world
    world.close()


def test_an_empty_fleet_shows_how_to_start_a_bot(pages):
    page = pages.get("/")
    assert "No bots yet" in page.html.h1.get_text()
    assert "curl -sSf http://localhost/bootstrap | python3 - --pool local" in text(page)
    assert "./pilot example" in text(page)


def test_the_fleet_is_told_in_a_sentence_and_a_line(pages):
    pages.bot("b1"), pages.bot("b2", pool="lab")
    page = pages.get("/")
    assert page.html.h1.get_text() == "Healthy. Nothing was prewarmed yet."
    assert "2 bots in 2 pools · 0 % busy with real tasks" in text(page)


def test_a_lost_bot_makes_the_fleet_degraded_and_needs_somebody(pages):
    pages.bot("b1"), pages.bot("b2", quarantined="disk full")
    page = pages.get("/")
    assert page.html.h1.get_text().startswith("Degraded: 1 bot of 2 lost.")
    needs = page.html.find(id="needs").get_text()
    assert "1 bot in local is quarantined" in needs
    assert "disk full" in text(pages.get("/bots/b2"))


def test_a_fleet_of_which_many_bots_fell_silent_is_not_called_healthy(pages):
    pages.bot()
    sweeps.raise_alarm(pages.service, "9 of 10 bots fell silent at once; none was declared dead")
    page = pages.get("/")
    assert page.html.h1.get_text().startswith("Degraded: many bots fell silent at once.")
    assert "9 of 10 bots" in page.html.find(class_="notice").get_text()


def test_numbers_that_are_not_there_are_not_shown_as_zero(pages):
    pages.bot()
    tile = pages.get("/").html.find(id="tiles").find(class_="tile")
    assert tile.find(class_="v").get_text() == "–"
    assert "No task has used a prewarm yet" in tile.get_text()


def test_the_gates_of_a_pool_stand_in_the_words_of_the_policy(pages):
    pages.bot()
    gates = pages.get("/").html.find(id="gates")
    assert "local is in shadow mode" in gates.get_text()
    assert len(gates.find_all("li")) == 9


def test_the_map_has_every_bot_of_every_pool(pages):
    pages.bot("b1"), pages.bot("b2", maintenance="upgrade"), pages.bot("b3", pool="lab")
    data = json.loads(pages.get("/").html.find(id="map-data").string)
    squares = {pool["pool"]: [square[:3] for square in pool["squares"]] for pool in data["pools"]}
    assert squares == {"lab": [["b3", "idle", [""]]], "local": [["b1", "idle", [""]], ["b2", "maintenance", [""]]]}


def test_a_bot_cannot_put_markup_or_an_end_of_script_on_the_page(pages):
    hostile = "</script><script>alert(1)</script>"
    pages.bot("b1", quarantined=hostile)
    pages.task(name=hostile)
    for address in ("/", "/bots", "/bots/b1", "/tasks"):
        assert hostile not in pages.get(address).text, address


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda pages: None, "Healthy. Nothing was prewarmed yet."),
        (lambda pages: pages.breaks(), "Degraded: the circuit breaker of my-src is open. Nothing"),
        (lambda pages: pages.task(pool="empty"), "Degraded: empty has no bots. Nothing"),
        (lambda pages: pages.bot("b01", quarantined="no disk"), "Healthy, but 1 bot in local is quarantined. Nothing"),
    ],
)
def test_the_first_sentence_agrees_with_what_needs_somebody(pages, spoil, sentence):
    pages.send("/specs/new", SPEC, status=303)
    for number in range(11):
        pages.bot(f"b{number:02}")
    spoil(pages)
    page = pages.get("/")
    assert page.html.h1.get_text().startswith(sentence)
    assert bool(page.html.find(id="needs").find("li")) == (not sentence.startswith("Healthy."))


def test_why_a_breaker_opened_is_a_sentence_of_its_own(pages):
    pages.bot()
    pages.breaks()
    said = " ".join(pages.get("/").html.find(id="needs").get_text(" ").split())
    assert "3 runs in a row failed on 3 bots. It is not prewarmed until it is resumed." in said


def test_a_pool_without_bots_is_not_said_to_be_full(pages):
    pages.send("/specs/new", {**SPEC, "pool": "lab"}, status=303)
    pages.bot(pool="local")
    said = text(pages.get("/"))
    assert "no bots" in said and "lab has no bots." in said and "100 %" not in said
    assert "It has no bots." in text(pages.get("/config/pools/lab"))
    pools = {pool["pool"]: pool["utilization"] for pool in pages.app.get("/api/v1/fleet").json["pools"]}
    assert pools == {"lab": None, "local": 0.0}
    pages.clock.advance(500)  # its bot is long overdue, and not declared dead yet
    assert pages.app.get("/api/v1/fleet").json["pools"][1]["utilization"] is None


def test_a_waiting_task_says_what_it_waits_for(pages):
    pages.bot("b1")
    task = pages.task(pool="elsewhere")
    page = pages.get(f"/tasks/{task}")
    assert "Pending" in page.html.h1.get_text()
    assert "No bot in elsewhere has pool:elsewhere" in text(page)


def test_a_task_that_its_bot_handed_back_is_told_from_one_whose_bot_was_lost(pages):
    handed_back = ended_by_its_bot(pages, handed_back=True)
    said = text(pages.get(f"/tasks/{handed_back}"))
    assert "Handed back" in said and "its bot was shut down and handed it back" in said and "ran 0.0 s" in said
    assert "Bot died" in text(pages.get(f"/tasks/{ended_by_its_bot(pages, message='no disk')}"))


def ended_by_its_bot(pages, **said):
    """A task that started, and of which its bot said this."""
    pages.bot()
    task = pages.task()
    run = pages.bot()
    api = "/swarming/api/v1/bot"
    body = {"id": "b1", "task_id": run["manifest"]["task_id"], "session": run["session"]}
    pages.app.post_json(f"{api}/task_update/{body['task_id']}", body)
    pages.app.post_json(f"{api}/task_error/{body['task_id']}", {**body, **said})
    return task


def test_a_task_that_waits_can_be_cancelled(pages):
    task = pages.task()
    pages.send(f"/tasks/{task}", {}, f"/tasks/{task}/cancel", status=303)
    assert "Cancelled" in pages.get(f"/tasks/{task}").html.h1.get_text()


def test_an_open_page_takes_the_cancel_button_away_when_the_task_ends(pages):
    pages.bot()
    task = pages.task()
    page = pages.get(f"/tasks/{task}")
    assert page.html.find("button", string="Cancel…")
    run = pages.bot()
    body = {"id": "b1", "task_id": run["manifest"]["task_id"], "session": run["session"]}
    pages.app.post_json(f"/swarming/api/v1/bot/task_update/{body['task_id']}", body)
    pages.app.post_json(f"/swarming/api/v1/bot/task_update/{body['task_id']}", {**body, "exit_code": 0, "duration": 1})
    pages.clock.advance(3)
    news = pages.app.get(page.html.body["data-live"], {"since": page.html.body["data-since"]}).json["parts"]
    assert "Finished" in news["head"] and news["act"].strip() == ""


def test_output_is_shown_as_text_without_colours_and_control_codes(pages):
    task = pages.task()
    data = b"plain\n\x1b[32mgreen\x1b[0m <b>\x00\nlast"
    task_output.write(pages.service, task, 0, data)
    log = pages.get(f"/tasks/{task}").html.find(class_="log")
    assert [line.get_text()[1:] for line in log.find_all("div")] == ["plain", "green <b>", "last"]
    raw = pages.get(f"/tasks/{task}/output")
    assert (raw.content_type, raw.body) == ("text/plain", data)
    assert raw.headers["X-Content-Type-Options"] == "nosniff"


def test_of_a_long_output_the_page_shows_and_reads_the_end_alone(pages):
    task = pages.task()
    line = b"x" * 99 + b"\n"
    for number in range(30):
        task_output.write(pages.service, task, number * 100_000, line * 1000)
    task_output.write(pages.service, task, 3_000_000, b"the end\n")
    with pages.store.ops.measure() as measured:
        page = pages.get(f"/tasks/{task}")
    shown = page.html.find(class_="log").find_all("div")
    assert (len(shown), shown[-1].get_text()) == (2622, "the end")
    assert {one.get_text() for one in shown[:-1]} == {"x" * 99}
    assert "the last 2,622 lines" in text(page)
    assert measured.reads <= 12, "three or four packets, the task twice, what the page of any task reads"
    assert len(page.click("All of it, as text").body) == 3_000_008


def test_tasks_are_filtered_by_state_and_tag(pages):
    pages.task(name="first"), pages.task(pool="lab", name="second")
    assert "2 tasks, newest first." in text(pages.get("/tasks"))
    page = pages.get("/tasks?tag=pool:lab&state=QUERY_PENDING")
    assert "second" in text(page) and "first " not in page.html.find("table").get_text()
    assert "No task matches" in text(pages.get("/tasks?state=QUERY_RUNNING"))


def test_bots_are_listed_a_hundred_at_a_time(pages):
    for number in range(101):
        pages.bot(f"b{number:03}")
    first = pages.get("/bots")
    assert len(first.html.find_all("tr", attrs={"data-row": True})) == 100
    second = first.click("The next 100")
    assert second.html.find("tr", attrs={"data-row": True}).a.get_text() == "b100"


def test_bots_in_a_state_that_there_is_not_are_refused_as_tasks_are(pages):
    for page in ("bots", "tasks"):
        assert "'zzz' is" in text(pages.get(f"/{page}?state=zzz", status=400))
    for status in fleet_report.BOT_STATUSES:
        pages.get(f"/bots?state={status}")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/task?id=7c2915b744a60510", "/tasks/7c2915b744a60510"),
        ("/bot?id=b1", "/bots/b1"),
        ("/tasklist", "/tasks"),
        ("/tasklist?f=state:RUNNING&f=user:mira", "/tasks?tag=user%3Amira"),
        ("/botlist", "/bots"),
        ("/botlist?f=pool:lab", "/bots?pool=lab"),
    ],
)
def test_addresses_that_swarming_prints_lead_to_the_pages(pages, old, new):
    assert pages.get(old, status=302).headers["Location"] == new


def test_finding_a_name_leads_straight_to_its_page(pages):
    pages.bot("builder-1")
    assert pages.get("/find?q=builder-1", status=302).headers["Location"] == "/bots/builder-1"
    assert "Nothing is called like" in text(pages.get("/find?q=nobody"))


@pytest.mark.parametrize("address", ["/nothing", "/tasks/7c2915b744a60510", "/bots/nobody", "/specs/nothing"])
def test_what_is_not_there_is_said_on_a_page(pages, address):
    page = pages.get(address, status=404)
    assert page.content_type == "text/html"
    assert page.html.h1.get_text() == "There is nothing here."


def test_programs_get_their_errors_as_json_still(pages):
    assert pages.get("/api/v1/nothing", status=404).json["error"]["code"] == "NOT_FOUND"


def test_the_appearance_is_the_servers_from_the_first_paint(pages):
    pages.bot()
    assert pages.get("/").html.html.get("data-theme") is None
    answer = pages.send("/", {"theme": "dark", "next": "/bots"}, "/theme", status=303)
    assert answer.headers["Location"] == "/bots"
    assert pages.get("/bots").html.html["data-theme"] == "dark"


@pytest.mark.parametrize(
    "target", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example", "javascript:x"]
)
def test_a_form_leads_to_no_other_site(pages, target):
    assert pages.send("/start", {"theme": "dark", "next": target}, "/theme", status=303).headers["Location"] == "/"


# ---- the stop switch


def test_the_switch_stands_on_every_page_and_a_stop_is_told_on_every_page(pages):
    pages.bot()
    pages.send("/switch", {"stopped": "true", "why": "disks are swapped", "next": "/bots"}, status=303)
    for address in ("/", "/tasks", "/bots", "/specs", "/config", "/nothing"):
        page = pages.get(address, status="*")
        assert "Prewarming is stopped" in page.html.find(id="switch").get_text()
        notice = page.html.find(class_="notice").get_text()
        assert "Prewarming is stopped. local stopped it" in notice and ": disks are swapped." in notice
    pages.send("/", {"stopped": "false"}, "/switch", status=303)
    assert "disks are swapped" not in text(pages.get("/bots"))


def test_a_switch_that_is_neither_on_nor_off_changes_nothing(pages):
    page = pages.send("/switch", {"stopped": "perhaps"}, status=400)
    assert "nothing was changed" in text(page)


# ---- the store is gone


@pytest.fixture
def lost(pages, monkeypatch):
    pages.bot()
    pages.get("/")

    def gone():
        raise errors.StoreUnavailable("the store did not answer within 5 s")

    monkeypatch.setattr(pages.service.store, "context", gone)
    pages.clock.advance(60)
    return pages


def test_while_the_store_is_silent_the_fleet_page_shows_what_it_knows_and_how_old_that_is(lost):
    page = lost.get("/")
    assert page.html.h1.get_text().startswith("Degraded: the picture below is old.")
    assert "The store does not answer. the store did not answer within 5 s This page is 60 s old." in text(page)
    assert "b1" in page.html.find(id="bots").get_text()


def test_while_the_store_is_silent_other_pages_say_so_and_try_again(lost):
    page = lost.get("/specs", status=503)
    assert "Nothing was changed; it is worth trying again" in text(page)
    assert page.html.find("meta", attrs={"http-equiv": "refresh"})["content"] == "5"
    assert lost.get("/events?page=fleet&since=", status="*").status_int == 503


# ---- live


def test_a_page_that_is_up_to_date_gets_nothing(pages):
    pages.bot()
    since = pages.get("/").html.body["data-since"]
    news = pages.get(f"/events?page=fleet&since={since}", status="*")
    assert news.status_int == 204
    assert news.headers["Pilotlight-Switch"] == "on"


def test_a_page_gets_the_parts_that_changed_and_no_others(pages):
    pages.bot()
    since = pages.get("/").html.body["data-since"]
    pages.task(pool="lab")
    news = pages.get(f"/events?page=fleet&since={since}").json
    assert "build" in news["parts"]["tasks"] and "stock" not in news["parts"]
    assert pages.get(f"/events?page=fleet&since={news['revision']}", status=204)


def test_time_that_passes_is_no_change(pages):
    task = pages.task(pool="lab")
    since = pages.get(f"/tasks/{task}").html.body["data-since"]
    pages.clock.advance(30)
    assert pages.get(f"/events?page=task&id={task}&since={since}", status="*").status_int == 204


def test_a_page_of_unknown_revision_gets_all_parts(pages):
    pages.bot()
    assert set(pages.get("/events?page=fleet&since=other").json["parts"]) >= {"head", "tiles", "map-data", "bots"}


def test_a_page_that_is_none_is_refused(pages):
    assert "page" in text(pages.get("/events?page=nothing", status=400))


def test_without_scripts_a_live_page_loads_itself_anew(pages):
    pages.bot()
    assert pages.get("/").html.find("noscript").meta["http-equiv"] == "refresh"


def test_a_spec_shows_on_the_fleet_page_before_anything_is_warm(pages):
    pages.bot()
    pages.send("/specs/new", SPEC, status=303)
    assert "my-src" in pages.get("/").html.find(id="stock").get_text()


def test_a_pool_tells_why_nothing_warms_with_numbers_and_some_decisions_whole(pages):
    pages.bot()
    pages.send("/specs/new", {**SPEC, "expected_per_h": "0.01"}, status=303)
    pages.clock.advance(60)
    pages.bot()
    assert "/pools/local" in str(pages.get("/").html.find(id="gates"))
    page = pages.get("/pools/local")
    said = text(page)
    assert "Nothing is prewarmed in local now: 1 of 1 bot of local without a run is refused." in said
    assert "Some decisions" in said and "b1" in said and "Gates and terms" in said
    assert "Refused: " in said and "Would change it:" in said
    assert "no pool nowhere" in text(pages.get("/pools/nowhere", status=404)).lower()


def test_a_pool_shows_decisions_that_have_neither_gates_nor_terms(pages):
    pages.bot()
    hold = Hold("t1", "", pages.clock.now_s() + 9, "It waits for a busy bot.")
    pages.service.decisions.held_back("local", "b1", hold)
    pages.service.decisions.stopped("local", "b1", "preempted", "t2", "b1 stops warming src.")
    said = text(pages.get("/pools/local"))
    assert "It waits for a busy bot." in said and "b1 stops warming src." in said


def test_a_pool_that_went_to_shadow_mode_says_so_and_can_be_started_again(pages):
    pages.bot()
    now_s = pages.clock.now_s()
    watch = {"why": "it loses", "since_s": now_s, "until_s": now_s + 7200, "times": 1}
    with pages.store.context():
        PoolGate(id="local", watch=watch).put()
    pages.clock.advance(2)
    fleet = pages.get("/")
    assert "local went to shadow mode by itself" in fleet.html.find(id="needs").get_text()
    assert "Shadow by itself" in fleet.html.find(id="gates").get_text()
    page = pages.get("/pools/local")
    assert "Hand out again" in text(page)
    assert pages.send("/pools/local", {}, "/pools/local/start").status_int == 303
    page = pages.get("/pools/local")
    assert "local hands out again; what it lost is forgiven." in text(page) and "Shadow by itself" not in text(page)
