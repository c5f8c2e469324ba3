"""What a pool in shadow mode would have gained: prewarms that were decided, followed as if they had been made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.policy.model import Thresholds
from server.policy.shadow_score import Score, ShadowBook, Start, Use, WouldBe, decided
from tests.policy_world import NOW_S, bot, demand, spec, view, warm

SRC = "src"


def would_be(bot_id: str = "b1", family: str = SRC, generation: str = "g1", **changes: object) -> WouldBe:
    fields = {"run_s": 60.0, "fresh_for_s": 3600.0, "saved_s": 58.0, **changes}
    return WouldBe(bot_id, "cache", family, generation, **fields)  # type: ignore[arg-type]


def start(after_s: float, bot_id: str = "b1", family: str = SRC, generation: str = "", is_warm: bool = False) -> Start:
    return Start(NOW_S + after_s, bot_id, (Use("cache", family, generation, is_warm),))


class Followed(ShadowBook):
    """A book with all bots idle but those named `busy…`, in which a cold start costs 100 s."""

    def begin(self, one: Start) -> None:
        self.start(one, lambda name: not name.startswith("busy"), lambda family: 100.0)

    def of(self, family: str = SRC) -> Score:
        return self.scores[family]


def test_a_copy_that_would_have_been_ready_saves_the_first_cold_start() -> None:
    book = Followed()
    book.decide([would_be()], NOW_S)
    book.begin(start(100))
    assert book.of() == Score(prewarms=1, used=1, spent_s=60.0, saved_s=58.0)
    book.begin(start(200))
    assert book.of().used == 1, "the first user would have left it warm"


def test_deciding_the_same_again_makes_no_second_copy() -> None:
    book = Followed()
    for after_s in range(0, 1000, 10):
        book.decide([would_be("b1" if after_s % 20 else "b2")], NOW_S + after_s)
    assert book.of().prewarms == 1
    book.decide([would_be("b1"), would_be("b2"), would_be("b3")], NOW_S + 1000)
    assert book.of().prewarms == 3


def test_a_used_copy_may_be_made_again() -> None:
    book = Followed()
    book.decide([would_be()], NOW_S)
    book.begin(start(100))
    book.decide([would_be()], NOW_S + 200)
    assert book.of().prewarms == 2


def test_a_task_on_another_bot_would_have_gone_to_the_warm_one_if_that_was_idle() -> None:
    book = Followed()
    book.decide([would_be("b1"), would_be("busy1")], NOW_S)
    book.begin(start(100, "b9"))
    assert book.of().used == 1
    book.begin(start(100, "b9"))
    assert book.of().used == 1, "the other bot is busy"


@pytest.mark.parametrize(
    "one",
    [start(30), start(5000), start(100, generation="g0"), start(100, family="lib"), start(100, is_warm=True)],
    ids=["not ready", "stale", "another generation", "another family", "warm anyhow"],
)
def test_what_would_not_have_helped_is_no_use(one: Start) -> None:
    book = Followed()
    book.decide([would_be()], NOW_S)
    book.begin(one)
    assert (book.of().used, book.of().saved_s) == (0, 0.0)


def test_a_run_that_a_real_task_would_have_stopped_costs_what_it_had_run() -> None:
    book = Followed()
    book.decide([would_be()], NOW_S)
    book.begin(start(30, family="lib"))
    assert book.of().spent_s == 30.0 and not book.copies


def test_what_it_would_have_displaced_is_booked_against_it() -> None:
    book = Followed()
    book.decide([would_be(displaces=("lib", "g5"))], NOW_S)
    book.begin(start(100, family="lib", is_warm=True))
    assert book.of().lost_s == 100.0
    book.begin(start(200, family="lib", is_warm=True))
    assert book.of().lost_s == 100.0, "the first miss would have made it again"


def test_copies_go_with_their_bots_and_with_what_takes_their_place() -> None:
    book = Followed()
    book.decide([would_be("b1"), would_be("b2"), would_be("b3")], NOW_S)
    book.keep_bots(["b1", "b2"], NOW_S + 100)
    book.decide([would_be("b1", "lib")], NOW_S + 100)
    book.begin(start(200, "b9"))
    book.begin(start(200, "b9"))
    assert book.of().used == 1


def test_scores_are_taken_once() -> None:
    book = Followed()
    book.decide([would_be()], NOW_S)
    assert book.take() == {SRC: Score(prewarms=1, spent_s=60.0)}
    assert book.take() == {}
    book.begin(start(100))
    assert book.take() == {SRC: Score(used=1, saved_s=58.0)}


EVENT = st.tuples(
    st.sampled_from(["decide", "cold", "warm", "gone"]),
    st.integers(1, 4),
    st.sampled_from(["src", "lib"]),
    st.integers(1, 120),
)


@given(st.lists(EVENT, max_size=60))
def test_no_more_is_used_than_made_and_nothing_is_spent_without_a_run(events: list[tuple[str, int, str, int]]) -> None:
    book, now_s = Followed(), NOW_S
    for kind, number, family, passed_s in events:
        now_s += passed_s
        if kind == "decide":
            book.decide([would_be(f"b{one}", family) for one in range(number)], now_s)
        elif kind == "gone":
            book.keep_bots([f"b{one}" for one in range(number)], now_s)
        else:
            book.begin(Start(now_s, f"b{number}", (Use("cache", family, "", kind == "warm"),)))
    for score in book.scores.values():
        assert 0 <= score.used <= score.prewarms
        assert 0.0 <= score.spent_s <= 60.0 * score.prewarms
        assert score.saved_s == 58.0 * score.used


def test_the_bets_of_a_pool_in_shadow_mode_are_those_that_it_would_make_live() -> None:
    bots = [bot("b1"), bot("b2", warm("lib")), bot("b3")]
    seen = {
        mode: view(
            bots,
            specs=[spec(SRC)],
            demand={SRC: demand(600)},
            thresholds=Thresholds(mode=mode, reserve_share=0.0, reserve_min=0, background_share=1.0, spec_share=1.0),
        )
        for mode in ("live", "shadow", "off")
    }
    found = {mode: decided(one, {SRC: 58.0}) for mode, one in seen.items()}
    assert found["shadow"] == found["live"] != [] == found["off"]
    assert {one.displaces for one in found["live"] if one.bot == "b2"} <= {("lib", "g1")}
    assert decided(seen["live"], {}) == []
