"""The command line `pilot`: what is going on, and what an operator does about it."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import IO, Any

import click
import yaml

from client import announce, example, simulate, tables, testing, up
from client.api import Api, ApiError, quoted
from client.options import api_options
from client.run import run
from client.screen import note, say, show, show_json
from server.proto import swarming_pb2 as swarming

MOST_DECISIONS = 12
MOST_DOCUMENT_BYTES = 256 * 1024
TASK_ID = re.compile(r"[0-9a-f]{12,20}[01]")
STATES = [name.removeprefix("QUERY_").lower() for name in swarming.StateQuery.DESCRIPTOR.values_by_name]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Pilotlight: idle bots get ready before anybody asks."""


@cli.command()
@click.option("--state", type=click.Choice(STATES), default="all", show_default=True)
@click.option("--tag", "tags", multiple=True, metavar="K:V", help="Only tasks with this tag; alternatives as k:a|b.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=20, show_default=True)
@api_options
def tasks(api: Api, as_json: bool, state: str, tags: Sequence[str], limit: int) -> None:
    """Tasks, newest first, background ones among them."""
    found = api.tasks(state=f"QUERY_{state.upper()}", tags=tags, limit=limit)
    if as_json:
        show_json({"items": found})
        return
    handed_back = api.handed_back(found)
    sheet = tables.of_tasks(found, time.time(), handed_back)
    all_asked = state == "all" and not tags
    show(sheet, "No tasks. ./pilot run --pool local -- echo hello makes one." if all_asked else "No such tasks.")
    if handed_back:
        note("handed back: the bot was shut down in the middle of the task; ./pilot why TASK tells more")


@cli.command()
@click.option("--pool", default="", help="Only bots of this pool.")
@api_options
def bots(api: Api, as_json: bool, pool: str) -> None:
    """Bots: what each does, and what it is warm for."""
    found = api.bots([("pool", pool)] if pool else [])
    fleet = _fleet(api, pool)
    if as_json:
        show_json({"items": found, "fleet": fleet.get("bots", [])})
    else:
        nobody = f"No bot is in a pool {pool}." if pool else "No bots yet. ./pilot up starts some on this machine."
        show(tables.of_bots(found, fleet, time.time()), nobody)


@cli.command()
@click.option("--pool", default="", help="Only this pool.")
@api_options
def warm(api: Api, as_json: bool, pool: str) -> None:
    """What is warm, what is being warmed, and which gate holds back more."""
    fleet = api.get("/fleet", pool=pool).body
    if as_json:
        show_json(fleet)
        return
    for each in fleet["pools"]:
        say(tables.sentence_of_pool(each))
    unknown = bool(pool) and not fleet["pools"]
    why_nothing = f"no pool {pool} is known" if unknown else "no spec has made anything yet"
    show(tables.of_families(fleet["pools"]), f"Nothing is warm: {why_nothing}.")
    for each in fleet["pools"]:
        for line in tables.refusals_of_pool(each):
            say(line)


@cli.command()
@click.argument("what", metavar="BOT|TASK|POOL")
@api_options
def why(api: Api, as_json: bool, what: str) -> None:
    """Why a bot gets what it gets, why a task waits, or why nothing warms in a pool."""
    answer = _why(api, what)
    if as_json:
        show_json(answer)
        return
    say(tables.short(answer["sentence"]))
    if answer.get("would_change"):
        say(f"Would change it: {tables.short(answer['would_change'])}")
    if answer.get("gates"):
        show(tables.of_gates(answer["gates"]), "")
    for value in answer.get("values") or []:
        say(tables.short(value["text"]))
    if "decisions" in answer:
        _show_decisions(answer)


def _show_decisions(answer: dict[str, Any]) -> None:
    """A pool's decisions: of the next polls, all so far by number, and some of them."""
    show(tables.of_refusals(answer["now"]), "No bot is refused background work now.")
    show(tables.of_counts(answer["counts"]), "Nothing was decided yet.")
    if answer["bets"]:
        show(tables.of_bets(answer["bets"]), "")
    show(tables.of_decisions(answer["decisions"][:MOST_DECISIONS], time.time()), "")


def _why(api: Api, what: str) -> dict[str, Any]:
    kinds = ["tasks", "bots", "pools"] if TASK_ID.fullmatch(what) else ["bots", "pools"]
    for kind in kinds:
        try:
            return api.get(f"/why/{kind}/{quoted(what)}").body
        except ApiError as error:
            if error.status != 404:
                raise
    raise click.ClickException(
        f"there is no bot, task or pool {what}. ./pilot bots and ./pilot tasks list what there is"
    )


def _fleet(api: Api, pool: str) -> dict[str, Any]:
    """What only Pilotlight's own API knows; nothing where it is missing: the rest of a list is of use without it."""
    try:
        return api.get("/fleet", pool=pool).body
    except ApiError as error:
        note(f"no warmth: {error.text}")
        return {}


@cli.command()
@click.argument("bot")
@api_options
def release(api: Api, as_json: bool, bot: str) -> None:
    """Let a bot take work again that the server quarantined: a black hole, or two machines with one id."""
    answer = api.post(f"/bots/{quoted(bot)}/release", {}).body
    if as_json:
        show_json(answer)
    else:
        say(f"{bot} may take work again, unless it is quarantined by itself.")


@cli.group(invoke_without_command=True)
@api_options
def specs(api: Api, as_json: bool) -> None:
    """Prewarm specs: all of them, with what each cost and saved, or one of the commands below."""
    if click.get_current_context().invoked_subcommand is not None:
        return
    found = api.get("/specs").body["specs"]
    try:
        ledger = {row["family"]: row for row in api.get("/ledger").body["specs"]}
    except ApiError as error:
        ledger = {}
        note(f"no ledger: {error.text}")
    if as_json:
        show_json({"specs": found, "ledger": list(ledger.values())})
    else:
        empty = "No specs: nothing is prewarmed. ./pilot specs register FILE makes one, or use the page /specs."
        show(tables.of_specs(found, ledger), empty)
        for line in [*tables.sentences_of_savings(ledger), *tables.sentences_of_shadow(ledger)]:
            say(line)
        for line in tables.sentences_of_breakers(found):
            note(line)


@specs.command("show")
@click.argument("family")
@api_options
def show_spec(api: Api, as_json: bool, family: str) -> None:
    """One spec as YAML, as `register` and `edit` take it."""
    answer = api.get(f"/specs/{quoted(family)}").body
    if as_json:
        show_json(answer)
    else:
        click.echo(tables.as_yaml(answer["body"]), nl=False)


@specs.command()
@click.argument("file", type=click.File("rb"))
@api_options
def register(api: Api, as_json: bool, file: Any) -> None:
    """Register the spec in FILE (YAML; - for stdin); a known family gets a new revision."""
    body = _document(file)
    try:
        answer = api.post("/specs", body)
    except ApiError as error:
        if error.status != 409:
            raise
        family = str(yaml.load(body, yaml.BaseLoader)["family"])  # the server has read and accepted it
        current = api.get(f"/specs/{quoted(family)}")
        answer = api.put(f"/specs/{quoted(family)}", body, current.revision)
    _tell_spec(answer.body, as_json)


def _document(file: IO[bytes]) -> bytes:
    """A file as it is: what it means is the server's to judge, in words that name the line or field.

    Raises:
        ClickException: larger than any that the server takes.
    """
    data = file.read(MOST_DOCUMENT_BYTES + 1)
    if len(data) > MOST_DOCUMENT_BYTES:
        raise click.ClickException(f"the file has more than {MOST_DOCUMENT_BYTES // 1024} KiB; nothing was sent")
    return data


def _change_command(verb: str, doc: str) -> None:
    @specs.command(verb, help=doc)
    @click.argument("family")
    @click.option("--why", "reason", default="", help="For the history.")
    @api_options
    def change(api: Api, as_json: bool, family: str, reason: str) -> None:
        _tell_spec(api.post(f"/specs/{quoted(family)}/{verb}", {"why": reason}).body, as_json)


_change_command("pause", "No prewarming by this spec until it is resumed.")
_change_command("resume", "Let it go on, close its circuit breaker, and try it again where it failed.")
_change_command("retire", "End it; its history stays.")


def _tell_spec(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        show_json(answer)
    else:
        say(f"{answer['family']} is {answer['state']}: revision {answer['revision']}, {answer['generation']}.")


@cli.command()
@click.argument("task_id")
@click.option("--kill/--no-kill", default=True, show_default=True, help="Stop it when it runs already.")
@api_options
def cancel(api: Api, as_json: bool, task_id: str, kill: bool) -> None:
    """Withdraw a task, and stop it when it runs."""
    answer = api.cancel(task_id, kill)
    if as_json:
        show_json(answer)
    elif answer.canceled:
        say(f"{task_id} {'is being stopped' if answer.was_running else 'was withdrawn'}.")
    else:
        raise click.ClickException(f"{task_id} was not stopped: it has ended, or is being stopped. Nothing changed.")


@cli.command()
@click.option("--why", "reason", default="", help="For the history.")
@api_options
def stop(api: Api, as_json: bool, reason: str) -> None:
    """Stop all prewarming; what warms now is stopped too. Real tasks go on."""
    _switch(api, as_json, True, reason)


@cli.command()
@click.option("--pool", default="", help="Only this pool, which went to shadow mode by itself.")
@click.option("--why", "reason", default="", help="For the history.")
@api_options
def start(api: Api, as_json: bool, pool: str, reason: str) -> None:
    """Let prewarming begin again."""
    if not pool:
        _switch(api, as_json, False, reason)
        return
    answer = api.post(f"/pools/{quoted(pool)}/start", {"why": reason}).body
    if as_json:
        show_json(answer)
    elif answer["started"]:
        say(f"{pool} hands out again; what it lost is forgiven.")
    else:
        say(f"{pool} was not in shadow mode by itself; nothing changed.")


def _switch(api: Api, as_json: bool, stopped: bool, reason: str) -> None:
    answer = api.post("/switch", {"stopped": stopped, "why": reason}).body
    if as_json:
        show_json(answer)
    else:
        say(f"Prewarming is {'stopped' if answer['stopped'] else 'on'}.")


@cli.group()
@api_options
def config(**_given: Any) -> None:
    """Thresholds per pool."""


@config.command("show")
@api_options
def show_config(api: Api, as_json: bool) -> None:
    """The config in force, as YAML."""
    answer = api.get("/config")
    if as_json:
        show_json(answer.body)
    else:
        click.echo(tables.as_yaml(answer.body["body"]), nl=False)


@config.command("set")
@click.argument("file", type=click.File("rb"))
@click.option("--base", "base_revision", type=int, required=True, help="Revision that FILE was made from.")
@api_options
def set_config(api: Api, as_json: bool, file: Any, base_revision: int) -> None:
    """Save FILE (YAML) as the next revision."""
    answer = api.put("/config", _document(file), base_revision)
    if as_json:
        show_json(answer.body)
    else:
        say(f"Revision {answer.revision} is in force.")


for command in (run, announce.announce, announce.announced, up.up, example.example, simulate.simulate, testing.test):
    cli.add_command(command)
