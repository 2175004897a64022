"""What the API server would refuse, the operator refuses too, with the same sentence and without falling over."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.api.honoured import NOT_ACTED_UPON, not_honoured
from comptroller.api.kinds import KINDS
from comptroller.api.modelpool import ModelPoolStatus
from comptroller.api.parse import SpecError, parse_spec
from comptroller.api.schema import object_schema, walk
from tests.unit.api.examples import FULL, STATUS
from tests.unit.api.objects import REMOVED, changed, get
from tests.unit.api.refusals import BETWEEN_FIELDS, KIND_OF, SPEC_BOUNDS, Refusal


def _problems(refusal: Refusal) -> list[tuple[str, str]]:
    with pytest.raises(SpecError) as refused:
        parse_spec(refusal.kind, refusal.obj)
    return [(one.path, one.message) for one in refused.value.problems]


@pytest.mark.parametrize("refusal", BETWEEN_FIELDS, ids=lambda one: one.id)
def test_a_rule_says_the_same_in_python(refusal: Refusal) -> None:
    path = refusal.path or "metadata.name"
    message = refusal.message.removeprefix("metadata.name ")
    assert any(where == path and said.startswith(message) for where, said in _problems(refusal)), _problems(refusal)


def test_each_bound_holds_in_python_and_names_the_field() -> None:
    for refusal in SPEC_BOUNDS:
        said = _problems(refusal)
        assert any(path.startswith(refusal.path) for path, _ in said), (refusal.id, said)
        if refusal.bound == "shape":
            assert refusal.message in [message for _, message in said], (refusal.id, said)


@pytest.mark.parametrize("example", FULL)
def test_a_full_example_is_read_without_loss(example: str) -> None:
    obj = FULL[example]()
    spec = parse_spec(KIND_OF[example], obj)
    assert spec.model_dump(mode="json", by_alias=True, exclude_unset=True) == obj["spec"]


@pytest.mark.parametrize("example", STATUS)
def test_a_full_status_is_read_without_loss(example: str) -> None:
    status = STATUS[example]()
    read = KINDS[KIND_OF[example]].status.model_validate(status)
    assert read.model_dump(mode="json", by_alias=True, exclude_unset=True) == status


def test_the_full_examples_set_every_field_of_every_spec() -> None:
    for kind, definition in KINDS.items():
        examples = [FULL[word]() for word, of in KIND_OF.items() if of == kind]
        for path, _ in walk(object_schema(definition)["properties"]["spec"], "spec"):
            if not path.endswith(("[]", ".*")):
                assert any(_has(one, path.split(".")) for one in examples), f"{kind}: {path}"


def _has(value: Any, way: list[str]) -> bool:
    if not way:
        return True
    step = way[0].removesuffix("[]")
    if not isinstance(value, dict) or step not in value:
        return False
    inner = value[step]
    return any(_has(one, way[1:]) for one in inner) if way[0].endswith("[]") else _has(inner, way[1:])


@pytest.mark.parametrize(
    ("example", "changes", "said"),
    [
        (
            "policy",
            {"spec.routes[0].quality.minimumPassRate": 1.2},
            'spec.routes[0].quality.minimumPassRate: must be between 0 and 1, such as "0.95" (given: 1.2)',
        ),
        (
            "local",
            {"spec.hosted": FULL["hosted"]()["spec"]["hosted"], "spec.model.source": REMOVED},
            "spec: set exactly one of local (GPUs you own or rent) and hosted (an API you pay per token)",
        ),
        (
            "local",
            {"spec.model.name": REMOVED},
            "spec.model.name: is required: name that the engine serves and the router asks for",
        ),
        (
            "local",
            {"spec.local.engine.name": "triton"},
            'spec.local.engine.name: must be one of vllm, sglang, llamacpp (given: "triton")',
        ),
        (
            "local",
            {"spec.local.replicas.max": "many"},
            'spec.local.replicas.max: must be a whole number (given: "many")',
        ),
        (
            "policy",
            {"spec.routes[1].name": "extraction"},
            'spec.routes[1]: repeats the name of another entry: remove one of them (given: "extraction")',
        ),
        ("policy", {"spec.routes": []}, "spec.routes: must have at least 1 entry (given: [])"),
        ("policy", {"spec": None}, "spec: is required: an object with the fields of the kind (given: nothing)"),
        ("warmup", {"spec.gate.enabled": "perhaps"}, 'spec.gate.enabled: must be true or false (given: "perhaps")'),
    ],
)
def test_an_error_has_the_field_the_meaning_and_what_was_given(
    example: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError) as refused:
        parse_spec(KIND_OF[example], changed(FULL[example](), changes))
    assert said in str(refused.value).splitlines()


def test_a_long_text_is_not_repeated_in_the_error() -> None:
    with pytest.raises(SpecError) as refused:
        parse_spec("ModelPool", changed(FULL["local"](), {"spec.local.engine.env[0].value": "s3cret" * 1000}))
    assert "s3cret" not in str(refused.value)


def test_a_volume_kind_that_an_older_definition_let_through_does_not_reach_the_pod() -> None:
    spoilt = changed(FULL["local"](), {"spec.local.pod.volumes[0].hostPath": {"path": "/"}})
    spec = parse_spec("ModelPool", spoilt)
    assert spec.local is not None
    assert spec.local.pod.volumes[0] == {"name": "prompts", "configMap": {"name": "prompts"}}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_PATHS = {
    word: [
        path.replace("[]", "[0]")
        for path, _ in walk(object_schema(KINDS[KIND_OF[word]])["properties"]["spec"], "spec")
        if not path.endswith(".*")
    ]
    for word in FULL
}


@given(word=st.sampled_from(sorted(FULL)), data=st.data())
def test_nothing_but_a_spec_error_is_raised_whatever_a_field_holds(word: str, data: st.DataObject) -> None:
    obj = FULL[word]()
    path = data.draw(st.sampled_from([one for one in _PATHS[word] if _reaches(obj, one)]))
    spoilt = changed(obj, {path: data.draw(_JSON)})
    with contextlib.suppress(SpecError):
        parse_spec(KIND_OF[word], spoilt)


def _reaches(obj: dict[str, Any], path: str) -> bool:
    try:
        get(obj, path)
    except (KeyError, IndexError):
        return False
    return True


def test_fields_without_effect_are_told_when_set() -> None:
    policy = parse_spec("RoutingPolicy", FULL["policy"]())
    assert not_honoured("RoutingPolicy", policy) == []
    warmup = FULL["warmup"]()["spec"]
    warmup["pools"] = ["qwen3-32b-h100", "claude-sonnet"]
    assert not_honoured("CacheWarmup", warmup, {"claude-sonnet"}) == [
        "spec.pools[1]",
    ]
    assert not_honoured("ModelPool", FULL["local"]()["spec"]) == []


def test_the_list_of_fields_without_effect_names_real_fields() -> None:
    for kind, paths in NOT_ACTED_UPON.items():
        known = {path for path, _ in walk(object_schema(KINDS[kind]))}
        assert set(paths) <= known


def test_a_status_is_written_in_plain_notation_with_six_digits() -> None:
    status = ModelPoolStatus.model_validate(
        {"economics": {"usdPerHour": Decimal("14.10204500001"), "utilisation": 1.3, "usdPerMillionTokens": 1e-7}}
    )
    written = json.loads(status.model_dump_json(by_alias=True, exclude_none=True))["economics"]
    assert written == {"usdPerHour": "14.102", "utilisation": "1.3", "usdPerMillionTokens": "0.0000001"}
