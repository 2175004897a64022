"""From an object as the API server stores it to the spec that the operator reads.

The API server has checked the object already, but against the CRD that is installed, which may be older than this
operator. So everything is checked again here and told in the same words, with the field, its meaning and the remedy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, overload

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from comptroller.api.cachewarmup import CacheWarmupSpec
from comptroller.api.fields import OWN_NAME_PATTERN, SPOKEN, ApiModel, rules_of
from comptroller.api.kinds import KINDS, NAME_RULE
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.api.schema import node_at, schema_of

_LONGEST_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One field that is wrong: `spec.routes[0].quality.minimumPassRate`, what it must be, and what was given."""

    path: str
    message: str
    given: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f" (given: {self.given})" if self.given else "")


class SpecError(ValueError):
    """An object that cannot be used; `str()` has one line per problem, each with the field and the remedy."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(one) for one in problems))
        self.problems = problems


@overload
def parse_spec(kind: Literal["ModelPool"], obj: Mapping[str, Any]) -> ModelPoolSpec: ...
@overload
def parse_spec(kind: Literal["RoutingPolicy"], obj: Mapping[str, Any]) -> RoutingPolicySpec: ...
@overload
def parse_spec(kind: Literal["CacheWarmup"], obj: Mapping[str, Any]) -> CacheWarmupSpec: ...
@overload
def parse_spec(kind: str, obj: Mapping[str, Any]) -> ApiModel: ...
def parse_spec(kind: str, obj: Mapping[str, Any]) -> ApiModel:
    """The spec of an object. Raises `SpecError` and nothing else, whatever the object holds.

    >>> parse_spec("CacheWarmup", {"spec": {"pools": [], "prefixes": [{"name": "a", "system": {"text": "b"}}]}})
    Traceback (most recent call last):
    comptroller.api.parse.SpecError: spec.pools: must have at least 1 entry (given: [])
    """
    model = KINDS[kind].spec
    given = obj.get("spec")
    if not isinstance(given, Mapping):
        raise SpecError((Problem("spec", "is required: an object with the fields of the kind", shown(given)),))
    try:
        spec = model.model_validate(given)
    except ValidationError as error:
        raise SpecError(tuple(_problem(one, model) for one in error.errors(include_url=False))) from error
    problems = (*_wrong_name(obj), *_broken_rules(spec, "spec"))
    if problems:
        raise SpecError(problems)
    return spec


def _wrong_name(obj: Mapping[str, Any]) -> Iterator[Problem]:
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if isinstance(name, str) and re.fullmatch(OWN_NAME_PATTERN, name) is None:
        yield Problem("metadata.name", NAME_RULE.message.removeprefix("metadata.name "), shown(name))


def _broken_rules(value: Any, path: str) -> Iterator[Problem]:
    """The rules between fields, and double entries, from the outside to the inside."""
    if isinstance(value, ApiModel):
        for rule, holds in rules_of(type(value)):
            if not holds(value):
                yield Problem(f"{path}.{rule.at}" if rule.at else path, rule.message)
        for name, field in type(value).model_fields.items():
            inner, inner_path = getattr(value, name), f"{path}.{field.alias}"
            if isinstance(inner, list) and isinstance(field.json_schema_extra, dict):
                yield from _double_entries(inner, field.json_schema_extra, inner_path)
            yield from _broken_rules(inner, inner_path)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _broken_rules(inner, f"{path}[{index}]")


def _double_entries(entries: list[Any], extra: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """Entries that a set or a list known by a key has twice."""
    keys = extra.get("x-kubernetes-list-map-keys")
    if extra.get("x-kubernetes-list-type") not in ("set", "map"):
        return
    seen: set[Any] = set()
    for index, entry in enumerate(entries):
        known_by = entry if keys is None else _value_of(entry, keys[0])
        if known_by in seen:
            what = "entry" if keys is None else keys[0]
            yield Problem(
                f"{path}[{index}]", f"repeats the {what} of another entry: remove one of them", shown(known_by)
            )
        seen.add(known_by)


def _value_of(entry: Any, key: str) -> Any:
    return entry.get(key) if isinstance(entry, dict) else getattr(entry, key)


def _problem(error: ErrorDetails, model: type[ApiModel]) -> Problem:
    """A validation error of pydantic in the operator's own words."""
    path = "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    if error["type"] == "missing":
        return Problem(path, f"is required: {_meaning(model, error['loc'])}")
    return Problem(path, in_words(error), shown(error["input"]))


def in_words(error: ErrorDetails) -> str:
    """What a value must be, in the operator's own words."""
    context = error.get("ctx", {})
    if error["type"] == SPOKEN:
        return error["msg"]
    match error["type"]:
        case "enum" | "literal_error":
            return "must be one of " + str(context["expected"]).replace("'", "").replace(" or ", ", ")
        case "string_too_long":
            return f"must have at most {context['max_length']} characters"
        case "string_too_short":
            return f"must have at least {_counted(context['min_length'], 'character')}"
        case "too_long":
            return f"must have at most {_counted(context['max_length'], 'entry')}"
        case "too_short":
            return f"must have at least {_counted(context['min_length'], 'entry')}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "greater_than":
            return f"must be above {context['gt']}"
        case "extra_forbidden":
            return "is not known: correct its name or remove it"
        case kind:
            return _of_type(kind, error["msg"])


def _of_type(kind: str, otherwise: str) -> str:
    """What a value of the wrong type must be."""
    for begin, words in (
        ("string_", "must be a text; write it in quotes"),
        ("int_", "must be a whole number"),
        ("float_", "must be a number"),
        ("decimal_", "must be a decimal number"),
        ("bool_", "must be true or false"),
        ("list_", "must be a list"),
        ("dict_", "must be an object of names and values"),
        ("model_", "must be an object with named fields"),
    ):
        if kind.startswith(begin):
            return words
    return otherwise[:1].lower() + otherwise[1:]


def _counted(count: int, noun: str) -> str:
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("y") else f"{count} {noun}s"


def _meaning(model: type[ApiModel], location: tuple[int | str, ...]) -> str:
    """The first sentence of the description of the field at a location."""
    described = str(node_at(schema_of(model, "spec"), location).get("description", "a value"))
    sentence = re.split(r"(?<=[.;])\s", described, maxsplit=1)[0].rstrip(".;")
    return sentence[:1].lower() + sentence[1:]


def shown(value: Any) -> str:
    """What was given, short: long texts may be prompts or hold secrets."""
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= _LONGEST_SHOWN else f"{len(value)} characters"
    if isinstance(value, list | dict | Mapping) and value:
        return f"{'a list' if isinstance(value, list) else 'an object'} of {_counted(len(value), 'entry')}"
    text = "nothing" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
