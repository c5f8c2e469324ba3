"""`./pilot simulate`: the server's own simulator, in a process of its own; no server needs to run."""

from __future__ import annotations

import os
import subprocess
import sys

import click

from client.local_fleet import ROOT


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []},
    short_help="Replay a trace under the server's policy and its baselines.",
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def simulate(arguments: tuple[str, ...]) -> None:
    """Replays a trace under the server's policy and its baselines; --help tells the options."""
    # -P: what is called `main` where the user happens to stand is none of ours.
    command = [sys.executable, "-P", "-c", "import main; main.cli(prog_name='pilot')", "simulate", *arguments]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    if done.returncode:
        raise click.exceptions.Exit(done.returncode)
