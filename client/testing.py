"""`pilot test`: linters, types, import contracts and tests, as CI runs them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from client.local_fleet import ROOT
from client.screen import note
from client.words import duration

REQUIREMENTS = ("requirements.txt", "tests/requirements.txt")
TAIL_LINES = 15
TYPED = ("server", "handlers", "bot", "client", "main.py")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: Sequence[str]) -> None:
    """Run all checks; with ARGUMENTS run pytest alone, with these. Those of Google's emulator run with -m emulator."""
    _install()
    if arguments:
        sys.exit(_run("pytest", ["-m", "pytest", *arguments]))
    checks = {
        "ruff": ["-m", "ruff", "check", "."],
        "mypy": ["-m", "mypy", *TYPED],
        "import contracts": ["-c", "from importlinter.cli import lint_imports_command as run; run()"],
        "pytest": ["-m", "pytest", "-m", "not emulator and not processes", "-n", "auto", "--maxprocesses", "4"],
        # Those that start processes keep time limits: each has the machine for itself.
        "pytest with processes": ["-m", "pytest", "-m", "processes and not emulator"],
    }
    failed = [name for name, command in checks.items() if _run(name, command)]
    if failed:
        raise click.ClickException(f"failed: {', '.join(failed)}")
    note("all checks passed")


def _run(name: str, command: Sequence[str]) -> int:
    note(f"{name} …")
    began_s = time.monotonic()
    code = subprocess.run([sys.executable, *command], cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode
    note(f"{name}: {'passed' if not code else f'failed with code {code}'} after {duration(time.monotonic() - began_s)}")
    return code


def _install() -> None:
    """What tests need beyond the server, into the environment that this runs in, when that has changed.

    Raises:
        ClickException: it cannot be installed.
    """
    digest = hashlib.sha256()
    for name in REQUIREMENTS:
        digest.update((ROOT / name).read_bytes())
    stamp = Path(sys.prefix) / "tests.stamp"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest.hexdigest():
        return
    note("installing what the tests need, once")
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "-r", REQUIREMENTS[-1]]
    said: list[str] = []
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as pip:  # type: ignore[call-overload]
        for line in pip.stdout:
            said.append(line)
            if line.startswith("Collecting "):
                note(f"  fetching {line.split()[1]}")
    if pip.returncode:
        text = "".join(said[-TAIL_LINES:])
        raise click.ClickException(f"the tests' requirements could not be installed; pip said:\n{text}")
    stamp.write_text(digest.hexdigest(), encoding="utf-8")
