"""Honest cost: what the router has counted is what the hosted APIs have put on their bill."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import httpx
import pytest

from .hosted import BOOKS, Hosted
from .running import RunningRouter

pytestmark = [pytest.mark.router, pytest.mark.timeout(300)]
Fleet = tuple[RunningRouter, Hosted, Hosted]

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
ALLOWED = 0.005
KINDS = {
    "cached_input": "cached_input_tokens",
    "cache_write_5m": "cache_write_5m_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "output": "output_tokens",
}
"""The router's kinds of tokens -> the ledgers'."""


def body(path: str, model: str, system: str, question: str, *, stream: bool, tokens: int = 40) -> dict[str, Any]:
    said = [{"role": "user", "content": question}]
    if path == CHAT:
        said = [{"role": "system", "content": system}, *said]
    more = {"system": system} if path == MESSAGES else {}
    return {"model": model, "messages": said, "max_tokens": tokens, "stream": stream, **more}


def counted(router: RunningRouter) -> dict[tuple[str, str], float]:
    """(pool, kind of tokens or usd) -> what the router has counted."""
    found: dict[tuple[str, str], float] = {}
    for name, value in router.metrics().items():
        series, _, labels = name.partition("{")
        if series in ("comptroller_router_tokens_total", "comptroller_router_usd_total"):
            said = dict(part.split("=", 1) for part in labels.rstrip("}").split(","))
            key = said["pool"].strip('"').split("/")[1], said.get("kind", '"usd"').strip('"')
            found[key] = found.get(key, 0.0) + value
    return found


def books(router: RunningRouter, claude: Hosted, gpt: Hosted) -> tuple[dict[str, dict[str, float]], ...]:
    """Per pool: what the router has counted, in the ledger's words, and the ledger."""
    mine, ours = counted(router), {}
    for pool in ("claude", "gpt"):
        kinds = {theirs: mine.get((pool, kind), 0.0) for kind, theirs in KINDS.items()}
        parts = sum(number for name, number in kinds.items() if name != "output_tokens")
        ours[pool] = kinds | {
            "input_tokens": mine.get((pool, "input"), 0.0) - parts,
            "usd": mine.get((pool, "usd"), 0.0),
        }
    return ours, {"claude": claude.booked(), "gpt": gpt.booked()}


def since(before: tuple[dict[str, dict[str, float]], ...], after: tuple[dict[str, dict[str, float]], ...]) -> Any:
    return [
        {pool: {name: after[side][pool][name] - before[side][pool][name] for name in BOOKS if name in after[side][pool]}
         for pool in after[side]}
        for side in (0, 1)
    ]  # fmt: skip


def settled(fleet: Fleet, before: tuple[dict[str, dict[str, float]], ...]) -> Any:
    """The books since then, once they agree in dollars, or after fifteen seconds: reports come behind the answers."""
    until = time.monotonic() + 15
    while True:
        router, api = since(before, books(*fleet))
        seen = any(one["requests"] for one in api.values())
        close = seen and all(abs(router[pool]["usd"] - api[pool]["usd"]) <= ALLOWED * api[pool]["usd"] for pool in api)
        if close or time.monotonic() > until:
            return router, api
        time.sleep(0.3)


def agree(router: Any, api: Any) -> None:
    for pool, theirs in api.items():
        for name, number in theirs.items():
            if name != "requests":
                mine = router[pool][name]
                assert mine == pytest.approx(number, rel=ALLOWED, abs=1e-9), f"{pool} {name}: {mine} of {number}"


def test_tokens_of_every_kind_and_dollars_are_those_of_the_bill(hosted: Fleet) -> None:
    """Both protocols, streamed and not, found in caches and written to them, failing over, refused."""
    router, claude, gpt = hosted
    before = books(*hosted)
    head = {"authorization": "Bearer key-a", "anthropic-version": "2023-06-01"}
    with httpx.Client(base_url=router.url, headers=head, timeout=60) as client:
        for turn in range(3):
            for path in (CHAT, MESSAGES):
                for model in ("claude", "gpt", "shared"):
                    for stream in (False, True):
                        asked = body(path, model, f"{model} {path} " + "word" * 1600, f"turn {turn}", stream=stream)
                        assert client.post(path, json=asked).status_code == 200
        for model, failing, status in (("claude", claude, 500), ("gpt", gpt, 429)):
            failing.fail(status, 1)
            asked = body(CHAT, model, "spare " + "word" * 1600, "who answers?", stream=model == "gpt")
            assert client.post(CHAT, json=asked).status_code == 200
        claude.fail(400, 1)
        asked = body(CHAT, "claude", "bad " + "word" * 1600, "nobody", stream=False)
        assert client.post(CHAT, json=asked).status_code == 400

    mine, bill = settled(hosted, before)

    assert bill["claude"]["cache_write_1h_tokens"] > 0
    assert bill["claude"]["cached_input_tokens"] > 0
    assert bill["gpt"]["cached_input_tokens"] > 0
    agree(mine, bill)


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("model", ["claude", "gpt"])
def test_a_stream_that_the_client_leaves_is_booked_with_what_has_passed(hosted: Fleet, model: str, path: str) -> None:
    router, _, _ = hosted
    head = {"authorization": "Bearer key-a", "anthropic-version": "2023-06-01"}
    asked = body(path, model, f"left {model} {path} " + "word" * 1600, "tell me all", stream=True, tokens=2000)
    whole = body(path, model, f"left {model} {path} " + "word" * 1600, "tell me all", stream=True, tokens=10)
    assert httpx.post(f"{router.url}{path}", json=whole, headers=head, timeout=60).status_code == 200
    time.sleep(1.0)
    before = books(*hosted)

    with suppress(httpx.HTTPError), httpx.stream("POST", f"{router.url}{path}", json=asked, headers=head) as answer:
        for number, _ in enumerate(answer.iter_bytes()):
            if number == 6:
                break

    mine, bill = settled(hosted, before)
    for kind in BOOKS[1:5]:  # the prompt, however it was read
        assert mine[model][kind] == pytest.approx(bill[model][kind], rel=ALLOWED, abs=4), (kind, mine, bill)
    # the API goes on until it notices; what it has generated since then nobody here has seen
    assert 0 < mine[model]["output_tokens"] <= bill[model]["output_tokens"] * 1.1
