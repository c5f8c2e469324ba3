"""The form of a prewarm spec: its fields in groups, what was typed, and what became of two edits at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from handlers.ui import form_fields
from handlers.ui.form_fields import Shown
from server import documents, errors, spec_body
from server.field_docs import FieldDoc, describe
from server.pool_config import PoolConfig
from server.spec_body import SpecBody

DOCS: tuple[FieldDoc, ...] = tuple(describe(SpecBody))
NOTE = "note"
GROUPS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("What it is", "", ("family", "generation", "pool", "dimensions")),
    (
        "How it shows",
        "a bot is warm by what it reports: a named cache or a dimension",
        ("makes.named_cache", "makes.dimension"),
    ),
    ("The task that makes it", "", ("task.command", "task.caches", "task.execution_timeout_s", "task.grace_period_s")),
    (
        "What it is worth",
        "priors; counted and measured values take over",
        ("cold_cost_s", "run_s", "expected_per_h", "fresh_for_s"),
    ),
)
MORE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("More about what it is", ("order", "slot", "purpose", "serves.named_caches", "serves.tags", "letters")),
    (
        "More about the task",
        (
            "task.env",
            "task.env_prefixes",
            "task.relative_cwd",
            "task.io_timeout_s",
            "task.cas_input_root",
            "task.outputs",
        ),
    ),
    ("More about its worth", ("warm_cost_s", "max_running", "run_cost_s", "resumable", "survives_reboot")),
)
LEFT = ("What it is", "The task that makes it", "More about the task")


@dataclass(frozen=True, slots=True)
class Group:
    """Fields under a heading; `folded` unless one of them has something to say."""

    title: str
    note: str
    fields: list[Shown]
    folded: bool = False


@dataclass(slots=True)
class SpecForm:
    """What the form's template shows."""

    texts: Mapping[str, str]
    saved: Mapping[str, str] | None = None
    wrong: Mapping[str, str] = field(default_factory=dict)
    both: Mapping[str, str] = field(default_factory=dict)
    taken: tuple[str, ...] = ()
    yaml: str = ""
    """The other way to write it; shown when it was used."""

    def columns(self) -> tuple[list[Group], list[Group]]:
        """The groups in two columns: what it is and its task; how it shows and what it is worth."""
        groups = self.groups()
        left = [group for group in groups if group.title in LEFT]
        return left, [group for group in groups if group.title not in LEFT]

    def groups(self) -> list[Group]:
        """All fields but the note, in groups; a field that no group names stands in the last one."""
        every = {
            one.path: one
            for one in form_fields.shown(DOCS, self.texts, saved=self.saved, wrong=self.wrong, both=self.both)
        }
        found = [Group(title, note, [every.pop(path) for path in paths]) for title, note, paths in GROUPS]
        every.pop(NOTE)
        for title, paths in MORE:
            found.append(self._folded(title, [every.pop(path) for path in paths]))
        if every:
            found.append(self._folded("Others", list(every.values())))
        return found

    @staticmethod
    def _folded(title: str, fields: list[Shown]) -> Group:
        speaks = any(one.text or one.error or one.theirs is not None for one in fields if one.widget != "select")
        speaks = speaks or any(
            one.error or one.theirs is not None or one.text not in ("", one.placeholder) for one in fields
        )
        return Group(title, "", fields, folded=not speaks)

    def note(self) -> Shown:
        """The field that says why."""
        doc = next(doc for doc in DOCS if doc.path == NOTE)
        return form_fields.shown([doc], self.texts, wrong={NOTE: self.wrong[NOTE]} if NOTE in self.wrong else {})[0]

    def problems(self) -> list[tuple[str, str, str]]:
        """Errors for the summary: where the link leads, the field, what is wrong."""
        placed = form_fields.placed_errors(self.wrong, [doc.path for doc in DOCS])
        order = [doc.path for doc in DOCS]
        found = sorted(placed.items(), key=lambda one: order.index(one[0]) if one[0] in order else -1)
        return [("f-" + path.replace(".", "-") if path else "", path, text) for path, text in found]


def texts_of(body: SpecBody) -> dict[str, str]:
    """A spec as the form's texts; fields that have their default stay empty."""
    return form_fields.texts_of(_plain(body), DOCS)


def body_of(texts: Mapping[str, str], config: Callable[[str], PoolConfig], yaml: str = "") -> dict[str, Any]:
    """The body to save, from YAML where that is given; `config` finds the settings of a pool.

    Raises:
        FieldErrors: text that cannot be read, by field, and then all else that is wrong too.
    """
    if not yaml.strip():
        body, unread = form_fields.body_of(texts, DOCS)
        if unread:
            raise errors.FieldErrors(form_fields.together(unread, _wrong(body, config)))
        return body
    try:
        return documents.load_yaml(yaml)
    except errors.InvalidArgument as error:
        raise errors.FieldErrors({"yaml": error.text}) from error


def _wrong(body: Mapping[str, Any], config: Callable[[str], PoolConfig]) -> Mapping[str, str]:
    try:
        spec_body.parse(body, config)
    except errors.FieldErrors as error:
        return error.errors
    return {}


def yaml_of(body: SpecBody) -> str:
    """A spec as the file that the API takes."""
    return documents.dump_yaml(_plain(body))


def said_in(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """A saved revision as somebody wrote it, without defaults; as it is where this version cannot read it."""
    try:
        return _plain(spec_body.stored(saved)[0])
    except errors.FieldErrors:
        return saved


def _plain(body: SpecBody) -> dict[str, Any]:
    plain = body.model_dump(mode="json", exclude_defaults=True)
    plain.pop(NOTE, None)
    return plain
