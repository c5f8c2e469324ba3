"""Pictures of replays: what is looked at, and what is drawn of it."""

from __future__ import annotations

import random
from io import BytesIO
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

import main
from server import raster, simulation
from server.policy.simulate import chart, watch
from server.policy.simulate.figure import Curve, Figure, Panel, even_ticks
from server.policy.simulate.options import Options
from server.policy.simulate.replay import replay
from server.policy.simulate.svg import svg
from tests.simulate_world import arrivals, poisson, rolling


def words_of(picture):
    return {element.text for element in ElementTree.fromstring(picture).iter() if element.text}


@pytest.fixture(scope="module")
def paths():
    tasks = rolling(hours=12)
    looked = watch.windows(tasks)
    names = ("affinity", "off")
    return {name: replay(name, tasks, Options(bots=8), random.Random(3), watched=looked) for name in names}


def test_every_figure_names_its_trace_and_every_policy_and_is_well_formed(paths):
    made = chart.figures(paths, "a < b")
    assert list(made) == ["distribution", "timeline", "stock", "rollover", "surge"]
    for figure in made.values():
        picture = svg(figure)
        assert "nan" not in picture
        found = words_of(picture)
        assert {"affinity", "off"} <= found
        assert any("a < b" in text for text in found)


def test_the_rollover_shows_how_bots_move_from_the_old_generation_to_the_new(paths):
    figure = chart.figures(paths, "x")["rollover"]
    panel = figure.panels[0]
    tasks, old, new = panel.curves
    assert tasks.filled
    middle = len(old.points) // 2
    assert sum(y for _, y in old.points[: middle // 2]) > sum(y for _, y in old.points[-middle // 2 :])
    assert sum(y for _, y in new.points[: middle // 4]) == 0
    assert max(y for _, y in new.points) > 0


def test_what_is_looked_at_is_the_busiest_family_the_largest_rollover_and_the_largest_surge():
    calm = [(60.0 * n, 30, "src:1" if n < 300 else "src:2") for n in range(600)]
    burst = [(25_000.0 + n, 30, "b") for n in range(200)]
    stock, rollover, surge = watch.windows(arrivals(*sorted([*calm, *burst])))
    assert (stock.begin_s, stock.end_s, stock.groups) == (0.0, 35_940.0, {"src": {"src:1", "src:2"}})
    assert list(rollover.groups) == ["src:1", "src:2"]
    assert rollover.begin_s == 18_000.0 - 3600.0
    assert surge.begin_s + 3600.0 == pytest.approx(25_000.0, abs=600.0)


def test_a_trace_without_generations_has_no_rollover():
    assert [window.kind for window in watch.windows(poisson("ab", hours=2, per_h=30))] == ["stock", "surge"]


def test_samples_are_even_and_add_up_to_what_the_fleet_does():
    tasks = arrivals((0, 100, "a"), (10, 100, "a"), (20, 100, "a"), (1000, 10, "a"))
    window = watch.Window("stock", 0.0, 640.0, {"a": frozenset("a")})
    path = replay("affinity", tasks, Options(bots=2, cold_s=60.0), random.Random(1), watched=[window])
    seen = path.watched["stock"]
    assert {round(b.at_s - a.at_s, 6) for a, b in pairwise(seen)} == {2.0}
    at = {sample.at_s: sample for sample in seen}
    assert (at[30.0].demand["a"], at[30.0].running, at[30.0].pending) == (3, 2, 1)
    assert at[200.0].stock["a"] == 1  # the third task runs on the first bot until 262
    assert at[300.0].stock["a"] == 2
    assert (at[300.0].demand["a"], at[300.0].warming) == (0, 0)


def test_looking_changes_nothing():
    tasks = rolling(hours=6)
    seen = replay("off", tasks, Options(bots=8, hear_s=1.0), random.Random(3), watched=watch.windows(tasks))
    assert seen.overhead == replay("off", tasks, Options(bots=8, hear_s=1.0), random.Random(3)).overhead


@pytest.mark.parametrize(("top", "last"), [(0.0, "0.0"), (0.9, "1.0"), (7, "8"), (23, "25"), (1234, "1,500")])
def test_ticks_are_round_and_reach_the_top(top, last):
    ticks = even_ticks(top)
    assert ticks[-1][0] >= top
    assert ticks[-1][1] == last
    assert len(ticks) <= 7


def test_a_png_has_the_figures_colours():
    image = pytest.importorskip("PIL.Image")
    panel = Panel("p", [Curve("c", [(0.0, 1.0), (2.0, 2.0)], "#ff0000", filled=True)], [(0.0, "0")], [(0.0, "0")])
    drawn = image.open(BytesIO(raster.png(Figure("t", [panel]))))
    assert drawn.size[0] == 1520
    colours = {colour for _, colour in drawn.getcolors(1_000_000)}
    assert {(255, 0, 0), (255, 255, 255)} <= colours


def test_the_command_says_so_when_nothing_can_draw_png(tmp_path, monkeypatch):
    monkeypatch.setattr(simulation.raster, "can_draw", lambda: False)
    file = tmp_path / "t.csv"
    file.write_text("submit_s,duration_s,key\n0,1,a\n100,1,b\n", encoding="utf-8")
    command = ["simulate", str(file), "--bots", "2", "--replicas", "1", "--policies", "off", "--plots", str(tmp_path)]
    told = CliRunner().invoke(main.cli, command)
    assert told.exit_code == 0, told.output
    assert "Pillow" in told.stderr
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".svg"}
