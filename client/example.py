"""`pilot example`: the proof that idle bots get ready, run on this machine with real work, told by its own records."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from client import sample_repository, samples, tables
from client.api import ApiError, connect
from client.example_phases import POOL, Course, ExampleFailed, Stage, documents
from client.example_picture import draw
from client.example_records import Story, broken_claims, figures
from client.local_fleet import ROOT, FleetError, LocalFleet, free_port, of_system
from client.prpc import PrpcError
from client.sample_repository import GitFailed
from client.screen import note, out, show, show_json
from client.signals import Leave, ignored, raising_leave
from client.words import duration, size

RESULTS = ROOT / ".pilot" / "example"
FEWEST_BOTS = 4


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep everything in this new folder: data, bots with their caches, logs, results.",
)
@click.option(
    "--repo",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="PATH",
    help="A git repository to use instead of a made one; a copy is used.",
)
@click.option("--revision", default="", metavar="COMMIT", help="What of --repo to check out; default: its HEAD.")
@click.option(
    "--bots", type=click.IntRange(FEWEST_BOTS, 32), default=6, show_default=True, help="Bots on this machine."
)
@click.option(
    "--files", type=click.IntRange(60, 100_000), default=3000, show_default=True, help="Of the made repository."
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0: any free one.")
def example(
    as_json: bool, keep: Path | None, repo: Path | None, revision: str, bots: int, files: int, port: int
) -> None:
    """Show on this machine that prewarmed bots make tasks faster, with real git checkouts and builds.

    Takes about two minutes. Exits with 1 when something that Pilotlight claims did not happen.
    """
    if revision and not repo:
        raise click.UsageError("--revision names a commit of --repo")
    if keep and keep.exists() and any(keep.iterdir()):
        raise click.UsageError(f"--keep: {keep} is not empty")
    try:
        commit = sample_repository.commit_of(repo, revision) if repo else ""
    except GitFailed as error:
        raise click.ClickException(str(error)) from error
    folder = keep.absolute() if keep else Path(tempfile.mkdtemp(prefix="pilotlight-example-"))
    began_s = time.monotonic()
    try:
        with raising_leave():
            story, trouble = _play(folder, repo, commit, [f"bot-{n}" for n in range(1, bots + 1)], files, port)
    except (FleetError, GitFailed, ApiError, PrpcError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(of_system(error)) from error
    except Leave as leave:
        raise click.exceptions.Exit(leave.exit_code) from None
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    picture = _keep_results(story, folder if keep else RESULTS)
    _tell(story, as_json, picture, time.monotonic() - began_s)
    broken = list(dict.fromkeys([*([trouble] if trouble else []), *broken_claims(story)]))
    for sentence in broken:
        note(f"not shown: {sentence}")
    raise click.exceptions.Exit(1 if broken else 0)


def _play(
    folder: Path, repo: Path | None, wanted: str, bots: Sequence[str], files: int, port: int
) -> tuple[Story, str]:
    """Everything between the first process and the last; also what it failed at, "" when it came to its end."""
    folder.mkdir(parents=True, exist_ok=True)
    work = folder / "work"
    commit = _make_work(work, repo, wanted, files)
    config = work / "config.yaml"
    config.write_text(yaml.safe_dump(documents()["config"]), encoding="utf-8")
    fleet = LocalFleet(folder / "data", port or free_port(), {"PILOTLIGHT_CONFIG_FILE": str(config)})
    fleet.take_folder()
    try:
        note(f"starting a server and {len(bots)} bots")
        fleet.start_server()
        fleet.start_bots(bots, POOL)
        course = Course(Stage(connect(fleet.url), work, list(bots), note), commit)
        try:
            course.run()
        except ExampleFailed as error:
            return course.story, str(error)
        return course.story, ""
    finally:
        with ignored():
            fleet.stop()


def _make_work(work: Path, repo: Path | None, commit: str, files: int) -> str:
    work.mkdir()
    shutil.copyfile(samples.SCRIPT, work / samples.SCRIPT.name)
    if repo:
        note(f"copying {repo}")
        return sample_repository.copy_repository(repo, work / samples.REPOSITORY, commit)
    note(f"making a git repository of {files:,} files")
    return sample_repository.make_repository(work / samples.REPOSITORY, files)


def _keep_results(story: Story, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "example.json").write_text(json.dumps(figures(story), indent=2) + "\n", encoding="utf-8")
    picture = folder / "example.svg"
    picture.write_text(draw(story), encoding="utf-8")
    return picture


def _tell(story: Story, as_json: bool, picture: Path, took_s: float) -> None:
    found = figures(story)
    if as_json:
        show_json(found)
    else:
        show(_sheet(found["tasks"]), "No task ran.")
        for line in _sentences(found):
            out().print(line)
    note(f"the picture is in {picture}; all of it took {duration(took_s)}")


def _sheet(tasks: Sequence[dict[str, Any]]) -> tables.Sheet:
    sheet = tables.Sheet(["task", "phase", "bot", "revision", ">in the cache", "found", ">useful after"])
    for task in tasks:
        useful_s = task["submit_to_useful_s"]
        sheet.add(
            task["id"],
            task["phase"],
            task["bot"],
            task["revision"][:10],
            size(task["cache_bytes_before"]) if task["cache_bytes_before"] else "nothing",
            tables.Cell("warm", tables.GOOD) if task["warm"] else tables.Cell("cold", tables.DIM),
            "" if useful_s is None else duration(useful_s),
        )
    return sheet


def _sentences(found: dict[str, Any]) -> list[str]:
    lines = []
    for name in ("cold", "warm"):
        part = found[name]
        if part["n"]:
            mean, median = duration(part["mean_s"]), duration(part["p50_s"])
            lines.append(f"{name}: {part['n']} tasks, useful after {mean} in the mean, {median} in the median")
    spent = duration(found["background_s"])
    lines.append(f"spent: {spent} in the background, {found['prewarms']} prewarms, {found['used']} of them used")
    lines.append(f"warmed for the old generation after the new one was registered: {found['stale_after_rollover']}")
    if found["preempt_start_s"] is not None:
        lines.append(
            f"a bot taken back from background work started its task after {duration(found['preempt_start_s'])}"
        )
    return lines
