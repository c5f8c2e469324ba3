"""What a prewarm spec says: its fields, their limits, and what they must have to do with each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from server import errors
from server.documents import Document, Flag, Number, Whole, attempted, known_only, setting
from server.pool_config import PoolName
from server.task_properties import CacheEntry, CASReference, Properties

if TYPE_CHECKING:
    from server.pool_config import PoolConfig

DAY_S = 86_400


def _matching(pattern: str, rule: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"must have {rule}; {value[:60]!r} given")
        return value

    return check


_FAMILY = r"[a-z0-9][a-z0-9._-]{0,62}"
_GENERATION = r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}"
_FAMILY_RULE = "a-z, 0-9, '.', '_' or '-', at most 63, and begin with a letter or digit"
_GENERATION_RULE = "letters, digits, '.', '_', ':', '+' or '-', at most 128, and begin with a letter or digit"

Family = Annotated[str, AfterValidator(_matching(_FAMILY, _FAMILY_RULE))]
Generation = Annotated[str, AfterValidator(_matching(_GENERATION, _GENERATION_RULE))]
SlotName = Annotated[str, AfterValidator(_matching(r"[a-z0-9][a-z0-9._-]{0,31}", _FAMILY_RULE.replace("63", "32")))]
CacheName = Annotated[str, AfterValidator(_matching(r"[a-z0-9_]{1,128}", "a-z, 0-9 or '_', at most 128"))]
Letters = Annotated[str, AfterValidator(_matching(r"([A-Za-z0-9]{2})?", "two letters or digits"))]
Pair = Annotated[str, AfterValidator(_matching(r"[^:\s][^:]{0,63}:(\S|\S.{0,254}\S)", "the form key:value"))]


def is_family(value: str) -> bool:
    """Whether a text can be the name of a family."""
    return re.fullmatch(_FAMILY, value) is not None


def is_generation(value: str) -> bool:
    """Whether a text can be the name of a generation."""
    return re.fullmatch(_GENERATION, value) is not None


def _alternatives(value: Any) -> Any:
    if isinstance(value, str):
        return value.split("|")
    if not isinstance(value, list):
        raise ValueError("must be text in quotes, such as 'a|b', or a list")
    return value


Alternatives = Annotated[list[str], BeforeValidator(_alternatives), Field(min_length=1)]


class Serves(Document):
    """How real tasks show that they want the state, besides the tag `warm:FAMILY[@GENERATION]`."""

    named_caches: list[CacheName] = setting([], "named caches of real tasks that this state fills")
    tags: list[Pair] = setting([], "tags of real tasks that want this state")


class Makes(Document):
    """By what a bot's report shows that it holds the state: one of the two."""

    named_cache: CacheName | None = setting(
        None, "the named cache that the task fills; tasks that use it are served too"
    )
    dimension: Pair | None = setting(
        None, "the dimension `key:value` that the bot reports afterwards; tasks that ask for it are served too"
    )


class SpecTask(Document):
    """The background task, in the terms of any task."""

    command: list[str] = setting(..., "program and arguments", rule="1 to 128 of them, at most 128 KiB in all")
    env: dict[str, str] = setting({}, "environment variables; no secrets: they are shown to whoever may see the spec")
    env_prefixes: dict[str, list[str]] = setting({}, "folders that are put before a variable such as PATH")
    relative_cwd: str = setting("", "folder to run in", rule="relative, at most 256 characters")
    caches: list[CacheEntry] = setting([], "named caches: `name`, and `path` in the task's folder", rule="at most 32")
    execution_timeout_s: Whole = setting(
        1800,
        "longest time it may run",
        low=30,
        unit="s",
        rule="at most max_background_run_s of the pool",
        too_low="the state is never finished",
        too_high="a run that hangs holds its bot",
    )
    io_timeout_s: Whole = setting(
        0,
        "longest time without output; 0: no limit",
        low=0,
        unit="s",
        rule="0 or at least 30",
        too_low="quiet phases of the work are taken for a hang",
        too_high="a run that hangs holds its bot",
    )
    grace_period_s: Whole = setting(
        10,
        "time between the request to stop and the kill",
        low=0,
        unit="s",
        rule="at most max_background_grace_s of the pool",
        too_low="a stopped run leaves half a state",
        too_high="a real task waits that long for its bot",
    )
    cas_input_root: CASReference | None = setting(None, "files to put into its folder first")
    outputs: list[str] = setting([], "files to keep", rule="at most 4096")


