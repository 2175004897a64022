"""A declared field that nothing reads is a defect: every field of a spec is read outside `api/`, or is told to users.

"Read" means that its Python name occurs as an attribute (`route.priority`) in the operator's code outside `api/`; this
finds forgotten fields, not misused ones. Fields of the pod's plain dictionaries are passed on whole with their parent.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import comptroller
from comptroller.api.fields import ApiModel
from comptroller.api.honoured import NOT_ACTED_UPON
from comptroller.api.kinds import KINDS

PACKAGE = Path(comptroller.__file__).parent
ELSEWHERE = ("api", "router_plugin")


def _attributes_read() -> frozenset[str]:
    """Every attribute name that the operator's code loads."""
    files = (path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] not in ELSEWHERE)
    return frozenset(
        node.attr
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    )


def _fields(model: type[ApiModel], path: str) -> Iterator[tuple[str, str]]:
    """(path on the wire, Python name) of every field; what lies under a field without effect is left out."""
    for name, field in model.model_fields.items():
        here = f"{path}.{field.alias}"
        entries, inner = _inner(field.annotation)
        yield here, name
        if inner is not None:
            yield from _fields(inner, here + entries)


def _inner(annotation: Any) -> tuple[str, type[ApiModel] | None]:
    """The model that a field holds, and `[]` if it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, ApiModel):
        return "", annotation
    for one in get_args(annotation):
        entries, found = _inner(one)
        if found is not None:
            return ("[]" if getattr(annotation, "__origin__", None) is list else entries), found
    return "", None


def _cases() -> list[Any]:
    return [
        pytest.param(path, name, id=f"{kind.kind} {path}")
        for kind in KINDS.values()
        for path, name in _fields(kind.spec, "spec")
        if not any(path == one or path.startswith((f"{one}.", f"{one}[]")) for one in NOT_ACTED_UPON[kind.kind])
    ]


@pytest.fixture(scope="module")
def read() -> frozenset[str]:
    return _attributes_read()


@pytest.mark.parametrize(("path", "name"), _cases())
def test_a_field_has_a_reader(read: frozenset[str], path: str, name: str) -> None:
    assert name in read, (
        f"{path} is declared and nothing outside api/ reads .{name}: read it, remove it, or list it in "
        "api/honoured.py so that users are told"
    )
