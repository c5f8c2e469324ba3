"""Data of the warm map: a square for each bot, as short as it can be told. See `static/map.js`, which draws it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handlers.ui.visit import Visit
from server.loaded_spec import LoadedSpec

ACTS = {"idle": "idle", "quiet": "idle", "busy": "busy", "background": "warming"}
OUT = ("quarantined", "maintenance", "silent", "dead")
ORDER = ("idle", "warming", "busy", *OUT)
COLD, DIRTY = "", "dirty"
SHARE_AT_FIRST, SHARE_AT_LAST = 0.08, 0.95


def map_data(visit: Visit, report: Mapping[str, Any]) -> dict[str, Any]:
    """Families by name, and per pool its bots: [id, act, [state of each slot], share done, since, words].

    A state is "" (cold), "dirty", a family, or "~family" for an old generation of it.
    """
    specs = visit.service.view.specs()
    bots: dict[str, list[list[Any]]] = {pool["pool"]: [] for pool in report["pools"]}
    held: dict[str, str] = {}
    for bot in report["bots"]:
        bots.setdefault(bot["pool"], []).append(_square(visit.now_s, bot, specs))
        for slot in bot["slots"].values():
            if slot["family"]:
                held[slot["family"]] = slot["generation"]
    for squares in bots.values():
        squares.sort(key=lambda square: (ORDER.index(square[1]), _by_state(square[2]), square[0]))
    pools = [
        {key: pool[key] for key in ("pool", "mode", "bots", "busy", "idle", "reserve")}
        | {"squares": bots[pool["pool"]]}
        for pool in report["pools"]
    ]
    return {
        "families": {family: _look(family, held[family], specs.get(family)) for family in sorted(held)},
        "pools": pools,
    }


def _square(now_s: float, bot: Mapping[str, Any], specs: Mapping[str, LoadedSpec]) -> list[Any]:
    act = bot["status"] if bot["status"] in OUT else ACTS[bot["status"]]
    states = [_state(slot) for slot in bot["slots"].values()] or [COLD]
    done = 0.0
    if act == "warming":
        aimed = [_state(slot) for slot in bot["slots"].values() if slot["phase"] == "warming"]
        states = (aimed or states)[:1] + [state for state in states if state not in aimed][:2]
        run_s = max((specs[name].policy.run_s for name in aimed if name in specs), default=60.0)
        done = min(SHARE_AT_LAST, max(SHARE_AT_FIRST, (now_s - bot["held_since_s"]) / max(1.0, run_s)))
    since_s = bot["held_since_s"] or bot["idle_since_s"]
    return [bot["id"], act, states[:3], round(done * 20) / 20, round(since_s), bot["status_text"]]


def _state(slot: Mapping[str, Any]) -> str:
    phase = slot["phase"]
    if phase == "dirty":
        return DIRTY
    if phase in ("cold", "unknown") or not slot["family"]:
        return COLD
    return f"~{slot['family']}" if phase == "stale" else str(slot["family"])


def _by_state(states: list[str]) -> tuple[bool, list[str]]:
    return states == [COLD], states


def _look(family: str, generation: str, spec: LoadedSpec | None) -> list[Any]:
    if spec is None:
        return [family[:2].upper(), sum(family.encode()) % 48, generation]
    return [spec.letters, spec.colour, spec.generation]
