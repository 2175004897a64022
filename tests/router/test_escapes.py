"""Every way that a client might try to steer the router, and the ledgers of the backends: nothing got where it may not.

`test_access.py` has the rules one by one; this is the table of tricks.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx
import pytest

from .plans import plans
from .running import RunningRouter
from .stubs import Upstream

pytestmark = [pytest.mark.router, pytest.mark.timeout(300)]
Upstreams = dict[str, Upstream]
HEAD = {"authorization": "Bearer key-a"}
HELLO = [{"role": "user", "content": "hello"}]


def asked(upstreams: Upstreams) -> dict[str, int]:
    return {name: len(one.requests) + len(one.fetched) for name, one in upstreams.items()}


NOBODY = {"one": 0, "two": 0, "outside": 0}

BODIES: dict[str, dict[str, Any]] = {
    "fallbacks": {"fallbacks": ["gpt-outside"]},
    "fallbacks with an address": {"fallbacks": [{"model": "openai/x", "api_base": "HOSTED", "api_key": "k"}]},
    "content policy fallbacks": {"content_policy_fallbacks": [{"secret": ["chat"]}]},
    "default fallbacks": {"default_fallbacks": ["chat"]},
    "model_group_retry_policy": {"model_group_retry_policy": {}},
    "retries": {"num_retries": 5},
    "max_retries": {"max_retries": 5},
    "a timeout": {"timeout": 0.001},
    "api_base": {"api_base": "HOSTED"},
    "base_url": {"base_url": "HOSTED"},
    "api_version": {"api_version": "x"},
    "organization": {"organization": "x"},
    "azure": {"azure_ad_token": "x"},
    "aws": {"aws_bedrock_runtime_endpoint": "HOSTED"},
    "vertex": {"vertex_credentials": "{}"},
    "a proxy": {"proxies": {"http": "HOSTED"}},
    "user_config": {"user_config": {"model_list": [{"model_name": "secret", "litellm_params": {"model": "openai/x"}}]}},
    "model_list": {"model_list": [{"model_name": "secret", "litellm_params": {"model": "openai/x"}}]},
    "models": {"models": ["gpt-outside"]},
    "model_info": {"model_info": {"id": "inference/outside/chat"}},
    "specific_deployment": {"specific_deployment": True},
    "deployment_id": {"deployment_id": "outside"},
    "engine": {"engine": "outside"},
    "tags": {"tags": ["outside"]},
    "metadata with tags": {"metadata": {"tags": ["outside"]}},
    "litellm_metadata": {"litellm_metadata": {"model_info": {"id": "inference/outside/chat"}}},
    "proxy_server_request": {"proxy_server_request": {"url": "HOSTED"}},
    "litellm_params": {"litellm_params": {"api_base": "HOSTED"}},
    "extra_query": {"extra_query": {"api-version": "x"}},
    "callbacks": {"success_callback": ["webhook"], "callbacks": ["langfuse"]},
    "guardrails": {"guardrails": ["x"]},
    "a prompt that is stored": {"prompt_id": "x", "prompt_variables": {}},
    "a cache": {"cache": {"namespace": "x"}},
    "mock_testing_fallbacks": {"mock_testing_fallbacks": True},
    "silent_model": {"silent_model": "gpt-outside"},
    "input_cost_per_token": {"input_cost_per_token": 0},
    "no-log": {"no-log": True},
    "web search": {"web_search_options": {}},
    "server-side search": {"tools": [{"type": "web_search_preview"}]},
    "code interpreter": {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
    "an MCP server": {"tools": [{"type": "mcp", "server_url": "HOSTED", "server_label": "x"}]},
    "a stream that is none": {"stream": "yes"},
    "a stream by number": {"stream": 1},
    "choices without end": {"n": 10**9},
    "tokens below zero": {"max_tokens": -5},
    "tokens in words": {"max_tokens": "many"},
    "messages as a text": {"messages": "hello"},
    "messages of numbers": {"messages": [5]},
    "no messages": {"messages": []},
    "a format that is none": {"response_format": 5},
    "a large integer": {"seed": 2**70},
    "a nested model": {"model": {"name": "chat"}},
    "a list of models": {"model": ["secret", "gpt-outside"]},
    "two models": {"model": "secret,gpt-outside"},
    "a deployment": {"model": "inference/outside/chat"},
    "a provider's prefix": {"model": "openai/gpt-outside"},
    "an engine's prefix": {"model": "hosted_vllm/model-one"},
    "a wildcard": {"model": "*"},
    "a look-alike": {"model": "ѕecret"},  # a Cyrillic letter
    "a full-width look-alike": {"model": "ｓecret"},
    "a space": {"model": "secret "},
    "a NUL": {"model": "secret\x00"},
    "in capitals": {"model": "SECRET"},
    "a path": {"model": "../secret"},
}
"""What a body may say besides a question that is in order. HOSTED stands for the address of the hosted backend."""


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/completions", "/v1/embeddings"])
def test_no_body_steers(restricted_router: RunningRouter, upstreams: Upstreams, path: str) -> None:
    standard: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": {"messages": HELLO},
        "/v1/messages": {"messages": HELLO, "max_tokens": 5},
        "/v1/completions": {"prompt": "hello"},
        "/v1/embeddings": {"input": "hello"},
    }
    passed = {}
    with httpx.Client(base_url=restricted_router.url, headers=HEAD, timeout=60) as client:
        for name, trick in BODIES.items():
            told = json.loads(json.dumps(trick).replace("HOSTED", upstreams["outside"].address))
            answer = client.post(path, json={"model": "secret", **standard[path], **told})
            if not 400 <= answer.status_code < 500:
                passed[name] = answer.text[:300]

    assert passed == {}
    assert asked(upstreams) == NOBODY


ADDRESSES: dict[str, tuple[str, Any]] = {
    "image": ("chat/completions", {"type": "image_url", "image_url": {"url": "HOSTED/x.png"}}),
    "image as a text": ("chat/completions", {"type": "image_url", "image_url": "HOSTED/x.png"}),
    "image in a text part": ("chat/completions", {"type": "text", "text": "x", "image_url": {"url": "HOSTED/x.png"}}),
    "image in capitals": ("chat/completions", {"type": "image_url", "image_url": {"url": "HTTP://x"}}),
    "image of a file": ("chat/completions", {"type": "image_url", "image_url": "file:///etc/passwd"}),
    "image in a bucket": ("chat/completions", {"type": "image_url", "image_url": "gs://bucket/x.png"}),
    "image without an address": ("chat/completions", {"type": "image_url", "image_url": {}}),
    "video": ("chat/completions", {"type": "video_url", "video_url": {"url": "HOSTED/x.mp4"}}),
    "sound": ("chat/completions", {"type": "audio_url", "audio_url": {"url": "HOSTED/x.wav"}}),
    "file by id": ("chat/completions", {"type": "file", "file": {"file_id": "file-1"}}),
    "file by address": ("chat/completions", {"type": "file", "file": {"file_id": "HOSTED/x.pdf"}}),
    "file by its data's address": ("chat/completions", {"type": "file", "file": {"file_data": "HOSTED/x.pdf"}}),
    "embeddings of a picture": ("chat/completions", {"type": "image_embeds", "image_embeds": "x"}),
    "Anthropic image": ("messages", {"type": "image", "source": {"type": "url", "url": "HOSTED/x.png"}}),
    "Anthropic image, twice": (
        "messages",
        {"type": "image", "source": {"type": "base64", "url": "HOSTED/x.png", "data": "x"}},
    ),
    "Anthropic document": ("messages", {"type": "document", "source": {"type": "url", "url": "HOSTED/x.pdf"}}),
    "Anthropic file": ("messages", {"type": "document", "source": {"type": "file", "file_id": "file-1"}}),
    "Anthropic upload": ("messages", {"type": "container_upload", "file_id": "file-1"}),
    "inside a tool's result": (
        "messages",
        {
            "type": "tool_result",
            "tool_use_id": "x",
            "content": [{"type": "image", "source": {"type": "url", "url": "HOSTED/x.png"}}],
        },
    ),
    "inside a document": (
        "messages",
        {
            "type": "document",
            "source": {"type": "content", "content": [{"type": "image", "source": {"type": "url", "url": "HOSTED/x"}}]},
        },
    ),
    "a search of the provider": ("messages", {"type": "server_tool_use", "name": "web_search", "input": {}}),
}


@pytest.mark.parametrize("kind", ["open", "restricted"])
def test_no_address_in_a_request_is_fetched_by_anybody(
    router: RunningRouter, restricted_router: RunningRouter, upstreams: Upstreams, kind: str
) -> None:
    passed = {}
    url = restricted_router.url if kind == "restricted" else router.url
    with httpx.Client(base_url=url, headers=HEAD, timeout=60) as client:
        for name, (path, part) in ADDRESSES.items():
            told = json.loads(json.dumps(part).replace("HOSTED", upstreams["outside"].address))
            body = {
                "model": "secret" if kind == "restricted" else "chat",
                "max_tokens": 5,
                "messages": [{"role": "user", "content": [{"type": "text", "text": "look"}, told]}],
            }
            answer = client.post(f"/v1/{path}", json=body)
            if answer.status_code != 400:
                passed[name] = answer.text[:300]
            if path == "messages":
                in_system = client.post(f"/v1/{path}", json={**body, "messages": HELLO, "system": [told]})
                if in_system.status_code != 400:
                    passed[f"{name}, in system"] = in_system.text[:300]

    assert passed == {}
    assert asked(upstreams) == NOBODY


RAW: dict[str, bytes] = {
    "NaN": b'{"model": "secret", "temperature": NaN, "messages": %s}',
    "Infinity": b'{"model": "secret", "temperature": -Infinity, "messages": %s}',
    "more than a double": b'{"model": "secret", "temperature": 1e999, "messages": %s}',
    "more digits than Python reads": b'{"model": "secret", "seed": ' + b"9" * 5000 + b', "messages": %s}',
    "half a surrogate pair": b'{"model": "secret", "user": "\\ud800", "messages": %s}',
    "half a pair in a name": b'{"model": "secret", "\\udfff": 1, "messages": %s}',
    "a byte order mark": b'\xef\xbb\xbf{"model": "secret", "messages": %s}',
    "UTF-16": '{"model": "secret", "messages": [{"role": "user", "content": "x"}]}'.encode("utf-16"),
    "not UTF-8": b'{"model": "secret", "user": "\xe9", "messages": %s}',
    "two documents": b'{"model": "secret", "messages": %s}{"model": "gpt-outside"}',
    "a comment": b'{"model": "secret", /* x */ "messages": %s}',
    "a form": b"model=secret&fallbacks=gpt-outside",
}


def test_no_odd_json_gets_through(restricted_router: RunningRouter, upstreams: Upstreams) -> None:
    statuses = {}
    for name, raw in RAW.items():
        content = raw.replace(b"%s", json.dumps(HELLO).encode())
        answer = httpx.post(f"{restricted_router.url}/v1/chat/completions", content=content, headers=HEAD)
        statuses[name] = answer.status_code

    assert statuses == dict.fromkeys(RAW, 400)
    assert asked(upstreams) == NOBODY


def test_of_two_equal_names_one_is_read_and_only_that_one_is_handed_on(
    restricted_router: RunningRouter, upstreams: Upstreams
) -> None:
    both = b'{"model": "gpt-outside", "model": "secret", "seed": 1, "seed": 2, "messages": %s}'
    content = both.replace(b"%s", json.dumps(HELLO).encode())

    answer = httpx.post(f"{restricted_router.url}/v1/chat/completions", content=content, headers=HEAD, timeout=60)

    assert answer.status_code == 200
    assert [one["seed"] for one in upstreams["one"].requests + upstreams["two"].requests] == [2]
    assert upstreams["outside"].requests == []


HEADERS = {
    "x-litellm-tags": "outside",
    "X-LiteLLM-Api-Base": "http://x",
    "x-litellm-timeout": "0.001",
    "x-litellm-num-retries": "9",
    "x-litellm-disable-callbacks": "usage",
    "x-litellm-model-group": "chat",
    "x-litellm-spend-logs-metadata": "{}",
}
IGNORED = {
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-host": "outside",
    "x-original-url": "/key/generate",
    "x-rewrite-url": "/model/new",
    "x-http-method-override": "GET",
    "forwarded": "host=outside",
    "openai-organization": "org",
    "anthropic-beta": "mcp-client-2025-04-04",
    "x-api-base": "http://x",
    "x-goog-api-key": "mine",
    "x-comptroller-route": "chat",
    "langfuse_trace_id": "x",
    "x-mcp-auth": "x",
    "cookie": "token=admin",
    "x-long": "x" * 16_000,
}


def test_no_header_steers(restricted_router: RunningRouter, upstreams: Upstreams) -> None:
    refused = {
        name: restricted_router.chat("secret", headers={name: value}).status_code for name, value in HEADERS.items()
    }
    assert refused == dict.fromkeys(HEADERS, 400)
    assert asked(upstreams) == NOBODY

    ignored = {
        name: restricted_router.chat("secret", headers={name: value}).status_code for name, value in IGNORED.items()
    }
    assert ignored == dict.fromkeys(IGNORED, 200)
    assert upstreams["outside"].requests == []
    seen = upstreams["one"].headers + upstreams["two"].headers
    assert {one["x-comptroller-route"] for one in seen} == {"secret"}
    assert not [name for one in seen for name in one if name in {*IGNORED} - {"x-comptroller-route"}]


PATHS = (
    "//v1/chat/completions",
    "/v1//chat/completions",
    "/v1/chat/completions/",
    "/v1/../v1/chat/completions",
    "/v1/%2e%2e/v1/chat/completions",
    "/./v1/chat/completions",
    "/v1/chat/completions/..%2f..",
    "/V1/CHAT/COMPLETIONS",
    "/v1/Chat/completions",
    "/v1/chat/completions;x=1",
    "/v1/chat/completions%00",
    "/v1/chat/completions%20",
    "/v1/chat\\completions",
    "/openai/v1/chat/completions",
    "/openai/deployments/outside/chat/completions",
    "/openai/deployments/openai/gpt-outside/chat/completions?api-version=1",
    "/engines/outside/chat/completions",
    "/queue/chat/completions",
    "/azure/chat/completions",
    "/anthropic/v1/messages",
    "/bedrock/model/x/converse",
    "/vertex_ai/v1/projects/x",
    "/v1beta/models/gpt-outside:generateContent",
    "/models/gpt-outside:streamGenerateContent",
    "/v1/messages/count_tokens",
    "/v1/responses",
    "/responses",
    "/v1/batches",
    "/v1/files",
    "/v1/fine_tuning/jobs",
    "/v1/assistants",
    "/v1/threads",
    "/v1/moderations",
    "/v1/rerank",
    "/v1/images/generations",
    "/v1/audio/transcriptions",
    "/v1/audio/speech",
    "/v1/realtime",
    "/v1/videos",
    "/v1/vector_stores",
    "/v1/ocr",
    "/v1/search",
    "/v1/containers",
    "/mcp/",
    "/a2a/x",
    "/agents",
    "/utils/transform_request",
    "/utils/token_counter",
    "/key/generate",
    "/user/new",
    "/team/new",
    "/model/new",
    "/model/delete",
    "/config/update",
    "/config/pass_through_endpoint",
    "/credentials",
    "/cache/flushall",
    "/spend/logs",
    "/sso/key/generate",
    "/login",
    "/health",
    "/health/test_connection",
    "/health/services?service=slack",
    "/health/drain",
    "/debug/asyncio-tasks",
    "/memory-usage",
    "/openapi.json",
    "/docs",
    "/ui/",
    "/test",
    "/",
    "*",
)


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
def test_no_other_path_exists(router: RunningRouter, upstreams: Upstreams, method: str) -> None:
    """The paths go over the wire as they stand here: no client tidies them up."""
    found = {}
    for path in PATHS:
        status = raw_status(router, f"{method} {path} HTTP/1.1", json.dumps({"model": "chat", "messages": HELLO}))
        if status not in (400, 404):
            found[path] = status

    assert found == {}
    assert asked(upstreams) == NOBODY


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/metrics", "/health/readiness"])
def test_only_one_method_exists_for_each_path(router: RunningRouter, path: str) -> None:
    right = "POST" if "chat" in path else "GET"
    for method in {"POST", "GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"} - {right}:
        assert raw_status(router, f"{method} {path} HTTP/1.1", "") in (400, 404), method


def test_a_path_in_an_absolute_address_asks_nobody_else(router: RunningRouter, upstreams: Upstreams) -> None:
    target = f"{upstreams['outside'].address}/chat/completions"
    status = raw_status(router, f"POST {target} HTTP/1.1", json.dumps({"model": "chat", "messages": HELLO}))

    assert status in (200, 400, 404)
    assert upstreams["outside"].requests == []


def test_a_websocket_is_closed_at_once(router: RunningRouter) -> None:
    upgrade = (
        "Host: router\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer key-a\r\n\r\n"
    )
    for path in ("/v1/realtime?model=chat", "/v1/chat/completions", "/mcp"):
        assert exchange(router, f"GET {path} HTTP/1.1\r\n{upgrade}".encode()) == 403


def test_two_lengths_make_no_second_request(router: RunningRouter, upstreams: Upstreams) -> None:
    """Request smuggling: what follows a body that ends twice is no request of its own."""
    inner = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    for lines in ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "Content-Length: 4\r\nContent-Length: 90\r\n"):
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-a\r\n{lines}\r\n"
        status = exchange(router, (head + "0\r\n\r\n" + inner).encode())
        assert status in (400, 404), lines
    assert asked(upstreams) == NOBODY


def test_a_body_in_chunks_is_read_and_checked_like_any_other(router: RunningRouter, upstreams: Upstreams) -> None:
    for more, status in (({}, 200), ({"api_base": upstreams["outside"].address}, 400)):
        raw = json.dumps({"model": "single", "messages": HELLO, **more}).encode()
        chunks = (raw[index : index + 7] for index in range(0, len(raw), 7))
        answer = httpx.post(f"{router.url}/v1/chat/completions", content=chunks, headers=HEAD, timeout=60)
        assert answer.status_code == status
    assert upstreams["outside"].requests == []


def test_headers_without_end_are_refused(router: RunningRouter, upstreams: Upstreams) -> None:
    lines = "".join(f"x-{number}: {'y' * 1000}\r\n" for number in range(200))
    body = json.dumps({"model": "chat", "messages": HELLO})
    assert raw_status(router, "POST /v1/chat/completions HTTP/1.1", body, lines) in (None, 200, 400, 431)
    assert router.chat("single").status_code == 200


def test_a_tenant_whose_secret_is_empty_or_gone_is_nobody(router: RunningRouter, upstreams: Upstreams) -> None:
    try:
        for values in ({}, {"first": ""}, {"first": "  \n"}):
            router.keys("team-b", **values)
            router.apply(plans(upstreams)["open"])
            wait_for_status(router, "key-b", 401)
            assert router.chat("other", key="").status_code == 401
            assert httpx.get(f"{router.url}/v1/models", headers={"x-api-key": ""}).status_code == 401
    finally:
        router.keys("team-b", first="key-b")
    wait_for_status(router, "key-b", 200)


def test_an_old_key_ends_when_it_is_rotated_away(router: RunningRouter) -> None:
    try:
        router.keys("team-b", first="key-fresh")
        wait_for_status(router, "key-b", 401)
        assert router.chat("other", key="key-fresh").status_code == 200
    finally:
        router.keys("team-b", first="key-b")
    wait_for_status(router, "key-b", 200)


def wait_for_status(router: RunningRouter, key: str, status: int) -> None:
    """Keys are read twice a second."""
    for _ in range(100):
        if httpx.get(f"{router.url}/v1/models", headers={"authorization": f"Bearer {key}"}).status_code == status:
            return
        time.sleep(0.05)
    raise AssertionError(f"{key} does not become {status}")


def raw_status(router: RunningRouter, first: str, body: str, more: str = "") -> int | None:
    lines = (
        f"{first}\r\nHost: router\r\nAuthorization: Bearer key-a\r\nContent-Type: application/json\r\n{more}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
    return exchange(router, lines.encode())


def exchange(router: RunningRouter, content: bytes) -> int | None:
    """The status of the answer to what was sent as it stands; None where the connection just closed."""
    port = httpx.URL(router.url).port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            connection.sendall(content)
            answer = connection.recv(4096)
        except (ConnectionResetError, BrokenPipeError):
            return None
    return int(answer.split(b" ")[1]) if answer else None
