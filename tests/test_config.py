"""The config: what people write, the revisions in the store, and what processes make of them."""

from __future__ import annotations

import dataclasses
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from server import audit, config, errors, latest
from server.access import ADMIN, Principal
from server.clock import FakeClock
from server.policy.model import Thresholds
from server.pool_config import PoolConfig
from server.records.config import ConfigRevision
from server.service import Service
from server.settings import Settings
from server.store.client import Store

MIRA = Principal("user:mira", ADMIN)
NOAH = Principal("user:noah", ADMIN)


def process(store: Store, config_file: str = "", seed: int = 0) -> Service:
    """A server process on the store, as far as the config needs it."""
    service = Service(store, FakeClock(), random.Random(seed), Settings(config_file=config_file), f"p{seed}")
    service.config = config.ConfigHolder()
    return service


@pytest.fixture
def store(tmp_path):
    store = Store.open(f"embedded:{tmp_path}")
    yield store
    store.close()


@pytest.fixture
def service(store):
    service = process(store)
    config.ensure_first(service)
    return service


def wrong(body) -> dict[str, str]:
    """What a body is refused for, by field."""
    with pytest.raises(errors.FieldErrors) as refused:
        config.parse(body)
    assert refused.value.http_status == 400
    return refused.value.errors


def test_a_new_pool_starts_in_shadow_mode_with_the_defaults_of_the_policy():
    fresh = config.Config().pool("never-seen")
    assert fresh.mode == "shadow"
    assert fresh.thresholds() == Thresholds()


def test_the_policy_gets_every_threshold_that_a_pool_overrides():
    body = {"pools": {"lab": {"mode": "live", "utilization_stop": 0.9, "sleep_max_s": 30}}}
    lab = config.parse(body).pool("lab").thresholds()
    assert lab == dataclasses.replace(Thresholds(), mode="live", utilization_stop=0.9, sleep_max_s=30)


def test_an_override_counts_over_the_defaults_and_only_in_its_pool():
    parsed = config.parse({"defaults": {"reserve_min": 3}, "pools": {"lab": {"reserve_min": 0}}})
    assert [parsed.pool(name).reserve_min for name in ("lab", "builders")] == [0, 3]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("mode", "on", "must be 'off', 'shadow' or 'live'; on given"),
        ("drained", "perhaps", "must be true or false"),
        ("utilization_stop", 1.5, "must be at most 1; 1.5 given"),
        ("utilization_start", 0.8, "must be below utilization_stop (0.8); 0.8 given"),
        ("reserve_share", -0.1, "must be at least 0; -0.1 given"),
        ("reserve_min", 1.5, "must be a whole number"),
        ("reserve_min", True, "must be a whole number"),
        ("reserve_min", "2", "must be a whole number"),
        ("min_idle_s", "long", "must be a number"),
        ("min_idle_s", float("nan"), "must be a finite number"),
        ("min_idle_s", None, "must be a number"),
        ("sleep_max_s", 9999, "must be at most 600 s; 9999 given"),
        ("sleep_max_s", float("inf"), "must be a finite number"),
        ("preempt_valid_s", 35, "must be more than max_background_grace_s (30) + 5 s; 35 given"),
        ("breaker_bots", 4, "must be at most breaker_failures (3); 4 given"),
        ("foreign_claim_timeout_s", 20, "must be at least claim_timeout_s (30 s); 20 given"),
        ("utilisation_stop", 0.5, "is not a known field; did you mean utilization_stop?"),
    ],
)
def test_a_wrong_field_is_named_with_its_limit_and_what_was_given(field, value, says):
    assert wrong({"pools": {"lab": {field: value}}})[f"pools.lab.{field}"] == says
    assert wrong({"defaults": {field: value}})[f"defaults.{field}"] == says


def test_a_death_time_below_two_flushes_the_longest_sleep_and_a_restart_is_refused():
    assert config.parse({"defaults": {"sleep_max_s": 60, "death_timeout_s": 180}})
    found = wrong({"defaults": {"sleep_max_s": 60, "death_timeout_s": 179}})
    assert "must be at least 180 s" in found["defaults.death_timeout_s"]


def test_a_pool_that_only_sleeps_longer_is_refused_for_the_death_time_that_it_inherits():
    found = wrong({"defaults": {"death_timeout_s": 200}, "pools": {"lab": {"sleep_max_s": 300}}})
    assert list(found) == ["pools.lab.death_timeout_s"]


def test_all_wrong_fields_are_said_at_once():
    body = {"defaults": {"mode": "on", "polls": 1}, "pools": {"lab": {"reserve_min": -1}}}
    assert set(wrong(body)) == {"defaults.mode", "defaults.polls", "pools.lab.reserve_min"}


@pytest.mark.parametrize("name", ["", "a b", "a:b", "-a", "x" * 129, "a\n"])
def test_a_pool_needs_a_usable_name(name):
    assert "begin with a letter or digit" in wrong({"pools": {name: {}}})[f"pools.{name}"]


@pytest.mark.parametrize("body", [[], "x", None, {"pools": []}, {"pools": {"a": 1}}, {"default": {}}])
def test_a_config_of_another_shape_is_refused(body):
    assert wrong(body)


def test_what_is_exported_is_read_back_as_the_same_config():
    parsed = config.parse({"defaults": {"min_idle_s": 3}, "pools": {"lab": {"mode": "off", "drained": True}}})
    assert config.parse(parsed.body()) == parsed


