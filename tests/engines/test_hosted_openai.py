"""The OpenAI-like API over HTTP: its cache, its limits, its errors, and books that add up."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from e2e.engines.hosted_account import HostedSettings
from e2e.engines.hosted_flags import read_keys, read_settings
from e2e.engines.hosted_latency import Latency
from e2e.engines.hosted_openai import HostedOpenai
from e2e.engines.hosted_prices import OPENAI_PRICES, Tokens, read_prices

KEY = {"Authorization": "Bearer sk-a"}
SETTINGS = HostedSettings(
    prices=OPENAI_PRICES,
    keys={"sk-a": "team-a", "sk-b": "team-b"},
    latency=Latency(time_factor=0),
    canaries=("RESTRICTED-7", "geheim-é"),
)
# 1,300 tokens of common text; with its marks a prompt of it is 8 tokens longer, plus the question's.
SHARED = "word" * 1300


def question(text: str = "hello there", **more: Any) -> dict[str, Any]:
    return {"model": "gpt-5-mini", "messages": [{"role": "user", "content": text}], "max_tokens": 10, **more}


async def post(client: Any, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    return await client.post("/v1/chat/completions", json=body, headers=KEY | (headers or {}))


async def usage(client: Any, text: str, headers: dict[str, str] | None = None) -> tuple[int, int]:
    """(prompt tokens, cached tokens) of one request."""
    body = await (await post(client, question(text), headers)).json()
    return body["usage"]["prompt_tokens"], body["usage"]["prompt_tokens_details"]["cached_tokens"]


async def totals(client: Any) -> dict[str, Any]:
    return dict(await (await client.get("/ledger")).json())


async def test_long_prefixes_are_cached_in_steps_of_128_tokens(serve: Any, clock: Any) -> None:
    client = await serve(HostedOpenai(SETTINGS, clock).application())
    assert await usage(client, SHARED + "What?") == (1309, 0)
    assert await usage(client, SHARED + "Why then?") == (1310, 1280)
    assert await usage(client, "word" * 1000) == (1007, 0)  # too short: cached text, but under 1,024 tokens


async def test_a_prefix_lives_five_minutes_after_its_last_use(serve: Any, clock: Any) -> None:
    client = await serve(HostedOpenai(SETTINGS, clock).application())
    await usage(client, SHARED)
    clock.now += 299
    assert (await usage(client, SHARED))[1] == 1280
    clock.now += 299
    assert (await usage(client, SHARED))[1] == 1280
    clock.now += 300
    assert (await usage(client, SHARED))[1] == 0


async def test_the_cache_of_one_key_is_not_that_of_another(serve: Any, clock: Any) -> None:
    client = await serve(HostedOpenai(SETTINGS, clock).application())
    await usage(client, SHARED)
    assert (await usage(client, SHARED, {"Authorization": "Bearer sk-b"}))[1] == 0


async def test_the_ledger_is_the_sum_worked_out_by_hand(serve: Any, clock: Any) -> None:
    client = await serve(HostedOpenai(SETTINGS, clock).application())
    await usage(client, SHARED)  # 1,307 + 10
    await usage(client, SHARED)  # 27 + 1,280 cached + 10
    await post(client, {**question(), "model": "gpt-5"}, {"Authorization": "Bearer sk-b"})  # 10 + 10
    seen = await totals(client)
    mini = Decimal("0.25") * (1307 + 27) + Decimal("0.025") * 1280 + Decimal(2) * 20
    large = Decimal("1.25") * 10 + Decimal(10) * 10
    assert Decimal(seen["usd"]) == (mini + large) / 1_000_000 == Decimal("0.000518")
    assert (seen["requests"], seen["input_tokens"], seen["cached_input_tokens"], seen["output_tokens"]) == (
        3,
        1344,
        1280,
        30,
    )
    assert Decimal(seen["by_key"]["team-a"]["usd"]) == mini / 1_000_000
    assert Decimal(seen["by_model"]["gpt-5"]["usd"]) == large / 1_000_000
    assert seen["first_at"] == seen["last_at"] == clock.now


async def test_a_stream_ends_with_its_bill(serve: Any, clock: Any) -> None:
    client = await serve(HostedOpenai(SETTINGS, clock).application())
    response = await post(client, question(stream=True, stream_options={"include_usage": True}))
    lines = [line.removeprefix("data: ") for line in (await response.text()).split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    assert json.loads(lines[-2])["usage"]["completion_tokens"] == 10
    text = "".join(json.loads(line)["choices"][0]["delta"].get("content", "") for line in lines[:-2])
    assert len(text) == 40
    assert (await totals(client))["output_tokens"] == 10


async def test_a_client_that_leaves_pays_for_what_was_generated(serve: Any, clock: Any) -> None:
    slow = Latency(first_token_ms=0, output_token_ms=3_600_000)
    client = await serve(HostedOpenai(replace(SETTINGS, latency=slow), clock).application())
    stream = await post(client, question(stream=True))
    await stream.content.readuntil(b"\n\n")
    stream.close()
    while not (seen := await totals(client))["requests"]:
        pass  # each question gives the server time to notice
    assert (seen["input_tokens"], seen["output_tokens"]) == (10, 1)


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({"Authorization": "Bearer sk-wrong"}, question(), 401, "invalid_api_key"),
        ({}, {**question(), "model": "gpt-9"}, 404, "model_not_found"),
        ({}, {"model": "gpt-5-mini", "messages": "hi"}, 400, None),
    ],
)
async def test_a_refused_request_costs_nothing_and_is_on_record(
    serve: Any, clock: Any, headers: dict[str, str], body: dict[str, Any], status: int, code: str | None
) -> None:
    client = await serve(HostedOpenai(SETTINGS, clock).application())
    response = await post(client, body, headers)
    assert (response.status, (await response.json())["error"]["code"]) == (status, code)
    seen = await totals(client)
    assert (seen["requests"], seen["refused"], seen["usd"]) == (0, 1, "0")


async def test_too_many_requests_are_told_when_to_come_back(serve: Any, clock: Any) -> None:
    client = await serve(HostedOpenai(replace(SETTINGS, requests_per_minute=2), clock).application())
    first = await post(client, question())
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    await post(client, question())
    refused = await post(client, question())
    assert (refused.status, refused.headers["retry-after"]) == (429, "30")
    assert (await refused.json())["error"]["code"] == "rate_limit_exceeded"
    other = await post(client, question(), {"Authorization": "Bearer sk-b"})
    assert other.status == 200  # limits are per key
    clock.now += 30
    assert (await post(client, question())).status == 200


async def test_too_many_tokens_are_told_when_to_come_back(serve: Any, clock: Any) -> None:
    client = await serve(HostedOpenai(replace(SETTINGS, tokens_per_minute=1200), clock).application())
    assert (await post(client, question(max_tokens=1090))).status == 200  # 10 + 1,090
    refused = await post(client, question(max_tokens=290))
    assert (refused.status, refused.headers["retry-after"]) == (429, "10")  # 200 short at 20 a second
    clock.now += 10
    assert (await post(client, question(max_tokens=290))).status == 200


async def test_entries_tell_route_user_and_canary_even_of_refused_prompts(serve: Any, clock: Any) -> None:
    client = await serve(HostedOpenai(SETTINGS, clock).application())
    await post(client, question(user="ann", metadata={"route": "chat"}), {"x-comptroller-route": "research/chat"})
    await post(client, question("this is RESTRICTED-7, keep it"), {"Authorization": "Bearer sk-wrong"})
    await post(client, question("so ist geheim-é auch"))  # é travels as an escape
    entries = (await (await client.get("/ledger/entries")).json())["entries"]
    assert [(one["status"], one["canary"]) for one in entries] == [(200, False), (401, True), (200, True)]
    assert (entries[0]["route"], entries[0]["user"], entries[0]["metadata"]) == (
        "research/chat",
        "ann",
        {"route": "chat"},
    )
    assert (entries[0]["key"], entries[1]["key"]) == ("team-a", "unknown")
    assert (await totals(client))["canary_requests"] == 2
    later = await (await client.get("/ledger/entries?since=2")).json()
    assert [one["number"] for one in later["entries"]] == [3]


async def test_metrics_agree_with_the_ledger(serve: Any, clock: Any) -> None:
    client = await serve(HostedOpenai(SETTINGS, clock).application())
    await post(client, question("RESTRICTED-7"))
    page = await (await client.get("/metrics")).text()
    values = {
        (sample.name, sample.labels.get("kind") or sample.labels.get("status")): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    seen = await totals(client)
    assert values["hosted_api_usd_total", None] == pytest.approx(float(seen["usd"]))
    assert values["hosted_api_tokens_total", "output"] == 10
    assert values["hosted_api_requests_total", "200"] == 1
    assert values["hosted_api_canary_requests_total", None] == 1


async def test_an_injected_fault_is_answered_in_the_language_of_the_api(serve: Any, clock: Any) -> None:
    client = await serve(HostedOpenai(SETTINGS, clock).application())
    await client.post("/faults", json={"status": 500, "count": 1})
    response = await post(client, question())
    assert (response.status, (await response.json())["error"]["type"]) == (500, "server_error")
    assert (await post(client, question())).status == 200


async def test_models_are_those_with_a_price(serve: Any, clock: Any) -> None:
    client = await serve(HostedOpenai(SETTINGS, clock).application())
    models = await (await client.get("/v1/models", headers=KEY)).json()
    assert [card["id"] for card in models["data"]] == ["gpt-5", "gpt-5-mini"]
    assert (await client.get("/v1/models")).status == 401


def test_a_price_file_is_read_digit_by_digit(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text('{"m": {"inputUsdPerMillionTokens": 0.1, "outputUsdPerMillionTokens": "0.4"}}')
    price = read_prices(path)["m"]
    assert price.usd(Tokens(input=3, cached_input=7, output=1)) == Decimal("0.0000014")


def test_keys_are_shown_by_name_only() -> None:
    assert read_keys("team-a=sk-1, sk-22334455,") == {"sk-1": "team-a", "sk-22334455": "...4455"}


def test_the_command_line_needs_keys(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv("API_KEYS", raising=False)
    with pytest.raises(SystemExit):
        read_settings("hosted_openai", OPENAI_PRICES, [])
    assert "set API_KEYS" in capsys.readouterr().err
    monkeypatch.setenv("API_KEYS", "a=sk-1")
    settings, _host, port = read_settings("hosted_openai", OPENAI_PRICES, ["--port", "9", "--canary", "X"])
    assert (settings.canaries, settings.keys, port) == (("X",), {"sk-1": "a"}, 9)
