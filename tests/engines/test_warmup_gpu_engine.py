"""The warm-up's program against the simulated engine: what goes wrong, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from comptroller.warmup.plan import Plan, PlannedPrefix
from comptroller.warmup.remedies import NOT_TOLD, PUSHED_OUT, TOO_LONG, UNREACHABLE
from comptroller.warmup.result import Result
from comptroller.warmup.run import warm
from e2e.engines.gpu_engine import EngineSettings, GpuEngine
from e2e.engines.iteration_time import IterationTime
from e2e.engines.scheduler import Limits

from .conftest import Serve

LIMITS = Limits(max_model_tokens=4096, blocks=1024)
SETTINGS = EngineSettings("m", LIMITS, IterationTime(time_factor=0.01), prompt_tokens_details=True)


def prefix(name: str, tokens: int) -> PlannedPrefix:
    return PlannedPrefix(name, ({"role": "system", "content": f"{name:4}" * tokens},), ())


async def run(serve: Serve, settings: EngineSettings = SETTINGS, *prefixes: PlannedPrefix, **more: Any) -> Result:
    client = await serve(GpuEngine(settings).application())
    fault = more.pop("fault", None)
    if fault is not None:
        await client.post("/faults", json=fault)
    plan = Plan(str(client.make_url("")), "m", prefixes or (prefix("one", 1500),), 0.95, 1, 20.0)
    return await warm(replace(plan, **more))


async def test_one_cache_for_all_is_filled_by_one_request_per_prefix(serve: Serve) -> None:
    result = await run(serve, SETTINGS, prefix("one", 1500), prefix("two", 900))
    assert (result.warm, result.error) == (True, "")
    assert [(one.name, one.hit_ratio >= 0.99) for one in result.prefixes] == [("one", True), ("two", True)]
    assert result.prompt_tokens == 2 * sum(one.tokens for one in result.prefixes)
    assert result.cached_tokens >= 2300


@pytest.mark.parametrize("count", [2, 3])
async def test_an_engine_that_is_busy_for_a_moment_is_asked_again(serve: Serve, count: int) -> None:
    assert (await run(serve, fault={"status": 503, "count": count})).warm


async def test_an_engine_that_stays_busy_is_given_up_at_the_end_and_may_be_tried_again(serve: Serve) -> None:
    result = await run(serve, fault={"status": 500, "count": 1000}, deadline_seconds=1.5)
    assert (result.warm, result.wrong) == (False, False)
    assert result.error == "the engine answered 500 to the end"


async def test_an_engine_that_hangs_is_given_up_at_the_deadline(serve: Serve) -> None:
    result = await run(serve, fault={"status": "hang", "count": 1000}, deadline_seconds=1.0)
    assert (result.warm, result.wrong, result.error) == (False, False, "not done within 1 s")


async def test_another_model_name_is_told_with_its_remedy(serve: Serve) -> None:
    result = await run(serve, model="other")
    assert result.wrong
    assert result.error.startswith("prefix one: 404 NotFoundError: the engine serves no model of this name: spec.model")


async def test_a_prefix_that_is_too_long_does_not_keep_the_others_from_being_warmed(serve: Serve) -> None:
    result = await run(serve, SETTINGS, prefix("long", 5000), prefix("one", 900))
    assert result.wrong
    assert result.error == f"prefix long: 400 BadRequestError: {TOO_LONG}"
    assert [(one.name, one.hit_ratio >= 0.95) for one in result.prefixes] == [("one", True)]


async def test_an_engine_that_does_not_tell_what_it_found_is_not_believed(serve: Serve) -> None:
    result = await run(serve, replace(SETTINGS, prompt_tokens_details=False))
    assert (result.warm, result.error) == (False, NOT_TOLD)


async def test_a_cache_that_is_too_small_for_all_prefixes_is_found_out(serve: Serve) -> None:
    small = replace(SETTINGS, limits=replace(LIMITS, max_model_tokens=2048, blocks=128))
    result = await run(serve, small, prefix("one", 1500), prefix("two", 1500))
    assert not result.warm
    assert not result.wrong
    assert PUSHED_OUT in result.error


async def test_a_replica_that_is_gone_says_so(serve: Serve) -> None:
    client = await serve(GpuEngine(SETTINGS).application())
    address = str(client.make_url(""))
    await client.close()
    result = await warm(Plan(address, "m", (prefix("one", 10),), 0.95, 1, 1.0))
    assert (result.warm, result.wrong) == (False, False)
    assert result.error == f"{httpx.ConnectError.__name__}: {UNREACHABLE}"
