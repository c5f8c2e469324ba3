"""Fields of what people write, as form fields under the YAML's names: values to text, text to values, errors in place.

A form holds text by path (`task.execution_timeout_s`). An empty field is left out, so that it has its default. Lists
have an entry a line, mappings are YAML, a `key: value` a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from handlers.ui.labels import LABELS
from handlers.ui.words import number
from server import documents, errors
from server.field_docs import FieldDoc

Texts = Mapping[str, str]
CACHES = "task.caches"
"""A list of `name` and `path`; a mapping of names to paths in the form."""
DIMENSIONS = "dimensions"
"""Values by key; alternatives as `a|b` in the form."""
COMMAND = "task.command"
"""A list of arguments; typed as in a shell it would be one of them."""
PICK = "pick."
"""Before a field's path: whose text to go on with, where two editors changed it."""
BESIDE = ("csrf_token", "base_revision", "note", "yaml", "as")
"""What a form has besides the fields of its document."""
_INDEX = re.compile(r"\[\d+\]")
_ONE_ARGUMENT = re.compile(r"(?!\[)\S+[^\S\n]+.+")
_LINE = re.compile(r"^YAML: line (\d+), column \d+: ")


@dataclass(frozen=True, slots=True)
class Shown:
    """A field as a template shows it.

    `saved` is the text in the revision that is edited, `theirs` what somebody else saved meanwhile where both changed
    it, None where nobody did.
    """

    doc: FieldDoc
    text: str
    widget: str
    placeholder: str = ""
    saved: str = ""
    changed: bool = False
    error: str = ""
    theirs: str | None = None
    inherits: bool = False

    @property
    def path(self) -> str:
        """Its name in YAML and in the form."""
        return self.doc.path

    @property
    def label(self) -> str:
        """Its name in words."""
        return label_of(self.doc.path)

    @property
    def id(self) -> str:
        """Of the element; error summaries lead there."""
        return "f-" + self.doc.path.replace(".", "-")

    @property
    def is_command(self) -> bool:
        """Whether its entries are a program and arguments."""
        return self.doc.path == COMMAND

    @property
    def is_one_argument(self) -> bool:
        """Whether a command has one entry with blanks in it, as if it were typed in a shell."""
        return self.is_command and bool(_ONE_ARGUMENT.fullmatch(self.text.strip()))


@dataclass(frozen=True, slots=True)
class Merge:
    """What two editors made of one revision: `texts` to go on with, `both` the fields that both changed, by theirs."""

    texts: dict[str, str]
    both: dict[str, str] = field(default_factory=dict)
    taken: tuple[str, ...] = ()


def label_of(path: str) -> str:
    """A field's name in words: `task.io_timeout_s` is "Longest silence"."""
    words = path.rpartition(".")[2].removesuffix("_s").replace("_", " ")
    return LABELS.get(path) or words[:1].upper() + words[1:]


# ---- values → text


def texts_of(body: Mapping[str, Any], docs: Iterable[FieldDoc]) -> dict[str, str]:
    """The text of every field of a body; "" where it has none."""
    return {doc.path: text_of(_get(body, doc.path), doc) for doc in docs}


def text_of(value: Any, doc: FieldDoc) -> str:
    """One value as the form shows it."""
    if value is None or value in ({}, []):
        return ""
    if doc.path == CACHES:
        value = {entry["name"]: entry["path"] for entry in value}
    if doc.path == DIMENSIONS:
        value = {key: _alternatives(item) for key, item in value.items()}
    if isinstance(value, Mapping):
        return documents.dump_yaml(value).strip()
    if isinstance(value, list | tuple):
        plain = all(isinstance(item, str) and item == item.strip() and item and "\n" not in item for item in value)
        plain = plain and not value[0].startswith("[")
        return "\n".join(value) if plain else json.dumps(list(value), ensure_ascii=False)
    return number(value)


def _alternatives(item: Any) -> Any:
    """`a|b`, unless one of the alternatives has a bar in it."""
    return "|".join(item) if all("|" not in one for one in item) else item


# ---- text → values


def posted(form: Texts, docs: Iterable[FieldDoc]) -> dict[str, str]:
    """What was typed, by path.

    Raises:
        InvalidArgument: a field that the form does not have.
    """
    paths = [doc.path for doc in docs]
    for name in form:
        if name.removeprefix(PICK) not in paths and name not in BESIDE:
            raise errors.InvalidArgument(f"the form has no field {name[:80]}")
    return {path: form.get(path, "") for path in paths}


def body_of(texts: Texts, docs: Iterable[FieldDoc]) -> tuple[dict[str, Any], dict[str, str]]:
    """The body that a form means, and by path what is no list or mapping where there must be one.

    What must be a number and is none stays text, which the model refuses.
    """
    body: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for doc in docs:
        text = texts.get(doc.path, "")
        if not text.strip():
            continue
        try:
            _put(body, doc.path, _value_of(text, doc))
        except errors.InvalidArgument as error:
            wrong[doc.path] = error.text
    return body, wrong


