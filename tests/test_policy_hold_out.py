"""The hold-out: which windows it takes, and that neither processes nor operators can choose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.policy import hold_out
from server.policy.hold_out import Arm
from tests.policy_world import NOW_S, spec

SRC = spec("src", run_s=60)
DAY_S = 86_400.0


def windows(of: object = SRC, share: float = 0.05, days: int = 400) -> list[hold_out.Window]:
    found, at_s = [], NOW_S
    while at_s < NOW_S + days * DAY_S:
        found.append(hold_out.window(of, share, at_s))  # type: ignore[arg-type]
        at_s = found[-1].ends_s
    return found


def first(share: float = 0.05, of: object = SRC) -> hold_out.Window:
    return next(one for one in windows(of, share) if one.held_out)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_as_many_windows_are_held_out_as_the_setting_says(share: float) -> None:
    every = windows(share=share)
    assert sum(one.held_out for one in every) / len(every) == pytest.approx(share, abs=0.01)


def test_a_larger_share_only_adds_windows() -> None:
    small = {one.number for one in windows(share=0.05) if one.held_out}
    large = {one.number for one in windows(share=0.3) if one.held_out}
    assert small and small < large


def test_specs_are_held_out_at_different_times() -> None:
    mine = {one.begins_s // 1800 for one in windows() if one.held_out}
    theirs = {one.begins_s // 1800 for one in windows(spec("lib", run_s=60)) if one.held_out}
    assert len(mine & theirs) / len(mine) < 0.2


def test_held_out_times_follow_no_rhythm_of_the_day() -> None:
    hours = [int(one.begins_s % DAY_S // 3600) for one in windows(days=2000) if one.held_out]
    counts = [hours.count(hour) for hour in range(24)]
    assert min(counts) > 0.6 * max(counts)
    assert SRC and windows()[0].begins_s % 1800 != 0


@given(st.floats(1.0, 3600.0), st.floats(0.0, 10 * DAY_S))
def test_windows_follow_one_another_without_gap(run_s: float, after_s: float) -> None:
    of = spec("src", run_s=run_s)
    one = hold_out.window(of, 0.05, NOW_S + after_s)
    assert one.begins_s <= NOW_S + after_s <= one.ends_s
    assert one.ends_s - one.begins_s >= 4 * run_s - 1e-6
    following = hold_out.window(of, 0.05, one.ends_s + 1.0)
    assert following.number == one.number + 1 and following.begins_s == pytest.approx(one.ends_s)


def test_tasks_belong_to_a_group_once_its_warm_ups_are_done() -> None:
    held = first()
    arms = [hold_out.arm(SRC, 0.05, held.begins_s + after_s) for after_s in (1.0, 59.0, 61.0, 1799.0)]
    assert arms == [Arm.NEITHER, Arm.NEITHER, Arm.HELD_OUT, Arm.HELD_OUT]
    after = [hold_out.arm(SRC, 0.05, held.ends_s + after_s) for after_s in (1.0, 61.0)]
    assert after == [Arm.NEITHER, Arm.TREATED]
    quiet = next(b for a, b in zip(windows(), windows()[1:], strict=False) if not a.held_out and not b.held_out)
    assert hold_out.arm(SRC, 0.05, quiet.begins_s + 1.0) is Arm.TREATED


def test_the_refusal_says_until_when_and_how_to_end_it() -> None:
    held = first()
    check = hold_out.check(SRC, 0.05, "p", held.begins_s + 1080.0)
    assert not check.passed
    assert check.text.replace("\u00a0", " ") == (
        "The hold-out refused: for another 12 m nothing is prewarmed for src, so that what prewarming saves can be "
        "measured; 5 % of all times are chosen by chance."
    )
    assert check.would_change.replace("\u00a0", " ") == ("Another 12 m, or holdout_share 0 in the configuration of p.")
    assert hold_out.check(SRC, 0.0, "p", held.begins_s + 1080.0).passed


def test_all_specs_of_a_pool_are_told_with_the_time_until_which_it_stays_so() -> None:
    held, specs = first(), [SRC, spec("lib", run_s=60)]
    families, until_s = hold_out.held_out(specs, 0.05, held.begins_s + 1.0)
    assert "src" in families and held.begins_s < until_s <= held.ends_s
    assert hold_out.held_out(specs, 0.05, until_s - 1.0)[0] == families
    assert hold_out.held_out(specs, 0.0, held.begins_s + 1.0)[0] == frozenset()
