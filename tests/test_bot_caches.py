"""Named caches: what a run gets, what stays, what is reported, what goes first when room is short."""

from __future__ import annotations

import json
import os
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
    assert world.store.report() == {"src": [["src", 5], 1_800_000_000]}


def test_a_lent_cache_is_not_reported(world: World) -> None:
    world.use("src", "hello")
    world.store.install("src", world.run / "src")
    assert world.store.report() == {}


def test_an_empty_cache_is_nothing(world: World) -> None:
    world.use("src")
    (world.root / "c" / "lending_cut_short_by_a_crash").mkdir()
    assert world.store.report() == {} and world.store.measure("src") == 0


def test_the_size_is_what_the_disk_holds_not_what_was_remembered(world: World) -> None:
    world.use("src", "hello")
    (world.root / "c" / "src" / "more").write_text("1234567890")
    assert world.store.measure("src") == 15


def test_a_cache_removed_by_hand_is_gone(world: World) -> None:
    world.use("src", "hello")
    (world.root / "c" / "src" / "file").unlink()
    (world.root / "c" / "src").rmdir()
    assert world.store.report() == {} and world.store.measure("src") == 0


def test_a_cache_put_there_by_hand_is_found(world: World) -> None:
    (world.root / "c" / "seed").mkdir()
    (world.root / "c" / "seed" / "file").write_text("123")
    assert world.opened().report()["seed"][0] == ["seed", 3]


def test_a_run_that_removes_its_cache_leaves_none(world: World) -> None:
    world.use("src", "hello")
    world.store.install("src", world.run / "src")
    os.rename(world.run / "src", world.run / "elsewhere")
    world.store.uninstall("src", world.run / "src")
    assert world.store.report() == {}


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
    assert world.store.report() == {}


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
    assert store.report() == {}
    store.recover({"src": world.run / "src", "never_lent": world.run / "never"})
    assert store.report()["src"][0] == ["src", 10]
    assert store.present() == ["src"]


def test_after_a_crash_a_cache_lent_empty_is_not_reported(world: World) -> None:
    world.store.install("src", world.run / "src")
    store = world.opened()
    store.recover({"src": world.run / "src"})
    assert store.report() == {}


def test_a_removal_cut_short_by_a_crash_is_finished(world: World) -> None:
    (world.root / "trash" / "x").mkdir(parents=True)
    (world.root / "trash" / "x" / "file").write_text("left")
    world.opened().recover({})
    assert not (world.root / "trash").exists()


def test_a_damaged_index_is_measured_again(world: World) -> None:
    world.use("src", "hello")
    (world.root / "caches.json").write_text("{")
    assert world.opened().report()["src"][0] == ["src", 5]
