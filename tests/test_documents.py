"""YAML and JSON as people write them: nothing changes its meaning on the way in or out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from server import documents, errors


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("yes", "yes"),
        ("2026-11-24", "2026-11-24"),
        ("0123", "0123"),
        ("1234e567", "1234e567"),
        ("1:30", "1:30"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("12", 12),
        ("-1.5", -1.5),
        ("true", True),
        ("~", None),
        ("", None),
    ],
)
def test_only_what_looks_like_a_json_value_is_more_than_text(text, value):
    found = documents.load_yaml(f"key: {text}")["key"]
    assert (found, type(found)) == (value, type(value))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
    | st.from_regex(r"[0-9eE.+\-_:x]{1,8}", fullmatch=True),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abyno123.~", max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text("abcnoyes", min_size=1), values, max_size=3))
def test_what_is_written_is_read_back_as_it_was(value):
    assert documents.load_yaml(documents.dump_yaml(value)) == value


def test_a_mapping_inside_may_not_repeat_a_key():
    with pytest.raises(errors.InvalidArgument, match="line 3, column 3: 'b' is given twice"):
        documents.load_yaml("a:\n  b: 1\n  b: 2")


@pytest.mark.parametrize("text", ["1: x", "true: x", "~: x", "[a]: x", "{a: 1}: x"])
def test_a_key_that_is_no_text_is_refused(text):
    with pytest.raises(errors.InvalidArgument, match="must be text; put it in quotes"):
        documents.load_yaml(text)


@pytest.mark.parametrize("text", ["a: !!binary aGk=", "a: !!set {b}", "a: !!timestamp 2026-11-24", "a: !x y"])
def test_a_tag_cannot_bring_in_what_no_field_takes(text):
    with pytest.raises(errors.InvalidArgument, match="could not determine a constructor"):
        documents.load_yaml(text)


class Outer(documents.Document):
    """A list that may not be empty, of entries that must be numbers."""

    entries: tuple[documents.Whole, ...] = Field(min_length=1, max_length=2)


@pytest.mark.parametrize(
    ("entries", "wrong"),
    [
        (["x"], {"entries[0]": "must be a whole number"}),
        ([], {"entries": "must have at least 1 entry"}),
        ([1, 2, 3], {"entries": "may have at most 2 entries"}),
    ],
)
def test_a_list_with_a_wrong_entry_is_not_called_too_short_as_well(entries, wrong):
    with pytest.raises(errors.FieldErrors) as refused:
        documents.checked(Outer, {"entries": entries})
    assert refused.value.errors == wrong
