"""What one revision changed, as lines of YAML with a mark before each."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from server import documents

CONTEXT_LINES = 2


def of(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lines as (mark, text): "+" new, "-" gone, " " as before, "@" where equal lines are left out."""
    found: list[tuple[str, str]] = []
    for line in list(difflib.unified_diff(_lines(before), _lines(after), lineterm="", n=CONTEXT_LINES))[2:]:
        if line.startswith("@@"):
            found.append(("@", "…"))
        else:
            found.append((line[0], line[1:]))
    return found[1:] if found and found[0][0] == "@" and before == {} else found


def _lines(body: Mapping[str, Any]) -> list[str]:
    return documents.dump_yaml(body).splitlines() if body else []
