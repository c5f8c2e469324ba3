"""Prewarm specs: what may be saved, what becomes of it, and what tasks want by it."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from server import assembly, audit, errors, latest, prewarm_spec, swatches
from server.access import ADMIN, Principal
from server.clock import FakeClock
from server.policy.model import Purpose, Wish
from server.pool_config import PoolConfig
from server.records.pool import PoolGate
from server.service import Service
from server.settings import Settings
from server.store.client import Store
from server.task_properties import Properties
from tests.specs import body

MIRA = Principal("user:mira", ADMIN)
NOAH = Principal("user:noah", ADMIN)


def process(store: Store, seed: int = 0) -> Service:
    """A server process on the store."""
    return assembly.build(Settings(), FakeClock(), random.Random(seed), store, process_id=f"p{seed}")


@pytest.fixture
def store(tmp_path):
    store = Store.open(f"embedded:{tmp_path}")
    yield store
    store.close()


@pytest.fixture
def service(store):
    return process(store)


def create(service, **changes):
    return prewarm_spec.create(service, MIRA, body(**changes))


def edit(service, base_revision, **changes):
    return prewarm_spec.edit(service, MIRA, "chromium-src", body(**changes), base_revision)


# ---- saving


def test_a_registered_spec_is_found_by_every_process(store, service):
    create(service)
    other = prewarm_spec.get_spec(process(store), MIRA, "chromium-src")
    assert (other.state, other.revision, other.generation, other.letters, other.colour) == ("active", 1, "r1", "CS", 0)
    assert other.body.task.command == ["python3", "sync.py"]
    assert list(prewarm_spec.load_all(service)) == ["chromium-src"]


def test_a_second_spec_of_the_same_name_is_refused(service):
    create(service)
    with pytest.raises(errors.AlreadyExists, match="revision 1, active"):
        create(service)
    assert latest.read(service).spec_changes == 1


def test_every_change_is_noticed_by_other_processes_and_audited(service):
    create(service)
    edit(service, 1, generation="r2", note="new day")
    prewarm_spec.pause(service, MIRA, "chromium-src", "noisy")
    prewarm_spec.resume(service, NOAH, "chromium-src")
    prewarm_spec.roll_back(service, MIRA, "chromium-src", 1, "r2 is broken")
    prewarm_spec.retire(service, MIRA, "chromium-src", "over")
    assert latest.read(service).spec_changes == 6
    entries = [entry for entry in audit.recent(service) if entry.what.startswith("spec.")]
    assert {entry.what.removeprefix("spec.") for entry in entries} == {
        "create",
        "edit",
        "pause",
        "resume",
        "retire",
        "roll_back",
    }
    assert {entry.who for entry in entries if entry.what == "spec.resume"} == {"user:noah"}


def test_who_is_confined_to_other_pools_sees_and_changes_nothing_of_it(service):
    create(service)
    other = Principal("user:zoe", ADMIN, frozenset({"elsewhere"}))
    assert prewarm_spec.list_specs(service, other) == []
    for act in (
        lambda: prewarm_spec.get_spec(service, other, "chromium-src"),
        lambda: prewarm_spec.revisions(service, other, "chromium-src"),
        lambda: prewarm_spec.edit(service, other, "chromium-src", body(pool="elsewhere"), 1),
        lambda: prewarm_spec.roll_back(service, other, "chromium-src", 1),
        lambda: prewarm_spec.pause(service, other, "chromium-src"),
        lambda: prewarm_spec.resume(service, other, "chromium-src"),
        lambda: prewarm_spec.retire(service, other, "chromium-src"),
        lambda: prewarm_spec.create(service, other, body(family="mine")),
    ):
        with pytest.raises(errors.PermissionDenied):
            act()
    assert latest.read(service).spec_changes == 1


def test_an_edit_is_a_new_revision_and_the_old_ones_stay(service):
    create(service)
    service.clock.advance(5)
    edited = edit(service, 1, cold_cost_s=300, note="measured")
    assert (edited.revision, edited.policy.cold_cost_s) == (2, 300)
    saved = prewarm_spec.revisions(service, MIRA, "chromium-src")
    assert [(one.revision, one.body["cold_cost_s"], one.note) for one in saved] == [(2, 300, "measured"), (1, 200, "")]
    assert prewarm_spec.revisions(service, MIRA, "chromium-src", before=2)[0].revision == 1


def test_the_second_of_two_editors_gets_the_first_ones_spec_and_changes_nothing(service):
    create(service)
    edit(service, 1, cold_cost_s=300)
    with pytest.raises(errors.EditConflict) as refused:
        prewarm_spec.edit(service, NOAH, "chromium-src", body(cold_cost_s=400), 1)
    assert (refused.value.revision, refused.value.author) == (2, "user:mira")
    assert refused.value.theirs["cold_cost_s"] == 300
    assert prewarm_spec.get_spec(service, MIRA, "chromium-src").policy.cold_cost_s == 300


def test_of_editors_who_save_at_once_exactly_one_wins(store, service):
    create(service)

    def save(number: int) -> str:
        try:
            prewarm_spec.edit(process(store, number), MIRA, "chromium-src", body(cold_cost_s=300 + number), 1)
        except (errors.EditConflict, errors.Contention):
            return "lost"
        return "saved"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(save, range(4))) == ["lost", "lost", "lost", "saved"]
    assert prewarm_spec.get_spec(service, MIRA, "chromium-src").revision == 2


def test_the_family_of_a_spec_cannot_be_changed(service):
    create(service)
    with pytest.raises(errors.FieldErrors, match="family must stay chromium-src"):
        edit(service, 1, family="other")


def test_nothing_is_known_of_a_spec_that_was_never_registered(service):
    for call in (
        lambda: prewarm_spec.get_spec(service, MIRA, "nope"),
        lambda: prewarm_spec.revisions(service, MIRA, "nope"),
        lambda: prewarm_spec.pause(service, MIRA, "nope"),
        lambda: prewarm_spec.edit(service, MIRA, "nope", body(family="nope"), 1),
        lambda: prewarm_spec.roll_back(service, MIRA, "nope", 1),
        lambda: prewarm_spec.get_spec(service, MIRA, "no/pe" * 999),
    ):
        with pytest.raises(errors.UnknownSpec):
            call()


# ---- its life


def test_a_paused_spec_is_not_prewarmed_until_it_is_resumed(service):
    create(service)
    paused = prewarm_spec.pause(service, MIRA, "chromium-src", "noisy")
    assert (paused.state, paused.state_why, paused.policy.active) == ("paused", "noisy", False)
    assert edit(service, 1, cold_cost_s=210).state == "paused"
    assert prewarm_spec.resume(service, MIRA, "chromium-src").policy.active


def test_a_retired_spec_is_not_changed_but_can_be_brought_back(service):
    create(service)
    assert not prewarm_spec.retire(service, MIRA, "chromium-src", "over").policy.active
    for call in (
        lambda: edit(service, 1, cold_cost_s=210),
        lambda: prewarm_spec.pause(service, MIRA, "chromium-src"),
        lambda: prewarm_spec.roll_back(service, MIRA, "chromium-src", 1),
    ):
        with pytest.raises(errors.FailedPrecondition, match="retired"):
            call()
    assert prewarm_spec.resume(service, MIRA, "chromium-src").policy.active


def test_resuming_closes_the_circuit_breaker_of_this_spec_only(store, service):
    create(service)
    with store.context():
        PoolGate(id="builders", breakers={"chromium-src": {"failures": 3}, "other": {"failures": 1}}).put()
    prewarm_spec.resume(service, MIRA, "chromium-src")
    with store.context():
        assert PoolGate.get_by_id("builders").breakers == {"other": {"failures": 1}}


# ---- generations


def test_a_new_generation_succeeds_the_last_whatever_its_name(service):
    create(service, generation="r9")
    found = edit(service, 1, generation="r10")
    assert (found.generation, found.policy.generation, found.policy.sequence) == ("r10", "r10", 2)
    assert [entry["generation"] for entry in found.generations] == ["r9", "r10"]


def test_an_edit_within_a_generation_keeps_its_place(service):
    create(service)
    assert edit(service, 1, cold_cost_s=210).policy.sequence == 1


def test_an_edit_does_not_bring_a_superseded_generation_back(service):
    create(service)
    edit(service, 1, generation="r2")
    with pytest.raises(errors.FieldErrors, match="generation r1 was superseded by r2; roll back to revision 1"):
        edit(service, 2, generation="r1")


def test_a_roll_back_makes_the_old_generation_the_newest(service):
    create(service)
    edit(service, 1, generation="r2", cold_cost_s=500)
    found = prewarm_spec.roll_back(service, MIRA, "chromium-src", 1, "r2 is broken")
    assert (found.revision, found.generation, found.policy.sequence, found.policy.cold_cost_s) == (3, "r1", 3, 200)
    assert prewarm_spec.revisions(service, MIRA, "chromium-src")[0].note == "roll back to revision 1: r2 is broken"


@pytest.mark.parametrize("revision", [0, -1, 2, 9])
def test_a_roll_back_goes_to_an_earlier_revision_only(service, revision):
    create(service)
    edit(service, 1, generation="r2")
    with pytest.raises(errors.NotFound):
        prewarm_spec.roll_back(service, MIRA, "chromium-src", revision)


def test_a_family_with_very_many_generations_keeps_counting(service, monkeypatch):
    monkeypatch.setattr(prewarm_spec, "GENERATIONS_KEPT", 3)
    create(service)
    for number in range(1, 6):
        found = edit(service, number, generation=f"r{number + 1}")
    assert [entry["sequence"] for entry in found.generations] == [4, 5, 6]


# ---- looks


def test_eight_families_have_eight_hues_and_the_next_ones_other_patterns(service):
    looks = [create(service, family=f"family-{number}").colour for number in range(10)]
    assert looks == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_a_hue_that_became_free_is_given_before_a_pattern():
    assert swatches.free_colour([0, 1, 3, 4, 5, 6, 7]) == 2
    assert len({swatches.free_colour(range(count)) for count in range(48)}) == 48


def test_two_families_never_have_the_same_letters(service):
    letters = [create(service, family=name).letters for name in ("chromium-src", "cold-start", "cs", "clean")]
    assert letters == ["CS", "CO", "CA", "CL"] and len(set(letters)) == 4


def test_letters_can_be_chosen_unless_another_family_has_them(service):
    create(service, family="other", letters="QX")
    with pytest.raises(errors.FieldErrors, match="letters qx are taken by other"):
        create(service, letters="qx")
    assert create(service, letters="QY").letters == "QY"
    assert edit(service, 1).letters == "QY"


def test_families_registered_at_once_get_different_looks(store):
    def register(number: int):
        return create(process(store, number), family=f"family-{number}")

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(register, range(4)))
    assert len({spec.colour for spec in found}) == len({spec.letters for spec in found}) == 4


# ---- what the policy and the scheduler get


def test_the_policy_sees_what_decides(service):
    found = create(service, slot="src", max_running=4, expected_per_h=12, resumable=True, run_cost_s=1).policy
    assert found.dimensions == (("pool", ("builders",)), ("os", ("Linux", "Ubuntu")), ("cores", ("8", "16")))
    assert (found.slot, found.purpose, found.max_running, found.expected_per_h) == ("src", Purpose.FORECAST, 4, 12)
    assert (found.resumable, found.run_cost_s, found.run_s, found.may_serve_on_demand) == (True, 1, 300, True)


def test_a_clean_up_is_no_forecast_and_serves_no_demand(service):
    found = create(service, purpose="clean", makes={}).policy
    assert (found.purpose, found.may_serve_on_demand) == (Purpose.CLEAN, False)


def test_the_background_task_asks_for_the_bots_of_the_spec(service):
    piece = create(service).slice_record(1000.0)
    assert piece["dimensions"] == [["pool", ["builders"]], ["os", ["Linux", "Ubuntu"]], ["cores", ["8", "16"]]]
    assert piece["properties"]["command"] == ["python3", "sync.py"]
    assert piece["properties"]["caches"] == [{"name": "chromium_src", "path": "src"}]
    assert piece["properties"]["grace_period_secs"] == 10
    Properties.model_validate(piece["properties"])


def test_a_pool_that_became_stricter_bounds_runs_of_specs_saved_before(service):
    piece = create(service).slice_record(1000.0, PoolConfig(max_background_grace_s=2, max_background_run_s=60))
    assert (piece["properties"]["grace_period_secs"], piece["properties"]["execution_timeout_secs"]) == (2, 60)


def test_a_spec_saved_by_a_later_version_is_read_without_what_is_unknown(store, service):
    create(service)
    change_stored(store, lambda saved: {**saved, "of_the_future": 1, "task": {**saved["task"], "more": 2}})
    assert prewarm_spec.get_spec(service, MIRA, "chromium-src").revision == 1


def test_a_spec_that_cannot_be_read_does_not_hide_the_others(store, service):
    create(service)
    create(service, family="other")
    change_stored(store, lambda saved: {**saved, "order": "of_the_future"})
    assert list(prewarm_spec.load_all(service)) == ["other"]
    with pytest.raises(errors.FailedPrecondition, match="cannot read chromium-src: order must be"):
        prewarm_spec.get_spec(service, MIRA, "chromium-src")


def change_stored(store: Store, change) -> None:
    """Another version's hand in the store."""
    with store.context():
        saved = prewarm_spec.revision_key("chromium-src", 1).get()
        saved.body = change(saved.body)
        saved.put()


