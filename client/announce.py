"""Announcing tasks that will come, and what became of what was announced."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

import click

from client.api import Api, quoted
from client.options import api_options
from client.screen import ACCENT, BAD, DIM, GOOD, Cell, Sheet, note, say, show, show_json
from client.tables import name_of_state
from client.words import ago, duration, share

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
ORIGINS = {"call": "announced", "tag": "a task's tag", "schedule": "schedule", "followers": "learned"}
MOST_OUTCOMES = 20
WORKDAYS = "mon,tue,wed,thu,fri"


class Span(click.ParamType):
    """A length of time: 540, 540s, 9m, 2h, 1d; in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The length in seconds."""
        if isinstance(value, int | float):
            return float(value)
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", str(value))
        if not found:
            self.fail(f"{value!r} is not a length of time such as 540, 9m or 2h", param, ctx)
        return float(found[1]) * UNITS[found[2]]


@click.command()
@click.argument("state", metavar="FAMILY[@GENERATION]")
@click.option("--pool", required=True, help="Pool of the tasks.")
@click.option("--count", type=int, default=1, show_default=True, help="How many tasks.")
@click.option("--in", "in_s", type=Span(), required=True, help="When the first is due, from now on: 540, 9m, 2h.")
@click.option("--for", "for_s", type=Span(), help="How long they may take to come after that.  [default: 90s]")
@click.option("--confidence", type=float, help="How sure it is, 0.05 to 1.  [default: 0.9]")
@click.option("--source", default="", help="Which of your sources says so; each is scored for itself.")
@click.option("--id", "request_id", default="", help="The same id announces once, however often it is sent.")
@api_options
def announce(api: Api, as_json: bool, state: str, **given: Any) -> None:
    """Say that tasks which want a state will come, so that bots are warm for them.

    \b
    ./pilot announce my-tests@r7 --pool builders --count 20 --in 9m
    """
    body = {name: value for name, value in given.items() if value not in (None, "")}
    body |= _state(state)
    body.setdefault("request_id", uuid.uuid4().hex)  # the call may be repeated
    answer = api.post("/announcements", body).body
    if as_json:
        show_json(answer)
        return
    say(f"{answer['count']} × {name_of_state(answer)} due in {duration(given['in_s'])}: {answer['id']}.")
    if answer["believed"] < answer["confidence"]:
        say(f"{answer['source']} is believed to {share(answer['believed'])}: not all that it announced before came.")
    _tell(answer)


@click.group(invoke_without_command=True)
@click.option("--pool", default="", help="Only this pool.")
@api_options
def announced(api: Api, as_json: bool, pool: str) -> None:
    """What is announced, by whom, and how it turned out; or one of the commands below."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    answer = api.get("/announcements", pool=pool).body
    if as_json:
        show_json(answer)
        return
    for each in answer["pools"]:
        _show_pool(each, answer["now_s"])
    if not any(each["live"] or each["outcomes"] or each["schedules"] for each in answer["pools"]):
        say("Nothing is announced. ./pilot announce FAMILY --pool POOL --count 20 --in 9m does it.")


def _show_pool(pool: Mapping[str, Any], now_s: float) -> None:
    if pool["live"]:
        say(f"{pool['pool']}: expected")
        show(_live(pool["live"], now_s), "")
    if pool["schedules"]:
        say(f"{pool['pool']}: every week")
        show(_schedules(pool["schedules"]), "")
    if pool["outcomes"]:
        say(f"{pool['pool']}: how it turned out, newest first")
        show(_outcomes(pool["outcomes"][:MOST_OUTCOMES], now_s), "")
        show(_sources(pool["sources"]), "")
    for tag in pool["refused_tags"]:
        note(f"task {tag['task_id']}: the tag {tag['tag']} announced nothing: {tag['why']}")


def _live(rows: list[Mapping[str, Any]], now_s: float) -> Sheet:
    sheet = Sheet(["id", "state", ">tasks", ">came", ">due", ">lapses", ">says", ">believed", "source", "from"])
    for row in rows:
        due = f"in {duration(row['from_s'] - now_s)}" if row["from_s"] > now_s else ago(row["from_s"], now_s)
        sheet.add(
            row["id"],
            Cell(name_of_state(row), ACCENT),
            str(row["count"]),
            str(row["came"]),
            due,
            f"in {duration(row['until_s'] - now_s)}",
            share(row["confidence"]),
            Cell(share(row["believed"]), BAD if row["believed"] < row["confidence"] / 2 else ""),
            row["source"],
            ORIGINS.get(row["origin"], row["origin"]),
        )
    return sheet


