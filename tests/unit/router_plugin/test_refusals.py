"""What a request may carry, and what a client is told of failures; without LiteLLM."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.router_plugin import failure
from comptroller.router_plugin.body import parse
from comptroller.router_plugin.content import BY_ADDRESS, checked_content
from comptroller.router_plugin.errors import MalformedError, RefusedError
from comptroller.router_plugin.shapes import SHAPES, check_shapes

ADDRESSES = st.sampled_from(
    ["http://x/y.png", "https://x", "file:///etc/passwd", "gs://b/x", "data:image/png;base64,AA=="]
)
TYPES = ["text", "image_url", "video_url", "audio_url", "file", "image", "document", "tool_result", "search_result"]


def parts() -> st.SearchStrategy[Any]:
    values = st.recursive(
        ADDRESSES | st.sampled_from(["x", "base64", "url", "content"]),
        lambda inner: (
            st.dictionaries(st.sampled_from(["url", "type", "file_id", "file_data", "data", "content"]), inner)
            | st.lists(inner, max_size=3)
        ),
        max_leaves=6,
    )
    names = [*BY_ADDRESS, "file", "source", "text", "content"]
    return st.dictionaries(st.sampled_from(names), values, max_size=4).flatmap(
        lambda part: st.sampled_from(TYPES).map(lambda kind: {**part, "type": kind})
    )


def addresses(part: Any) -> Iterator[str]:
    """Every address that somebody behind the router could fetch."""
    for name in BY_ADDRESS:
        if name in part:
            place = part[name]
            yield place["url"] if isinstance(place, dict) else place
    if "file" in part:
        yield from (part["file"][name] for name in ("file_id", "file_url", "file_data") if name in part["file"])
    if part["type"] in ("image", "document"):
        yield from (part["source"][name] for name in ("url", "file_id") if name in part["source"])


@given(st.lists(parts(), max_size=3), st.sampled_from(["/v1/chat/completions", "/v1/messages"]))
def test_of_what_passes_nobody_can_fetch_an_address(content: list[Any], path: str) -> None:
    nested = [{"type": "tool_result", "content": content}]
    for outer in (content, nested):
        try:
            passed = checked_content(path, {"messages": [{"role": "user", "content": outer, "api_base": "http://x"}]})
        except (RefusedError, MalformedError):
            continue
        (message,) = passed["messages"]
        assert {*message} == {"role", "content"}
        assert all(address.startswith("data:") for part in content for address in addresses(part))


@given(
    st.dictionaries(
        st.sampled_from(sorted(SHAPES)), st.none() | st.booleans() | st.integers() | st.text() | st.just([5])
    )
)
def test_shapes_are_told_by_name_and_never_by_value(body: dict[str, Any]) -> None:
    try:
        check_shapes(body)
    except MalformedError as error:
        name, _, rest = str(error).partition(": ")
        assert name in body
        assert rest == f"must be {SHAPES[name]}"


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner), max_leaves=8))
def test_what_is_read_can_be_written_for_every_other_parser(value: Any) -> None:
    body = parse(json.dumps({"value": value}).encode())

    if body is not None:
        assert json.loads(json.dumps(body, allow_nan=False, ensure_ascii=False).encode()) == {"value": value}


@pytest.mark.parametrize(
    ("status", "said", "becomes", "code"),
    [
        (
            400,
            "litellm.BadRequestError: OpenAIException - no such tool\n\nLiteLLM: model group",
            400,
            "invalid_request",
        ),
        (400, "This model's maximum context length is 8192 tokens", 400, "context_length_exceeded"),
        (401, "Incorrect API key provided: sk-1", 502, "backend_refused"),
        (404, "no such model", 502, "backend_refused"),
        (429, "litellm.RateLimitError: every pool that route chat permits is full; try again", 429, "overloaded"),
        (429, "org-1 has reached its limit", 429, "overloaded"),
        (408, "x", 504, "timeout"),
        (500, "prompt was: hello", 500, "backend_failed"),
        (503, "x", 503, "backend_failed"),
        (529, "x", 529, "backend_failed"),
    ],
)
def test_a_failure_is_told_in_the_routers_words(status: int, said: str, becomes: int, code: str) -> None:
    refusal = failure.told(status, json.dumps({"error": {"message": said}}).encode(), "chat", "7")

    assert (refusal.status, refusal.code) == (becomes, code)
    for word in ("litellm", "LiteLLM", "sk-1", "hello", "org-1", "Exception"):
        assert word not in refusal.message
    assert refusal.headers.get("retry-after") == ("7" if status in (429, 503) else None)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": 5}', b'{"error": {"message": null}}'])
def test_a_failure_without_words_is_told_all_the_same(body: bytes) -> None:
    assert failure.told(400, body, "chat", None).message == "the backend refused the request as wrong"
