"""Named caches: kept in one folder, lent to a run, taken back, reported truthfully, trimmed."""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot import cache_looks, files
from bot.cache_looks import Look

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
DEFAULT_MAX_BYTES = 100 * 2**30
MEASURE_BUDGET_S = 5.0
IDLE_BUDGET_S = 1.0
"""For measuring caches anew between two polls: a task may be waiting for the next one."""
LOOK_AGAIN_S = 600.0
"""A cache in which nothing changed at the top is measured anew after so long."""
LOST_SHARE = 1 / 3
"""A cache that became smaller by more than this while no run had it is no longer what the last run left."""
_log = logging.getLogger(__name__)


class CacheUnavailable(Exception):
    """A named cache cannot be lent to this run."""


@dataclass(frozen=True)
class Limits:
    """What the caches may take of the disk, in bytes."""

    max_bytes: int
    min_free_bytes: int


@dataclass(frozen=True)
class Report:
    """What a bot tells of its caches.

    Attributes:
        caches: {name: [[directory's name, bytes], last use in seconds since the epoch]} of those present.
        lost: names of those of which much went while no run had them.
        heads: {name: commits that git checkouts in it are at}.
    """

    caches: dict[str, list[object]]
    lost: list[str]
    heads: dict[str, list[str]]


def default_min_free_bytes(path: Path) -> int:
    """One GiB, or a twentieth of a small disk."""
    return int(min(2**30, shutil.disk_usage(path).total // 20))


class CacheStore:
    """The caches of one bot: directories `root/NAME`, with an index of sizes and last uses beside `root`.

    A cache is *present* when its directory is there and not empty; the index only remembers, it never vouches. While
    a cache is lent it is not present: it was moved into the run directory (or linked there, across file systems).
    """

    def __init__(self, root: Path, limits: Limits, free_bytes: Callable[[], int] | None = None) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root, self._limits = root, limits
        self._trash = root.with_name("trash")
        self._index_path = root.with_name("caches.json")
        self._index: dict[str, dict[str, Any]] = files.read_json(self._index_path, {})
        self._lent: set[str] = set()
        self._measured: dict[str, tuple[tuple[object, ...], float]] = {}
        """Name → its stamp when it was last measured, and when that was."""
        self._free_bytes = free_bytes or (lambda: shutil.disk_usage(root).free)

    def present(self) -> list[str]:
        """Names of the caches that the next run could use, sorted."""
        with os.scandir(self._root) as entries:
            names = [e.name for e in entries if NAME.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
        return sorted(n for n in names if n not in self._lent and not files.is_empty(self._root / n))

    def report(self) -> Report:
        """What the bot tells of the caches present. One in which something changed is measured anew."""
        report, until_s = Report({}, [], {}), time.monotonic() + IDLE_BUDGET_S
        for name in self.present():
            try:
                seen = cache_looks.look(self._root / name)
            except OSError:
                continue  # vanished
            entry = self._measured_anew(name, seen, until_s)
            report.caches[name] = [[name, int(entry["size"])], int(entry["last_use"])]
            if not seen.folders.issuperset(entry["folders"]) or entry["size"] < entry["whole"] * (1 - LOST_SHARE):
                report.lost.append(name)
            if seen.heads:
                report.heads[name] = list(seen.heads)
        return report

    def _measured_anew(self, name: str, seen: Look, until_s: float) -> dict[str, Any]:
        entry = self._entry(name)
        stamp, at_s = self._measured.get(name, ((), 0.0))
        now_s = time.monotonic()
        if (stamp == seen.stamp and now_s - at_s < LOOK_AGAIN_S) or now_s >= until_s:
            return entry
        size = files.tree_size(self._root / name, until_s - now_s)
        if size is None and until_s - now_s < IDLE_BUDGET_S / 2:
            return entry  # others took the time; it is the first one before long
        self._measured[name] = (seen.stamp, now_s)
        if size is not None and size != entry["size"]:
            entry = {**entry, "size": size}
            self._remember(name, entry)
        return entry

    def measure(self, name: str) -> int:
        """Bytes that a cache has now, 0 when it is absent; of a huge one what was measured after its last use."""
        self._check(name)
        if name not in self.present():
            return 0
        size = files.tree_size(self._root / name, MEASURE_BUDGET_S)
        return int(self._entry(name)["size"]) if size is None else size

    def install(self, name: str, target: Path) -> None:
        """Lends a cache, an empty one if it is absent, as the directory `target`.

        Raises:
            CacheUnavailable: the name is not allowed, or the system refuses.
        """
        self._check(name)
        source = self._root / name
        try:
            source.mkdir(exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._lent.add(name)
            _move_or_link(source, target)
        except OSError as error:
            self._lent.discard(name)
            raise CacheUnavailable(f"named cache {name}: {error}") from error

    def uninstall(self, name: str, target: Path) -> None:
        """Takes a cache back. What cannot be taken back is dropped, and so never reported."""
        source = self._root / name
        try:
            if target.is_symlink():
                if Path(os.path.realpath(target)) != Path(os.path.realpath(source)):
                    self._drop(name)
                target.unlink()
            elif target.is_dir():
                files.make_writable(target)
                files.remove_tree(source)
                os.rename(target, source)
            else:
                self._drop(name)  # the run removed it, or put something else there
            if source.is_dir() and files.is_empty(source):
                source.rmdir()
        except OSError as error:
            _log.error("named cache %s is lost: %s", name, error)
            self._drop(name)
        self._lent.discard(name)
        self._remember(name, {"last_use": time.time()})

    def recover(self, lent: Mapping[str, Path]) -> None:
        """After a crash: takes back what was lent then, and removes what a removal had left."""
        for name, target in lent.items():
            if NAME.fullmatch(name) and os.path.lexists(target):
                self.uninstall(name, target)
        self._empty_trash()

    def trim(self, keep: Collection[str] = (), extra_bytes: int = 0) -> list[str]:
        """Drops caches, least recently used first, until the limits hold; returns the names of those dropped.

        Args:
            keep: names that stay, whatever the limits say; lent ones stay anyway.
            extra_bytes: room that a run needs beyond the limit of free space.
        """
        present = self.present()
        sizes = {name: int(self._entry(name)["size"]) for name in present}
        oldest_first = sorted((n for n in present if n not in keep), key=lambda n: self._entry(n)["last_use"])
        dropped: list[str] = []
        while oldest_first and (
            sum(sizes.values()) > self._limits.max_bytes
            or self._free_bytes() < self._limits.min_free_bytes + extra_bytes
        ):
            name = oldest_first.pop(0)
            sizes.pop(name)
            self._drop(name)
            dropped.append(name)
        return dropped

    def _entry(self, name: str) -> dict[str, Any]:
        """Last use and size, and what it was when a run had left it: size `whole`, `folders` that held something."""
        entry = dict(self._index.get(name, {}))
        if "last_use" not in entry:
            entry["last_use"] = (self._root / name).stat().st_mtime
        if "size" not in entry or "whole" not in entry:
            seen = cache_looks.look(self._root / name)
            entry["size"] = entry["whole"] = files.tree_size(self._root / name) or 0
            entry["folders"] = sorted(seen.folders)
            self._measured[name] = (seen.stamp, time.monotonic())
        if entry != self._index.get(name):
            self._remember(name, entry)
        return entry

    def _remember(self, name: str, entry: dict[str, Any]) -> None:
        self._index[name] = entry
        self._index = {n: e for n, e in self._index.items() if (self._root / n).is_dir()}
        try:
            files.write_json(self._index_path, self._index)
        except OSError as error:  # a full disk: sizes are measured again after the next start
            _log.warning("cannot write %s: %s", self._index_path, error)

    def _drop(self, name: str) -> None:
        """Gone at once under its name, removed at leisure: half a cache is never present."""
        source = self._root / name
        if os.path.lexists(source):
            self._trash.mkdir(exist_ok=True)
            os.rename(source, self._trash / uuid.uuid4().hex)
        self._index.pop(name, None)
        self._empty_trash()

    def _empty_trash(self) -> None:
        try:
            files.remove_tree(self._trash)
        except OSError as error:
            _log.warning("cannot empty %s: %s", self._trash, error)

    @staticmethod
    def _check(name: str) -> None:
        if not NAME.fullmatch(name):
            raise CacheUnavailable(f"named cache {name[:60]!r}: not an allowed name")


def _move_or_link(source: Path, target: Path) -> None:
    try:
        os.rename(source, target)
    except OSError:  # another file system, or a file in it is open (Windows)
        os.symlink(source.absolute(), target, target_is_directory=True)
