"""A good prewarm spec, and changes to it."""

from __future__ import annotations

import copy

BODY = {
    "family": "chromium-src",
    "generation": "r1",
    "pool": "builders",
    "dimensions": {"os": "Linux|Ubuntu", "cores": ["8", "16"]},
    "makes": {"named_cache": "chromium_src"},
    "task": {
        "command": ["python3", "sync.py"],
        "env": {"DEPTH": "1"},
        "caches": [{"name": "chromium_src", "path": "src"}],
        "execution_timeout_s": 600,
    },
    "cold_cost_s": 200,
    "run_s": 300,
}


def body(**changes) -> dict:
    """A good spec with changes; names with two underscores go deeper."""
    found = copy.deepcopy(BODY)
    for path, value in changes.items():
        place = found
        *outer, last = path.split("__")
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = value
    return found
