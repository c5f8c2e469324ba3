#!/usr/bin/env python3
"""Checks a revision out, builds it and tests it, in a folder that is kept: what is there already is not made again.

    build_and_test.py [--repository URL] [--revision SHA] [--folder cache] [--build-only] [--times N]

On an empty folder that is a clone and a first build. On a warm one it is a look at each file. Needs Python and git,
nothing else; bots run it as it is, in real tasks and, with --build-only, in background tasks. With --times it starts
from nothing so often, which is a long task.

Its last line of output is JSON: `useful_at` (seconds since the epoch: checkout and build are ready, the tests begin),
`revision` (of `git rev-parse HEAD`), `revision_before` and `cache_bytes_before` (what the folder held at the start),
`warm` (it held this revision, built), how many files there are and were built, and seconds per step.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import marshal
import os
import re
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

BYTES_AS_COMMITTED = b"* -text -ident -filter -working-tree-encoding\n"
"""Attributes that outrank the repository's own: a checkout whose line ends were converted could never be clean."""
WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]{2,}")


def main() -> int:
    given = arguments()
    folder = given.folder.absolute()
    for number in range(1, given.times):
        if code := once(folder / "again", given):
            return code
        shutil.rmtree(folder / "again")
        print(f"built from nothing, {number} of {given.times}", flush=True)
    return once(folder, given)


def once(folder: Path, given: argparse.Namespace) -> int:
    """Checkout, build and test in one folder; prints the report, and returns the exit code."""
    report: dict[str, object] = {"started_at": time.time(), "cache_bytes_before": bytes_in(folder)}
    checkout, build = Checkout(folder / "src", given.repository), Build(folder / "build")
    report["revision_before"] = checkout.revision() if build.revision() else ""
    wanted = given.revision or head_of(given.repository)
    report["warm"] = build.revision() == wanted == report["revision_before"]
    try:
        report["checkout_s"] = timed(lambda: checkout.move_to(wanted))
        report["build_s"] = timed(lambda: report.update(build.run(checkout.folder, checkout.files(), wanted)))
        report["revision"] = checkout.revision()
        report["useful_at"] = time.time()
        report["tested"] = 0 if given.build_only else test(checkout, build, wanted)
        report["test_s"] = time.time() - float(str(report["useful_at"]))
    except (Failed, OSError, ValueError) as error:
        print(f"failed: {error}", file=sys.stderr, flush=True)
        return 1
    print(summary(report), flush=True)
    print(json.dumps(report, sort_keys=True), flush=True)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    beside = Path(__file__).absolute().parent / "repository.git"
    add = parser.add_argument
    add("--repository", default=os.environ.get("REPOSITORY") or beside.as_uri(), help="URL; default: beside this file")
    add("--revision", default=os.environ.get("REVISION", ""), help="commit; default: $REVISION, else the newest")
    add("--folder", type=Path, default=Path("cache"), help="what is kept; default: %(default)s")
    add("--build-only", action="store_true", help="no tests: the background task that makes the folder warm")
    add("--times", type=int, default=1, help="builds in all; all but the last start from nothing; default: %(default)s")
    return parser.parse_args()


class Failed(Exception):
    """A step did not work; the text says which and why."""


def git(*words: str, cwd: Path | None = None) -> str:
    """What git printed. File names need not be UTF-8: they are decoded as Python's own functions do."""
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(["git", *words], cwd=cwd, env=environment, capture_output=True, check=False)
    if done.returncode:
        raise Failed(f"git {' '.join(words)}: {os.fsdecode(done.stderr or done.stdout).strip()[-500:]}")
    return os.fsdecode(done.stdout)


def head_of(repository: str) -> str:
    found = git("ls-remote", repository, "HEAD").split()
    if not found:
        raise Failed(f"{repository} has no HEAD")
    return found[0]


class Checkout:
    """A clone in a folder. It becomes visible under its name only when all of its history is there."""

    def __init__(self, folder: Path, repository: str) -> None:
        self.folder, self._repository = folder, repository

    def revision(self) -> str:
        """What is checked out, "" when nothing is: a clone without an index was stopped before its first checkout."""
        if not (self.folder / ".git" / "index").is_file():
            return ""
        try:
            return git("rev-parse", "HEAD", cwd=self.folder).strip()
        except Failed:
            return ""

    def move_to(self, revision: str) -> None:
        if (self.folder / ".git").is_dir():
            if self.revision() == revision:
                return
            (self.folder / ".git" / "index.lock").unlink(missing_ok=True)  # of a run that was stopped
            git("fetch", "--quiet", "--prune", self._repository, "+refs/heads/*:refs/remotes/origin/*", cwd=self.folder)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            half = self.folder.with_name(self.folder.name + ".half")
            shutil.rmtree(half, ignore_errors=True)
            half.parent.mkdir(parents=True, exist_ok=True)
            git("clone", "--quiet", "--no-checkout", self._repository, str(half))
            half.rename(self.folder)
        write(self.folder / ".git" / "info" / "attributes", BYTES_AS_COMMITTED)
        git("-c", "advice.detachedHead=false", "checkout", "--quiet", "--force", "--detach", revision, cwd=self.folder)

    def files(self) -> list[str]:
        """Tracked regular files."""
        names = git("ls-files", "-z", cwd=self.folder).split("\0")
        return sorted(name for name in names if name and is_regular(self.folder / name))

    def is_clean(self) -> bool:
        return not git("status", "--porcelain", "--untracked-files=no", cwd=self.folder)


