"""The field types that all kinds share: decimal strings, names, durations, and the base class of every model.

A model of this package is the one source of its CRD schema (`api/schema.py`), of the API reference and of what the
operator reads. Python names are snake_case; on the wire they are camelCase.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

GROUP = "comptroller.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class ApiModel(BaseModel):
    """One object of the user's language: immutable, camelCase on the wire, unknown fields ignored.

    Unknown fields are ignored here because the API server has already pruned or refused them; a newer CRD than this
    operator must not stop it.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


def rules(*pairs: tuple[str, str]) -> dict[str, Any]:
    """CEL rules for `json_schema_extra`: pairs of (expression, message that says what to do)."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in pairs]}


def decimal_string(rule: str, message: str, example: str) -> WithJsonSchema:
    """The schema of a decimal number written as a string, bounded by a CEL rule over `double(self)`."""
    return WithJsonSchema(
        {
            "type": "string",
            "maxLength": 32,
            "example": example,
            **rules(
                (r"self.matches('^[0-9]+([.][0-9]+)?$')", f'must be a decimal number in quotes, such as "{example}"'),
                (rf"!self.matches('^[0-9]+([.][0-9]+)?$') || ({rule})", message),
            ),
        }
    )


Usd = Annotated[
    Decimal, decimal_string("double(self) <= 1000000000.0", "must be at most 1000000000 US dollars", "0.02")
]
"""US dollars as a decimal string, never a float."""

Ratio = Annotated[
    Decimal,
    Field(ge=0, le=1),
    decimal_string("double(self) <= 1.0", 'must be between 0 and 1, such as "0.95"', "0.95"),
]
"""A share between 0 and 1 as a decimal string."""

PositiveNumber = Annotated[
    Decimal,
    Field(ge=0),
    decimal_string("double(self) <= 1000000000.0", "must be at most 1000000000", "6.1"),
]
"""A number that is not negative, as a decimal string (floats do not survive all YAML tools unchanged)."""

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""A DNS label, as the names of Kubernetes objects."""

Jurisdiction = Annotated[str, Field(min_length=2, max_length=32, pattern=r"^[A-Z][A-Za-z0-9-]*$")]
"""Whose law reaches the data: EU, US, CH, or a region word of your own such as EU-DE."""