def _outcomes(rows: list[Mapping[str, Any]], now_s: float) -> Sheet:
    sheet = Sheet(["state", ">announced", ">came", ">was due", "source", ""])
    for row in rows:
        style = GOOD if row["came"] >= row["count"] else BAD if row["scored"] and not row["came"] else ""
        words = [word for word, said in (("withdrawn", row["retracted_s"]), ("not scored", not row["scored"])) if said]
        came = Cell(str(row["came"]), style)
        due = ago(row["from_s"], now_s)
        sheet.add(name_of_state(row), str(row["count"]), came, due, row["source"], Cell(", ".join(words), DIM))
    return sheet


def _sources(rows: list[Mapping[str, Any]]) -> Sheet:
    sheet = Sheet(["source", ">promised", ">came", ">believed"])
    for row in rows:
        believed = Cell(share(row["share"]), BAD if row["share"] < 0.5 else "")
        sheet.add(row["source"], f"{row['promised']:.1f}", f"{row['came']:.1f}", believed)
    return sheet


def _schedules(rows: list[Mapping[str, Any]]) -> Sheet:
    sheet = Sheet(["name", "state", ">tasks", "days", "at", "by"])
    for row in rows:
        sheet.add(row["name"], Cell(name_of_state(row), ACCENT), str(row["count"]), *_when(row), row["by"])
    return sheet


@announced.command()
@click.argument("entry_id", metavar="ID")
@click.option("--pool", required=True, help="Its pool.")
@api_options
def retract(api: Api, as_json: bool, entry_id: str, pool: str) -> None:
    """Withdraw an announcement of yours; an operator may withdraw any."""
    answer = api.post(f"/announcements/{quoted(entry_id)}/retract", {"pool": pool}).body
    if as_json:
        show_json(answer)
    else:
        came = f"{answer['came']} of {answer['count']} had come"
        say(f"{name_of_state(answer)} by {answer['source']} is withdrawn; {came}.")


@announced.command()
@click.argument("name")
@click.argument("state", metavar="FAMILY[@GENERATION]")
@click.option("--pool", required=True, help="Pool of the tasks.")
@click.option("--count", type=int, default=1, show_default=True, help="How many tasks each time.")
@click.option("--at", "times", required=True, help="Times of day: 02:30 or 02:30,14:30.")
@click.option("--days", help=f"Days of the week: {WORKDAYS}.  [default: all]")
@click.option("--time-zone", help="Where these are the times: Europe/Berlin.  [default: UTC]")
@click.option("--for", "for_s", type=Span(), help="How long they may take to come after that.  [default: 90s]")
@click.option("--confidence", type=float, help="How sure it is, 0.05 to 1.  [default: 0.9]")
@api_options
def schedule(api: Api, as_json: bool, state: str, times: str, days: str | None, **given: Any) -> None:
    """Announce the same every week; a known NAME is replaced.

    \b
    ./pilot announced schedule nightly my-src --pool builders --count 30 --at 02:00 --days mon,tue,wed,thu,fri
    """
    body = {name: value for name, value in given.items() if value is not None} | _state(state)
    body["at"] = times.split(",")
    if days:
        body["days"] = days.split(",")
    answer = api.post("/announcements/schedules", body).body
    if as_json:
        show_json(answer)
        return
    when, at = _when(answer)
    say(f"{answer['name']}: {answer['count']} × {name_of_state(answer)}, {when} at {at}.")
    _tell(answer)


@announced.command()
@click.argument("name")
@click.option("--pool", required=True, help="Its pool.")
@api_options
def unschedule(api: Api, as_json: bool, name: str, pool: str) -> None:
    """End a schedule."""
    answer = api.post(f"/announcements/schedules/{quoted(name)}/remove", {"pool": pool}).body
    if as_json:
        show_json(answer)
    else:
        say(f"{name} has ended.")


def _state(text: str) -> dict[str, str]:
    family, _, generation = text.partition("@")
    return {"family": family, "generation": generation}


def _when(schedule: Mapping[str, Any]) -> tuple[str, str]:
    """On which days, and at what times of day."""
    days = "every day" if len(schedule["days"]) == 7 else " ".join(schedule["days"])
    return days, f"{' '.join(schedule['at'])} {schedule['time_zone']}"


def _tell(answer: Mapping[str, Any]) -> None:
    for line in answer["notes"]:
        note(f"note: {line}")