def test_without_a_file_the_first_revision_has_the_defaults(store):
    service = process(store)
    config.ensure_first(service)
    assert service.config.revision == 1
    assert service.config.current == config.Config()


def test_the_first_revision_comes_from_the_file_and_a_restart_does_not_import_it_again(store, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("pools:\n  lab:\n    mode: off\n    drained: true\n")
    first = process(store, str(file))
    config.ensure_first(first)
    file.write_text("pools: {}\n")
    again = process(store, str(file))
    config.ensure_first(again)
    assert again.config.revision == 1
    assert again.config.pool("lab") == PoolConfig(mode="off", drained=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pools: {lab: {mode: of}}", "pools.lab.mode must be 'off'"),
        ("pools: [", "line 1"),
        ("pools: {}\npools: {}", "'pools' is given twice"),
    ],
)
def test_a_wrong_config_file_is_named_and_nothing_is_saved(store, tmp_path, text, says):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(errors.InvalidArgument) as refused:
        config.ensure_first(process(store, str(file)))
    assert str(file) in refused.value.text
    assert says in refused.value.text
    assert latest.read(process(store)).config_revision == 0


def test_a_config_file_that_is_not_there_is_named(store, tmp_path):
    with pytest.raises(errors.InvalidArgument, match="cannot be read: No such file"):
        config.ensure_first(process(store, str(tmp_path / "gone.yaml")))


def test_processes_that_start_together_make_one_first_revision(store):
    services = [process(store, seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(config.ensure_first, services))
    assert [service.config.revision for service in services] == [1, 1, 1, 1]
    assert len(config.list_revisions(services[0])) == 1


def test_a_saved_config_reaches_other_processes_with_their_next_refresh(store, service):
    other = process(store)
    other.config.refresh(other)
    config.save_config(service, MIRA, {"pools": {"lab": {"mode": "live"}}}, 1, "let it go")
    assert other.config.pool("lab").mode == "shadow"
    assert other.config.refresh(other).config_revision == 2
    assert (other.config.revision, other.config.thresholds("lab").mode) == (2, "live")


def test_a_refresh_without_news_is_one_look_up(store, service):
    with store.ops.measure() as spent:
        service.config.refresh(service)
    assert (spent.reads, spent.writes, spent.queries) == (1, 0, 0)


def test_the_second_of_two_editors_gets_the_first_ones_config_and_changes_nothing(service):
    config.save_config(service, MIRA, {"defaults": {"reserve_min": 2}}, 1)
    with pytest.raises(errors.EditConflict) as refused:
        config.save_config(service, NOAH, {"defaults": {"reserve_min": 9}}, 1)
    assert refused.value.http_status == 412
    assert (refused.value.revision, refused.value.author) == (2, "user:mira")
    assert refused.value.theirs["defaults"]["reserve_min"] == 2
    assert service.config.pool("any").reserve_min == 2


def test_of_editors_who_save_at_once_exactly_one_wins(store):
    services = [process(store, seed=seed) for seed in range(4)]
    config.ensure_first(services[0])

    def save(number: int) -> str:
        try:
            config.save_config(services[number], MIRA, {"defaults": {"reserve_min": number}}, 1)
        except (errors.EditConflict, errors.Contention):
            return "lost"
        return "saved"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(save, range(4))) == ["lost", "lost", "lost", "saved"]
    assert latest.read(services[0]).config_revision == 2


def test_a_wrong_config_is_not_saved(service):
    with pytest.raises(errors.FieldErrors):
        config.save_config(service, MIRA, {"defaults": {"mode": "on"}}, 1)
    assert latest.read(service).config_revision == 1


def test_revisions_are_kept_with_author_and_note_newest_first(service):
    for number in range(1, 5):
        service.clock.advance(60)
        config.save_config(service, MIRA, {"defaults": {"reserve_min": number}}, number, f"change {number}")
    assert [saved.revision for saved in config.list_revisions(service, limit=2)] == [5, 4]
    assert [saved.revision for saved in config.list_revisions(service, limit=9, before=4)] == [3, 2, 1]
    third = config.get_revision(service, 3)
    assert (third.author, third.note, third.body["defaults"]["reserve_min"]) == ("user:mira", "change 2", 2)
    with pytest.raises(errors.NotFound):
        config.get_revision(service, 6)


def test_every_saved_config_leaves_an_entry_in_the_audit(service):
    config.save_config(service, MIRA, {}, 1, "why not")
    newest = audit.recent(service)[0]
    assert (newest.who, newest.what, newest.target) == ("user:mira", "config.save", "revision 2")


def test_a_field_of_another_version_does_not_keep_a_stored_config_from_being_read(store, service):
    rewrite(store, 2, {"defaults": {"reserve_min": 7, "of_the_future": 1}, "pools": {}})
    service.config.refresh(service)
    assert (service.config.revision, service.config.pool("x").reserve_min) == (2, 7)


def test_a_stored_config_that_cannot_be_read_is_left_aside_and_said(store, service):
    rewrite(store, 2, {"defaults": {"reserve_min": "many"}, "pools": {}})
    service.config.refresh(service)
    assert service.config.revision == 1
    assert "defaults.reserve_min must be a whole number" in service.config.problem


def rewrite(store: Store, revision: int, body: dict) -> None:
    """Another version's revision in the store."""
    with store.context():
        ConfigRevision(id=f"{revision:06d}", revision=revision, body=body).put()
        head = latest.record()
        head.config_revision = revision
        head.put()
