"""The warm-up's program against small engines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from comptroller.warmup.__main__ import main
from comptroller.warmup.plan import Plan, PlanError, PlannedPrefix, read_plan
from comptroller.warmup.request import Answer
from comptroller.warmup.result import LONGEST_BYTES, Measured, Result, as_json
from comptroller.warmup.run import hit_ratio, warm

ONE = PlannedPrefix("one", ({"role": "system", "content": "a" * 400},), ())
TWO = PlannedPrefix("two", ({"role": "system", "content": "b" * 400},), ())


class Engine:
    """Caches whole prefixes, per slot where there are any; one token per character."""

    def __init__(self, *, slots: bool = False, forgets: bool = False, failures: int = 0, status: int = 503) -> None:
        self.slots, self.forgets, self.failures, self.status = slots, forgets, failures, status
        self.cached: set[tuple[int, str]] = set()
        self.bodies: list[dict[str, Any]] = []

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        if self.failures:
            self.failures -= 1
            return web.json_response({"error": {"message": "not now"}}, status=self.status)
        prefix = body["messages"][0]["content"]
        where = (body.get("id_slot", 0), prefix)
        hit = len(prefix) if where in self.cached else 0
        if not self.forgets:
            self.cached.add(where)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        usage: dict[str, Any] = {"prompt_tokens": len(prefix) + 10, "prompt_tokens_details": {"cached_tokens": hit}}
        timings = {"cache_n": hit, "prompt_n": len(prefix) + 10 - hit}
        events = [
            {"choices": [{"delta": {"content": "x"}}]},
            {"choices": [], "timings" if self.slots else "usage": timings if self.slots else usage},
        ]
        for event in events:
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response


@asynccontextmanager
async def serving(engine: Engine) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_post("/v1/chat/completions", engine.chat)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def plan(address: str, *prefixes: PlannedPrefix, seconds: float = 20.0, **more: Any) -> Plan:
    return Plan(address, "m", prefixes or (ONE,), 0.9, 2, seconds, **more)


async def test_a_prefix_is_sent_twice_and_found_cached() -> None:
    engine = Engine()
    async with serving(engine) as address:
        result = await warm(plan(address, ONE, TWO))

    assert result.warm
    assert result.error == ""
    assert [(one.name, one.tokens, one.hit_ratio) for one in result.prefixes] == [("one", 410, 1.0), ("two", 410, 1.0)]
    assert {body["max_tokens"] for body in engine.bodies} == {1}
    assert all(body["messages"][-1]["role"] == "user" for body in engine.bodies)


async def test_each_slot_of_llamacpp_is_filled_and_checked() -> None:
    engine = Engine(slots=True)
    async with serving(engine) as address:
        result = await warm(plan(address, replace(ONE, slots=(0, 1, 2))))

    assert result.warm
    assert sorted(body["id_slot"] for body in engine.bodies) == [0, 0, 1, 1, 2, 2]


async def test_an_engine_that_forgets_is_not_warm_and_says_how_far_it_is() -> None:
    async with serving(Engine(forgets=True)) as address:
        result = await warm(plan(address))

    assert not result.warm
    assert not result.wrong
    assert result.error.startswith("prefix one: 0% of 410 tokens were cached, 90% are wanted: nothing was found cached")


async def test_a_busy_engine_is_asked_again() -> None:
    async with serving(Engine(failures=2)) as address:
        assert (await warm(plan(address))).warm


async def test_a_refused_request_is_not_repeated() -> None:
    engine = Engine(failures=100, status=400)
    async with serving(engine) as address:
        result = await warm(plan(address))

    assert result.wrong
    assert "prefix one: 400" in result.error
    assert len(engine.bodies) == 1


async def test_the_deadline_ends_it() -> None:
    result = await warm(plan("http://127.0.0.1:9", seconds=1.0))

    assert not result.warm
    assert result.error


@pytest.mark.parametrize(
    ("prompt", "cached", "expected"),
    [(3031, 2992, 0.998), (3031, 3016, 1.0), (3031, 8, 0.003), (0, 0, 0.0), (20, 0, 0.0)],
)
def test_the_hit_ratio_forgives_what_is_never_cached(prompt: int, cached: int, expected: float) -> None:
    assert hit_ratio(Answer(0.1, prompt, cached)) == pytest.approx(expected, abs=0.001)


def test_a_result_fits_into_a_termination_message() -> None:
    measured = tuple(Measured("p" * 63, 10**7, 10**8, 10**8, 0.123456) for _ in range(16))

    text = as_json(Result(measured, warm=False, error='"ü' * 4000))

    assert len(text.encode()) <= LONGEST_BYTES
    assert len(json.loads(text)["prefixes"]) == 16
    assert json.loads(text)["error"]


PLAN = {
    "address": "http://127.0.0.1:9",
    "model": "m",
    "prefixes": [{"name": "one", "system": {"text": "a"}}],
    "minimumHitRatio": "0.9",
    "concurrency": 1,
    "deadlineSeconds": 1,
}


def test_texts_are_read_from_mounted_files(tmp_path: Path) -> None:
    (tmp_path / "system").write_text("be brief")
    (tmp_path / "tools").write_text('[{"type": "function"}]')
    prefix = {"name": "one", "system": {"file": f"{tmp_path}/system"}, "tools": {"file": f"{tmp_path}/tools"}}
    (tmp_path / "plan.json").write_text(json.dumps(PLAN | {"prefixes": [prefix]}))

    (read,) = read_plan(tmp_path / "plan.json").prefixes

    assert read.messages == ({"role": "system", "content": "be brief"},)
    assert read.tools == ({"type": "function"},)


@pytest.mark.parametrize(
    ("prefix", "problem"),
    [
        ({"name": "one", "system": {"file": "/nowhere"}}, "prefix one: system cannot be read"),
        ({"name": "one", "tools": {"text": "{"}}, "prefix one: tools is not JSON"),
        ({"name": "one", "tools": {"text": "{}"}}, "prefix one: tools must be a JSON list"),
        ({"name": "one", "tools": {"text": '[{"type": "custom"}]'}}, "prefix one: every tool must be an object with"),
    ],
)
def test_a_wrong_plan_names_its_prefix(tmp_path: Path, prefix: dict[str, Any], problem: str) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(PLAN | {"prefixes": [prefix]}))

    with pytest.raises(PlanError, match=problem):
        read_plan(tmp_path / "plan.json")


@pytest.mark.parametrize(("text", "code"), [("{", 2), (json.dumps(PLAN), 1)], ids=["a wrong plan", "nobody answers"])
def test_the_exit_code_says_whether_another_try_helps(tmp_path: Path, text: str, code: int) -> None:
    (tmp_path / "plan.json").write_text(text)

    assert main(["--plan", f"{tmp_path}/plan.json", "--result", f"{tmp_path}/result"]) == code
    assert json.loads((tmp_path / "result").read_text())["warm"] is False
