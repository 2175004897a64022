"""Answers of every shape as text for a judge; what is cut off, broken or too long is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptroller.router_plugin.said import Heard, asked
from comptroller.router_plugin.verdict import MOST_CHARACTERS

CALL = {"index": 0, "id": "c", "function": {"name": "find", "arguments": '{"a": 1}'}}


def heard(content: bytes, *, stream: bool, status: int = 200, pieces: int = 1, ends: bool = True) -> Heard:
    kind = b"text/event-stream; charset=utf-8" if stream else b"application/json"
    one = Heard()
    one.hear({"type": "http.response.start", "status": status, "headers": [(b"Content-Type", kind)]})
    size = max(1, -(-len(content) // pieces))
    for start in range(0, max(1, len(content)), size):
        last = start + size >= len(content)
        body = content[start : start + size]
        one.hear({"type": "http.response.body", "body": body, "more_body": not (last and ends)})
    return one


def whole(**choice: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "finish_reason": "stop", **choice}]}).encode()


def stream(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events) + b"data: [DONE]\n\n"


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


CHAT = stream(chunk(role="assistant", content="ab"), chunk(content="c"), chunk("stop"))
CLAUDE = stream(
    {"type": "message_start", "message": {"content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "abc"}},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "name": "find", "input": {}}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a": 1}'}},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
)


@pytest.mark.parametrize(
    ("content", "streams", "expected"),
    [
        (whole(message={"content": "abc"}), False, ["abc"]),
        (whole(text="abc"), False, ["abc"]),
        (whole(message={"content": None, "tool_calls": [CALL]}, finish_reason="tool_calls"), False, ["find", "a"]),
        (
            json.dumps({"content": [{"type": "text", "text": "abc"}], "stop_reason": "end_turn"}).encode(),
            False, ["abc"],
        ),
        (
            json.dumps(
                {"content": [{"type": "tool_use", "name": "find", "input": {"a": 1}}], "stop_reason": "tool_use"}
            ).encode(), False, ["find", "a"],
        ),
        (CHAT, True, ["abc"]),
        (stream(chunk(tool_calls=[CALL]), chunk("tool_calls")), True, ["find", "a"]),
        (stream({"choices": [{"index": 0, "text": "abc", "finish_reason": "stop"}]}), True, ["abc"]),
        (CLAUDE, True, ["abc", "find", "a"]),
    ],
    ids=["chat", "plain", "tool", "claude", "claude tool", "stream", "tool stream", "plain stream", "claude stream"],
)  # fmt: skip
@pytest.mark.parametrize("pieces", [1, 7, 100])
def test_a_complete_answer_is_its_text_and_its_calls(
    content: bytes, streams: bool, expected: list[str], pieces: int
) -> None:
    text = heard(content, stream=streams, pieces=pieces).text()
    assert text is not None
    for word in expected:
        assert word in text


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (heard(whole(message={"content": "abc"}, finish_reason="length"), stream=False), "cut off"),
        (heard(whole(message={"content": "abc"}, finish_reason="content_filter"), stream=False), "filtered"),
        (heard(whole(message={"content": "abc"}), stream=False, status=500), "an error"),
        (heard(whole(message={"content": "abc"}), stream=False, ends=False), "left"),
        (heard(CHAT, stream=True, ends=False), "left in the middle of a stream"),
        (heard(stream(chunk(content="ab")), stream=True), "without an end"),
        (heard(stream(chunk(content="ab"), {"error": {"message": "x"}}, chunk("stop")), stream=True), "broke"),
        (heard(whole(message={"content": ""}), stream=False), "nothing said"),
        (heard(b"no json", stream=False), "no JSON"),
        (heard(b"", stream=False), "nothing"),
    ],
)
def test_other_answers_are_not_judged(one: Heard, why: str) -> None:
    assert one.text() is None, why


def test_an_answer_that_is_too_long_is_dropped_while_it_is_heard() -> None:
    for content, streams in (
        (stream(*[chunk(content="x" * 1000) for _ in range(100)], chunk("stop")), True),
        (whole(message={"content": "x" * 2 * MOST_CHARACTERS}), False),
    ):
        one = heard(content, stream=streams, pieces=50)
        assert one.text() is None
        assert one.too_long


@given(st.binary(max_size=300), st.booleans())
def test_nothing_that_a_backend_sends_raises(content: bytes, streams: bool) -> None:
    heard(content, stream=streams).text()
    heard(b"data: " + content + b"\n\n", stream=True).text()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "delta", "message", "content", "tool_calls", "function", "index", "finish_reason", "text",
             "content_block", "stop_reason", "role", "messages", "system", "prompt", "type", "partial_json"]
        ), inner, max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["choices", "content", "delta", "messages", "system", "prompt"]), JSON))
def test_no_object_raises(value: dict[str, Any]) -> None:
    heard(json.dumps(value).encode(), stream=False).text()
    heard(stream(value, {"choices": [value]}), stream=True).text()
    assert isinstance(asked(value), str)


def test_a_request_is_who_said_what() -> None:
    body = {
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "See."}, {"type": "image_url", "image_url": "data:"}],
            },
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
        ],
    }
    lines = asked(body).split("\n")
    assert lines[:3] == ["system: Be brief.", "user: See.", "[image_url]"]
    assert lines[3].startswith("assistant: [{")
    assert asked({"prompt": "Once"}) == "Once"
    assert len(asked({"prompt": "x" * 10**6})) < MOST_CHARACTERS + 10
