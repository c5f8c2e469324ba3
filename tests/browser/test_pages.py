"""The pages in a browser: the policy holds, live parts come, dialogs ask, keys work, nothing scrolls sideways."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytestmark = pytest.mark.processes

ADDRESSES = ["/", "/start", "/tasks", "/bots", "/bots/b1", "/specs", "/specs/new", "/specs/new?as=yaml", "/config"]
ADDRESSES += ["/announced", "/config/defaults", "/config/pools/local", "/switch", "/find?q=b"]


def bots(page: Any) -> int:
    """Rows of the table of bots."""
    return page.locator("#bots tbody tr").count()


def wait_for_bots(page: Any, number: int) -> None:
    page.locator("#bots tbody tr").nth(number - 1).wait_for(timeout=8000)


def open_page(page: Any, address: str) -> None:
    page.goto(address, wait_until="load")


@pytest.mark.parametrize("width", [390, 1440])
def test_no_page_breaks_the_policy_fails_in_a_script_or_scrolls_sideways(page, site, width):
    site.bot("b1"), site.bot("a-bot-with-a-rather-long-name-that-somebody-gave-it.example.com")
    page.set_viewport_size({"width": width, "height": 900})
    for address in ADDRESSES:
        open_page(page, address)
        page.wait_for_timeout(100)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{address} is {wide} px too wide at {width} px"


def test_the_page_of_a_spec_with_long_hashes_and_revisions_does_not_scroll_sideways(page, site):
    task = {"command": ["true"], "caches": [{"name": "hashed", "path": "src"}]}
    body = {"family": "hashed", "pool": "hashed", "makes": {"named_cache": "hashed"}, "task": task}
    for number in range(2):
        given = {**body, "generation": f"{number}" * 40}
        method, address = ("PUT", "/hashed") if number else ("POST", "")
        site.send(method, f"/api/v1/specs{address}", given, **{"If-Match": '"1"'} if number else {})
    page.set_viewport_size({"width": 390, "height": 900})
    open_page(page, "/specs/hashed")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


@pytest.mark.parametrize("width", [390, 1440])
def test_the_longest_names_of_bots_and_pools_do_not_make_pages_scroll_sideways(page, site, width):
    pool, name = "p" * 128, "b" * 256
    site.bot(name, pool), site.bot(name[:-1], pool, quarantined="q" * 1000)
    page.set_viewport_size({"width": width, "height": 900})
    for address in ("/", "/bots", f"/bots/{name}", f"/bots/{name[:-1]}", f"/pools/{pool}", "/config", "/tasks"):
        open_page(page, address)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{address[:20]} is {wide} px too wide at {width} px: {page.evaluate(WIDEST)}"


@pytest.mark.parametrize("width", [390, 1024, 1280])
def test_the_heading_of_a_folded_group_is_not_printed_over_its_note(page, site, width):
    page.set_viewport_size({"width": width, "height": 900})
    open_page(page, "/specs/new")
    assert page.locator("details.group").count() == 3
    assert page.evaluate(OVERPRINTED) == []


OVERPRINTED = """() => [...document.querySelectorAll('details.group > summary')].filter((one) => {
  const words = document.createRange();
  words.selectNodeContents(one.querySelector('h2'));
  return words.getBoundingClientRect().right > one.querySelector('.note').getBoundingClientRect().left;
}).map((one) => one.innerText)"""

WIDEST = """() => [...document.querySelectorAll('body *')]
  .filter((one) => one.getBoundingClientRect().right > document.documentElement.clientWidth && !one.closest('.tbl-x'))
  .slice(0, 6).map((one) => `${one.parentNode.className} > ${one.tagName}.${one.className}`)"""

COVERED = """() => {
  const bar = document.querySelector('.savebar'), box = bar.getBoundingClientRect(), at = document.activeElement;
  return bar.contains(at) ? 0 : Math.max(0, at.getBoundingClientRect().bottom - box.top);
}"""


@pytest.mark.parametrize("width", [390, 1280])
def test_the_field_that_has_the_focus_is_never_below_the_bar_with_the_save_button(page, site, width):
    page.set_viewport_size({"width": width, "height": 800})
    open_page(page, "/config/pools/local")
    page.locator("[name=mode]").focus()
    fields = page.locator(".fld :is(input, select)").count()
    for _ in range(fields - 1):
        page.keyboard.press("Tab")
        assert page.evaluate(COVERED) == 0, page.evaluate("document.activeElement.name")
    assert page.evaluate("document.activeElement.name") == "max_pending"


def test_the_map_is_drawn_and_a_square_leads_to_its_bot(page, site):
    site.bot("mapped", pool="mapped")
    open_page(page, "/")
    canvas = page.locator("#map canvas[aria-label^='mapped: Ready 1']")
    canvas.focus()
    page.keyboard.press("ArrowDown")
    assert "mapped" in page.locator(".tip").inner_text()
    page.keyboard.press("Enter")
    page.wait_for_url("**/bots/mapped")


def test_a_new_bot_comes_onto_the_page_by_itself(page, site):
    site.bot("came-1", pool="came")
    open_page(page, "/")
    before = bots(page)
    site.bot("came-2", pool="came")
    wait_for_bots(page, before + 1)
    page.locator("#map canvas[aria-label^='came: Ready 2']").wait_for()


def test_rows_under_the_pointer_wait(page, site):
    site.bot("rows-1")
    open_page(page, "/")
    before = bots(page)
    page.locator("#bots tbody tr").first.hover()
    site.bot("rows-2")
    page.wait_for_timeout(4500)
    assert bots(page) == before
    page.mouse.move(5, 5)
    wait_for_bots(page, before + 1)


def test_a_paused_page_stands_still_until_it_is_resumed(page, site):
    site.bot("still-1")
    open_page(page, "/")
    before = bots(page)
    page.locator("#pause").click()
    site.bot("still-2")
    page.wait_for_timeout(3500)
    assert (page.locator("#live").inner_text(), bots(page)) == ("Paused", before)
    page.locator("#pause").click()
    page.mouse.move(5, 5)
    wait_for_bots(page, before + 1)


def test_stop_asks_first_with_the_focus_on_the_safe_answer(page, site):
    site.bot("b1")
    open_page(page, "/")
    page.locator("#switch").click()
    assert page.evaluate("document.activeElement.textContent") == "Keep running"
    page.keyboard.press("Enter")
    assert site.send("POST", "/api/v1/switch", {"stopped": False})["stopped"] is False
    page.locator("#switch").click()
    page.locator("#stopdlg input[name=why]").fill("disks")
    page.locator("#stopdlg .danfill").click()
    page.locator(".notice", has_text="disks").wait_for()
    page.locator(".notice button").click()
    page.locator(".notice", has_text="Prewarming goes on.").wait_for()


def test_a_stop_by_somebody_else_shows_on_an_open_page(page, site):
    site.bot("b1")
    open_page(page, "/")
    site.send("POST", "/api/v1/switch", {"stopped": True, "why": "elsewhere"})
    page.locator(".notice", has_text="elsewhere").wait_for(timeout=8000)
    site.send("POST", "/api/v1/switch", {"stopped": False})


def test_a_spec_is_registered_edited_and_rolled_back_in_the_browser(page, site):
    open_page(page, "/specs/new")
    fields = {"family": "my-src", "pool": "local", "makes.named_cache": "my_src", "task.caches": "my_src: src"}
    for name, value in {**fields, "task.command": "true", "cold_cost_s": "lots"}.items():
        page.locator(f"[name='{name}']").fill(value)
    page.get_by_role("button", name="Register").click()
    assert page.evaluate("document.activeElement.id") == "problems"
    assert page.locator("#f-cold_cost_s").get_attribute("aria-invalid") == "true"
    page.locator("#f-cold_cost_s").fill("100")
    page.get_by_role("button", name="Register").click()
    page.wait_for_url("**/specs/my-src")
    page.get_by_role("link", name="Edit").click()
    page.locator("#f-generation").fill("r2")
    page.get_by_role("button", name="Save as revision 2").click()
    page.wait_for_url("**/specs/my-src")
    page.get_by_role("button", name=re.compile("Roll back to it")).click()
    assert "Revision 1, generation r1" in page.locator("#rolldlg").inner_text()
    page.locator("#rolldlg [data-go]").click()
    page.locator(".notice", has_text="Revision 1 is current again").wait_for()


def test_a_command_typed_as_in_a_shell_is_said_to_be_one_argument_while_it_is_typed(page, site):
    open_page(page, "/specs/new")
    hint = page.get_by_text("single argument with blanks in it")
    assert not hint.is_visible()
    page.locator("[name='task.command']").fill("echo hi")
    assert hint.is_visible()
    page.locator("[name='task.command']").fill("echo\nhi")
    assert not hint.is_visible()


def test_the_appearance_is_chosen_and_kept(page, site):
    open_page(page, "/specs")
    page.locator(".who").click()
    page.get_by_role("button", name="Dark").click()
    page.wait_for_url("**/specs")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") == "rgb(14, 16, 20)"


def test_keys_lead_through_the_pages_but_never_from_within_a_field(page, site):
    site.bot("b1")
    open_page(page, "/")
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/specs")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.type("g f ?")
    assert page.locator("#find").input_value() == "g f ?"
    assert page.url.endswith("/specs")
    open_page(page, "/bots")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/bots/.+"))


def test_times_are_told_in_the_zone_of_the_reader(page, site):
    site.bot("b1")
    open_page(page, "/bots/b1")
    assert re.search(r"\d s ago|now", page.locator("#head time").last.inner_text())
    assert page.locator("#head time").first.get_attribute("data-zoned") == "1"


def test_without_scripts_the_switch_and_the_forms_work(browser, site):
    site.bot("b1")
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    page = context.new_page()
    page.goto("/")
    page.locator("#switch").click()
    page.wait_for_url("**/switch")
    page.locator("main button.danfill").click()
    page.locator(".notice").first.wait_for()
    assert "Prewarming is stopped" in page.locator(".notice").first.inner_text()
    context.close()
    site.send("POST", "/api/v1/switch", {"stopped": False})
