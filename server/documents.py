"""What people write, as YAML or JSON: read strictly, checked against a model, and what is wrong said field by field."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from server import errors

MAX_BYTES = 256 * 1024
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")

Model = TypeVar("Model", bound=BaseModel)


class Document(BaseModel):
    """Base of what people write: unknown names are refused, defaults are checked too, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


def _is_number(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise ValueError("must be a number")
    return value


def _is_whole(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise ValueError("must be a whole number")
    return value


Number = Annotated[float, BeforeValidator(_is_number)]
Whole = Annotated[int, BeforeValidator(_is_whole)]
"""Numbers, and no text that looks like one."""
Flag = Annotated[bool, Field(strict=True)]
"""True or false, and no word that may mean it."""


def setting(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    too_low: str = "",
    too_high: str = "",
    rule: str = "",
) -> Any:
    """A field with what people must know of it: see `server/field_docs.py`, which prints the tables of the docs.

    Args:
        default: its default, or `...` where it must be given.
        meaning: what it does, a sentence without its end.
        low: least value.
        high: largest value.
        unit: of the value, for people.
        too_low: what happens when it is too small.
        too_high: what happens when it is too large.
        rule: limits that are no plain range, in words.
    """
    notes: dict[str, Any] = {"unit": unit, "too_low": too_low, "too_high": too_high, "rule": rule}
    return Field(default, ge=low, le=high, description=meaning, json_schema_extra=notes)


class _Loader(yaml.SafeLoader):
    """YAML's core schema: only true and false are truth values, dates are text, no aliases, no repeated keys."""

    yaml_implicit_resolvers: dict[Any, Any] = {}
    yaml_constructors = {
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("map", "seq", "str", "int", "float", "bool", "null")
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(None, None, "aliases are not read", self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag != "tag:yaml.org,2002:str":
                problem = f"the key {getattr(key_node, 'value', '')!r} must be text; put it in quotes"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key_node.value in seen:
                problem = f"{key_node.value!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


# Each pattern takes less than YAML 1.1 does, so whatever the writer leaves without quotes reads back as text.
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", [*"tTfF"]),
    ("int", r"^-?(?:0|[1-9][0-9]{0,17})$", [*"-0123456789"]),
    ("float", r"^-?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+][0-9]+)?$", [*"-0123456789"]),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def load_yaml(text: str | bytes) -> dict[str, Any]:
    """The mapping that a YAML document holds.

    Raises:
        InvalidArgument: not YAML, or none that is read here; the text names the line.
    """
    try:
        return _mapping(yaml.load(text, _Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise errors.InvalidArgument(f"YAML: {where}{error.problem or error.context}") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise errors.InvalidArgument(f"YAML: {_reason(error)}") from error


def load_json(text: str | bytes) -> dict[str, Any]:
    """The mapping that a JSON document holds.

    Raises:
        InvalidArgument: not JSON, a key given twice, or a number that JSON does not have.
    """
    try:
        return _mapping(json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant))
    except json.JSONDecodeError as error:
        raise errors.InvalidArgument(f"JSON: line {error.lineno}, column {error.colno}: {error.msg}") from error
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise errors.InvalidArgument(f"JSON: {_reason(error)}") from error


def load(data: bytes, content_type: str) -> dict[str, Any]:
    """The mapping in a body, by its content type.

    Raises:
        TooLarge: more than MAX_BYTES.
        UnsupportedMediaType: neither JSON nor YAML.
        InvalidArgument: broken.
    """
    if len(data) > MAX_BYTES:
        raise errors.TooLarge(f"the body may have at most {MAX_BYTES // 1024} KiB")
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json":
        return load_json(data)
    if kind in YAML_TYPES:
        return load_yaml(data)
    raise errors.UnsupportedMediaType(f"send application/json or application/yaml, not {kind or 'an unnamed type'}")


def dump_yaml(value: Mapping[str, Any]) -> str:
    """A mapping as YAML that `load_yaml` reads back as it was."""
    return yaml.dump(dict(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Dumper(yaml.SafeDumper):
    """Never writes aliases, which the reader refuses."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def checked(model: type[Model], value: Any, path: str = "") -> Model:
    """The value as a model.

    Raises:
        FieldErrors: all that is wrong; paths start with `path`.
    """
    found, wrong = attempted(model, value, path)
    if found is None:
        raise errors.FieldErrors(wrong)
    return found


def known_only(model: type[BaseModel], value: Any) -> Any:
    """The value without the names that the model does not have, as deep as its models go."""
    if not isinstance(value, Mapping):
        return value
    found = {}
    for name, field in model.model_fields.items():
        if name in value:
            found[name] = known_only(kind, value[name]) if (kind := _model_in(field.annotation)) else value[name]
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def attempted(model: type[Model], value: Any, path: str = "") -> tuple[Model | None, dict[str, str]]:
    """The value as a model, or None and what is wrong, by field path."""
    try:
        return model.model_validate(value), {}
    except ValidationError as error:
        found: list[dict[str, Any]] = [dict(item) for item in error.errors(include_url=False)]
        wrong: dict[str, str] = {}
        for item in found:
            if not _follows(item, found):
                wrong.setdefault(_path(path, item["loc"]), _words(item, model))
        return None, wrong


def _follows(item: dict[str, Any], found: list[dict[str, Any]]) -> bool:
    """Whether a list is said to be too short only because entries of it are wrong."""
    at = item["loc"]
    return item["type"] == "too_short" and any(
        len(other["loc"]) > len(at) and other["loc"][: len(at)] == at for other in found
    )


def _path(prefix: str, location: Iterable[int | str]) -> str:
    path = prefix
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]":
            path += f".{part}" if path else str(part)
    return path


def _words(item: dict[str, Any], model: type[BaseModel]) -> str:
    """What is wrong with one field, in people's words; the path goes before it."""
    kind, context = item["type"], item.get("ctx", {})
    unit = " s" if str(item["loc"][-1] if item["loc"] else "").endswith("_s") else ""
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return f"is not a known field{_meant(item['loc'], model)}"
    if kind in _LIMITS:
        phrase, key = _LIMITS[kind]
        return f"{phrase} {_number(context[key])}{unit}; {_shown(item['input'])} given"
    if kind in _LENGTHS:
        phrase, key, one, many = _LENGTHS[kind]
        return f"{phrase} {context[key]} {one if context[key] == 1 else many}"
    if kind in ("literal_error", "enum"):
        return f"must be {context['expected']}; {_shown(item['input'])} given"
    return _PLAIN.get(kind, str(item["msg"]).lower())


_LIMITS = {
    "greater_than_equal": ("must be at least", "ge"),
    "less_than_equal": ("must be at most", "le"),
    "greater_than": ("must be more than", "gt"),
    "less_than": ("must be less than", "lt"),
}
_LENGTHS = {
    "too_long": ("may have at most", "max_length", "entry", "entries"),
    "too_short": ("must have at least", "min_length", "entry", "entries"),
    "string_too_long": ("may have at most", "max_length", "character", "characters"),
    "string_too_short": ("must have at least", "min_length", "character", "characters"),
}
_PLAIN = {
    "missing": "is missing",
    "string_type": "must be text; put it in quotes",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of usual size",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of names to values",
    "model_attributes_type": "must be a mapping of names to values",
    "list_type": "must be a list",
    "none_required": "must be left out",
}


def _meant(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """A guess at the field that a mistyped name was meant to be."""
    close = difflib.get_close_matches(str(location[-1]), _names(model), n=1, cutoff=0.75)
    return f"; did you mean {close[0]}?" if close else ""


def _names(model: type[BaseModel]) -> list[str]:
    names = list(model.model_fields)
    for field in model.model_fields.values():
        if kind := _model_in(field.annotation):
            names += _names(kind)
    return names


def _number(value: float) -> str:
    return f"{value:.12g}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise errors.InvalidArgument("the document must be a mapping of names to values")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is given twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).splitlines()[0]
