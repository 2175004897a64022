"""The load generator: what it asks, and what it reports of the answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from e2e.demo import load

PREFIX = "Rules. " * 20
ROUTE = {"endpoint": "http://router/v1", "prefix": True, "marker": None}
REQUEST = {"at": 0.0, "route": "planning", "number": 7, "question_tokens": 50, "answer_tokens": 12}


def test_prompts_of_a_route_with_a_prefix_begin_with_it_byte_for_byte() -> None:
    assert load.body(REQUEST, ROUTE, PREFIX)["messages"][0] == {"role": "system", "content": PREFIX}
    assert len(load.body(REQUEST, ROUTE | {"prefix": False}, PREFIX)["messages"]) == 1


def test_only_prompts_of_a_restricted_route_carry_the_marker() -> None:
    assert "CANARY" in json.dumps(load.body(REQUEST, ROUTE | {"marker": "CANARY"}, PREFIX))
    assert "CANARY" not in json.dumps(load.body(REQUEST, ROUTE, PREFIX))


def test_no_two_questions_are_alike_and_their_length_is_as_planned() -> None:
    questions = [load.question(number, 50, None) for number in range(50)]
    assert len(set(questions)) == 50
    assert all(200 <= len(text) < 240 for text in questions)


def test_every_fourth_answer_is_streamed() -> None:
    streamed = [load.body(REQUEST | {"number": n}, ROUTE, PREFIX)["stream"] for n in range(8)]
    assert streamed == [True, False, False, False, True, False, False, False]


async def whole(_request: web.Request) -> web.StreamResponse:
    answer = {"choices": [{"message": {"content": "yes"}}], "usage": {"completion_tokens": 12}}
    return web.json_response(answer, headers={load.BACKEND_HEADER: "inference/qwen3-8b/planning"})


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={load.BACKEND_HEADER: "inference/qwen3-8b/planning"})
    await response.prepare(request)
    for event in (
        {"choices": [{"delta": {"role": "assistant"}}]},
        {"choices": [{"delta": {"content": "yes"}}]},
        {"choices": [], "usage": {"completion_tokens": 3}},
    ):
        await response.write(f"data: {json.dumps(event)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


async def broken(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b'data: {"error": {"message": "engine is gone"}}\n\n')
    return response


async def full(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": {"message": "no capacity"}}, status=429)


Handler = Callable[[web.Request], Any]


async def generate(
    handler: Handler, requests: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> list[dict[str, Any]]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        routes = {"planning": ROUTE | {"endpoint": str(server.make_url("/v1"))}}
        await load.Generator(session, {"routes": routes, "requests": requests}, PREFIX).run()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_a_whole_answer_is_reported_with_backend_and_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    start, answer, end = await generate(whole, [REQUEST], capsys)
    assert (start["event"], start["requests"], end["event"]) == ("start", 1, "end")
    assert answer["status"] == 200
    assert answer["backend"] == "inference/qwen3-8b/planning"
    assert answer["output_tokens"] == 12
    assert answer["input_tokens"] >= 85
    assert "first_token_seconds" not in answer


async def test_a_streamed_answer_is_reported_with_its_first_token(capsys: pytest.CaptureFixture[str]) -> None:
    _, answer, _ = await generate(stream, [REQUEST | {"number": 4}], capsys)
    assert answer["status"] == 200
    assert answer["output_tokens"] == 3
    assert answer["first_token_seconds"] <= answer["seconds"]


@pytest.mark.parametrize(
    ("handler", "status", "words"),
    [pytest.param(full, 429, "no capacity", id="refused"), pytest.param(broken, 502, "gone", id="broke off")],
)
async def test_what_fails_is_reported_with_the_reason(
    handler: Handler, status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, answer, _ = await generate(handler, [REQUEST | {"number": 4}], capsys)
    assert answer["status"] == status
    assert words in answer["error"]


async def test_a_router_that_is_not_there_fails_its_requests_and_not_the_generator(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with aiohttp.ClientSession() as session:
        routes = {"planning": ROUTE | {"endpoint": "http://127.0.0.1:9/v1"}}
        await load.Generator(session, {"routes": routes, "requests": [REQUEST, REQUEST]}, PREFIX).run()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["start", "request", "request", "end"]
    assert {line["status"] for line in lines if line["event"] == "request"} == {0}


async def test_requests_are_sent_in_the_order_of_the_schedule(capsys: pytest.CaptureFixture[str]) -> None:
    requests = [REQUEST | {"number": n, "at": 0.02 * n} for n in range(1, 4)]
    lines = await generate(whole, requests, capsys)
    sent = sorted((line["at"], line["number"]) for line in lines if line["event"] == "request")
    assert [number for _, number in sent] == [1, 2, 3]
    assert all(at >= 0.02 * number for at, number in sent)
