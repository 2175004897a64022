"""Who may ask for what, and what a request may not say."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import pytest

from .running import RunningRouter
from .stubs import Upstream

pytestmark = [pytest.mark.router, pytest.mark.timeout(300)]
Upstreams = dict[str, Upstream]


@pytest.mark.parametrize(
    "key", [None, "key-x", "key-", ""], ids=["no key", "a wrong key", "part of a key", "an empty key"]
)
def test_without_a_valid_key_nobody_gets_in(router: RunningRouter, upstreams: Upstreams, key: str | None) -> None:
    answer = router.chat("chat", key=key)

    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"
    assert sum(len(one.requests) for one in upstreams.values()) == 0


def test_a_tenant_gets_its_own_routes_and_reads_which_those_are(router: RunningRouter) -> None:
    assert router.chat("other", key="key-b").status_code == 200

    refused = router.chat("chat", key="key-b")

    assert refused.status_code == 403
    assert "its routes here: other" in refused.json()["error"]["message"]


def test_anthropics_clients_send_their_key_in_another_header(router: RunningRouter) -> None:
    assert router.chat("chat", key=None, headers={"x-api-key": "key-a"}).status_code == 200


def test_a_changed_key_is_known_without_a_restart(router: RunningRouter) -> None:
    router.keys("team-b", first="key-b", second="key-new")
    try:
        for _ in range(50):
            if router.chat("other", key="key-new").status_code == 200:
                break
            pytest.importorskip("time").sleep(0.1)
        assert router.chat("other", key="key-new").status_code == 200
    finally:
        router.keys("team-b", first="key-b")


def test_the_list_of_models_is_the_tenants_routes(router: RunningRouter) -> None:
    answer = httpx.get(f"{router.url}/v1/models", headers={"authorization": "Bearer key-b"})

    assert [one["id"] for one in answer.json()["data"]] == ["other"]
    assert httpx.get(f"{router.url}/v1/models").status_code == 401


@pytest.mark.parametrize(
    "model", ["nonsense", "inference/outside/chat", "openai/gpt-outside", "gpt-outside", "model-one", "*"]
)
def test_only_routes_are_models(router: RunningRouter, upstreams: Upstreams, model: str) -> None:
    answer = router.chat(model)

    assert answer.status_code == 404
    assert "chat" in answer.json()["error"]["message"]
    assert sum(len(one.requests) for one in upstreams.values()) == 0


def test_a_route_of_the_other_router_is_named_with_its_address(router: RunningRouter) -> None:
    message = router.chat("secret").json()["error"]["message"]

    assert "http://research-router-restricted.inference.svc.cluster.local:4000/v1" in message


TRICKS: dict[str, dict[str, Any]] = {
    "fallbacks": {"fallbacks": ["gpt-outside", "openai/gpt-outside"]},
    "context window fallbacks": {"context_window_fallbacks": [{"secret": ["openai/gpt-outside"]}]},
    "api_base": {"api_base": "HOSTED"},
    "base_url": {"base_url": "HOSTED"},
    "api_key": {"api_key": "sk-mine"},
    "a whole configuration": {"user_config": {"model_list": []}},
    "a model list": {"model_list": []},
    "a provider": {"custom_llm_provider": "openai"},
    "tags": {"tags": ["hosted"]},
    "tags in metadata": {"metadata": {"tags": ["hosted"]}},
    "litellm metadata": {"litellm_metadata": {"tags": ["hosted"]}},
    "extra headers": {"extra_headers": {"host": "hosted"}},
    "extra body": {"extra_body": {"api_base": "HOSTED"}},
    "a stored credential": {"litellm_credential_name": "x"},
    "a mock": {"mock_response": "hello"},
    "a tool outside": {"tools": [{"type": "mcp", "server_url": "HOSTED"}]},
    "a dearer tier": {"service_tier": "priority"},
}


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS.keys())
def test_nothing_in_a_body_leads_out_of_the_restricted_router(
    restricted_router: RunningRouter, upstreams: Upstreams, trick: dict[str, Any]
) -> None:
    told = json.loads(json.dumps(trick).replace("HOSTED", upstreams["outside"].address))

    answer = restricted_router.chat("secret", **told)

    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["code"] == "parameter_not_accepted"
    assert sum(len(one.requests) for one in upstreams.values()) == 0


@pytest.mark.parametrize("header", ["x-litellm-tags", "x-litellm-timeout", "x-litellm-api-base"])
def test_headers_that_steer_are_refused(restricted_router: RunningRouter, upstreams: Upstreams, header: str) -> None:
    assert restricted_router.chat("secret", headers={header: "hosted"}).status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/model/info"),
        ("POST", "/model/new"),
        ("GET", "/health"),
        ("GET", "/config/yaml"),
        ("POST", "/v1/responses"),
        ("POST", "/openai/deployments/outside/chat/completions"),
        ("POST", "/engines/outside/chat/completions"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "//v1/chat/completions"),
        ("POST", "/openai/v1/chat/completions"),
        ("GET", "/health/drain"),
        ("GET", "/"),
    ],
)
def test_paths_that_are_not_ours_do_not_exist(router: RunningRouter, method: str, path: str) -> None:
    head = {"authorization": "Bearer key-a"}
    body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
    assert httpx.request(method, router.url + path, headers=head, json=body).status_code == 404


def test_a_query_names_no_model(router: RunningRouter, upstreams: Upstreams) -> None:
    url = f"{router.url}/v1/chat/completions?model=openai/gpt-outside&api_base={upstreams['outside'].address}"
    body = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}

    assert httpx.post(url, json=body, headers={"authorization": "Bearer key-a"}).status_code == 200
    assert upstreams["outside"].requests == []


def test_a_restricted_route_answers_inside_and_fails_rather_than_leave(
    restricted_router: RunningRouter, upstreams: Upstreams
) -> None:
    assert restricted_router.chat("secret").status_code == 200
    upstreams["one"].status = upstreams["two"].status = 500

    assert restricted_router.chat("secret").status_code >= 429
    assert upstreams["outside"].requests == []


def test_the_clients_key_does_not_reach_a_backend(router: RunningRouter, upstreams: Upstreams) -> None:
    router.chat("chat", headers={"x-secret": "mine"})

    seen = json.dumps([one.headers for one in upstreams.values()])
    assert "key-a" not in seen
    assert "x-secret" not in seen


def test_sampling_parameters_of_the_engines_pass(router: RunningRouter, upstreams: Upstreams) -> None:
    answer = router.chat(
        "single",
        temperature=0.1,
        top_k=5,
        max_tokens=3,
        chat_template_kwargs={"enable_thinking": False},
        cache_salt="x",
    )

    assert answer.status_code == 200
    sent = upstreams["one"].requests[0]
    assert (sent["temperature"], sent["top_k"], sent["max_tokens"], sent["cache_salt"]) == (0.1, 5, 3, "x")
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model": 3}'])
def test_a_malformed_body_is_told_so(router: RunningRouter, body: bytes) -> None:
    answer = httpx.post(f"{router.url}/v1/chat/completions", content=body, headers={"authorization": "Bearer key-a"})

    assert answer.status_code in (400, 404)
    assert answer.json()["error"]["message"]


HEAD = {"authorization": "Bearer key-a"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "chat", "messages": [], "tools": 5}',
        b'{"model": "chat", "messages": [], "tools": {"type": "function"}}',
        b'{"model": "chat", "messages": [], "tools": [5]}',
        b'{"model": "chat", "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model": "chat", "messages": ' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"model": "chat", "messages": "\xff"}',
    ],
    ids=["tools: 5", "tools: an object", "a tool: 5", "very deep", "deep", "no text"],
)
def test_what_is_no_request_is_malformed(router: RunningRouter, upstreams: Upstreams, body: bytes) -> None:
    series = 'comptroller_router_responses_total{outcome="malformed",policy="inference/research",pool="none",%s}'
    before = router.metrics()

    answer = httpx.post(f"{router.url}/v1/chat/completions", content=body, headers=HEAD)

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert sum(len(one.requests) for one in upstreams.values()) == 0
    after = router.metrics()
    names = [series % f'route="{route}",tenant="team-a"' for route in ("chat", "unknown")]
    assert sum(after.get(name, 0) - before.get(name, 0) for name in names) == 1


@pytest.mark.parametrize("path", ["chat/completions", "completions", "messages", "embeddings"])
def test_nobody_asks_for_a_tier_that_is_not_in_the_books(
    router: RunningRouter, upstreams: Upstreams, path: str
) -> None:
    body = {"model": "chat", "service_tier": "priority"}

    answer = httpx.post(f"{router.url}/v1/{path}", json=body, headers=HEAD)

    assert answer.status_code == 400
    assert "service_tier" in answer.json()["error"]["message"]
    assert sum(len(one.requests) for one in upstreams.values()) == 0


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {"tools": [{"name": "mine", "input_schema": {}}, {"type": "code_execution_20250522", "name": "x"}]},
        {"tools": [{"name": "web_search"}]},
        {"tools": [{"type": "custom", "name": "web_search", "input_schema": {}}]},
        {"mcp_servers": [{"type": "url", "url": "https://example.com", "name": "x"}]},
    ],
    ids=["web search", "code execution", "by its name", "by its name, described", "MCP"],
)
def test_anthropics_server_side_tools_are_refused(
    router: RunningRouter, upstreams: Upstreams, more: dict[str, Any]
) -> None:
    answer = _messages(router, **more)

    assert answer.status_code == 400
    assert "server-side tools would leave the router" in answer.json()["error"]["message"]
    assert sum(len(one.requests) for one in upstreams.values()) == 0


@pytest.mark.parametrize("kind", [{}, {"type": "custom"}], ids=["no type", "custom"])
def test_anthropics_own_tools_pass(router: RunningRouter, kind: dict[str, Any]) -> None:
    tool = {"name": "mine", "description": "mine", "input_schema": {"type": "object", "properties": {}}, **kind}

    assert _messages(router, tools=[tool]).status_code == 200


@pytest.mark.parametrize(
    ("key", "length", "status"),
    [("wrong", "1000", b"401"), ("wrong", "67108865", b"401"), ("key-a", "67108865", b"413")],
)
def test_a_body_that_is_refused_by_its_head_is_not_awaited(
    router: RunningRouter, key: str, length: str, status: bytes
) -> None:
    labels = 'policy="inference/research",route="unknown",step="",tenant="%s",workflow=""'
    arrivals = f"comptroller_router_requests_total{{{labels % ('unknown' if key == 'wrong' else 'team-a')}}}"
    before = router.metrics().get(arrivals, 0)

    answer = _send_head(router, f"Authorization: Bearer {key}", f"Content-Length: {length}")

    assert answer.split(b" ")[1] == status
    assert router.metrics()[arrivals] == before + 1


def test_a_body_in_chunks_is_refused_when_it_is_too_long(router: RunningRouter, upstreams: Upstreams) -> None:
    chunks = (b" " * 1024**2 for _ in range(66))

    answer = httpx.post(f"{router.url}/v1/chat/completions", content=chunks, headers=HEAD, timeout=60)

    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


def test_a_refused_body_leaves_the_connection_usable(router: RunningRouter) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": "x" * 3_000_000}]}
    with httpx.Client(base_url=router.url) as client:
        for _ in range(2):
            assert client.post("/v1/chat/completions", json=body).status_code == 401
        assert client.get("/v1/models", headers=HEAD).status_code == 200


def _messages(router: RunningRouter, **more: Any) -> httpx.Response:
    body = {"model": "chat", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}], **more}
    return httpx.post(f"{router.url}/v1/messages", json=body, headers={"x-api-key": "key-a"}, timeout=60)


def _send_head(router: RunningRouter, *lines: str) -> bytes:
    """The beginning of the answer to a request whose body never comes."""
    port = httpx.URL(router.url).port
    assert port is not None
    head = ("POST /v1/chat/completions HTTP/1.1", "Host: router", "Content-Type: application/json", *lines)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("\r\n".join((*head, "", "")).encode())
        return connection.recv(4096)