class Build:
    """Objects made of source files, kept by content, and one linked program with an index of words.

    A file is built again when its size or time of change differs from what the last build saw, and its content too.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program, self._state_file = folder / "program.bin", folder / "state.json"
        self._state = self._read()

    def _read(self) -> dict[str, object]:
        try:
            return dict(json.loads(self._state_file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def revision(self) -> str:
        """Which one was built last, to the end; "" when none was."""
        return str(self._state.get("revision", "")) if self._program.is_file() else ""

    def run(self, source: Path, names: list[str], revision: str) -> dict[str, object]:
        known = self._state.get("files", {})
        known = known if isinstance(known, dict) else {}
        seen: dict[str, list[object]] = {}
        built = 0
        for name in names:
            stat = (source / name).stat()
            before = known.get(name)
            if before and before[:2] == [stat.st_size, stat.st_mtime_ns] and self._object(before[2]).is_file():
                seen[name] = before
                continue
            made, digest = self._make(source / name)
            built += made
            seen[name] = [stat.st_size, stat.st_mtime_ns, digest]
        if seen != known or not self._program.is_file() or self._state.get("program") != digest_of(self._program):
            self._link(seen)
        self._state = {"revision": revision, "files": seen, "program": digest_of(self._program)}
        write(self._state_file, json.dumps(self._state).encode())
        return {"files": len(names), "built": built}

    def _object(self, digest: object) -> Path:
        return self._folder / "objects" / str(digest)[:2] / str(digest)[2:]

    def _make(self, path: Path) -> tuple[int, str]:
        source = path.read_bytes()
        digest = hashlib.sha256(path.suffix.encode() + b"\0" + source).hexdigest()
        target = self._object(digest)
        if target.is_file():
            return 0, digest
        words = sorted(set(WORD.findall(source)))
        code = b""
        if path.suffix == ".py":
            try:
                tree = ast.parse(source)
                words += sorted({node.name.encode() for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)})
                code = marshal.dumps(compile(tree, path.name, "exec", optimize=2))
            except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
                code = b""  # a file for another Python, or for none: packed as it is
        write(target, zlib.compress(b"\0".join([b" ".join(words), code or source]), 9))
        return 1, digest

    def _link(self, files: dict[str, list[object]]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._program.with_suffix(".part")
        with open(part, "wb") as program:
            for name, (_, _, digest) in files.items():
                data = self._object(digest).read_bytes()
                program.write(name.encode("unicode_escape") + f"\0{len(data)}\n".encode() + data)
        os.replace(part, self._program)

    def verify(self, revision: str) -> int:
        """Reads the program from its beginning to its end; returns how many parts it has."""
        if self.revision() != revision or self._state.get("program") != digest_of(self._program):
            raise Failed("the program is not what was linked")
        parts = 0
        with open(self._program, "rb") as program:
            while head := program.readline():
                length = int(head.rpartition(b"\0")[2])
                if not zlib.decompress(program.read(length)):
                    raise Failed(f"part {head!r} is empty")
                parts += 1
        return parts


def test(checkout: Checkout, build: Build, revision: str) -> int:
    """Is this the revision, untouched? Is the program whole? Then the repository's own test, where it has one."""
    if checkout.revision() != revision or not checkout.is_clean():
        raise Failed(f"the checkout is not {revision}")
    parts = build.verify(revision)
    own = checkout.folder / "tests" / "selftest.py"
    if own.is_file():
        command = [sys.executable, "-B", str(own)]
        done = subprocess.run(command, capture_output=True, text=True, errors="backslashreplace", check=False)
        if done.returncode:
            raise Failed(f"{own.name}: {done.stderr.strip()[-500:]}")
        print(done.stdout.strip())
    return parts


def summary(report: dict[str, object]) -> str:
    state = "warm" if report["warm"] else "cold" if not report["cache_bytes_before"] else "behind"
    seconds = float(str(report["useful_at"])) - float(str(report["started_at"]))
    done = f"{report['built']} of {report['files']} files built"
    return f"{state}: {done}, {str(report['revision'])[:12]} ready after {seconds:.1f} s"


def timed(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return round(time.monotonic() - began, 3)


def is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def digest_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(path: Path, data: bytes) -> None:
    """Whole or not at all, though the run may be killed at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)


def bytes_in(folder: Path) -> int:
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            total += os.lstat(os.path.join(base, name)).st_size
    return total


if __name__ == "__main__":
    sys.exit(main())
