"""The example as a picture: what a task waits for cold and warm, and what each bot did when. One SVG, no script."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from client.example_records import COLD, PREEMPT, ROLLOVER, WARM, Run, Story
from client.words import duration

WIDTH = 960
LEFT, RIGHT = 72, 16
TOP = 150
ROW, BAR = 30, 18
LEAST_BAR = 3.0
"""A bar narrower than this cannot be seen."""
FOOT = 64
MARK_ROWS, MARK_ROW = 3, 14
LETTER = 6.2
"""Width of a letter of the small text, on the safe side: what draws the picture chooses the font."""
STEPS_S = (5, 10, 15, 20, 30, 60, 120, 300, 600)
MOST_TICKS = 12

STYLE = """
svg {
  --bg: #fff; --text: #14181e; --text-2: #47505c; --text-3: #626b77; --line: #d9dde3; --bad: #b42318;
  --real: #57616e; --family: #008cdf; --next: #5f4ac3; --accent: #1f5fbf;
  font: 13px Inter, system-ui, sans-serif; font-variant-numeric: tabular-nums;
}
@media (prefers-color-scheme: dark) {
  svg {
    --bg: #16191e; --text: #e9ecf0; --text-2: #b4bcc7; --text-3: #939ca8; --line: #333a44; --bad: #ff8f85;
    --real: #626c79; --family: #44acfd; --next: #7264d6; --accent: #7db1ff;
  }
}
text { fill: var(--text-2) }
.bg { fill: var(--bg) }
.title { fill: var(--text); font-size: 20px; font-weight: 600 }
.small { font-size: 11px; fill: var(--text-3) }
.cold { fill: var(--real) }
.warm { fill: var(--family) }
.next { fill: var(--next) }
.back { fill: var(--bg); stroke: var(--family) }
.back-next { fill: var(--bg); stroke: var(--next) }
.hatch { stroke: var(--accent); stroke-width: 1.5 }
.line { stroke: var(--line) }
.mark { stroke: var(--text-3) }
.stopped { stroke: var(--bad); stroke-width: 2 }
"""


def draw(story: Story) -> str:
    """The picture; also of a run that did not come to its end."""
    scale = _Scale(story)
    height = TOP + ROW * len(story.bots) + FOOT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="t d">',
        f'<title id="t">{escape(_title(story))}</title><desc id="d">{escape(_description(story))}</desc>',
        f"<style>{STYLE}</style>",
        '<defs><pattern id="h" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<line class="hatch" x1="0" y1="0" x2="0" y2="6"/></pattern></defs>',
        f'<rect class="bg" width="{WIDTH}" height="{height}"/>',
        f'<text class="title" x="16" y="32">{escape(_title(story))}</text>',
        *_means(story),
        *_axis(scale, len(story.bots)),
        *_marks(story, scale),
        *_rows(story, scale),
        *_legend(height),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Scale:
    """Seconds since the begin of the example → x."""

    def __init__(self, story: Story) -> None:
        runs = [*story.tasks, *story.background]
        starts = [run.created_s for run in runs if run.created_s]
        self.begin_s = min(starts, default=story.began_s)
        self.end_s = max([run.completed_s for run in runs], default=0.0)
        self.length_s = max(1.0, self.end_s - self.begin_s)

    def x(self, at_s: float) -> float:
        share = (at_s - self.begin_s) / self.length_s
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, share))


def _mean_s(tasks: Sequence[Run]) -> float | None:
    times = [task.submit_to_useful_s for task in tasks if task.report]
    return statistics.fmean(times) if times else None


def _title(story: Story) -> str:
    cold_s, warm_s = _mean_s(story.of_phase(COLD)), _mean_s(story.of_phase(WARM))
    if cold_s is None or warm_s is None:
        return "The example did not come to its end"
    return f"A task is useful after {duration(cold_s)} on a cold bot, after {duration(warm_s)} on a prewarmed one"


def _description(story: Story) -> str:
    prewarms, used = len(story.prewarms()), len(story.used())
    return f"{len(story.tasks)} real tasks on {len(story.bots)} bots; {prewarms} prewarms, {used} of them used."


def _means(story: Story) -> list[str]:
    """Two bars under the title, on one scale."""
    means = [(name, _mean_s(story.of_phase(name))) for name in (COLD, WARM)]
    longest_s = max((mean_s for _, mean_s in means if mean_s), default=1.0)
    parts = []
    for number, (name, mean_s) in enumerate(means):
        if mean_s is None:
            continue
        y, width = 50 + 26 * number, max(LEAST_BAR, 560 * mean_s / longest_s)
        tasks = len(story.of_phase(name))
        parts += [
            f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{name}</text>',
            f'<rect class="{name}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>',
            f'<text x="{LEFT + width + 8:.1f}" y="{y + 13}">{duration(mean_s)}, mean of {tasks} tasks</text>',
        ]
    return parts


def _axis(scale: _Scale, rows: int) -> list[str]:
    step_s = next((step for step in STEPS_S if scale.length_s / step <= MOST_TICKS), STEPS_S[-1])
    bottom = TOP + ROW * rows
    parts = []
    for number in range(int(scale.length_s // step_s) + 1):
        x = scale.x(scale.begin_s + number * step_s)
        parts.append(f'<line class="line" x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{bottom}"/>')
        text = duration(number * step_s) if number else "0"
        parts.append(f'<text class="small" x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{text}</text>')
    return parts


def _marks(story: Story, scale: _Scale) -> list[str]:
    """What happened to the whole fleet."""
    preempting = story.preempting()
    marks = [(story.specs_s, "spec registered"), (story.rollover_s, "new commit registered")]
    if preempting:
        marks.append((preempting.created_s, "a task takes its bot back"))
    placed = [(scale.x(at_s), text) for at_s, text in marks if at_s]
    parts = []
    for (x, text), (is_left, row) in zip(placed, _places(placed), strict=True):
        top, bottom = TOP - 18 - MARK_ROW * row, TOP + ROW * len(story.bots)
        at, anchor = (x - 4, "end") if is_left else (x + 4, "start")
        parts.append(f'<line class="mark" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text class="small" x="{at:.1f}" y="{top + 6}" text-anchor="{anchor}">{text}</text>')
    return parts


def _places(marks: Sequence[tuple[float, str]]) -> Sequence[tuple[bool, int]]:
    """For each mark whether its text is left of its line, and how many rows up: as low as nothing covers anything."""
    places = list(itertools.product((False, True), range(MARK_ROWS)))
    ways = sorted(
        itertools.product(places, repeat=len(marks)), key=lambda way: sum(row * 2 + left for left, row in way)
    )
    return next((way for way in ways if _is_readable(marks, way)), ways[0])


def _is_readable(marks: Sequence[tuple[float, str]], places: Sequence[tuple[bool, int]]) -> bool:
    spans = []
    for (x, text), (is_left, row) in zip(marks, places, strict=True):
        width = LETTER * len(text)
        begin = x - 4 - width if is_left else x + 4
        if begin < 0 or begin + width > WIDTH:
            return False
        spans.append((begin, begin + width, row))
    for (begin, end, row), (other_begin, other_end, other_row) in itertools.combinations(spans, 2):
        if row == other_row and begin < other_end and other_begin < end:
            return False
    return not any(
        begin < x < end and line_row >= row
        for (x, _), (_, line_row) in zip(marks, places, strict=True)
        for begin, end, row in spans
    )


def _rows(story: Story, scale: _Scale) -> list[str]:
    parts = []
    for number, bot in enumerate(story.bots):
        y = TOP + ROW * number
        middle = y + ROW / 2 + 4
        parts.append(f'<text x="{LEFT - 8}" y="{middle:.0f}" text-anchor="end">{escape(bot)}</text>')
        for run in [*_on(story.background, bot), *_on(story.tasks, bot)]:
            parts += _bar(run, story, scale, y + (ROW - BAR) / 2)
    return parts


def _on(runs: Iterable[Run], bot: str) -> list[Run]:
    return [run for run in runs if run.bot == bot and run.started_s]


def _bar(run: Run, story: Story, scale: _Scale, y: float) -> list[str]:
    x = scale.x(run.started_s)
    width = max(LEAST_BAR, scale.x(run.completed_s or scale.end_s) - x)
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" rx="2"'
    tip = f"<title>{escape(_tip(run))}</title>"
    if not run.purpose:
        return [f'<rect class="{_class_of(run)}" {place}>{tip}</rect>']
    is_next = bool(story.new) and run.generation == story.new
    parts = [
        f'<rect class="{"back-next" if is_next else "back"}" {place}/>',
        f'<rect fill="url(#h)" {place}>{tip}</rect>',
    ]
    if run.id == story.victim:
        end = x + width
        parts.append(f'<line class="stopped" x1="{end:.1f}" y1="{y - 3:.1f}" x2="{end:.1f}" y2="{y + BAR + 3:.1f}"/>')
    return parts


def _class_of(task: Run) -> str:
    if not task.was_warm:
        return "cold"
    return "next" if task.phase in (ROLLOVER, PREEMPT) else "warm"


def _tip(run: Run) -> str:
    what = f"{run.purpose}: {run.family}" if run.purpose else f"{run.phase} task"
    useful = f", useful after {duration(run.submit_to_useful_s)}" if run.report and not run.purpose else ""
    return f"{what} {run.id} on {run.bot}: {duration(run.ran_s)}{useful}, {run.state.lower()}"


def _legend(height: int) -> list[str]:
    entries = [
        ("cold", "task on a cold bot", 150),
        ("warm", "task on a warm bot", 155),
        ("next", "the same, new generation", 190),
        ("hatched", "background work", 140),
        ("stopped", "stopped for a task", 0),
    ]
    parts, x, y = [], LEFT, height - 26
    for kind, text, width in entries:
        if kind == "stopped":
            parts.append(f'<line class="stopped" x1="{x + 6}" y1="{y - 2}" x2="{x + 6}" y2="{y + 14}"/>')
        elif kind == "hatched":
            parts.append(f'<rect class="back" x="{x}" y="{y}" width="12" height="12" rx="2"/>')
            parts.append(f'<rect fill="url(#h)" x="{x}" y="{y}" width="12" height="12" rx="2"/>')
        else:
            parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="12" height="12" rx="2"/>')
        parts.append(f'<text class="small" x="{x + 18}" y="{y + 10}">{text}</text>')
        x += width
    return parts
