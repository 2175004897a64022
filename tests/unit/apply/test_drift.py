"""Whether a live object still is what was asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.apply.drift import HASH_ANNOTATION, fingerprint, matches, project, with_fingerprint
from tests.unit.kube import build


@pytest.mark.parametrize(
    ("live", "rendered", "same"),
    [
        pytest.param("1", "1000m", True, id="millis"),
        pytest.param("500m", "0.5", True, id="a fraction"),
        pytest.param("1Gi", "1024Mi", True, id="binary sizes"),
        pytest.param("1G", "1000M", True, id="decimal sizes"),
        pytest.param("1G", "1Gi", False, id="decimal and binary differ"),
        pytest.param(8, "8", True, id="a number and its text"),
        pytest.param("2", "1000m", False, id="another amount"),
        pytest.param("vllm:v1", "vllm:v2", False, id="words"),
        pytest.param(True, "1", False, id="a truth is no number"),
        pytest.param("NaN", "0", False, id="no number"),
        pytest.param("sNaN", "0", False, id="a number that shouts"),
        pytest.param("12345678e12345678", "12345678e12345679", False, id="hashes that look like numbers"),
        pytest.param("1e99999999999", "1", False, id="too large for a number"),
        pytest.param(None, {}, True, id="an empty map that the server dropped"),
        pytest.param(None, [], True, id="an empty list that the server dropped"),
        pytest.param(None, "", True, id="an empty text that the server dropped"),
        pytest.param(None, False, True, id="a default that the server dropped"),
        pytest.param(None, 0, True, id="a zero that the server dropped"),
        pytest.param(None, 1, False, id="a number that is gone"),
        pytest.param(None, {"a": 1}, False, id="a map that is gone"),
        pytest.param({"a": 1}, {}, True, id="what others put into an empty map"),
        pytest.param({"a": 1, "b": 2}, {"a": 1}, True, id="what the server added to a map"),
        pytest.param({"a": 2}, {"a": 1}, False, id="a value that was edited"),
        pytest.param([1, 2], [1], False, id="an entry that somebody added"),
        pytest.param([1], [1, 2], False, id="an entry that somebody took"),
        pytest.param([2, 1], [1, 2], False, id="another order"),
        pytest.param([{"a": 1, "b": 2}], [{"a": 1}], True, id="defaults inside a list"),
        pytest.param("ab", ["a", "b"], False, id="a text is no list"),
        pytest.param([], {"a": 1}, False, id="another shape"),
    ],
)
def test_a_live_value_matches_its_rendering(live: Any, rendered: Any, same: bool) -> None:
    assert matches(live, rendered) is same
    assert matches({"x": live}, {"x": rendered}) is same


@pytest.mark.parametrize(
    ("live", "rendered", "projected"),
    [
        ({"a": 1, "b": 2}, {"a": 9}, {"a": 1}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 0, "d": 0}}, {"a": {"b": 1, "d": None}}),
        ([{"a": 1, "b": 2}], [{"a": 0}], [{"a": 1}]),
        ([{"a": 1, "b": 2}, {}], [{"a": 0}], [{"a": 1, "b": 2}, {}]),
        ("x", {"a": 1}, "x"),
    ],
)
def test_a_projection_has_the_fields_of_the_rendering_with_the_live_values(
    live: Any, rendered: Any, projected: Any
) -> None:
    assert project(live, rendered) == projected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(VALUES)
def test_everything_matches_and_projects_to_itself(value: Any) -> None:
    assert matches(value, value)
    assert project(value, value) == value


@given(VALUES, VALUES)
def test_comparing_never_fails_whatever_somebody_wrote(live: Any, rendered: Any) -> None:
    assert matches(live, rendered) in (True, False)


@given(st.text(alphabet="0123456789eE.mkMGTi+-", max_size=18), st.integers())
def test_comparing_texts_that_look_like_numbers_never_fails(live: str, rendered: int) -> None:
    assert matches(live, rendered) in (True, False)


def turned(value: Any) -> Any:
    """The same with all keys in the opposite order."""
    if isinstance(value, dict):
        return {key: turned(one) for key, one in reversed(value.items())}
    return [turned(one) for one in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_the_fingerprint_does_not_depend_on_the_order_of_keys(value: dict[str, Any]) -> None:
    assert fingerprint(turned(value)) == fingerprint(value)


def test_the_fingerprint_is_an_annotation_beside_the_others_and_leaves_the_rendering_alone() -> None:
    rendered = build.item("Service", "s", annotations={"a": "b"}, spec={"ports": []})
    marked = with_fingerprint(rendered)
    assert marked["metadata"]["annotations"] == {"a": "b", HASH_ANNOTATION: fingerprint(rendered)}
    assert rendered["metadata"]["annotations"] == {"a": "b"}
    assert with_fingerprint(turned(rendered)) == marked
    assert len(fingerprint(rendered)) == 16


def test_any_change_of_the_rendering_changes_its_fingerprint() -> None:
    assert len({fingerprint(build.item("Service", "s", spec={"a": value})) for value in (1, 2, "1", None)}) == 4
