"""The manifest of a `run` answer, as Swarming bots read it. Source: the recorded bot protocol, section 5."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from server.task_ids import run_id

if TYPE_CHECKING:
    from server.task_scheduler import Delivery


def manifest(delivery: Delivery, bot_id: str, authenticated_as: str, keep_alive_s: float) -> dict[str, Any]:
    """What the bot needs to run a task.

    For our own bot alone are `purpose` (where its calls are not held it reports background runs every second) and what
    begins with `pilotlight_`; `keep_alive_s` is how long it may be silent within a run.
    """
    properties = delivery.slice["properties"]
    return {
        "task_id": run_id(delivery.task_id),
        "bot_id": bot_id,
        "bot_authenticated_as": authenticated_as,
        "bot_dimensions": delivery.bot_dimensions,
        "dimensions": {key: "|".join(values) for key, values in delivery.slice["dimensions"]},
        "command": list(properties.get("command", [])),
        "env": {pair["key"]: pair["value"] for pair in properties.get("env", [])},
        "env_prefixes": {pair["key"]: list(pair["value"]) for pair in properties.get("env_prefixes", [])},
        "relative_cwd": properties.get("relative_cwd") or None,
        "caches": [{"name": c["name"], "path": c["path"], "hint": "-1"} for c in properties.get("caches", [])],
        "outputs": list(properties.get("outputs", [])),
        "hard_timeout": properties.get("execution_timeout_secs", 0),
        "io_timeout": properties.get("io_timeout_secs", 0),
        "grace_period": properties.get("grace_period_secs", 0),
        "cas_input_root": properties.get("cas_input_root"),
        "cipd_input": properties.get("cipd_input"),
        "secret_bytes": properties.get("secret_bytes") or None,
        "service_accounts": {"system": {"service_account": "none"}, "task": {"service_account": "none"}},
        "realm": {},
        "resultdb": None,
        "host": "",
        "purpose": delivery.purpose,
        "pilotlight_claim": delivery.n,
        "pilotlight_keep_alive_s": keep_alive_s,
    }
