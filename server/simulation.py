"""`python main.py simulate`: replays a trace under the server's policy and its baselines, and compares them.

Here are the edges of the simulator: files, seeds, the screen. All that decides is in `server/policy/simulate`.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import multiprocessing
import os
import random
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from server import raster
from server.config import PoolConfig
from server.policy.model import Thresholds
from server.policy.simulate import chart, replay, report, trace
from server.policy.simulate.announced import Heralds, announcements
from server.policy.simulate.options import REAL_FAILURES, REAL_HEAR_S, REAL_LIVES_S, Options
from server.policy.simulate.svg import svg
from server.policy.simulate.watch import windows

AUTO = "auto"
GZIP = b"\x1f\x8b"
TEXT: dict[str, Any] = {"encoding": "utf-8-sig", "newline": ""}
NO_HERALDS = Heralds()


@dataclass(frozen=True, slots=True)
class Study:
    """What is replayed: the policies, how often, and how arrivals differ between replicas."""

    policies: Sequence[str] = replay.POLICIES
    replicas: int = 5
    jitter_s: float = 60.0
    seed: int = 1
    heralds: Heralds = NO_HERALDS
    """What is announced of the arrivals."""
    jobs: int = 1
    """Processes that replay; 1 replays in this one."""
    watch: bool = False
    """The first replica is looked at for pictures."""


def load(path: Path) -> list[trace.Arrival]:
    """Arrivals of a trace file, gzip'd or plain CSV, whatever it is called.

    Raises:
        trace.BadTrace: it is not in the common form, or empty.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        is_packed = file.read(len(GZIP)) == GZIP
    try:
        with gzip.open(path, "rt", **TEXT) if is_packed else path.open(**TEXT) as lines:
            found = trace.read(lines)
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile, zlib.error, csv.Error) as error:
        raise trace.BadTrace(f"neither a CSV in UTF-8 nor one that gzip packed: {error}") from error
    if not found:
        raise trace.BadTrace("it has no arrivals")
    return found


def thresholds() -> Thresholds:
    """The settings of a pool by default, live."""
    return replace(PoolConfig().thresholds(), mode="live")


def run(
    arrivals: Sequence[trace.Arrival],
    options: Options,
    study: Study,
    settings: Thresholds,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, list[replay.Path]]:
    """All policies on the same replicas, in the order of the study. What started is kept of the first replica alone."""
    given = arrivals, options, study, settings
    units = [(name, number) for number in range(study.replicas) for name in study.policies]
    if study.jobs == 1 or len(units) == 1:
        found = {}
        for name, number in units:
            tell(f"replica {number + 1} of {study.replicas}: {name}")
            found[name, number] = _replica(*given, name, number)
    else:
        found = _in_processes(given, units, tell)
    return {name: [found[name, number] for number in range(study.replicas)] for name in study.policies}


Given = tuple[Sequence[trace.Arrival], Options, Study, Thresholds]
Unit = tuple[str, int]


def _replica(
    arrivals: Sequence[trace.Arrival], options: Options, study: Study, settings: Thresholds, name: str, number: int
) -> replay.Path:
    """One policy on one replica; seeds depend on the replica alone, so all policies meet the same."""
    seed = 1000 * study.seed + number
    path = trace.jittered(arrivals, random.Random(seed), study.jitter_s)
    announced = announcements(path, study.heralds, random.Random(seed + 700)) if study.heralds.share else ()
    watched = windows(path) if study.watch and number == 0 else ()
    found = replay.replay(name, path, options, random.Random(seed + 500), settings, announced, watched)
    return found if number == 0 else replace(found, started=(), occupied=())


def _in_processes(given: Given, units: Sequence[Unit], tell: Callable[[str], None]) -> dict[Unit, replay.Path]:
    # Spawned, since who calls this may have threads.
    context = multiprocessing.get_context("spawn")
    study, found = given[2], {}
    with ProcessPoolExecutor(min(study.jobs, len(units)), context, _take, (given,)) as pool:
        waiting = {pool.submit(_taken_replica, unit): unit for unit in units}
        for done in as_completed(waiting):
            found[waiting[done]] = done.result()
            tell(f"{len(found)} of {len(units)} replays done")
    return found