# ---- what real tasks want


def real(pool="builders", caches=(), **dimensions) -> Properties:
    """Properties of a real task."""
    pairs = [{"key": "pool", "value": pool}, *({"key": key, "value": value} for key, value in dimensions.items())]
    entries = [{"name": name, "path": name} for name in caches]
    return Properties(command=["x"], dimensions=pairs, caches=entries, execution_timeout_secs=60)


@pytest.fixture
def specs(service):
    create(service, serves__named_caches=["git_cache"], serves__tags=["suite:browser"])
    create(service, family="pixel-fw", generation="UP1A", makes={"dimension": "device_os:UP1A"}, slot="firmware")
    return prewarm_spec.load_all(service)


@pytest.mark.parametrize("name", ["chromium_src", "git_cache"])
def test_a_task_wants_the_state_that_fills_its_named_cache(specs, name):
    assert prewarm_spec.wishes_of(specs, real(caches=[name]), []) == (Wish("chromium-src"),)


def test_a_task_wants_the_very_generation_whose_dimension_it_asks_for(specs):
    assert prewarm_spec.wishes_of(specs, real(device_os="UP1A"), []) == (Wish("pixel-fw", "UP1A"),)
    assert prewarm_spec.wishes_of(specs, real(device_os="TQ3A"), []) == ()


