"""The simulated engine over HTTP: the answers, the metrics and the manners of vLLM."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from e2e.engines.gpu_engine import EngineSettings, GpuEngine, settings_from
from e2e.engines.iteration_time import IterationTime
from e2e.engines.scheduler import Limits

FAST = IterationTime(time_factor=0.01)
SETTINGS = EngineSettings(model="qwen", iteration_time=FAST, prompt_tokens_details=True)
# Long enough that nothing of it ends within a test.
SLOW = replace(SETTINGS, iteration_time=IterationTime(alpha_ms=3_600_000))


def question(text: str = "hello there", **more: Any) -> dict[str, Any]:
    return {"model": "qwen", "messages": [{"role": "user", "content": text}], "max_tokens": 20, **more}


async def events(response: Any) -> list[dict[str, Any]]:
    """The JSON of each server-sent event; the end mark must be the last."""
    lines = [line for line in (await response.text()).split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


async def samples(client: Any) -> dict[str, float]:
    """Metric values by name, without buckets, summed over labels."""
    page = await (await client.get("/metrics")).text()
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if not sample.name.endswith(("_bucket", "_created")):
                values[sample.name] = values.get(sample.name, 0.0) + sample.value
    return values


async def until(condition: Any) -> None:
    """Wait for something that another task is about to do; the suite's timeout ends a wait that is in vain."""
    while not condition():  # noqa: ASYNC110 (the engine has no event for what a test wants to know)
        await asyncio.sleep(0.001)


async def test_a_whole_answer_has_exactly_max_tokens_and_says_so(serve: Any) -> None:
    client = await serve(GpuEngine(SETTINGS).application())
    body = await (await client.post("/v1/chat/completions", json=question())).json()
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["finish_reason"] == "length"
    assert len(body["choices"][0]["message"]["content"]) == 20 * 4
    # 3 tokens of text, "user" in 1, "assistant" in 3, and 3 marks.
    assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (10, 20)


