"""The example's repository and the task that works on it: cold, warm, behind, killed half-way, tampered with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from client import samples
from client.sample_repository import GitFailed, commit_change, copy_repository, git, head, make_repository

FILES = 120
AUTHOR = ("-c", "user.name=t", "-c", "user.email=t@t.invalid")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the repository and the script."""
    folder = tmp_path_factory.mktemp("made")
    make_repository(folder / samples.REPOSITORY, files=FILES, commits=5)
    shutil.copy(samples.SCRIPT, folder)
    return folder


@pytest.fixture
def work(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    shutil.copytree(made, tmp_path / "work")
    return tmp_path / "work"


def run(work: Path, run_dir: Path, *arguments: str, **env: str) -> dict[str, Any]:
    """The task's report."""
    done = subprocess.run(
        command(work, *arguments), cwd=run_dir, env={**os.environ, **env}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def command(work: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(work / samples.SCRIPT.name), *arguments]


# ---- the repository


def test_the_repository_has_all_files_and_a_history(made: Path) -> None:
    repository = made / samples.REPOSITORY
    assert len(git("ls-tree", "-r", "--name-only", "main", repository=repository).splitlines()) == FILES + 2
    assert git("rev-list", "--count", "main", repository=repository) == "5"
    assert git("fsck", "--strict", repository=repository) == ""


def test_the_same_numbers_make_the_same_commits(made: Path, tmp_path: Path) -> None:
    assert make_repository(tmp_path / "again.git", files=FILES, commits=5) == head(made / samples.REPOSITORY)


def test_a_change_is_one_more_commit_that_touches_some_files(work: Path) -> None:
    repository = work / samples.REPOSITORY
    before = head(repository)
    after = commit_change(repository, touched=10)
    assert git("rev-parse", f"{after}^", repository=repository) == before
    assert len(git("diff", "--name-only", before, after, repository=repository).splitlines()) == 11


def test_a_copy_of_a_repository_leaves_the_original_as_it_is(made: Path, tmp_path: Path) -> None:
    source = made / samples.REPOSITORY
    refs = git("for-each-ref", repository=source)
    wanted = git("rev-parse", "main~2", repository=source)
    assert copy_repository(source, tmp_path / "copy.git", "main~2") == wanted
    commit_change(tmp_path / "copy.git")
    assert git("rev-parse", "main^", repository=tmp_path / "copy.git") == wanted
    assert git("for-each-ref", repository=source) == refs


def test_an_unknown_revision_is_said(made: Path, tmp_path: Path) -> None:
    with pytest.raises(GitFailed, match="no-such-commit"):
        copy_repository(made / samples.REPOSITORY, tmp_path / "copy.git", "no-such-commit")


# ---- the task


def test_a_cold_run_builds_everything_and_a_warm_one_nothing(work: Path, tmp_path: Path) -> None:
    cold = run(work, tmp_path)
    assert (cold["warm"], cold["cache_bytes_before"], cold["built"]) == (False, 0, FILES + 2)
    warm = run(work, tmp_path)
    assert (warm["warm"], warm["built"], warm["tested"]) == (True, 0, FILES + 2)
    assert warm["cache_bytes_before"] > 100_000
    assert warm["revision"] == cold["revision"] == head(work / samples.REPOSITORY)


def test_what_a_background_run_made_is_warm_for_a_real_one(work: Path, tmp_path: Path) -> None:
    assert run(work, tmp_path, "--build-only")["tested"] == 0
    assert run(work, tmp_path)["warm"] is True


def test_a_new_commit_finds_the_folder_behind_and_builds_what_changed(work: Path, tmp_path: Path) -> None:
    old = run(work, tmp_path)["revision"]
    new = commit_change(work / samples.REPOSITORY, touched=10)
    behind = run(work, tmp_path, REVISION=new)
    assert (behind["warm"], behind["revision_before"], behind["revision"], behind["built"]) == (False, old, new, 11)
    checkout = tmp_path / "cache" / "src"
    assert git("rev-parse", "HEAD", repository=checkout) == new
    assert run(work, tmp_path, REVISION=old)["revision"] == old


def test_a_deleted_folder_is_cold_again(work: Path, tmp_path: Path) -> None:
    run(work, tmp_path)
    shutil.rmtree(tmp_path / "cache")
    again = run(work, tmp_path)
    assert (again["warm"], again["cache_bytes_before"], again["built"]) == (False, 0, FILES + 2)


@pytest.mark.parametrize("lost", ["src", "build", "build/state.json", "build/program.bin", "build/objects"])
def test_a_folder_with_a_part_deleted_is_made_whole(work: Path, tmp_path: Path, lost: str) -> None:
    run(work, tmp_path)
    path = tmp_path / "cache" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    run(work, tmp_path)
    assert run(work, tmp_path)["warm"] is True


@pytest.mark.parametrize("after_s", [0.05, 0.15, 0.3, 0.5])
def test_a_run_killed_at_any_moment_leaves_nothing_that_the_next_one_stumbles_over(
    work: Path, tmp_path: Path, after_s: float
) -> None:
    process = subprocess.Popen(command(work), cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True)
    time.sleep(after_s)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert run(work, tmp_path)["tested"] == FILES + 2
    assert run(work, tmp_path)["warm"] is True


def test_a_run_killed_between_the_clone_and_the_checkout_is_gone_on_with(work: Path, tmp_path: Path) -> None:
    subprocess.run(
        ["git", "clone", "--quiet", "--no-checkout", str(work / samples.REPOSITORY), str(tmp_path / "cache" / "src")],
        check=True,
    )
    assert run(work, tmp_path)["tested"] == FILES + 2


def test_a_program_that_was_tampered_with_is_linked_again(work: Path, tmp_path: Path) -> None:
    run(work, tmp_path)
    program = tmp_path / "cache" / "build" / "program.bin"
    program.write_bytes(program.read_bytes()[:-100])
    assert run(work, tmp_path)["tested"] == FILES + 2


def test_a_changed_checkout_fails_the_test_instead_of_passing_as_the_revision(work: Path, tmp_path: Path) -> None:
    run(work, tmp_path)
    (tmp_path / "cache" / "src" / "README").write_text("changed")
    done = subprocess.run(command(work), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "the checkout is not" in done.stderr


def test_a_revision_that_does_not_exist_fails_with_gits_words(work: Path, tmp_path: Path) -> None:
    done = subprocess.run(command(work, "--revision", "0" * 40), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "failed: git" in done.stderr


def test_building_several_times_starts_from_nothing_each_time(work: Path, tmp_path: Path) -> None:
    done = subprocess.run(command(work, "--times", "3", "--build-only"), cwd=tmp_path, capture_output=True, text=True)
    reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [report["built"] for report in reports] == [FILES + 2] * 3
    assert not (tmp_path / "cache" / "again").exists()


def test_files_that_are_not_python_or_for_another_python_are_built_too(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "old.py").write_text("print 'hello'\n")
    (source / "main.c").write_text("int main(void) { return 0; }\n")
    (source / "data.bin").write_bytes(bytes(range(256)))
    (source / "empty").touch()
    (source / "link").symlink_to("main.c")
    (source / "ünï.txt").write_text("ü")
    commit_all(source, tmp_path)
    report = run(tmp_path, tmp_path)
    assert (report["built"], report["tested"]) == (5, 5)


def commit_all(source: Path, work: Path) -> None:
    """Commits a folder, whatever is in it, and puts a copy and the script into `work`."""
    git("init", "--quiet", ".", repository=source)
    git("add", ".", repository=source)
    git(*AUTHOR, "commit", "--quiet", "--allow-empty", "-m", "begin", repository=source)
    copy_repository(source, work / samples.REPOSITORY, "")
    shutil.copy(samples.SCRIPT, work)


def test_an_empty_tree_is_warm_the_second_time_and_can_be_changed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    commit_all(source, tmp_path)
    assert [run(tmp_path, tmp_path)["warm"] for _ in range(2)] == [False, True]
    new = commit_change(tmp_path / samples.REPOSITORY)
    assert run(tmp_path, tmp_path, REVISION=new)["files"] == 1


def test_a_repository_that_breaks_its_own_rules_for_line_ends_is_clean(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "dos.txt").write_bytes(b"one\r\ntwo\r\n")
    commit_all(source, tmp_path / "before")
    (source / ".gitattributes").write_text("*.txt text\n")
    git("add", ".gitattributes", repository=source)
    git(*AUTHOR, "commit", "--quiet", "-m", "rules", repository=source)
    copy_repository(source, tmp_path / samples.REPOSITORY, "")
    shutil.copy(samples.SCRIPT, tmp_path)
    assert [run(tmp_path, tmp_path)["tested"] for _ in range(2)] == [2, 2]


def test_files_of_any_name_are_built_and_changed(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in (b"new\nline.txt", b"\xff\xfe.txt", b" blank.py", b"\nfirst", b'"quoted".md', b"tab\t.c", b"-x.py"):
        (source / os.fsdecode(name)).write_text("word = 1\n")
    (source / "deep.py").write_text("(" * 5000 + ")" * 5000)
    commit_all(source, tmp_path)
    assert [run(tmp_path, tmp_path)["tested"] for _ in range(2)] == [8, 8]
    new = commit_change(tmp_path / samples.REPOSITORY)
    assert run(tmp_path, tmp_path, REVISION=new)["revision"] == new
    assert run(tmp_path, tmp_path, REVISION=new)["warm"] is True