class SpecBody(Document):
    """A prewarm spec as people write it."""

    family: Family = setting(..., "name of the states that stand in for each other over time", rule=_FAMILY_RULE)
    generation: Generation = setting(
        ..., "version within the family; a new one supersedes the last", rule=_GENERATION_RULE
    )
    order: Literal["registered", "first_seen"] = setting(
        "registered",
        "what makes a generation newer: that it was registered here, or that a real task asked for it first",
    )
    pool: PoolName = setting(..., "pool whose bots are prewarmed")
    slot: SlotName = setting(
        "cache", "what the state occupies on a bot: two states in one slot exclude each other (`firmware`)"
    )
    purpose: Literal["prewarm", "clean"] = setting(
        "prewarm",
        "`prewarm` makes a state on idle bots; `clean` repairs what tasks leave behind, as soon as a bot is free",
    )
    dimensions: dict[str, Alternatives] = setting(
        {}, "which of the pool's bots it fits: values by key, alternatives as `a|b` or a list", rule="as for tasks"
    )
    serves: Serves = setting(Serves(), "how real tasks show that they want it")
    makes: Makes = setting(
        Makes(), "by what a bot shows that it holds it", rule="one of the two; `clean` may have none"
    )
    task: SpecTask = setting(..., "the background task that makes it")
    fresh_for_s: Number = setting(
        DAY_S,
        "how long the state is of use",
        low=60,
        high=365 * DAY_S,
        unit="s",
        too_low="bots are warmed again without need",
        too_high="old states count as warm",
    )
    cold_cost_s: Number = setting(
        60,
        "what a real task loses on a bot without it; a prior, until it is measured",
        low=0,
        high=7 * DAY_S,
        unit="s",
        too_low="it is prewarmed too seldom at first",
        too_high="it displaces others at first",
    )
    warm_cost_s: Number = setting(
        2,
        "what it still loses on a bot with it; a prior",
        low=0,
        high=7 * DAY_S,
        unit="s",
        rule="at most cold_cost_s",
        too_low="the saving is overrated at first",
        too_high="the saving is underrated at first",
    )
    run_s: Number = setting(
        60,
        "how long the background task usually takes; a prior",
        low=1,
        high=7 * DAY_S,
        unit="s",
        rule="at most task.execution_timeout_s",
        too_low="runs are begun that do not end before the bot is needed",
        too_high="short gaps pass unused",
    )
    expected_per_h: Number = setting(
        0,
        "real tasks an hour that will want it; a prior, until they are counted",
        low=0,
        high=1_000_000,
        unit="tasks/h",
        too_low="nothing is warm for the first tasks",
        too_high="bots are warmed for nobody at first",
    )
    resumable: Flag = setting(False, "a run that was stopped goes on where it stopped")
    survives_reboot: Flag = setting(True, "the state is still there after a reboot of the bot")
    max_running: Whole = setting(
        0,
        "most runs at once; 0 leaves it to the pool's spec_share",
        low=0,
        high=10_000,
        unit="runs",
        too_low="a new generation spreads slowly",
        too_high="the source of the files is flooded",
    )
    run_cost_s: Number = setting(
        0,
        "what a run costs beyond bot time (wear, power), in seconds of a user's waiting",
        low=0,
        high=DAY_S,
        unit="s",
        too_low="more runs than they are worth",
        too_high="it is never worth a run",
    )
    letters: Letters = setting(
        "", "two letters beside its colour; empty: chosen from the family", rule="two letters or digits"
    )
    note: str = Field(
        "", max_length=1000, description="why, for the history", json_schema_extra={"rule": "at most 1000"}
    )

    # A field that failed its own check is not in `info.data`; what depends on it then holds.

    @field_validator("dimensions")
    @classmethod
    def _same_pool(cls, value: dict[str, list[str]], info: ValidationInfo) -> dict[str, list[str]]:
        named = value.get("pool")
        if named and named != [info.data.get("pool", named[0])]:
            raise ValueError(f"must not name another pool ({'|'.join(named)}) than pool does")
        return {key: list(dict.fromkeys(values)) for key, values in value.items() if key != "pool"}

    @field_validator("makes")
    @classmethod
    def _one_evidence(cls, value: Makes, info: ValidationInfo) -> Makes:
        count = (value.named_cache is not None) + (value.dimension is not None)
        if count > 1:
            raise ValueError("must have named_cache or dimension, not both")
        if count == 0 and info.data.get("purpose") == "prewarm":
            raise ValueError("must have named_cache or dimension: a bot counts as warm by what it reports")
        return value

    @field_validator("warm_cost_s")
    @classmethod
    def _less_than_cold(cls, value: float, info: ValidationInfo) -> float:
        cold = info.data.get("cold_cost_s", value)
        if value > cold:
            raise ValueError(f"must be at most cold_cost_s ({cold:g}); {value:g} given")
        return value

    @field_validator("run_s")
    @classmethod
    def _ends_in_time(cls, value: float, info: ValidationInfo) -> float:
        limit = getattr(info.data.get("task"), "execution_timeout_s", value)
        if value > limit:
            raise ValueError(f"must be at most task.execution_timeout_s ({limit}); {value:g} given")
        return value

    def served_caches(self) -> frozenset[str]:
        """Named caches by which a real task wants this state."""
        made = [self.makes.named_cache] if self.makes.named_cache else []
        return frozenset([*self.serves.named_caches, *made])


