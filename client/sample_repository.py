"""Makes git repositories for samples and the example: thousands of files with a history, without a network."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

BRANCH = "refs/heads/main"
AUTHOR = "Pilotlight sample <sample@pilotlight.invalid>"
FIRST_COMMIT_S = 1_700_000_000
DAY_S = 86_400
FILES_PER_FOLDER = 60
PARTS_PER_FILE = 20
LEAST_TOUCHED = 100

_PART = """\
def part_{number}(values, scale={a}):
    total = 0
    for index, value in enumerate(values):
        if value % {b} == 0:
            total += (value * scale + index) // {c}
        elif value > {ab}:
            total -= math.gcd(value, {c7})
        else:
            total ^= value << {shift}
    return total % 1000003

"""

_SELFTEST = '''\
"""Runs a part of each module of the first folder and compares it with itself."""
import importlib.util
import pathlib

root = pathlib.Path(__file__).parent.parent / "source" / "area_000"
ran = 0
for path in sorted(root.glob("*.py")):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.part_0(range(500)) == module.part_0(list(range(500))), path
    ran += 1
print(f"{ran} modules tested")
'''


class GitFailed(Exception):
    """git is missing, or did not do what it was asked for."""


def git(*words: str, repository: Path, data: Iterable[bytes] | None = None) -> str:
    """Runs git in a repository; returns what it printed.

    Args:
        words: the command.
        repository: the folder to run in.
        data: for its standard input, piece by piece.

    Raises:
        GitFailed: with git's own words.
    """
    command = ["git", *words]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
    try:
        process = subprocess.Popen(
            command,
            cwd=repository,
            env=environment,
            stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise GitFailed("git is not installed, or not in PATH") from error
    if data is not None and process.stdin:
        with contextlib.suppress(BrokenPipeError):  # git says why on stderr
            for piece in data:
                process.stdin.write(piece)
    out, err = process.communicate()
    if process.returncode:
        text = (err or out).decode("utf-8", "replace").strip()
        raise GitFailed(f"git {' '.join(words)}: {text[-500:]}")
    return out.decode("utf-8", "replace").strip()


def make_repository(folder: Path, files: int = 3000, commits: int = 30) -> str:
    """Makes a bare repository `folder` of so many Python files and commits; returns the last commit.

    The same numbers give the same commits: contents, times and author come from a seed.

    Raises:
        GitFailed: git is missing or refuses.
    """
    folder.mkdir(parents=True)
    git("init", "--quiet", "--bare", "--initial-branch=main", ".", repository=folder)
    git("fast-import", "--quiet", repository=folder, data=_history(files, commits))
    return head(folder)


def commit_of(source: Path, revision: str) -> str:
    """The full hash of a commit of somebody's repository.

    Args:
        source: a repository, bare or with a checkout.
        revision: anything that names a commit there; "" for its HEAD.

    Raises:
        GitFailed: no such repository or revision.
    """
    name = revision or "HEAD"
    try:
        return git("rev-parse", "--verify", f"{name}^{{commit}}", repository=source)
    except GitFailed as error:
        raise GitFailed(f"{source} has no commit {name}: {error}") from error


def copy_repository(source: Path, folder: Path, revision: str) -> str:
    """Makes a bare copy of somebody's repository whose main branch is at a revision; the original is not touched.

    Args:
        source: a repository, bare or with a checkout.
        folder: where the copy goes.
        revision: anything that names a commit there; "" for its HEAD.

    Returns:
        The full hash of the commit.

    Raises:
        GitFailed: no such repository or revision.
    """
    source = source.absolute()
    commit = commit_of(source, revision)
    folder.parent.mkdir(parents=True, exist_ok=True)
    git("clone", "--quiet", "--bare", "--no-hardlinks", str(source), str(folder), repository=folder.parent)
    git("update-ref", BRANCH, commit, repository=folder)
    git("symbolic-ref", "HEAD", BRANCH, repository=folder)
    return commit


def head(folder: Path) -> str:
    """The commit of the main branch."""
    return git("rev-parse", BRANCH, repository=folder)


def commit_change(folder: Path, touched: int = LEAST_TOUCHED) -> str:
    """Adds a commit to the main branch of a bare repository that changes up to so many text files; returns it."""
    names = _text_files(folder)
    rng = random.Random(len(names))
    chosen = sorted(rng.sample(names, min(touched, len(names))))
    old = _contents(folder, chosen)
    changes = {name: content + b"\n" for name, content in old.items()}
    changes["CHANGED"] = b"made by the example: the next generation\n"
    at_s = int(git("log", "-1", "--format=%ct", BRANCH, repository=folder)) + 60
    stream = iter([_commit(at_s, "Next generation", parent=head(folder)), *_files(changes), b"done\n"])
    git("fast-import", "--quiet", "--done", repository=folder, data=stream)
    return head(folder)


def _text_files(folder: Path) -> list[str]:
    """Regular source files of the newest commit, by the endings of their names."""
    endings = (".py", ".c", ".h", ".cc", ".cpp", ".go", ".js", ".ts", ".java", ".rs", ".txt", ".md")
    lines = git("ls-tree", "-r", "-z", BRANCH, repository=folder).split("\0")
    regular = (line.partition("\t")[2] for line in lines if line.startswith("100644 "))
    return [name for name in regular if name.endswith(endings) and not set('"\n\ufffd') & set(name)]


def _contents(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    found = {}
    for name in names:
        done = subprocess.run(
            ["git", "cat-file", "blob", f"{BRANCH}:{name}"], cwd=folder, capture_output=True, check=True
        )
        found[name] = done.stdout
    return found


def _history(files: int, commits: int) -> Iterator[bytes]:
    """A stream for `git fast-import`: everything in the first commit, then changes of a few files each."""
    rng = random.Random(files * 1000 + commits)
    names = [f"source/area_{n // FILES_PER_FOLDER:03d}/module_{n:04d}.py" for n in range(files)]
    for number in range(commits):
        yield _commit(FIRST_COMMIT_S + number * DAY_S, f"Change {number}" if number else "Begin")
        if number == 0:
            yield from _files({"README": b"Sample sources; nothing of use.\n", "tests/selftest.py": _SELFTEST.encode()})
        chosen = names if number == 0 else rng.sample(names, max(1, files // 30))
        for name in sorted(chosen):
            yield from _files({name: _module(name, number, rng).encode()})


def _commit(at_s: int, message: str, parent: str = "") -> bytes:
    text = f"commit {BRANCH}\nauthor {AUTHOR} {at_s} +0000\ncommitter {AUTHOR} {at_s} +0000\n"
    text += f"data {len(message)}\n{message}\n"
    return (text + (f"from {parent}\n" if parent else "")).encode()


def _files(contents: dict[str, bytes]) -> Iterator[bytes]:
    for name, content in contents.items():
        yield f"M 100644 inline {name}\ndata {len(content)}\n".encode() + content + b"\n"


def _module(name: str, version: int, rng: random.Random) -> str:
    parts = [f'"""{name}, version {version}."""\nimport math\n\n']
    for number in range(PARTS_PER_FILE):
        a, b, c = rng.randrange(2, 99), rng.randrange(2, 99), rng.randrange(2, 99)
        parts.append(_PART.format(number=number, a=a, b=b, c=c, ab=a * b, c7=c * 7, shift=c % 5))
    return "\n".join(parts)