async def test_a_streamed_answer_is_the_whole_answer_in_pieces(serve: Any) -> None:
    client = await serve(GpuEngine(SETTINGS).application())
    whole = await (await client.post("/v1/chat/completions", json=question())).json()
    stream = await client.post(
        "/v1/chat/completions", json=question(stream=True, stream_options={"include_usage": True})
    )
    assert stream.content_type == "text/event-stream"
    parts = await events(stream)
    assert parts[0]["choices"][0]["delta"]["role"] == "assistant"
    text = "".join(one["choices"][0]["delta"].get("content", "") for one in parts if one["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert [one["choices"][0]["finish_reason"] for one in parts if one["choices"]][-1] == "length"
    assert parts[-1]["choices"] == []
    assert parts[-1]["usage"]["completion_tokens"] == 20


async def test_a_stream_without_include_usage_has_no_bill(serve: Any) -> None:
    client = await serve(GpuEngine(SETTINGS).application())
    parts = await events(await client.post("/v1/chat/completions", json=question(stream=True)))
    assert all("usage" not in one for one in parts)


async def test_plain_completions_are_served_too(serve: Any) -> None:
    client = await serve(GpuEngine(SETTINGS).application())
    plain = {"model": "qwen", "prompt": "Once upon a time", "max_tokens": 3}
    body = await (await client.post("/v1/completions", json=plain)).json()
    assert (body["object"], len(body["choices"][0]["text"])) == ("text_completion", 12)
    parts = await events(await client.post("/v1/completions", json={**plain, "stream": True}))
    assert "".join(one["choices"][0]["text"] for one in parts) == body["choices"][0]["text"]


async def test_usage_tells_cached_and_created_tokens_only_when_switched_on(serve: Any) -> None:
    client = await serve(GpuEngine(SETTINGS).application())
    details = []
    for _ in range(2):
        body = await (await client.post("/v1/chat/completions", json=question("word " * 200, max_tokens=1))).json()
        details.append(body["usage"]["prompt_tokens_details"])
    assert details[0] == {"cached_tokens": 0, "created_cache_tokens": 256}
    assert details[1] == {"cached_tokens": 256, "created_cache_tokens": 0}
    silent = await serve(GpuEngine(replace(SETTINGS, prompt_tokens_details=False)).application())
    body = await (await silent.post("/v1/chat/completions", json=question())).json()
    assert body["usage"]["prompt_tokens_details"] is None


async def test_the_prefix_cache_can_be_reset(serve: Any) -> None:
    client = await serve(GpuEngine(SETTINGS).application())
    ask = question("word " * 200, max_tokens=1)
    await client.post("/v1/chat/completions", json=ask)
    assert (await client.post("/reset_prefix_cache")).status == 200
    body = await (await client.post("/v1/chat/completions", json=ask)).json()
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


async def test_another_cache_salt_finds_nothing(serve: Any) -> None:
    client = await serve(GpuEngine(SETTINGS).application())
    await client.post("/v1/chat/completions", json=question("word " * 200, max_tokens=1))
    salted = question("word " * 200, max_tokens=1, cache_salt="tenant-1")
    body = await (await client.post("/v1/chat/completions", json=salted)).json()
    assert body["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


async def test_metrics_have_the_names_and_labels_of_vllm(serve: Any) -> None:
    client = await serve(GpuEngine(SETTINGS).application())
    await client.post("/v1/chat/completions", json=question())
    page = await (await client.get("/metrics")).text()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    kinds = {name.removeprefix("vllm:"): family.type for name, family in families.items()}
    assert (
        kinds.items()
        >= {
            "num_requests_running": "gauge",
            "num_requests_waiting": "gauge",
            "kv_cache_usage_perc": "gauge",
            "cache_config_info": "gauge",
            "prefix_cache_queries": "counter",
            "prefix_cache_hits": "counter",
            "prompt_tokens": "counter",
            "prompt_tokens_cached": "counter",
            "generation_tokens": "counter",
            "request_success": "counter",
            "num_preemptions": "counter",
            "time_to_first_token_seconds": "histogram",
            "inter_token_latency_seconds": "histogram",
            "request_time_per_output_token_seconds": "histogram",
            "e2e_request_latency_seconds": "histogram",
            "request_queue_time_seconds": "histogram",
        }.items()
    )
    for family in families.values():
        for sample in family.samples:
            assert sample.labels["engine"] == "0"
            assert family.name == "vllm:cache_config_info" or sample.labels["model_name"] == "qwen"
    assert "vllm:prefix_cache_queries_total" in page
    config = families["vllm:cache_config_info"].samples[0].labels
    assert (config["num_gpu_blocks"], config["block_size"]) == ("4096", "16")


async def test_metrics_count_what_was_served(serve: Any) -> None:
    client = await serve(GpuEngine(SETTINGS).application())
    for _ in range(2):
        await client.post("/v1/chat/completions", json=question("word " * 200))
    seen = await samples(client)
    prompt_tokens = 2 * (250 + 7)
    assert seen["vllm:prompt_tokens_total"] == prompt_tokens  # cached ones included, as in vLLM
    assert seen["vllm:prefix_cache_queries_total"] == prompt_tokens
    assert seen["vllm:prefix_cache_hits_total"] == seen["vllm:prompt_tokens_cached_total"] == 256
    assert seen["vllm:generation_tokens_total"] == 40
    assert seen["vllm:time_to_first_token_seconds_count"] == 2
    assert seen["vllm:inter_token_latency_seconds_count"] == 2 * 19
    assert seen["vllm:request_success_total"] == 2
    assert seen["vllm:kv_cache_usage_perc"] == 0  # reusable blocks are not in use


async def test_token_times_follow_the_formula_however_late_they_are_delivered(serve: Any) -> None:
    client = await serve(GpuEngine(SETTINGS).application())
    await client.post("/v1/chat/completions", json=question())
    seen = await samples(client)
    # 19 decodes of 6.1 + 0.05 ms and contexts of 11 to 29 tokens, at a hundredth of the time.
    expected = (19 * 6.15 + 0.0004 * sum(range(11, 30))) / 1000 * 0.01
    assert seen["vllm:inter_token_latency_seconds_sum"] == pytest.approx(expected)


async def test_it_is_loading_before_it_is_healthy(serve: Any, clock: Any) -> None:
    engine = GpuEngine(replace(SETTINGS, iteration_time=IterationTime(time_factor=0.5), startup_seconds=60), clock)
    client = await serve(engine.application())
    assert (await client.get("/health")).status == 503
    assert (await client.get("/v1/models")).status == 503
    assert (await client.post("/v1/chat/completions", json=question())).status == 503
    clock.now += 30
    assert (await client.get("/health")).status == 200
    models = await (await client.get("/v1/models")).json()
    assert (models["data"][0]["id"], models["data"][0]["max_model_len"]) == ("qwen", 8192)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (question(max_tokens=0), 400, "at least 1"),
        (question("x" * 40_000), 400, "maximum context length is 8192"),
        ({**question(), "model": "other"}, 404, "`other` does not exist"),
        ({"model": "qwen", "messages": []}, 400, "non-empty list"),
    ],
)
async def test_a_wrong_request_is_told_why(serve: Any, body: dict[str, Any], status: int, says: str) -> None:
    client = await serve(GpuEngine(SETTINGS).application())
    response = await client.post("/v1/chat/completions", json=body)
    assert response.status == status
    assert says in (await response.json())["error"]["message"]


async def test_a_client_that_leaves_frees_its_place(serve: Any) -> None:
    engine = GpuEngine(replace(SLOW, limits=Limits(max_sequences=1)))
    client = await serve(engine.application())
    stream = await client.post("/v1/chat/completions", json=question(stream=True))
    waiting = asyncio.create_task(client.post("/v1/chat/completions", json=question("another")))
    await until(lambda: len(engine.scheduler.running) == 1 and len(engine.scheduler.waiting) == 1)
    stream.close()
    waiting.cancel()
    await until(lambda: not engine.scheduler.running and not engine.scheduler.waiting)
    assert engine.scheduler.pool.in_use == 0
    page = await (await client.get("/metrics")).text()
    assert 'vllm:request_success_total{engine="0",finished_reason="abort",model_name="qwen"} 2.0' in page


async def test_draining_finishes_what_runs_and_refuses_what_comes(serve: Any) -> None:
    engine = GpuEngine(replace(SETTINGS, iteration_time=IterationTime(alpha_ms=10)))
    client = await serve(engine.application())
    running = asyncio.create_task(client.post("/v1/chat/completions", json=question()))
    await until(lambda: engine.scheduler.running)
    drain = asyncio.create_task(engine.drain())
    await asyncio.sleep(0)
    refused = await client.post("/v1/chat/completions", json=question("too late"))
    assert refused.status == 503
    assert refused.headers["Connection"] == "close"
    assert (await client.get("/health")).status == 503
    assert (await (await running).json())["usage"]["completion_tokens"] == 20
    await drain


async def test_draining_gives_up_at_its_limit(serve: Any) -> None:
    engine = GpuEngine(replace(SLOW, drain_seconds=0.01))
    client = await serve(engine.application())
    running = asyncio.create_task(client.post("/v1/chat/completions", json=question()))
    await until(lambda: engine.scheduler.running)
    await engine.drain()
    assert not running.done()
    running.cancel()


async def test_faults_strike_as_often_as_asked(serve: Any) -> None:
    client = await serve(GpuEngine(SETTINGS).application())
    await client.post("/faults", json={"status": 429, "count": 2})
    answers = [await client.post("/v1/chat/completions", json=question()) for _ in range(3)]
    assert [one.status for one in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "1"
    await client.post("/faults", json={"status": 500})
    assert (await client.post("/v1/chat/completions", json=question())).status == 500
    await client.post("/faults", json={"status": None})
    assert (await client.post("/v1/chat/completions", json=question())).status == 200
    assert (await client.post("/faults", json={"status": "odd"})).status == 400


async def test_a_hanging_engine_never_answers(serve: Any) -> None:
    engine = GpuEngine(SETTINGS)
    client = await serve(engine.application())
    await client.post("/faults", json={"status": "hang", "count": 1})
    hanging = asyncio.create_task(client.post("/v1/chat/completions", json=question()))
    await until(lambda: engine.faults.left == 0)
    assert (await client.post("/v1/chat/completions", json=question())).status == 200
    assert not hanging.done()
    hanging.cancel()


async def test_drawn_lengths_have_the_mean_and_respect_the_limit(serve: Any) -> None:
    client = await serve(GpuEngine(replace(SETTINGS, mean_output_tokens=5)).application())
    ends = []
    for number in range(40):
        body = await (await client.post("/v1/chat/completions", json=question(f"number {number}", max_tokens=8))).json()
        ends.append((body["usage"]["completion_tokens"], body["choices"][0]["finish_reason"]))
    assert all(tokens < 8 or reason == "length" for tokens, reason in ends)
    assert {reason for _, reason in ends} == {"stop", "length"}


def test_the_command_line_sets_the_engine() -> None:
    settings, host, port = settings_from(
        ["--port=81", "--served-model-name=m", "--alpha-ms=2", "--prefill-tokens-per-second=4000", "--time-factor=0.5"]
    )
    assert (settings.model, host, port) == ("m", "127.0.0.1", 81)
    assert settings.iteration_time == IterationTime(2.0, 0.05, 0.0004, 0.25, 0.5)


def test_a_context_that_does_not_fit_the_cache_is_refused_at_start(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        settings_from(["--max-model-len", "8192", "--num-blocks", "100"])
    assert "raise --num-blocks" in capsys.readouterr().err
