"""`python -m tests.faults.faulty_server serve …`: the server, in which a test can make a worker die or go blind.

A fault is a file in the folder that FAULT_FOLDER names. `die_after_NAME` kills, once, the worker that has committed
that step and has not answered yet; `frozen.PID` keeps a worker's view of the fleet as it is while the file is there;
`cover` turns every prewarm into a warm-up on demand for the task that the file names.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import main
from server import prewarm_gate, task_scheduler
from server.fleet_view import FleetView
from server.policy import model, outcome

FOLDER = "FAULT_FOLDER"


def dies_after(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
    """The step, after which the process may be killed."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        outcome = step(*args, **kwargs)
        if _armed(f"die_after_{name}"):
            os.kill(os.getpid(), signal.SIGKILL)
        return outcome

    return wrapped


def _armed(name: str) -> bool:
    """Whether the fault was asked for; it happens once."""
    try:
        (Path(os.environ[FOLDER]) / name).unlink()
        return True
    except FileNotFoundError:
        return False


def freezes(refresh: Callable[..., bool]) -> Callable[..., bool]:
    """The refresh of a view, which does nothing while this process is frozen."""

    def wrapped(view: FleetView, *args: Any, **kwargs: Any) -> bool:
        if (Path(os.environ[FOLDER]) / f"frozen.{os.getpid()}").exists():
            return False
        return refresh(view, *args, **kwargs)

    return wrapped


def covers(claim: Callable[..., Any]) -> Callable[..., Any]:
    """The background claim, whose hand-out is said to be for a certain waiting task."""

    def wrapped(service: Any, token: Any, pool: str, hand_out: outcome.HandOut, *found: Any) -> Any:
        file = Path(os.environ[FOLDER]) / "cover"
        if file.exists():
            hand_out = replace(hand_out, purpose=model.Purpose.ON_DEMAND, for_task=file.read_text())
        return claim(service, token, pool, hand_out, *found)

    return wrapped


def install() -> None:
    """Puts the faults where they belong."""
    task_scheduler.claim = dies_after("claim", task_scheduler.claim)
    task_scheduler.start = dies_after("start", task_scheduler.start)
    task_scheduler.end = dies_after("end", task_scheduler.end)
    prewarm_gate.claim_background = covers(prewarm_gate.claim_background)
    FleetView.refresh = freezes(FleetView.refresh)  # type: ignore[method-assign]


if __name__ == "__main__":
    install()
    main.cli()
