"""Rules of import that the contract linter cannot say: it sees `google` as one package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_KNOW_NDB = ("server/records/", "server/store/")
FOLDERS = ("server", "handlers", "client")
SOURCES = sorted(path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def imported(path: str) -> set[str]:
    """Full names of everything that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", [path for path in SOURCES if not path.startswith(MAY_KNOW_NDB)])
def test_only_records_and_store_know_ndb(path: str) -> None:
    assert not {name for name in imported(path) if name.startswith("google.cloud.ndb")}


@pytest.mark.parametrize("path", [path for path in SOURCES if path.startswith("server/")])
def test_nobody_starts_a_transaction_but_the_store(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    assert path.startswith("server/store/") or "ndb.transaction" not in text
