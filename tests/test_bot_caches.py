"""Named caches: what a run gets, what stays, what is reported, what goes first when room is short."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from bot import caches as caches_module
from bot.caches import CacheStore, CacheUnavailable, Limits

NO_LIMITS = Limits(max_bytes=2**40, min_free_bytes=0)


class World:
    """A bot directory with a cache store and a run directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.free = 2**40
        self.store = self.opened()
        self.run = root / "w" / "ir"
        self.run.mkdir(parents=True)

    def opened(self, limits: Limits = NO_LIMITS) -> CacheStore:
        """The store as a bot sees it after a start."""
        self.store = CacheStore(self.root / "c", limits, free_bytes=lambda: self.free)
        return self.store

    def use(self, name: str, content: str = "", last_use: float | None = None) -> None:
        """A run that writes a file into a cache."""
        self.store.install(name, self.run / name)
        if content:
            (self.run / name / "file").write_text(content)
        self.store.uninstall(name, self.run / name)
        if last_use is not None:
            index = json.loads((self.root / "caches.json").read_text())
            index[name]["last_use"] = last_use
            (self.root / "caches.json").write_text(json.dumps(index))
            self.opened(self.store._limits)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_one_run_leaves_the_next_one_finds(world: World) -> None:
    world.use("src", "hello")
    world.store.install("src", world.run / "deep" / "src")
    assert (world.run / "deep" / "src" / "file").read_text() == "hello"


def test_a_cache_is_reported_with_its_size_and_last_use(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches_module.time, "time", lambda: 1_800_000_000.5)
    world.use("src", "hello")
    assert world.store.report().caches == {"src": [["src", 5], 1_800_000_000]}


def test_a_lent_cache_is_not_reported(world: World) -> None:
    world.use("src", "hello")
    world.store.install("src", world.run / "src")
    assert world.store.report().caches == {}


def test_an_empty_cache_is_nothing(world: World) -> None:
    world.use("src")
    (world.root / "c" / "lending_cut_short_by_a_crash").mkdir()
    assert world.store.report().caches == {} and world.store.measure("src") == 0


def test_the_size_is_what_the_disk_holds_not_what_was_remembered(world: World) -> None:
    world.use("src", "hello")
    (world.root / "c" / "src" / "more").write_text("1234567890")
    assert world.store.measure("src") == 15


def test_a_cache_removed_by_hand_is_gone(world: World) -> None:
    world.use("src", "hello")
    (world.root / "c" / "src" / "file").unlink()
    (world.root / "c" / "src").rmdir()
    assert world.store.report().caches == {} and world.store.measure("src") == 0


def test_a_cache_put_there_by_hand_is_found(world: World) -> None:
    (world.root / "c" / "seed").mkdir()
    (world.root / "c" / "seed" / "file").write_text("123")
    assert world.opened().report().caches["seed"][0] == ["seed", 3]


def test_a_run_that_removes_its_cache_leaves_none(world: World) -> None:
    world.use("src", "hello")
    world.store.install("src", world.run / "src")
    os.rename(world.run / "src", world.run / "elsewhere")
    world.store.uninstall("src", world.run / "src")
    assert world.store.report().caches == {}


def test_a_run_that_makes_its_cache_read_only_does_not_spoil_it(world: World) -> None:
    world.store.install("src", world.run / "src")
    (world.run / "src" / "file").write_text("hello")
    os.chmod(world.run / "src", 0o500)
    world.store.uninstall("src", world.run / "src")
    assert world.store.measure("src") == 5


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "", "x" * 300])
def test_a_name_that_is_no_directory_name_is_refused(world: World, name: str) -> None:
    with pytest.raises(CacheUnavailable):
        world.store.install(name, world.run / "x")


def test_where_a_cache_cannot_be_moved_it_is_linked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(caches_module.os, "rename", refuse)
    world.use("src", "hello")
    assert not (world.run / "src").exists()
    assert world.store.measure("src") == 5
    world.store.install("src", world.run / "src")
    assert (world.run / "src" / "file").read_text() == "hello"
    assert world.store.report().caches == {}


def test_the_least_recently_used_goes_first_when_caches_take_too_much(world: World) -> None:
    for name, last_use in (("old", 1.0), ("new", 3.0), ("middle", 2.0)):
        world.use(name, "x" * 100, last_use)
    assert world.opened(Limits(max_bytes=250, min_free_bytes=0)).trim() == ["old"]
    assert world.store.present() == ["middle", "new"]
    assert not (world.root / "trash").exists()


def test_caches_go_until_the_disk_has_room_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, last_use in (("old", 1.0), ("new", 3.0), ("middle", 2.0)):
        world.use(name, "x" * 100, last_use)
    store = world.opened(Limits(max_bytes=2**40, min_free_bytes=150))
    store._free_bytes = lambda: 300 - 100 * len(store.present())
    assert store.trim() == ["old", "middle"]


