"""What is read of a request: who belongs together, what many share, and where the client has marked."""

from __future__ import annotations

from typing import Any

import pytest

from comptroller.router_plugin.prompt import CHAT, MESSAGES, Mark, Prompt, read

SYSTEM = {"role": "system", "content": "be brief"}
TOOL = {"type": "function", "function": {"name": "f"}}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def chat(*messages: Any, tenant: str = "a", headers: tuple[tuple[bytes, bytes], ...] = (), **more: Any) -> Prompt:
    return read(CHAT, tenant, "chat", headers, {"model": "chat", "messages": list(messages), **more})


def test_the_turns_of_a_conversation_are_one_session() -> None:
    first = chat(SYSTEM, user("hello"))
    second = chat(SYSTEM, user("hello"), {"role": "assistant", "content": "hi"}, user("and now?"))

    assert first.session == second.session
    assert first.session != chat(SYSTEM, user("good day")).session
    assert first.prefix == second.prefix == chat(SYSTEM, user("good day")).prefix


@pytest.mark.parametrize("header", [b"x-session-id", b"X-Session-Id", b"x-litellm-session-id"])
def test_a_named_session_is_one_whatever_it_says_and_nobody_elses(header: bytes) -> None:
    named = ((header, b"42"),)

    assert chat(user("a"), headers=named).session == chat(user("b"), headers=named).session
    assert chat(user("a"), headers=named).session != chat(user("a"), headers=((header, b"43"),)).session
    assert chat(user("a"), headers=named).session != chat(user("a"), headers=named, tenant="b").session


def test_openais_own_key_names_a_session_too() -> None:
    assert chat(user("a"), prompt_cache_key="k").session == chat(user("b"), prompt_cache_key="k").session


def test_a_prompt_without_tools_and_instructions_shares_nothing() -> None:
    assert chat(user("hello")).prefix is None
    assert chat(user("hello"), tools=[TOOL]).prefix is not None
    assert chat(user("hello"), tools=[TOOL]).prefix != chat(user("hello"), tools=[TOOL, TOOL]).prefix


def test_both_protocols_show_the_same_parts() -> None:
    theirs = read(MESSAGES, "a", "chat", (), {"system": "be brief", "messages": [user("hello")], "tools": [TOOL]})

    assert list(theirs.bytes_up_to or {}) == ["tools", "system", "lastMessage"]
    assert list(chat(SYSTEM, user("hello"), tools=[TOOL]).bytes_up_to or {}) == ["tools", "system", "lastMessage"]
    assert (theirs.system_index, chat(SYSTEM, user("hello")).system_index) == (None, 0)
    sizes = list((theirs.bytes_up_to or {}).values())
    assert sizes == sorted(sizes)


def test_marks_of_the_client_are_seen_wherever_they_may_stand() -> None:
    hour, plain = {"type": "ephemeral", "ttl": "1h"}, {"type": "ephemeral"}
    found = chat(
        {**SYSTEM, "cache_control": hour},
        user([{"type": "text", "text": "x", "cache_control": plain}, {"type": "text", "text": "y"}]),
        tools=[{**TOOL, "cache_control": hour}, {"function": {"cache_control": plain}}],
    )

    assert found.marks == (Mark("tools", "1h"), Mark("tools", "5m"), Mark("system", "1h"), Mark("lastMessage", "5m"))


@pytest.mark.parametrize(
    ("content", "can"),
    [
        ("hello", True),
        ("", False),
        ([], False),
        (None, False),
        ([{"type": "text", "text": " "}], False),
        ([{"type": "tool_result", "tool_use_id": "1"}], True),
        ([{"type": "thinking"}], False),
    ],
)
def test_an_empty_end_cannot_be_marked(content: Any, can: bool) -> None:
    assert chat(user(content)).last_can_be_marked is can


@pytest.mark.parametrize(
    "body", [{}, {"messages": 3}, {"messages": [3, None]}, {"tools": 7, "system": 8, "input": [1]}]
)
@pytest.mark.parametrize("path", [CHAT, MESSAGES, "/v1/embeddings"])
def test_bodies_of_any_shape_are_read(path: str, body: dict[str, Any]) -> None:
    assert len(read(path, "a", "chat", (), body).session) == 16


def test_nothing_of_the_text_is_kept() -> None:
    assert "brief" not in repr(chat(SYSTEM, user("hello")))
    assert "hello" not in repr(chat(SYSTEM, user("hello")))
