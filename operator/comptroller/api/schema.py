"""From the models to CustomResourceDefinitions: structural OpenAPI v3 with CEL.

pydantic writes JSON Schema 2020-12; the API server reads a part of OpenAPI 3.0. What can be said in both is carried
over, and everything else raises `NotStructuralError` with the field's path: what the server would refuse fails here
first. No `default:` is ever written: a default in the schema is frozen into stored objects and shows up as
a difference in GitOps. Defaults live in code and are told in the description.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import yaml
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from comptroller.api.fields import GROUP, VERSION, ApiModel
from comptroller.api.kinds import KINDS, NAME_RULE, Kind

Schema: TypeAlias = dict[str, Any]

MOST_BYTES = 64 * 1024
"""Largest CRD: client-side apply and Argo CD keep a copy in an annotation of at most 256 KiB."""

_CARRIED_OVER = frozenset(
    {
        "type", "format", "description", "required", "enum", "pattern",
        "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
        "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
        "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields",
    }
)  # fmt: skip
_OPEN = ("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields")


class NotStructuralError(TypeError):
    """A model says something that a CRD cannot; the message names the field."""


class _OpenApi(GenerateJsonSchema):
    """JSON Schema without what only 2020-12 has: an optional field is one that may be absent, never `anyOf null`."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])


def schema_of(model: type[ApiModel], path: str) -> Schema:
    """The structural schema of a model. Raises `NotStructuralError`; `path` is what its message begins with."""
    whole = model.model_json_schema(by_alias=True, mode="validation", schema_generator=_OpenApi)
    return _structural(whole, whole.get("$defs", {}), path, ())


def _structural(schema: Mapping[str, Any], models: Mapping[str, Any], path: str, above: tuple[str, ...]) -> Schema:
    """One node and everything under it; `above` are the models that contain it."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        if name in above:
            raise NotStructuralError(f"{path}: {name} contains itself, which a CRD cannot say")
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _structural({**models[name], **beside}, models, path, (*above, name))

    node: Schema = {}
    for key, value in schema.items():
        match key, value:
            case "const", _:
                node["enum"] = [value]
            case "properties", _:
                node["properties"] = {
                    name: _structural(one, models, f"{path}.{name}", above) for name, one in value.items()
                }
            case "items", _:
                node["items"] = _structural(value, models, f"{path}[]", above)
            case "additionalProperties", dict():
                node["additionalProperties"] = _structural(value, models, f"{path}.*", above)
            case ("additionalProperties", False) | (("title" | "$defs" | "examples" | "default" | "x-decimal"), _):
                pass
            case "additionalProperties", _ if schema.get("x-kubernetes-preserve-unknown-fields"):
                pass
            case _ if key in _CARRIED_OVER:
                node[key] = value
            case _:
                raise NotStructuralError(f"{path}: {key}: {value!r} cannot be said in a CRD")
    return _in_order(_completed(node, schema, path))


def _completed(node: Schema, schema: Mapping[str, Any], path: str) -> Schema:
    """The node with its format, list type and full description; raises if the API server would refuse it."""
    if "type" not in node and not any(node.get(key) for key in _OPEN):
        raise NotStructuralError(f"{path}: has no type")
    match node.get("type"):
        case "integer":
            node["format"] = "int64"
        case "number":
            raise NotStructuralError(f"{path}: a float does not survive all tools unchanged; use a decimal string")
        case "array":
            node.setdefault("x-kubernetes-list-type", "atomic")
            _demand(node, path, "items", "maxItems")
        case "string" if "enum" not in node and node.get("format") != "date-time":
            _demand(node, path, "maxLength")
        case "object" if "additionalProperties" in node:
            _demand(node, path, "maxProperties")
    if path.endswith(("[]", ".*")):
        node.pop("description", None)  # an entry is described by its list
    elif "description" not in node:
        raise NotStructuralError(f"{path}: has no description")
    else:
        node["description"] = _described(str(node["description"]), schema)
    return node


def _demand(node: Schema, path: str, *keys: str) -> None:
    for key in keys:
        if key not in node:
            raise NotStructuralError(
                f"{path}: {key} is missing: everything is bounded, or CEL is too dear for the server"
            )


def _described(text: str, schema: Mapping[str, Any]) -> str:
    """The description with the default of the code and an example: `... Default: 8000. Example: qwen3-32b.`"""
    words = [" ".join(text.split())]
    default = schema.get("default")
    if isinstance(default, bool):
        words.append(f"Default: {str(default).lower()}.")
    elif isinstance(default, int | str) and default != "":
        words.append(f"Default: {default}.")
    for example in schema.get("examples", [])[:1]:
        shown = f'"{example}"' if schema.get("x-decimal") else example
        words.append(f"Example: {shown}" + ("" if str(shown).endswith(".") else "."))
    return " ".join(words)


_ORDER = ("description", "type", "format", "enum")
_LAST = ("required", "properties", "items", "additionalProperties", "x-kubernetes-validations")


def _in_order(node: Schema) -> Schema:
    """Keys in an order that reads well and never changes."""
    middle = sorted(key for key in node if key not in _ORDER and key not in _LAST)
    return {key: node[key] for key in (*_ORDER, *middle, *_LAST) if key in node}


def node_at(schema: Schema, location: Iterable[int | str]) -> Schema:
    """The node under a schema at `("routes", 0, "name")`; an empty one where the location leads nowhere."""
    for part in location:
        if isinstance(part, int):
            schema = schema.get("items", {})
        else:
            schema = schema.get("properties", {}).get(part) or schema.get("additionalProperties", {})
    return schema


def walk(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every node with its path, from the outside to the inside: `spec.routes[].name`, `spec.router.labels.*`."""
    yield path, schema
    for name, one in schema.get("properties", {}).items():
        yield from walk(one, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from walk(schema["additionalProperties"], f"{path}.*")


def object_schema(kind: Kind) -> Schema:
    """The schema of a whole object."""
    return {
        "description": kind.summary,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"description": f"Always {GROUP}/{VERSION}.", "type": "string"},
            "kind": {"description": f"Always {kind.kind}.", "type": "string"},
            "metadata": {"type": "object"},  # the server allows no description here
            "spec": schema_of(kind.spec, "spec"),
            "status": schema_of(kind.status, "status"),
        },
        "x-kubernetes-validations": [NAME_RULE.as_schema()],
    }


def definition(kind: Kind) -> Schema:
    """The CustomResourceDefinition of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": kind.crd_name,
            "labels": {"app.kubernetes.io/name": "comptroller", "app.kubernetes.io/component": "crds"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short_name],
                "categories": ["comptroller"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {
                            "name": column.name,
                            "type": column.type,
                            "jsonPath": column.path,
                            "description": column.description,
                        }
                        | ({"priority": 1} if column.wide else {})
                        for column in kind.columns
                    ],
                    "schema": {"openAPIV3Schema": object_schema(kind)},
                }
            ],
        },
    }


class _Dumper(yaml.SafeDumper):
    """Never an anchor: the same rule in two places is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_HEAD = "# Generated by `comptroller crds --write crds` from operator/comptroller/api. Do not edit: `make generate`.\n"


def definition_yaml(kind: Kind) -> str:
    """The CustomResourceDefinition as a file, the same bytes each time."""
    text = yaml.dump(definition(kind), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return f"{_HEAD}---\n{text}"


def definitions() -> dict[str, str]:
    """All CustomResourceDefinitions: file name to content."""
    return {kind.file_name: definition_yaml(kind) for kind in KINDS.values()}
