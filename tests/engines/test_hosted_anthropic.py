"""The Anthropic-like API over HTTP: breakpoints, lives, the order rule, and what a cache costs."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from e2e.engines.hosted_account import HostedSettings
from e2e.engines.hosted_anthropic import HostedAnthropic
from e2e.engines.hosted_latency import Latency
from e2e.engines.hosted_prices import ANTHROPIC_PRICES

HEADERS = {"x-api-key": "sk-ant", "anthropic-version": "2023-06-01"}
SETTINGS = HostedSettings(
    prices=ANTHROPIC_PRICES,
    keys={"sk-ant": "team-a"},
    latency=Latency(time_factor=0),
    canaries=("RESTRICTED-7",),
)
# With its mark and role, 3 tokens, the system block ends at 2,003; the conversation adds 500 and 3 (with the mark
# that ends the system message); a question of 40 tokens follows, and 4 tokens cue the answer.
SYSTEM, TALK, QUESTION = "word" * 2000, "talk" * 500, "what" * 40
FIRST_END, SECOND_END = 2003, 2003 + 503


def text(content: str, life: str | None = None) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": content}
    if life is not None:
        block["cache_control"] = {"type": "ephemeral"} | ({} if life == "5m" else {"ttl": life})
    return block


def ask(system_life: str | None = "1h", talk_life: str | None = "5m", talk: str = TALK, **more: Any) -> dict[str, Any]:
    return {
        "model": "claude-sonnet-4-5",
        "max_tokens": 10,
        "system": [text(SYSTEM, system_life)],
        "messages": [{"role": "user", "content": [text(talk, talk_life), text(QUESTION)]}],
        **more,
    }


async def post(client: Any, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    return await client.post("/v1/messages", json=body, headers=HEADERS if headers is None else headers)


async def usage(client: Any, body: dict[str, Any]) -> tuple[int, int, int, int]:
    """(read, written for 5m, written for 1h, plain input) of one request."""
    response = await post(client, body)
    assert response.status == 200, await response.text()
    seen = (await response.json())["usage"]
    creation = seen["cache_creation"]
    assert seen["cache_creation_input_tokens"] == sum(creation.values())
    return (
        seen["cache_read_input_tokens"],
        creation["ephemeral_5m_input_tokens"],
        creation["ephemeral_1h_input_tokens"],
        seen["input_tokens"],
    )


async def error_of(response: Any) -> tuple[int, str, str]:
    body = await response.json()
    assert body["type"] == "error"
    return response.status, body["error"]["type"], body["error"]["message"]


async def test_what_is_read_written_and_paid_in_full_adds_up(serve: Any, clock: Any) -> None:
    client = await serve(HostedAnthropic(SETTINGS, clock).application())
    rest = 40 + 4
    assert await usage(client, ask()) == (0, 503, FIRST_END, rest)
    assert await usage(client, ask()) == (SECOND_END, 0, 0, rest)
    assert await usage(client, ask(talk="else" * 500)) == (FIRST_END, 503, 0, rest)
    assert await usage(client, ask(None, None, "more" * 500)) == (0, 0, 0, SECOND_END + rest)


async def test_a_prefix_dies_after_its_own_life_and_a_hit_renews_it(serve: Any, clock: Any) -> None:
    client = await serve(HostedAnthropic(SETTINGS, clock).application())
    await usage(client, ask())
    for _ in range(3):
        clock.now += 299
        assert (await usage(client, ask()))[0] == SECOND_END
    clock.now += 300
    assert (await usage(client, ask()))[0] == FIRST_END  # the five minutes are over, the hour is not
    clock.now += 3600
    assert (await usage(client, ask()))[0] == 0


async def test_a_prefix_is_found_without_a_mark_of_its_own(serve: Any, clock: Any) -> None:
    client = await serve(HostedAnthropic(SETTINGS, clock).application())
    await usage(client, ask("5m", None))
    read, written, _, _ = await usage(client, ask(None, "5m"))
    assert (read, written) == (FIRST_END, 503)


async def test_a_prefix_below_the_minimum_is_not_kept(serve: Any, clock: Any) -> None:
    client = await serve(HostedAnthropic(SETTINGS, clock).application())
    small = ask(system=[text("word" * 1000, "5m")], messages=[{"role": "user", "content": "hi"}])
    for _ in range(2):
        assert (await usage(client, small))[:3] == (0, 0, 0)
    haiku = {**ask(), "model": "claude-haiku-4-5"}  # needs 4,096 tokens
    for _ in range(2):
        assert (await usage(client, haiku))[:3] == (0, 0, 0)


async def test_an_hour_may_not_follow_five_minutes(serve: Any, clock: Any) -> None:
    client = await serve(HostedAnthropic(SETTINGS, clock).application())
    status, kind, message = await error_of(await post(client, ask("5m", "1h")))
    assert (status, kind) == (400, "invalid_request_error")
    assert message.startswith("messages.0.content.0.cache_control.ttl: a ttl='1h' cache_control block must not come")
    tools = [{"name": "look_up", "input_schema": {}, "cache_control": {"type": "ephemeral"}}]
    assert (await error_of(await post(client, ask(tools=tools))))[2].startswith("system.0.cache_control.ttl")


async def test_a_fifth_breakpoint_is_one_too_many(serve: Any, clock: Any) -> None:
    client = await serve(HostedAnthropic(SETTINGS, clock).application())
    four = [{"role": "user", "content": [text(f"{number}", "5m") for number in range(4)]}]
    assert (await post(client, ask(None, messages=four))).status == 200
    assert (await error_of(await post(client, ask("5m", messages=four))))[2] == (
        "A maximum of 4 blocks with cache_control may be provided. Found 5."
    )


@pytest.mark.parametrize(
    ("control", "says"),
    [({"type": "ephemeral", "ttl": "2h"}, "'5m' or '1h'"), ({"type": "eternal"}, "'ephemeral'")],
)
async def test_an_unknown_life_is_refused(serve: Any, clock: Any, control: dict[str, str], says: str) -> None:
    client = await serve(HostedAnthropic(SETTINGS, clock).application())
    body = ask(system=[{"type": "text", "text": "x", "cache_control": control}])
    assert says in (await error_of(await post(client, body)))[2]


async def test_the_ledger_is_the_sum_worked_out_by_hand(serve: Any, clock: Any) -> None:
    client = await serve(HostedAnthropic(SETTINGS, clock).application())
    await usage(client, ask())
    await usage(client, ask())
    seen = await (await client.get("/ledger")).json()
    cold = Decimal(44) * 3 + Decimal("3.75") * 503 + Decimal(6) * 2003 + Decimal(15) * 10
    warm = Decimal(44) * 3 + Decimal("0.30") * 2506 + Decimal(15) * 10
    assert Decimal(seen["usd"]) == (cold + warm) / 1_000_000
    assert (seen["cache_write_tokens"], seen["cached_input_tokens"]) == (2506, 2506)
    assert (seen["input_tokens"], seen["output_tokens"]) == (88, 20)


async def test_a_stream_has_the_events_of_anthropic_and_the_same_bill(serve: Any, clock: Any) -> None:
    client = await serve(HostedAnthropic(SETTINGS, clock).application())
    whole = await (await post(client, ask())).json()
    response = await post(client, ask(stream=True))
    events = [part.split("\n") for part in (await response.text()).split("\n\n") if part]
    names = [name.removeprefix("event: ") for name, _ in events]
    bodies = [json.loads(data.removeprefix("data: ")) for _, data in events]
    assert names[:3] == ["message_start", "content_block_start", "ping"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    pieces = [body["delta"]["text"] for body in bodies if body["type"] == "content_block_delta"]
    assert "".join(pieces) == whole["content"][0]["text"]
    assert bodies[0]["message"]["usage"]["cache_read_input_tokens"] == SECOND_END
    assert bodies[-2]["usage"]["output_tokens"] == 10
    assert bodies[-2]["delta"]["stop_reason"] == whole["stop_reason"] == "max_tokens"


async def test_plain_strings_and_text_blocks_are_the_same_prompt(serve: Any, clock: Any) -> None:
    client = await serve(HostedAnthropic(SETTINGS, clock).application())
    await usage(client, ask())
    messages = [{"role": "user", "content": TALK + QUESTION}]
    assert (await usage(client, ask(messages=messages)))[0] == FIRST_END


@pytest.mark.parametrize(
    ("headers", "more", "status", "kind"),
    [
        ({**HEADERS, "x-api-key": "wrong"}, {}, 401, "authentication_error"),
        ({"x-api-key": "sk-ant"}, {}, 400, "invalid_request_error"),
        (HEADERS, {"max_tokens": None}, 400, "invalid_request_error"),
        (HEADERS, {"model": "claude-0"}, 404, "not_found_error"),
        (HEADERS, {"messages": []}, 400, "invalid_request_error"),
        (HEADERS, {"messages": [{"role": "tool", "content": "x"}]}, 400, "invalid_request_error"),
    ],
)
async def test_a_refusal_has_the_shape_of_anthropic(
    serve: Any, clock: Any, headers: dict[str, str], more: dict[str, Any], status: int, kind: str
) -> None:
    client = await serve(HostedAnthropic(SETTINGS, clock).application())
    assert (await error_of(await post(client, ask(**more), headers)))[:2] == (status, kind)
    assert (await (await client.get("/ledger")).json())["refused"] == 1


async def test_cached_tokens_do_not_count_towards_the_limit(serve: Any, clock: Any) -> None:
    client = await serve(HostedAnthropic(replace(SETTINGS, tokens_per_minute=2700), clock).application())
    await usage(client, ask())  # 2,550 + 10 of 2,700
    response = await post(client, ask())  # 44 + 10
    assert (response.status, response.headers["anthropic-ratelimit-tokens-remaining"]) == (200, "86")
    refused = await post(client, ask(talk="else" * 500))  # 503 + 44 + 10, 471 short at 45 a second
    assert (await error_of(refused))[:2] == (429, "rate_limit_error")
    assert refused.headers["retry-after"] == "11"


async def test_an_overloaded_api_says_529(serve: Any, clock: Any) -> None:
    client = await serve(HostedAnthropic(SETTINGS, clock).application())
    await client.post("/faults", json={"status": 529, "count": 1})
    assert (await error_of(await post(client, ask())))[:2] == (529, "overloaded_error")


async def test_a_canary_is_seen_in_every_part_of_a_request(serve: Any, clock: Any) -> None:
    client = await serve(HostedAnthropic(SETTINGS, clock).application())
    await post(client, ask(system="Obey RESTRICTED-7."))
    await post(client, ask())
    entries = (await (await client.get("/ledger/entries")).json())["entries"]
    assert [entry["canary"] for entry in entries] == [True, False]
