"""The words that all kinds share: rules with messages, decimal strings, names, and the base class of every model.

A model of this package is the one source of its CRD schema (`api/schema.py`), of the API reference
(`api/reference.py`) and of what the operator reads. Python names are snake_case; on the wire they are camelCase.

Every rule is written once and held twice: as CEL by the API server, and in Python (`api/parse.py`) for objects that an
older CRD has let through. Both say the same sentence, and a test sends every bad object to both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

GROUP = "comptroller.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

SPOKEN = "comptroller"
"""The type of validation errors whose message is already in the operator's own words."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of an object: its CEL, the sentence that says what to do, and the field that the sentence is about."""

    cel: str
    message: str
    at: str = ""

    def as_schema(self) -> dict[str, str]:
        """The entry of `x-kubernetes-validations`."""
        return {"rule": self.cel, "message": self.message} | ({"fieldPath": f".{self.at}"} if self.at else {})


_RULE = "comptroller_rule"
Self = TypeVar("Self")


def rule(cel: str, message: str, at: str = "") -> Callable[[Callable[[Self], bool]], Callable[[Self], bool]]:
    """Marks a method of a model as the Python half of a rule; the API server holds the CEL half.

    The method answers whether the rule holds. `at` names the field (camelCase) that the error shall point at. Optional
    fields are absent in CEL where Python sees a default, so the CEL half asks `has()` first.
    """

    def mark(holds: Callable[[Self], bool]) -> Callable[[Self], bool]:
        holds.__dict__[_RULE] = Rule(cel, message, at)
        return holds

    return mark


def rules_of(model: type[ApiModel]) -> Iterator[tuple[Rule, Callable[[Any], bool]]]:
    """The rules of a model in the order in which they are written."""
    for member in vars(model).values():
        found = getattr(member, "__dict__", {}).get(_RULE)
        if isinstance(found, Rule):
            yield found, member


class ApiModel(BaseModel):
    """One object of the user's language: immutable, camelCase on the wire, unknown fields ignored.

    Unknown fields are ignored here because the API server has already pruned or refused them; a newer CRD than this
    operator must not stop it.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of the fields, with the rules of the class beside them."""
        json_schema = handler(schema)
        rules = [one.as_schema() for one, _ in rules_of(cls)]
        if rules:
            handler.resolve_ref_schema(json_schema)["x-kubernetes-validations"] = rules
        return json_schema


@dataclass(frozen=True, slots=True)
class Matching:
    """A text of one shape, refused with a sentence instead of a regular expression."""

    pattern: str  # what RE2 and Python's re read alike; no single quotes
    message: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema) | {"x-kubernetes-validations": [Rule(self._cel, self.message).as_schema()]}

    @property
    def _cel(self) -> str:
        return f"self.matches(r'{self.pattern}')"

    def _check(self, value: str) -> str:
        if re.fullmatch(self.pattern, value) is None:
            raise PydanticCustomError(SPOKEN, "{message}", {"message": self.message})
        return value


def _plain(value: Decimal) -> str:
    """Decimal notation without an exponent: 1E-7 is 0.0000001."""
    return format(value, "f")


@dataclass(frozen=True, slots=True)
class DecimalText:
    """A decimal number that is written as a string, because floats do not survive all YAML tools unchanged.

    `pattern` holds for what users write, `low` and `high` for numbers that Python code puts in.
    """

    pattern: str
    low: Decimal
    high: Decimal
    message: str
    example: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            self._check,
            core_schema.decimal_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(_plain, when_used="json"),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        rule_of_text = Rule(f"self.matches(r'{self.pattern}')", self.message).as_schema()
        return {
            "type": "string",
            "maxLength": 32,
            "examples": [self.example],
            "x-decimal": True,  # the schema's generator shows examples in quotes
            "x-kubernetes-validations": [rule_of_text],
        }

    def _check(self, value: Any) -> Any:
        if not self._holds(value):
            raise PydanticCustomError(SPOKEN, "{message}", {"message": self.message})
        return value

    def _holds(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
            return False
        if isinstance(value, str):
            return len(value) <= 32 and re.fullmatch(self.pattern, value) is not None
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            return False
        return number.is_finite() and self.low <= number <= self.high


_NUMBER = r"[0-9]{1,12}([.][0-9]{1,12})?"
_MOST = Decimal(10) ** 12

Usd = Annotated[
    Decimal,
    DecimalText(
        f"^{_NUMBER}$",
        Decimal(0),
        _MOST,
        'must be US dollars as a decimal number in quotes, not negative, such as "0.02"',
        "0.02",
    ),
]
"""US dollars as a decimal string, never a float."""

Ratio = Annotated[
    Decimal,
    DecimalText(
        "^(0([.][0-9]{1,12})?|1([.]0{1,12})?)$",
        Decimal(0),
        Decimal(1),
        'must be between 0 and 1, such as "0.95"',
        "0.95",
    ),
]
"""A share between 0 and 1 as a decimal string."""

PositiveNumber = Annotated[
    Decimal,
    DecimalText(
        f"^{_NUMBER}$",
        Decimal(0),
        _MOST,
        'must be a decimal number in quotes, not negative, such as "6.1"',
        "6.1",
    ),
]
"""A number that is not negative, as a decimal string."""


def _figure(value: Decimal) -> str:
    """Six significant digits in plain notation: a status is read by people and must not change in the tenth digit."""
    if not value.is_finite():
        return str(value)
    rounded = Decimal(f"{value:.5e}").quantize(Decimal(1).scaleb(-12)) if abs(value) < _MOST else value
    text = _plain(rounded)
    return text.rstrip("0").rstrip(".") if "." in text else text


FIGURE_LENGTH = 48

Figure = Annotated[
    Decimal,
    PlainSerializer(_figure, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "maxLength": FIGURE_LENGTH}),
]
"""A measured or computed number of a status, as a decimal string. It has no bounds: a pool can be loaded above 1, and
money can be lost; a status that the API server refuses would hide just that."""

Timestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
"""A moment in RFC 3339, such as 2026-03-02T14:02:30Z."""

Shown = Annotated[str, Field(max_length=32)]
"""A few characters that `kubectl get` prints as they are, such as 71%."""

Name = Annotated[
    str,
    Field(min_length=1, max_length=63),
    Matching(
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "must be lower-case letters, digits and dashes, beginning and ending with a letter or digit, such as research",
    ),
]
"""A DNS label, as the names of Kubernetes objects."""

OBJECT_NAME_LENGTH = 50
OWN_NAME_PATTERN = f"^[a-z]([-a-z0-9]{{0,{OBJECT_NAME_LENGTH - 2}}}[a-z0-9])?$"

PoolName = Annotated[
    str,
    Field(min_length=1, max_length=OBJECT_NAME_LENGTH),
    Matching(
        "^[a-z]([-a-z0-9]*[a-z0-9])?$",
        "must be the name of a ModelPool in the same namespace, such as qwen3-32b-h100",
    ),
]
"""The name of a ModelPool; its Services bear it, so it is a DNS label that begins with a letter."""

ObjectName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Matching(
        "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        "must be the name of an object in the same namespace: lower-case letters, digits, dashes and dots",
    ),
]
"""The name of a Secret, ConfigMap, PersistentVolumeClaim or PriorityClass."""

DataKey = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Matching("^[-._a-zA-Z0-9]+$", "must be a key of the object's data: letters, digits, dashes, dots and underscores"),
]
"""A key in a Secret or ConfigMap."""

Word = Annotated[
    str,
    Field(min_length=1, max_length=63),
    Matching(
        "^[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$",
        "must be one word of letters, digits, dots, dashes and underscores, such as extraction",
    ),
]
"""A word that becomes the label of a metric."""

Jurisdiction = Annotated[
    str,
    Field(min_length=2, max_length=32),
    Matching("^[A-Z][A-Za-z0-9-]*$", "must begin with a capital letter, such as EU, US, CH or EU-DE"),
]
"""Whose law reaches the data: EU, US, CH, or a region word of your own such as EU-DE."""

ModelName = Annotated[
    str,
    Field(min_length=1, max_length=253),
    Matching(r"^[^\s]+$", "must be a model's name without spaces, such as qwen3-32b"),
]
"""A model's name as an engine or provider knows it."""

Source = Annotated[
    str,
    Field(min_length=1, max_length=1024),
    Matching(
        r"^(hf|s3|gs|oci|pvc|file)://[^\s]+$",
        "must begin with hf://, s3://, gs://, oci://, pvc:// or file://, such as hf://Qwen/Qwen3-32B-FP8",
    ),
]
"""Where weights come from."""

Image = Annotated[
    str,
    Field(min_length=1, max_length=512),
    Matching(r"^[^\s]+$", "must be a container image without spaces, such as vllm/vllm-openai:v0.11.0"),
]
"""A container image."""

TimeZone = Annotated[
    str,
    Field(min_length=1, max_length=64),
    Matching("^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$", "must be an IANA time zone, such as Europe/Berlin or UTC"),
]
"""An IANA time zone."""


def as_set() -> dict[str, Any]:
    """The `json_schema_extra` of a list without duplicates."""
    return {"x-kubernetes-list-type": "set"}


def by_key(key: str) -> dict[str, Any]:
    """The `json_schema_extra` of a list whose entries are known by one field, so that several owners can add to it."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