_given: Given | None = None
"""What a process of the pool replays, sent once."""


def _take(given: Given) -> None:
    global _given
    _given = given


def _taken_replica(unit: Unit) -> replay.Path:
    assert _given is not None
    return _replica(*_given, *unit)


def answer(name: str, options: Options, paths: dict[str, list[replay.Path]]) -> dict[str, Any]:
    """The comparison as plain JSON values."""
    return {
        "trace": name,
        "bots": options.bots,
        "cold_s": options.cold_s,
        "slots": options.slots,
        "ideal": options.ideal,
        "policies": report.figures(paths),
    }


COLUMNS = ["policy", "mean", "p50", "p95", "p99", "queue_p99", "warm", "of_ceiling"]
COLUMNS += ["prewarms", "used", "stale", "saved_h", "spent_h"]


def _rows(answered: dict[str, Any]) -> Iterator[list[str]]:
    """The comparison in words; times in seconds, what was saved and spent in hours of all tasks and bots."""
    for name, row in answered["policies"].items():
        share, saved = row["ceiling_share"], row["saved_s"]
        yield [
            name,
            *(f"{row[key]:.1f}" for key in ("mean_s", "p50_s", "p95_s", "p99_s", "queue_p99_s")),
            f"{row['warm_rate']:.0%}",
            "" if share is None else f"{share:.0%}",
            *(f"{row[key]:.0f}" for key in ("prewarms", "used", "stale")),
            "" if saved is None else f"{saved / 3600:.1f}",
            f"{row['background_s'] / 3600:.1f}",
        ]


def _show(title: str, answered: dict[str, Any]) -> None:
    """A table on a terminal, lines with tabs in a pipe."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    if not sys.stdout.isatty():
        for row in [COLUMNS, *_rows(answered)]:
            click.echo("\t".join(row))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for name in COLUMNS:
        table.add_column(name.replace("_", " "), justify="left" if name == "policy" else "right")
    for row in _rows(answered):
        table.add_row(*row)
    Console(highlight=False).print(table)


def _plots(folder: Path, name: str, paths: dict[str, list[replay.Path]]) -> list[Path]:
    """Writes the figures of the first replica, as SVG, and as PNG where Pillow is installed."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for kind, figure in chart.figures({policy: found[0] for policy, found in paths.items()}, name).items():
        file = folder / f"{name}-{kind}.svg"
        file.write_text(svg(figure), encoding="utf-8")
        written.append(file)
        if raster.can_draw():
            file = file.with_suffix(".png")
            file.write_bytes(raster.png(figure))
            written.append(file)
    return written


def _names(_context: click.Context, _parameter: click.Parameter, given: str) -> list[str]:
    names = [name.strip() for name in given.split(",") if name.strip()]
    unknown = [name for name in names if name not in (*replay.POLICIES, replay.CLEAN_AT_ONCE)]
    if unknown or not names:
        raise click.BadParameter(f"choose among {', '.join(replay.POLICIES)}")
    return names


def _spare_processors() -> int:
    return max(1, (os.cpu_count() or 1) - 1)


