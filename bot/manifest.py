"""What a `run` answer asks for, checked before anything of it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

DEFAULT_GRACE_S = 30.0
DEFAULT_KEEP_ALIVE_S = 10.0


class BadManifest(Exception):
    """The bot cannot run this: the fault is the server's or the bot's, not the command's."""


@dataclass(frozen=True)
class CacheRequest:
    """A named cache that the command wants at `path` of its run directory."""

    name: str
    path: str
    hint_bytes: int  # expected size, -1 when unknown


@dataclass(frozen=True)
class Manifest:
    """One run, in the words of the Swarming manifest; times in seconds, 0 = no limit."""

    task_id: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    env_prefixes: Mapping[str, tuple[str, ...]]
    relative_cwd: str
    caches: tuple[CacheRequest, ...]
    hard_timeout_s: float
    io_timeout_s: float
    grace_s: float
    purpose: str  # "" for a real task, else why it runs in the background
    keep_alive_s: float = DEFAULT_KEEP_ALIVE_S  # longest silence towards the server
    claim_no: int | None = None  # the server's number of this claim, if it says so; for the journal

    @property
    def background(self) -> bool:
        """Whether real work may preempt it."""
        return bool(self.purpose)


def parse(raw: Mapping[str, Any]) -> Manifest:
    """Reads a manifest.

    Raises:
        BadManifest: a field has the wrong shape, or asks for what this bot does not have.
    """
    if not isinstance(raw, Mapping):
        raise BadManifest("manifest: not an object")
    _refuse_unsupported(raw)
    prefixes = _mapping(raw, "env_prefixes")
    return Manifest(
        task_id=task_id_of(raw),
        command=_strings(raw, "command"),
        env={key: _string(value, f"env[{key}]") for key, value in _mapping(raw, "env").items()},
        env_prefixes={key: _string_list(value, f"env_prefixes[{key}]") for key, value in prefixes.items()},
        relative_cwd=_string(raw.get("relative_cwd") or "", "relative_cwd"),
        caches=_caches(raw.get("caches")),
        hard_timeout_s=_seconds(raw, "hard_timeout", 0.0),
        io_timeout_s=_seconds(raw, "io_timeout", 0.0),
        grace_s=_seconds(raw, "grace_period", DEFAULT_GRACE_S),
        purpose=_string(raw.get("purpose") or "", "purpose"),
        keep_alive_s=_seconds(raw, "pilotlight_keep_alive_s", DEFAULT_KEEP_ALIVE_S) or DEFAULT_KEEP_ALIVE_S,
        claim_no=raw["pilotlight_claim"] if isinstance(raw.get("pilotlight_claim"), int) else None,
    )


def task_id_of(raw: Mapping[str, Any]) -> str:
    """The run's id, the one field without which nothing can even be reported.

    Raises:
        BadManifest: there is none.
    """
    value = raw.get("task_id") if isinstance(raw, Mapping) else None
    if not isinstance(value, str) or not value.isalnum():
        raise BadManifest(f"task_id: {value!r} is no task id")
    return value


def is_inside(path: str) -> bool:
    """Whether a relative path names something below its starting point, on any system."""
    parts = PurePosixPath(path.replace("\\", "/")).parts
    return bool(parts) and not path.startswith(("/", "\\")) and ":" not in parts[0] and ".." not in parts


def _refuse_unsupported(raw: Mapping[str, Any]) -> None:
    cipd = raw.get("cipd_input") or {}
    wanted = {
        "cas_input_root": bool(raw.get("cas_input_root")),
        "cipd_input.packages": isinstance(cipd, Mapping) and bool(cipd.get("packages")),
        "secret_bytes": bool(raw.get("secret_bytes")),
    }
    for field, present in wanted.items():
        if present:
            raise BadManifest(f"{field}: this bot does not support it")


def _caches(raw: Any) -> tuple[CacheRequest, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, list) or not all(isinstance(entry, Mapping) for entry in raw):
        raise BadManifest("caches: not a list of objects")
    found = [
        CacheRequest(_string(e.get("name"), "caches.name"), _string(e.get("path"), "caches.path"), _hint(e.get("hint")))
        for e in raw
    ]
    if len({cache.name for cache in found}) < len(found):
        raise BadManifest("caches: a name occurs twice")
    taken: list[tuple[str, ...]] = []
    for cache in found:
        if not is_inside(cache.path):
            raise BadManifest(f"caches: path {cache.path!r} leaves the run directory")
        parts = PurePosixPath(cache.path.replace("\\", "/")).parts
        if any(parts[: len(other)] == other[: len(parts)] for other in taken):
            raise BadManifest(f"caches: path {cache.path!r} lies in another cache, or around it")
        taken.append(parts)
    return tuple(found)


def _hint(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return -1


def _string(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise BadManifest(f"{field}: not a string")
    return value


def _strings(raw: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value = raw.get(field)
    return _string_list([] if value is None else value, field)


def _string_list(value: Any, field: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadManifest(f"{field}: not a list of strings")
    return tuple(value)


def _mapping(raw: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = raw.get(field)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise BadManifest(f"{field}: not an object")
    return value


def _seconds(raw: Mapping[str, Any], field: str, default: float) -> float:
    value = raw.get(field)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        raise BadManifest(f"{field}: {value!r} is no number of seconds")
    return float(value)