def together(unread: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """What could not be read, and what is wrong with the rest; what only follows from the former is left out."""
    rest = {path: text for path, text in found.items() if not any(f"{one}.".startswith(f"{path}.") for one in unread)}
    return {**unread, **rest}


def _value_of(text: str, doc: FieldDoc) -> Any:
    if doc.path == CACHES:
        return [{"name": name, "path": path} for name, path in _mapping(text).items()]
    if doc.kind == "mapping":
        return _mapping(text)
    if doc.kind == "list":
        return _list(text)
    if doc.kind == "flag":
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    return _number(text.strip()) if doc.kind in ("number", "whole") else text.strip()


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _list(text: str) -> list[Any]:
    if not text.lstrip().startswith("["):
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        return documents.load_yaml(f"list: {text.strip()}")["list"]
    except errors.InvalidArgument as error:
        raise errors.InvalidArgument("must have an entry a line, or a whole list in brackets") from error


def _mapping(text: str) -> dict[str, Any]:
    try:
        return documents.load_yaml(text)
    except errors.InvalidArgument as error:
        where = _LINE.match(error.text)
        line = f"; line {where[1]} has something else" if where else ""
        raise errors.InvalidArgument(f"must have a 'key: value' a line{line}") from error


# ---- showing


def shown(
    docs: Iterable[FieldDoc],
    texts: Texts,
    *,
    saved: Texts | None = None,
    wrong: Mapping[str, str] | None = None,
    both: Mapping[str, str] | None = None,
    inherited: Texts | None = None,
) -> list[Shown]:
    """Fields with their texts, what was saved, and what is wrong with them.

    Args:
        docs: the fields, in order.
        texts: what stands in the form.
        saved: the revision that is edited; None for a new thing.
        wrong: errors by path; those within a list or mapping are shown at it.
        both: what somebody else saved, for the fields that both changed.
        inherited: what an empty field means, where that is more than its default.
    """
    docs = list(docs)
    placed = placed_errors(wrong or {}, [doc.path for doc in docs])
    found = []
    for doc in docs:
        text = texts.get(doc.path, "")
        before = (saved or {}).get(doc.path, "")
        base = (inherited or {}).get(doc.path) or text_of(doc.default, doc)
        found.append(
            Shown(
                doc,
                text,
                _widget(doc),
                placeholder="" if doc.required else base,
                saved=before,
                changed=saved is not None and text != before,
                error=placed.get(doc.path, ""),
                theirs=(both or {}).get(doc.path),
                inherits=inherited is not None,
            )
        )
    return found


def _widget(doc: FieldDoc) -> str:
    if doc.kind in ("choice", "flag"):
        return "select"
    if doc.kind in ("list", "mapping"):
        return "area"
    return "number" if doc.kind in ("number", "whole") else "text"


def placed_errors(wrong: Mapping[str, str], paths: Sequence[str]) -> dict[str, str]:
    """Errors by the field at which they are shown; "" holds those that belong to none."""
    placed: dict[str, str] = {}
    for path, text in wrong.items():
        place = _place(path, paths)
        detail = path[len(place) :].lstrip(".") if place else path
        said = f"{detail} {text}".strip() if detail else text
        placed[place] = f"{placed[place]}; {said}" if place in placed else said
    return placed


def _place(path: str, paths: Sequence[str]) -> str:
    """The longest field path that contains the path; else the first field of the group that it names."""
    within = [one for one in paths if path == one or path.startswith((f"{one}.", f"{one}["))]
    if within:
        return max(within, key=len)
    return next((one for one in paths if one.startswith(f"{_INDEX.sub('', path)}.")), "")


# ---- two editors


def merge(base: Texts, mine: Texts, theirs: Texts) -> Merge:
    """Three-way merge, field by field: what only one changed stands as that one left it."""
    texts, both, taken = dict(mine), {}, []
    for path, their_text in theirs.items():
        my_text, base_text = mine.get(path, ""), base.get(path, "")
        if their_text in (my_text, base_text):
            continue
        if my_text == base_text:
            texts[path] = their_text
            taken.append(path)
        else:
            both[path] = their_text
    return Merge(texts, both, tuple(taken))


def picked(texts: Texts, asked: Texts, theirs: Texts) -> dict[str, str]:
    """The form's texts, with theirs in place of mine where the conflict view was answered so."""
    given_up = {path for path in texts if asked.get(f"{PICK}{path}") == "theirs"}
    return {path: theirs.get(path, "") if path in given_up else text for path, text in texts.items()}


def _get(body: Mapping[str, Any], path: str) -> Any:
    value: Any = body
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _put(body: dict[str, Any], path: str, value: Any) -> None:
    *outer, last = path.split(".")
    for part in outer:
        body = body.setdefault(part, {})
    body[last] = value
