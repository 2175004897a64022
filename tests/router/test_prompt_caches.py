"""What reaches a hosted API so that it caches, in both protocols; and that its rules are kept."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from .hosted import Hosted
from .running import RunningRouter

pytestmark = [pytest.mark.router, pytest.mark.timeout(300)]
Fleet = tuple[RunningRouter, Hosted, Hosted]

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
SYSTEM, TALK = "word" * 1500, "talk" * 200
HOUR, FIVE = {"type": "ephemeral", "ttl": "1h"}, {"type": "ephemeral"}


def ask(router: RunningRouter, path: str, model: str, system: Any = SYSTEM, **more: Any) -> httpx.Response:
    head = {"authorization": "Bearer key-a", "anthropic-version": "2023-06-01"} | more.pop("headers", {})
    said = more.pop("messages", [{"role": "user", "content": TALK}])
    body: dict[str, Any] = {"model": model, "max_tokens": 8, "messages": said, **more}
    if path == CHAT and system:
        body["messages"] = [{"role": "system", "content": system}, *said]
    elif system:
        body["system"] = system
    return httpx.post(f"{router.url}{path}", json=body, headers=head, timeout=60)


def tool(path: str, **more: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": {}}
    if path == MESSAGES:
        return {"name": "f", "description": "d" * 4000, "input_schema": schema, **more}
    return {"type": "function", "function": {"name": "f", "description": "d" * 4000, "parameters": schema}, **more}


def marks(body: dict[str, Any]) -> list[tuple[str, Any]]:
    """(part, control) of every mark, along the prompt."""
    found = [("tools", one["cache_control"]) for one in body.get("tools") or [] if "cache_control" in one]
    blocks = [("system", one) for one in body.get("system") or [] if isinstance(one, dict)]
    blocks += [
        ("messages", one) for said in body["messages"] for one in said["content"] if isinstance(said["content"], list)
    ]
    return found + [(part, one["cache_control"]) for part, one in blocks if "cache_control" in one]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_marks_reach_anthropic_along_the_prompt(hosted: Fleet, path: str, stream: bool) -> None:
    router, claude, _ = hosted

    answer = ask(router, path, "claude", tools=[tool(path)], stream=stream)

    assert answer.status_code == 200, answer.text
    assert marks(claude.requests[0]) == [("tools", HOUR), ("system", HOUR), ("messages", HOUR)]


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_what_is_too_short_is_not_marked(hosted: Fleet, path: str) -> None:
    router, claude, _ = hosted

    assert ask(router, path, "claude", "be brief", messages=[{"role": "user", "content": "hi"}]).status_code == 200

    assert marks(claude.requests[0]) == []


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_marks_of_the_client_stay_and_count(hosted: Fleet, path: str) -> None:
    router, claude, _ = hosted
    said = [{"type": "text", "text": f"{TALK} {index}", "cache_control": FIVE} for index in range(3)]

    answer = ask(router, path, "claude", tools=[tool(path)], messages=[{"role": "user", "content": said}])

    assert answer.status_code == 200, answer.text
    assert marks(claude.requests[0]) == [("system", HOUR), *[("messages", FIVE)] * 3]


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_a_short_life_of_the_client_is_followed_by_no_longer_one(hosted: Fleet, path: str) -> None:
    router, claude, _ = hosted

    answer = ask(router, path, "claude", tools=[tool(path, cache_control=FIVE)])

    assert answer.status_code == 200, answer.text
    assert marks(claude.requests[0]) == [("tools", FIVE), ("system", FIVE), ("messages", FIVE)]


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_openai_gets_a_stable_key_and_no_marks(hosted: Fleet, path: str) -> None:
    router, _, gpt = hosted

    for stream in (False, True):
        assert ask(router, path, "gpt", tools=[tool(path)], stream=stream).status_code == 200

    first, second = gpt.requests
    assert first["prompt_cache_key"] == second["prompt_cache_key"]
    assert len(first["prompt_cache_key"]) == 32
    assert "cache_control" not in str(gpt.requests)


def test_a_key_of_the_client_is_kept(hosted: Fleet) -> None:
    router, _, gpt = hosted

    assert ask(router, CHAT, "gpt", prompt_cache_key="mine").status_code == 200

    assert gpt.requests[0]["prompt_cache_key"] == "mine"


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
def test_marks_of_the_client_do_not_reach_who_would_refuse_them(hosted: Fleet, path: str) -> None:
    router, _, gpt = hosted
    said = [{"type": "text", "text": TALK, "cache_control": FIVE}]

    assert ask(router, path, "gpt", messages=[{"role": "user", "content": said}]).status_code == 200

    assert "cache_control" not in str(gpt.requests[0])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_who_stands_in_gets_what_is_its_own(hosted: Fleet, path: str, stream: bool, status: int) -> None:
    """No error reaches the client, and nothing that was added for the one that failed the other."""
    router, claude, gpt = hosted
    claude.fail(status, 1)
    first = ask(router, path, "claude", tools=[tool(path)], stream=stream)
    gpt.fail(status, 1)
    second = ask(router, path, "gpt", tools=[tool(path)], stream=stream)

    assert (first.status_code, second.status_code) == (200, 200), first.text + second.text
    assert "error" not in first.text
    assert "prompt_cache_key" in gpt.requests[0]
    assert "cache_control" not in str(gpt.requests)
    assert marks(claude.requests[-1]) == [("tools", HOUR), ("system", HOUR), ("messages", HOUR)]
    assert "prompt_cache_key" not in str(claude.requests)


def test_a_session_stays_and_its_name_goes_no_further(hosted: Fleet) -> None:
    router, claude, gpt = hosted
    for turn in range(10):
        for name in ("ann", "bob", "cyd", "dan"):
            said = [{"role": "user", "content": f"{name} {turn}"}]
            assert ask(router, CHAT, "shared", messages=said, headers={"x-session-id": name}).status_code == 200

    homes: dict[str, set[str]] = {}
    for where, one in (("claude", claude), ("gpt", gpt)):
        for body in one.requests:
            text = body["messages"][-1]["content"]
            name = (text if isinstance(text, str) else text[0]["text"]).split()[0]
            homes.setdefault(name, set()).add(where)
    whole = [name for name, where in homes.items() if len(where) == 1]
    assert len(whole) >= 2  # four sessions of equal size cannot be split 40 to 60: some requests go elsewhere
    assert not [name for headers in (*claude.headers, *gpt.headers) for name in headers if "session" in name]
    placed = {name: value for name, value in router.metrics().items() if name.startswith("comptroller_router_placed")}
    assert sum(value for name, value in placed.items() if 'route="shared"' in name) >= 40
