"""What a look at the top of a cache tells: whether anything came or went there, and which commits are checked out."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

MOST_HEADS = 8
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REF = re.compile(r"ref: (refs/[^\x00-\x20]+)")
_LARGEST_REFS = 4 * 2**20


@dataclass(frozen=True)
class Look:
    """What was seen of one cache.

    Attributes:
        stamp: differs when something came, went or changed at the top of the cache or directly below.
        folders: its own folders that hold something.
        heads: commits that git checkouts in it and in its folders are at; none when there are too many to tell.
    """

    stamp: tuple[object, ...]
    folders: frozenset[str]
    heads: tuple[str, ...]


def look(cache: Path) -> Look:
    """Looks at a cache: a few calls of the system for each entry at its top.

    Raises:
        OSError: it is not there any more.
    """
    entries: list[tuple[str, int]] = []
    folders: list[str] = []
    with os.scandir(cache) as found:
        for entry in found:
            try:
                entries.append((entry.name, entry.stat(follow_symlinks=False).st_mtime_ns))
                if entry.is_dir(follow_symlinks=False) and os.listdir(entry.path):
                    folders.append(entry.name)
            except OSError:
                continue  # vanished or unreadable
    heads = sorted({head for folder in (".", *folders) if (head := _head(cache / folder / ".git"))})
    stamp = (cache.stat().st_mtime_ns, *sorted(entries))
    return Look(stamp, frozenset(folders), tuple(heads) if len(heads) <= MOST_HEADS else ())


def _head(git: Path) -> str:
    """The commit that a checkout is at, "" where there is none or it cannot be told."""
    try:
        if git.is_symlink() or not git.is_dir():
            return ""
        text = _read(git / "HEAD")
        if ref := _REF.fullmatch(text):
            loose = git / ref[1]
            text = _read(loose) if loose.is_file() else _packed(git / "packed-refs", ref[1])
    except OSError:
        return ""
    return text if _COMMIT.fullmatch(text) else ""


def _packed(path: Path, ref: str) -> str:
    if path.stat().st_size > _LARGEST_REFS:
        return ""
    lines = (line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return next((words[0] for words in lines if words[1:] == [ref]), "")


def _read(path: Path) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(500).strip()
