"""Every rule and every bound of the schemas has a case that the real API server is asked about (tests/api)."""

from __future__ import annotations

import pytest

from comptroller.api.kinds import KINDS
from comptroller.api.schema import object_schema, walk
from tests.unit.api.examples import FULL
from tests.unit.api.refusals import BETWEEN_FIELDS, KIND_OF, SPEC_BOUNDS, STATUS_BOUNDS


def test_every_rule_of_the_schemas_has_a_case() -> None:
    cases = (*BETWEEN_FIELDS, *SPEC_BOUNDS)
    for kind in KINDS.values():
        expected = [one.message for one in cases if one.kind == kind.kind]
        for path, node in walk(object_schema(kind)):
            for rule in node.get("x-kubernetes-validations", []):
                # a case may quote the beginning of a long message
                assert any(rule["message"].startswith(one) for one in expected), f"{path}: {rule['message']}"


BOUNDS = ("enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties")


@pytest.mark.parametrize("kind", KINDS)
def test_every_bound_of_the_schemas_has_a_case(kind: str) -> None:
    cases = {one.id for one in (*SPEC_BOUNDS, *STATUS_BOUNDS) if one.kind == kind}
    schema = object_schema(KINDS[kind])
    expected = {
        f"{path} {bound}"
        for root in ("spec", "status")
        for path, node in walk(schema["properties"][root], root)
        for bound in BOUNDS
        if bound in node
    }
    assert expected - cases == set()
    assert {KIND_OF[example] for example in FULL} == set(KINDS)
