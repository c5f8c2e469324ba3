"""`pilot up`: a server and some bots on this machine, with samples to try."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path

import click

from client import samples
from client.api import Api, ApiError, connect, quoted
from client.keep_up import KeepUp
from client.local_fleet import ROOT, FleetError, LocalFleet, of_system
from client.prpc import PrpcClient, PrpcError, Retry
from client.sample_repository import GitFailed
from client.screen import note, say
from client.signals import Leave, ignored, raising_leave
from client.tables import value_of_tag

DEFAULT_DATA = ROOT / ".pilot" / "data"
DEFAULT_PORT = 8080
POOL = "local"
LOOK_EVERY_S = 0.5
ASK_WITHIN_S = 2.0


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DATA,
    show_default=True,
    help="Folder of all that is kept.",
)
@click.option("--bots", type=click.IntRange(0, 64), default=2, show_default=True, help="Bots on this machine.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes of the server.")
@click.option("--no-samples", is_flag=True, help="Neither sample pool nor sample spec.")
def up(port: int, data: Path, bots: int, workers: int, no_samples: bool) -> None:
    """Start a server and bots on this machine; Ctrl-C stops all, the next start goes on with the same data."""
    folder = data.absolute()
    settings = {"PILOTLIGHT_WORKERS": str(workers)}
    fleet = LocalFleet(folder, port, settings, inherits=True)
    try:
        with raising_leave():
            try:
                _bring_up(fleet, bots, not no_samples)
                _watch(fleet)
            except Leave:
                with ignored():
                    note(f"stopping{_what_is_handed_back(fleet)}")
            finally:
                with ignored():
                    fleet.stop()
    except FleetError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(of_system(error)) from error
    note(f"stopped; ./pilot up goes on with {folder}")


def _bring_up(fleet: LocalFleet, bots: int, with_samples: bool) -> None:
    for name in fleet.take_folder():
        note(f"{name} was still running since a start that was killed; stopped it")
    if with_samples:
        config = samples.config_for(fleet.folder / "sample", bots)
        fleet.settings = {**fleet.settings, "PILOTLIGHT_CONFIG_FILE": str(config)}
    note(f"starting the server on http://localhost:{fleet.port}, data in {fleet.folder}")
    fleet.start_server()
    sample = _register_sample(fleet) if with_samples else None
    ids = [f"local-{number}" for number in range(1, bots + 1)]
    if ids:
        note(f"starting {', '.join(ids)}")
        fleet.start_bots(ids, POOL)
    _say_what_next(fleet, ids, sample)


def _register_sample(fleet: LocalFleet) -> samples.Sample | None:
    """Once per data folder: a spec that somebody changed or retired stays as it is."""
    try:
        sample = samples.place(fleet.folder / "sample")
    except GitFailed as error:
        note(f"no sample spec: {error}")
        return None
    api = connect(fleet.url, _token())
    spec = samples.spec_for(sample)
    try:
        api.get(f"/specs/{quoted(spec['family'])}")
    except ApiError as error:
        if error.status != 404:
            note(f"no sample spec: {error.text}")
            return None
        try:
            api.post("/specs", spec)
        except ApiError as refused:
            note(f"no sample spec: {refused.text} {refused.errors or ''}".rstrip())
            return None
        note(f"registered the sample pool {POOL} and the sample spec {spec['family']}")
    return sample


def _token() -> str | None:
    path = os.environ.get("PILOTLIGHT_TOKEN_FILE")
    return Path(path).read_text(encoding="utf-8").strip() if path else None


def _say_what_next(fleet: LocalFleet, ids: list[str], sample: samples.Sample | None) -> None:
    server = "" if fleet.port == DEFAULT_PORT else f" --server http://localhost:{fleet.port}"
    lines = ["", f"Pilotlight is up: http://localhost:{fleet.port}   (Ctrl-C stops it)", ""]
    if ids:
        lines += ["In another terminal:", f"  ./pilot run{server} --pool {POOL} -- python3 -c \"print('hi')\""]
    else:
        lines += [f"Start a bot: curl -sSf {fleet.url}/bootstrap | python3 - --pool POOL"]
    if ids and sample:
        script = shlex.quote(str(sample.script))
        lines += [
            f"  ./pilot run{server} --pool {POOL} --cache sample_src=cache -- python3 {script}",
            *_what_the_sample_shows(fleet, len(ids)),
            f"  ./pilot warm{server}",
            "      what is warm; ./pilot bots, tasks, specs and why BOT tell the rest",
        ]
    for line in lines:
        say(line)


def _what_the_sample_shows(fleet: LocalFleet, bots: int) -> list[str]:
    reserve = _reserve(fleet)
    if reserve < bots:
        return [
            "      checks out, builds and tests on a bot that got ready for it while it was idle (in some 20 s);",
            "      without --cache it finds nothing and takes as long as all that takes",
        ]
    return [
        f"      checks out, builds and tests. No bot gets ready for it: the pool keeps {reserve} idle (reserve_min),",
        f"      and has {bots}. --bots {reserve + 1} or a smaller reserve_min on /config/pools/{POOL} changes it",
    ]


def _reserve(fleet: LocalFleet) -> int:
    """How many bots of the sample pool stay untouched, by the config that the data folder has; 0 if it is not told."""
    try:
        config = connect(fleet.url, _token()).get("/config").body["body"]
    except ApiError:
        return 0
    return int({**config["defaults"], **config["pools"].get(POOL, {})}["reserve_min"])


def _watch(fleet: LocalFleet) -> None:
    """Until a signal comes.

    Raises:
        FleetError: the server cannot be kept up.
    """
    keep_up = KeepUp(fleet, note)
    while True:
        keep_up.look(time.monotonic())
        time.sleep(LOOK_EVERY_S)


def _what_is_handed_back(fleet: LocalFleet) -> str:
    """Real tasks that run on our bots now, for the line that says that all stops; "" for none, or no answer."""
    api = Api(PrpcClient(fleet.url, _token(), timeout_s=ASK_WITHIN_S, retry=Retry(total_s=0.0)))
    ours = {bot.name for bot in fleet.bots}
    try:
        running = api.tasks(state="QUERY_RUNNING")
    except PrpcError:
        return ""
    lost = [task for task in running if task.bot_id in ours and not value_of_tag(task.tags, "purpose")]
    return "".join(f"; {task.bot_id} hands {task.task_id} back" for task in lost)
