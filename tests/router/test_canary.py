"""Secrets of clients and of the router, told everywhere and found nowhere: not in logs, not in metrics, not in errors.

The router of these tests runs at LiteLLM's most talkative level, before backends that repeat whole requests in errors.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from comptroller.render.router.build import key_variable

from .conftest import KEYS
from .plans import decided, plans
from .running import RunningRouter, running, wait_until_ready
from .stubs import Upstream

pytestmark = [pytest.mark.router, pytest.mark.timeout(300)]
Upstreams = dict[str, Upstream]
CANARY = "Kanarienvogel-7291"
KEY = f"key-{CANARY}"
HOSTED = f"sk-hosted-{CANARY}"


@pytest.fixture(scope="module")
def talkative(_upstreams: Upstreams, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRouter]:
    """A router that logs all that LiteLLM can say; route chat goes inside, route other goes to the hosted pool."""
    plan = plans(_upstreams, other=decided("other", {"outside": 1.0}))["open"]
    folder: Path = tmp_path_factory.mktemp("talkative")
    env = {key_variable("outside"): HOSTED, "LITELLM_LOG": "DEBUG"}
    with running(folder / "open", plan, KEYS | {"team-a": {"first": KEY}}, env) as router:
        wait_until_ready(router)
        yield router


def body(stream: bool, path: str, route: str) -> dict[str, Any]:
    said = f"the secret is {CANARY}"
    if path == "embeddings":
        return {"model": route, "input": said, "user": CANARY}
    tool = {"name": f"tool-{CANARY}", "description": said, "parameters": {"type": "object", "properties": {CANARY: {}}}}
    more: dict[str, Any] = {
        "model": route,
        "stream": stream,
        "user": CANARY,
        "metadata": {"user_id": CANARY, "note": CANARY},
        "messages": [{"role": "user", "content": said, "name": CANARY, "provider_specific_fields": {"x": CANARY}}],
    }
    if path == "messages":
        claude = {"name": tool["name"], "description": said, "input_schema": tool["parameters"]}
        return {
            **more,
            "max_tokens": 5,
            "system": said,
            "tools": [claude],
            "messages": [{"role": "user", "content": said}],
        }
    return {**more, "tools": [{"type": "function", "function": tool}], "stop": [CANARY]}


def everything(router: RunningRouter, upstreams: Upstreams) -> Iterator[httpx.Response]:
    """Answers to requests with the canary in every place, with every kind of end."""
    head = {"authorization": f"Bearer {KEY}", "x-note": CANARY, "user-agent": CANARY, "cookie": f"a={CANARY}"}
    with httpx.Client(base_url=router.url, headers=head, timeout=60) as client:
        for status in (200, 401, 403, 404, 429, 500, 503):
            for upstream in upstreams.values():
                upstream.status, upstream.echoes = status, True
            for path in ("chat/completions", "messages", "embeddings"):
                for stream in (False, True):
                    for route in ("single", "other"):
                        yield client.post(f"/v1/{path}?note={CANARY}", json=body(stream, path, route))
        for upstream in upstreams.values():
            upstream.status, upstream.breaks = 200, True
        for path in ("chat/completions", "messages"):
            yield client.post(f"/v1/{path}", json=body(True, path, "single") | {"tools": None})
        for upstream in upstreams.values():
            upstream.reset()
        # what is refused before anybody is asked
        standard = body(False, "chat/completions", "single")
        yield client.post("/v1/chat/completions", json=standard, headers={"authorization": f"Bearer wrong-{CANARY}"})
        yield client.post("/v1/chat/completions", json=standard | {"model": "secret"})
        yield client.post("/v1/chat/completions", json=standard | {"api_base": f"http://{CANARY}.example"})
        yield client.post("/v1/chat/completions", json=standard | {"temperature": CANARY})
        yield client.post("/v1/chat/completions", json=standard, headers={"x-litellm-tags": CANARY})
        yield client.post("/v1/chat/completions", json=standard, headers={f"x-litellm-{CANARY}": "x"})
        yield client.post("/v1/chat/completions", content=f'{{"model": "{CANARY}'.encode())
        yield client.post(f"/v1/{CANARY}", json=standard)
        yield client.get(f"/v1/models?{CANARY}={CANARY}", headers={"authorization": f"Bearer wrong-{CANARY}"})
        # a client that leaves in the middle
        upstreams["one"].seconds = 1.5
        with contextlib.suppress(httpx.ReadTimeout):
            client.post("/v1/chat/completions", json=standard, timeout=0.5)


def test_a_secret_is_told_everywhere_and_found_nowhere(talkative: RunningRouter, upstreams: Upstreams) -> None:
    told = [
        f"{answer.status_code} {answer.text[:400]}"
        for answer in everything(talkative, upstreams)
        if CANARY in str(answer.headers) or (answer.status_code >= 400 and CANARY in answer.text)
    ]

    assert told == []
    assert any(CANARY in json.dumps(one.requests) for one in upstreams.values())  # backends are told, of course
    log = (talkative.folder / "log").read_text()
    assert [line for line in log.splitlines() if CANARY in line] == []
    assert "Error" in log  # it still tells what went wrong
    assert CANARY not in httpx.get(f"{talkative.url}/metrics").text
    assert CANARY not in (talkative.folder / "router" / "config.yaml").read_text()


@pytest.mark.parametrize("path", ["chat/completions", "messages"])
def test_a_backends_complaint_reaches_the_client_without_the_routers_key(
    talkative: RunningRouter, upstreams: Upstreams, path: str
) -> None:
    """A wrong request is explained in the backend's words, which the client needs; the key is cut out of them."""
    upstreams["outside"].status, upstreams["outside"].echoes = 400, True
    asked = body(False, path, "other") | {"tools": None}

    answer = httpx.post(
        f"{talkative.url}/v1/{path}", json=asked, headers={"authorization": f"Bearer {KEY}"}, timeout=60
    )

    assert answer.status_code == 400
    assert "outside says 400" in answer.json()["error"]["message"]
    assert upstreams["outside"].headers[0]["authorization"] == f"Bearer {HOSTED}"
    assert HOSTED not in answer.text
