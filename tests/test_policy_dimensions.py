"""Which bots a task or a spec may have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.policy.dimensions import Fits, matches, missing
from tests.policy_world import bot

PHONE = {"os": frozenset(("Android", "Linux")), "device": frozenset(("komodo",)), "id": frozenset(("p1",))}


@pytest.mark.parametrize(
    ("requirement", "fits"),
    [
        ((), True),
        ((("os", ("Android",)),), True),
        ((("os", ("Windows",)),), False),
        ((("os", ("Windows", "Linux")),), True),
        ((("os", ("Android",)), ("os", ("Linux",))), True),
        ((("os", ("Android",)), ("os", ("Windows",))), False),
        ((("gpu", ("none",)),), False),
        ((("id", ("p1",)), ("device", ("komodo",))), True),
        ((("id", ("p2",)),), False),
    ],
)
def test_alternatives_are_or_and_a_repeated_key_is_and(requirement: tuple, fits: bool) -> None:
    assert matches(requirement, PHONE) is fits


def test_what_is_missing_is_told_in_the_order_asked() -> None:
    requirement = (("device", ("caiman",)), ("os", ("Linux",)), ("gpu", ("a", "b")))
    assert missing(requirement, PHONE) == (("device", ("caiman",)), ("gpu", ("a", "b")))


def test_bots_that_look_alike_are_compared_once() -> None:
    bots = [bot(f"b{number}", extra={"cores": [str(number)]}) for number in range(50)]
    fits = Fits(bots, [(("pool", ("p",)),)])
    assert fits.group_count == 1  # Nobody asks for cores.


def test_a_bot_can_be_asked_for_by_id_though_it_does_not_say_its_id() -> None:
    silent = bot("b1")
    del silent.dimensions["id"]
    fits = Fits([silent, bot("b2")], [(("id", ("b1",)),)])
    assert fits.fits((("id", ("b1",)),), "b1")
    assert not fits.fits((("id", ("b1",)),), "b2")


def test_a_requirement_that_was_not_announced_is_an_error_and_not_a_guess() -> None:
    with pytest.raises(KeyError, match="was not announced"):
        Fits([bot("b1")], []).fits((("gpu", ("a",)),), "b1")


KEYS, VALUES = st.sampled_from(["os", "gpu", "id"]), st.sampled_from(["a", "b", "c"])
REQUIREMENTS = st.lists(st.tuples(KEYS, st.lists(VALUES, min_size=1, max_size=2).map(tuple)), max_size=3).map(tuple)
LOOKS = st.dictionaries(st.sampled_from(["os", "gpu"]), st.frozensets(VALUES, min_size=1))


@given(st.lists(LOOKS, min_size=1, max_size=5), st.lists(REQUIREMENTS, max_size=4))
def test_grouping_never_changes_an_answer(looks: list, requirements: list) -> None:
    names = ["a", "b", "c", "d", "e"]
    bots = [bot(name, extra=look) for name, look in zip(names, looks, strict=False)]
    fits = Fits(bots, requirements)
    for asked in requirements:
        assert [fits.fits(asked, one.id) for one in bots] == [matches(asked, one.dimensions) for one in bots]
