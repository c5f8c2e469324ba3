"""The fields of a prewarm spec: what is refused, and how that is said."""

from __future__ import annotations

import pytest

from server import errors, spec_body
from server.pool_config import PoolConfig
from tests.specs import body


def wrong(value, limits: PoolConfig | None = None) -> dict[str, str]:
    """What a spec is refused for, by field."""
    with pytest.raises(errors.FieldErrors) as refused:
        spec_body.parse(value, limits or PoolConfig())
    return refused.value.errors


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("family", "Chromium", "must have a-z, 0-9"),
        ("family", "a" * 64, "at most 63"),
        ("family", "a\n", "must have a-z, 0-9"),
        ("family", 5, "must be text; put it in quotes"),
        ("generation", "", "must have letters"),
        ("generation", "r 1", "must have letters"),
        ("order", "newest", "must be 'registered' or 'first_seen'; newest given"),
        ("pool", "a b", "must have letters"),
        ("slot", "", "must have a-z, 0-9"),
        ("purpose", "warm", "must be 'prewarm' or 'clean'"),
        ("dimensions", [], "must be a mapping"),
        ("dimensions", {"pool": "others"}, "must not name another pool (others) than pool does"),
        ("dimensions", {"o s": "x"}, "is not a dimension's key"),
        ("dimensions", {"os": " x"}, "no outer spaces"),
        ("dimensions", {"a": "1|2|3", "b": "1|2|3"}, "9 combinations of alternatives; at most 8"),
        ("makes", {}, "must have named_cache or dimension"),
        ("makes", {"named_cache": "chromium_src", "dimension": "a:b"}, "not both"),
        ("fresh_for_s", 10, "must be at least 60 s; 10 given"),
        ("cold_cost_s", -1, "must be at least 0 s; -1 given"),
        ("warm_cost_s", 300, "must be at most cold_cost_s (200); 300 given"),
        ("run_s", 601, "must be at most task.execution_timeout_s (600); 601 given"),
        ("expected_per_h", "often", "must be a number"),
        ("expected_per_h", True, "must be a number"),
        ("expected_per_h", "2", "must be a number"),
        ("max_running", "1", "must be a whole number"),
        ("resumable", "perhaps", "must be true or false"),
        ("max_running", 1.5, "must be a whole number"),
        ("run_cost_s", float("inf"), "must be a finite number"),
        ("letters", "ABC", "two letters or digits"),
        ("note", "x" * 1001, "may have at most 1000 characters"),
        ("familly", "x", "is not a known field; did you mean family?"),
        ("task", None, "must be a mapping"),
    ],
)
def test_a_wrong_field_is_named_with_its_rule(path, value, says):
    found = wrong(body(**{path: value}))
    assert says in found[path]


@pytest.mark.parametrize(
    ("path", "value", "field", "says"),
    [
        ("dimensions", {"cores": 8}, "dimensions.cores", "must be text in quotes"),
        ("dimensions", {"cores": [8]}, "dimensions.cores[0]", "must be text; put it in quotes"),
        ("serves__named_caches", ["A-B"], "serves.named_caches[0]", "a-z, 0-9 or '_'"),
        ("serves__tags", ["nothing"], "serves.tags[0]", "the form key:value"),
        ("makes__dimension", "os", "makes.dimension", "the form key:value"),
        ("task__command", [], "task.command", "must have at least 1 entry"),
        ("task__command", ["x"] * 129, "task.command", "may have at most 128 entries"),
        ("task__command", "python3 sync.py", "task.command", "must be a list"),
        ("task__env", {"JOBS": 4}, "task.env.JOBS", "must be text; put it in quotes"),
        ("task__env", {"1X": "4"}, "task.env", "is not a variable's name"),
        ("task__env_prefixes", {"PATH": []}, "task.env_prefixes", "PATH has no path"),
        ("task__relative_cwd", "../up", "task.relative_cwd", "is not clean"),
        ("task__relative_cwd", "/etc", "task.relative_cwd", "is not relative"),
        ("task__caches", [], "task.caches", "must have chromium_src among them"),
        ("task__caches", [{"name": "chromium_src", "path": "/x"}], "task.caches[0].path", "is not relative"),
        ("task__caches", [{"name": "chromium_src"}], "task.caches[0].path", "is missing"),
        ("task__execution_timeout_s", 29, "task.execution_timeout_s", "must be at least 30 s; 29 given"),
        (
            "task__execution_timeout_s",
            3601,
            "task.execution_timeout_s",
            "must be at most 3600 s, which is max_background_run_s",
        ),
        ("task__io_timeout_s", 5, "task.io_timeout_s", "must be 0 or at least 30"),
        ("task__grace_period_s", 31, "task.grace_period_s", "must be at most 30 s, which is max_background_grace_s"),
        ("task__outputs", ["a//b"], "task.outputs", "is not clean"),
        (
            "task__cas_input_root",
            {"cas_instance": "x", "digest": {"hash": "a", "size_bytes": 1}},
            "task.cas_input_root.cas_instance",
            "is not of the form",
        ),
        ("task__comand", ["x"], "task.comand", "did you mean command?"),
    ],
)
def test_a_wrong_part_is_named_by_its_path(path, value, field, says):
    found = wrong(body(**{path: value}))
    assert says in found[field]


@pytest.mark.parametrize("field", ["family", "generation", "pool", "task"])
def test_what_must_be_given_is_said_to_be_missing(field):
    value = body()
    del value[field]
    assert wrong(value)[field] == "is missing"


def test_wrong_fields_are_said_at_once_also_within_the_task():
    value = body(family="X", task__grace_period_s=-1, task__relative_cwd="/x", dimensions={"o s": "x"}, max_running=-1)
    assert set(wrong(value)) >= {"family", "task.grace_period_s", "max_running"}
    value = body(family="X", task__relative_cwd="/x", task__env={"1": ""})
    assert set(wrong(value)) == {"family", "task.relative_cwd", "task.env"}


@pytest.mark.parametrize("value", [None, [], "text", 5])
def test_something_else_than_a_spec_is_refused(value):
    assert wrong(value)


def test_the_pool_bounds_how_long_a_run_may_hold_a_bot():
    short = PoolConfig(max_background_grace_s=2, max_background_run_s=60)
    assert set(wrong(body(run_s=30), short)) == {"task.grace_period_s", "task.execution_timeout_s"}


def test_a_clean_up_needs_no_evidence():
    spec, _ = spec_body.parse(body(purpose="clean", makes={}), PoolConfig())
    assert spec.makes.named_cache is None