class _Within(click.FloatRange):
    """A number within these limits, which "nan" is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found: float = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value} is no number", param, ctx)
        return found


MOST_S = 30 * trace.DAY_S
TIME, SHARE, SHARE_FALSE = _Within(0.0, MOST_S), _Within(0.0, 1.0), _Within(0.0, 0.9)
DAYS = _Within(0.01, trace.LONGEST_S / trace.DAY_S)


@click.command()
@click.argument("file", metavar="TRACE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--bots", default=AUTO, show_default=True, help="How many bots; auto sizes the fleet by --utilization.")
@click.option("--utilization", type=_Within(0.01, 0.99), default=0.6, show_default=True, help="Busy hour.")
@click.option("--cold-s", type=_Within(0.1, MOST_S), default=60.0, show_default=True, help="A cold start.")
@click.option("--warm-s", type=TIME, default=2.0, show_default=True, help="A warm start.")
@click.option("--slots", type=click.IntRange(1, 100), default=1, show_default=True, help="States per bot.")
@click.option("--replicas", type=click.IntRange(1, 100), default=5, show_default=True)
@click.option("--jitter-s", type=TIME, default=60.0, show_default=True, help="Of arrivals, ±.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--announce-share", type=SHARE, default=0.0, show_default=True, help="Of the tasks, said ahead.")
@click.option("--announce-lead-s", type=TIME, default=600.0, show_default=True, help="So long ahead.")
@click.option("--announce-false", type=SHARE_FALSE, default=0.0, show_default=True, help="Of what is announced.")
@click.option("--clean-s", type=TIME, default=0.0, show_default=True, help="A clean-up, owed after each task.")
@click.option("--policies", default=",".join(replay.POLICIES), show_default=True, callback=_names)
@click.option("--first-days", type=DAYS, help="Only the beginning of the trace.")
@click.option("--ideal", is_flag=True, help="Everybody hears at once, nothing fails.")
@click.option("--sleeping-polls", is_flag=True, help="Bots sleep between polls, as bots that are not ours do.")
@click.option("--plots", type=click.Path(file_okay=False, path_type=Path), help="Folder for plots (SVG, PNG).")
@click.option("--jobs", type=click.IntRange(1, 256), default=_spare_processors, help="Processes. [default: CPUs − 1]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def simulate(file: Path, bots: str, utilization: float, policies: list[str], as_json: bool, **given: Any) -> None:
    """Replays TRACE (gzip'd CSV) in virtual time under the server's policy and its baselines."""
    try:
        arrivals = load(file)
    except trace.BadTrace as error:
        raise click.ClickException(f"{file}: {error}") from error
    if given["first_days"]:
        arrivals = [arrival for arrival in arrivals if arrival.submit_s < given["first_days"] * trace.DAY_S]
        if not arrivals:
            raise click.ClickException(f"{file}: nothing arrives in the first {given['first_days']:g} days")
    heralds = Heralds(given["announce_share"], given["announce_lead_s"], given["announce_false"])
    study = Study(policies, given["replicas"], given["jitter_s"], given["seed"], heralds, given["jobs"])
    study = replace(study, watch=bool(given["plots"]))
    options = _options(given)
    size = _size(bots, arrivals, options, study.seed, utilization)
    options = replace(options, bots=size, clean_s=given["clean_s"])
    if not given["ideal"]:
        options = replace(options, bot_lives_s=REAL_LIVES_S, prewarm_failures=REAL_FAILURES)
    paths = run(arrivals, options, study, thresholds(), _teller())
    name = file.name.removesuffix(".gz").removesuffix(".csv")
    answered = answer(name, options, paths)
    if given["plots"]:
        for written in _plots(given["plots"], name, paths):
            click.echo(f"wrote {written}", err=True)
        if not raster.can_draw():
            click.echo("no PNG: Pillow draws them, and it is not installed", err=True)
    if as_json:
        click.echo(json.dumps(answered, indent=2))
    else:
        world = "in an ideal world" if options.ideal else "with delays and failures"
        fleet = f"{size} bots with {options.slots} states each, cold start {options.cold_s:g} s"
        _show(f"{name}: {fleet}, {world}.", answered)


def _size(bots: str, arrivals: Sequence[trace.Arrival], options: Options, seed: int, utilization: float) -> int:
    if bots == AUTO:
        return replay.fleet_size(arrivals, options, random.Random(seed), utilization)
    if bots.isdigit() and int(bots) > 0:
        return int(bots)
    raise click.BadParameter("a number of bots, or auto", param_hint="--bots")


def _teller() -> Callable[[str], None]:
    """Progress, where somebody watches."""
    return (lambda text: click.echo(text, err=True)) if sys.stderr.isatty() else (lambda text: None)


def _options(given: dict[str, Any]) -> Options:
    """The costs and delays; failures and clean-ups come in after the fleet is sized."""
    options = Options(1, cold_s=given["cold_s"], warm_s=given["warm_s"], slots=given["slots"])
    if given["ideal"]:
        return options
    return replace(options, hear_s=REAL_HEAR_S, sleeping_polls=given["sleeping_polls"])