def test_a_task_that_takes_either_of_two_wants_neither_made(specs):
    assert prewarm_spec.wishes_of(specs, real(device_os="UP1A|TQ3A"), []) == ()


def test_a_task_wants_the_state_that_serves_its_tag(specs):
    assert prewarm_spec.wishes_of(specs, real(), ["suite:browser"]) == (Wish("chromium-src"),)


def test_a_task_that_wants_nothing_wishes_nothing(specs):
    assert prewarm_spec.wishes_of(specs, real(caches=["other"]), ["suite:net"]) == ()


def test_a_tag_decides_the_generation(specs):
    task = real(caches=["chromium_src"], device_os="UP1A")
    found = prewarm_spec.wishes_of(specs, task, ["warm:chromium-src@r7", "warm:pixel-fw"])
    assert found == (Wish("chromium-src", "r7"), Wish("pixel-fw"))


def test_a_tag_can_name_a_family_that_nobody_registered(specs):
    assert prewarm_spec.wishes_of(specs, real(), ["warm:new-family@1"]) == (Wish("new-family", "1"),)


@pytest.mark.parametrize("tag", ["warm:", "warm:UPPER", "warm:a@", "warm:a@b c", "warm:a b", "cold:a", "warm:a@b@c"])
def test_a_tag_that_names_no_state_is_just_a_tag(specs, tag):
    wanted = prewarm_spec.wishes_of(specs, real(), [tag])
    assert wanted == ((Wish("a"),) if tag == "warm:a@" else ())


def test_the_spec_of_another_pool_or_a_retired_one_serves_no_task(service, specs):
    assert prewarm_spec.wishes_of(specs, real("lab", caches=["chromium_src"]), []) == ()
    prewarm_spec.retire(service, MIRA, "chromium-src")
    assert prewarm_spec.wishes_of(prewarm_spec.load_all(service), real(caches=["chromium_src"]), []) == ()


def test_a_paused_spec_still_counts_what_is_wanted(service, specs):
    prewarm_spec.pause(service, MIRA, "chromium-src")
    assert prewarm_spec.wishes_of(prewarm_spec.load_all(service), real(caches=["chromium_src"]), [])


def test_a_task_cannot_wish_without_end(specs):
    assert len(prewarm_spec.wishes_of(specs, real(), [f"warm:f{number}" for number in range(99)])) == 16