def parse(body: Any, config: PoolConfig | Callable[[str], PoolConfig]) -> tuple[SpecBody, Properties]:
    """Checks a spec as people write it.

    Args:
        body: the mapping, or a spec already read.
        config: settings of its pool, or how to find them by its name.

    Returns:
        The spec, and its task in the terms of any task.

    Raises:
        FieldErrors: everything that is wrong, by path (`task.caches[0].name`).
    """
    if isinstance(body, SpecBody):
        body = body.model_dump(mode="json")
    spec, wrong = attempted(SpecBody, body)
    task = spec.task if spec else attempted(SpecTask, body.get("task") if isinstance(body, Mapping) else None)[0]
    properties = None
    if task:
        properties, wrong_task = _properties(task, spec)
        wrong |= {path: text for path, text in (wrong_task | _unfilled(task, body)).items() if path not in wrong}
        pool = body.get("pool")
        wrong |= _beyond(task, config(pool if isinstance(pool, str) else "") if callable(config) else config)
    if wrong or spec is None or properties is None:
        raise errors.FieldErrors(wrong)
    return spec, properties


def stored(body: Mapping[str, Any]) -> tuple[SpecBody, Properties]:
    """A spec that was checked when it was saved; what another version added is left out.

    Raises:
        FieldErrors: it breaks a rule of this version.
    """
    spec, wrong = attempted(SpecBody, known_only(SpecBody, body))
    if spec is None:
        raise errors.FieldErrors(wrong)
    properties, wrong = _properties(spec.task, spec)
    if properties is None:
        raise errors.FieldErrors(wrong)
    return spec, properties


def _properties(task: SpecTask, spec: SpecBody | None) -> tuple[Properties | None, dict[str, str]]:
    """The task in the terms of any task, whose rules hold here too; what they refuse, by the spec's paths."""
    dimensions = [{"key": "pool", "value": spec.pool if spec else "unknown"}]
    dimensions += [{"key": key, "value": "|".join(values)} for key, values in (spec.dimensions if spec else {}).items()]
    found, wrong = attempted(
        Properties,
        {
            "command": task.command,
            "env": [{"key": key, "value": value} for key, value in task.env.items()],
            "env_prefixes": [{"key": key, "value": value} for key, value in task.env_prefixes.items()],
            "relative_cwd": task.relative_cwd,
            "caches": [cache.model_dump() for cache in task.caches],
            "dimensions": dimensions,
            "execution_timeout_secs": task.execution_timeout_s,
            "io_timeout_secs": task.io_timeout_s,
            "grace_period_secs": task.grace_period_s,
            "cas_input_root": task.cas_input_root.model_dump() if task.cas_input_root else None,
            "outputs": task.outputs,
        },
    )
    return found, {_own_path(path): text for path, text in wrong.items()}


def _own_path(path: str) -> str:
    path = path.replace("_secs", "_s")
    return path if path.startswith("dimensions") else f"task.{path}"


def _unfilled(task: SpecTask, body: Mapping[str, Any]) -> dict[str, str]:
    makes = body.get("makes")
    cache = makes.get("named_cache") if isinstance(makes, Mapping) else None
    if not isinstance(cache, str) or cache in [entry.name for entry in task.caches]:
        return {}
    return {"task.caches": f"must have {cache} among them, since makes.named_cache says that the task fills it"}


def _beyond(task: SpecTask, config: PoolConfig) -> dict[str, str]:
    wrong = {}
    for name, most, limit in (
        ("grace_period_s", config.max_background_grace_s, "max_background_grace_s"),
        ("execution_timeout_s", config.max_background_run_s, "max_background_run_s"),
    ):
        given = getattr(task, name)
        if given > most:
            wrong[f"task.{name}"] = f"must be at most {most:g} s, which is {limit} of the pool; {given} given"
    return wrong