def test_a_run_makes_room_for_what_it_will_need_but_keeps_what_it_asked_for(world: World) -> None:
    for name, last_use in (("wanted", 1.0), ("other", 2.0)):
        world.use(name, "x" * 100, last_use)
    world.free = 50
    assert world.store.trim(keep=["wanted"], extra_bytes=100) == ["other"]
    assert world.store.present() == ["wanted"]


def test_a_lent_cache_is_never_trimmed(world: World) -> None:
    world.use("src", "x" * 100)
    world.store.install("src", world.run / "src")
    world.store._limits = Limits(max_bytes=0, min_free_bytes=2**62)
    assert world.store.trim() == []
    assert (world.run / "src" / "file").exists()


def test_after_a_crash_a_lent_cache_is_taken_back(world: World) -> None:
    world.use("src", "hello")
    world.store.install("src", world.run / "src")
    (world.run / "src" / "more").write_text("12345")
    store = world.opened()
    assert store.report().caches == {}
    store.recover({"src": world.run / "src", "never_lent": world.run / "never"})
    assert store.report().caches["src"][0] == ["src", 10]
    assert store.present() == ["src"]


def test_after_a_crash_a_cache_lent_empty_is_not_reported(world: World) -> None:
    world.store.install("src", world.run / "src")
    store = world.opened()
    store.recover({"src": world.run / "src"})
    assert store.report().caches == {}


def test_a_removal_cut_short_by_a_crash_is_finished(world: World) -> None:
    (world.root / "trash" / "x").mkdir(parents=True)
    (world.root / "trash" / "x" / "file").write_text("left")
    world.opened().recover({})
    assert not (world.root / "trash").exists()


def test_a_damaged_index_is_measured_again(world: World) -> None:
    world.use("src", "hello")
    (world.root / "caches.json").write_text("{")
    assert world.opened().report().caches["src"][0] == ["src", 5]


# ---- caches that change while no run has them


def filled(world: World, name: str = "src") -> Path:
    """A cache of two folders, a small and a large one, that a run has left."""
    world.store.install(name, world.run / name)
    for folder, size in (("small", 100), ("large", 10_000)):
        (world.run / name / folder / "deep").mkdir(parents=True)
        (world.run / name / folder / "deep" / "file").write_bytes(b"x" * size)
    world.store.uninstall(name, world.run / name)
    assert world.store.report().lost == []
    return world.root / "c" / name


@pytest.mark.parametrize("lost", ["small", "large", "large/deep"])
def test_a_folder_removed_by_hand_is_noticed_at_the_next_report_and_after_a_restart(world: World, lost: str) -> None:
    cache = filled(world)
    shutil.rmtree(cache / lost)
    assert world.store.report().lost == ["src"]
    assert world.opened().report().lost == ["src"]
    sizes = {"small": 10_000, "large": 100, "large/deep": 100}
    assert world.store.report().caches["src"][0] == ["src", sizes[lost]]


def test_a_removal_deep_inside_is_noticed_after_a_while(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = filled(world)
    (cache / "large" / "deep" / "file").unlink()
    assert world.store.report().lost == []
    later_s = time.monotonic() + caches_module.LOOK_AGAIN_S
    monkeypatch.setattr(caches_module.time, "monotonic", lambda: later_s)
    assert world.store.report().lost == ["src"]


def test_what_comes_or_goes_a_little_is_no_loss(world: World) -> None:
    cache = filled(world)
    (cache / "new").mkdir()
    (cache / "new" / "file").write_bytes(b"x" * 5_000)
    assert world.store.report().lost == []
    shutil.rmtree(cache / "new")
    (cache / "small" / "deep" / "file").unlink()
    assert world.opened().report().lost == []


def test_the_next_run_makes_it_whole_again(world: World) -> None:
    cache = filled(world)
    shutil.rmtree(cache / "large")
    assert world.store.report().lost == ["src"]
    world.use("src", "hello")
    assert world.store.report().lost == []


def test_reports_measure_only_what_changed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(world)
    monkeypatch.setattr(caches_module.files, "tree_size", lambda *given: pytest.fail("measured"))
    assert world.store.report().caches["src"][0] == ["src", 10_100]


def git(folder: Path, *words: str) -> str:
    author = ["-c", "user.name=t", "-c", "user.email=t@t.invalid"]
    done = subprocess.run(["git", *author, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_commits_of_checkouts_are_reported_detached_on_a_branch_or_packed(world: World) -> None:
    world.use("src", "hello")
    checkout = world.root / "c" / "src" / "checkout"
    checkout.mkdir()
    git(checkout, "init", "--quiet", "--initial-branch=main")
    assert world.store.report().heads == {}
    git(checkout, "commit", "--quiet", "--allow-empty", "-m", "one")
    first = git(checkout, "rev-parse", "HEAD")
    assert world.store.report().heads == {"src": [first]}
    git(checkout, "pack-refs", "--all")
    assert world.store.report().heads == {"src": [first]}
    git(checkout, "checkout", "--quiet", "--detach")
    git(checkout, "commit", "--quiet", "--allow-empty", "-m", "two")
    assert world.store.report().heads == {"src": [git(checkout, "rev-parse", "HEAD")]}
