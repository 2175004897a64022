"""A simulated GPU engine: the HTTP face of vLLM over a continuous-batching scheduler that computes no tensors.

    python3 -m engines.gpu_engine --port 8000 --served-model-name qwen3-8b --alpha-ms 6.1 --beta-ms 0.05

Endpoints: /v1/chat/completions and /v1/completions (whole or streamed), /v1/models, /health, /metrics,
/reset_prefix_cache, and /faults for tests. Answers are nonsense of the asked length; their timing, queueing, batching,
cache hits, preemptions and metrics are what is simulated. An idle engine costs nothing, a busy one about a millisecond
of CPU per request plus the writing of its stream (see engine_loop.py on bursts of 20 ms).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from .engine_loop import EngineLoop
from .engine_metrics import EngineMetrics
from .faults import Faults
from .iteration_time import IterationTime
from .openai_wire import DONE, Answer, Ask, BadRequestError, read_ask
from .planned_answer import PlannedAnswer, plan_answer
from .scheduler import Limits, Request, RequestTooLongError, Scheduler, Sequence
from .serving import open_event_stream, serve

_ERROR_TYPES = {400: "BadRequestError", 404: "NotFoundError", 429: "RateLimitError", 503: "ServiceUnavailableError"}
_MAX_BODY_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """One engine. Durations are those of life; `iteration_time.time_factor` shortens them all, start-up included."""

    model: str = "model"
    limits: Limits = field(default_factory=Limits)
    iteration_time: IterationTime = field(default_factory=IterationTime)
    prompt_tokens_details: bool = False
    startup_seconds: float = 0.0
    drain_seconds: float = 600.0
    mean_output_tokens: float | None = None
    seed: int = 0


class GpuEngine:
    def __init__(self, settings: EngineSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self.scheduler = Scheduler(settings.limits, settings.iteration_time)
        self.metrics = EngineMetrics(settings.model, self.scheduler)
        self.loop = EngineLoop(self.scheduler, self.metrics, clock)
        self.faults = Faults()
        self._started = time.time()
        self._clock = clock
        self._ready_at = clock() + settings.startup_seconds * settings.iteration_time.time_factor
        self._draining = False
        self._count = 0

    def application(self) -> web.Application:
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completion)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/reset_prefix_cache", self._reset_prefix_cache)
        app.router.add_post("/faults", self.faults.handle)
        app.cleanup_ctx.append(self._run_loop)
        return app

    async def drain(self) -> None:
        """Refuse new requests, finish those that are here; give up after `drain_seconds`."""
        self._draining = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.loop.idle(), self.settings.drain_seconds)

    async def _run_loop(self, _app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(self.loop.run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    @property
    def _unavailable(self) -> str | None:
        if self._draining:
            return "Engine is shutting down"
        return "Loading model" if self._clock() < self._ready_at else None

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(status=503 if self._unavailable else 200)

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self.metrics.page(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def _models(self, _request: web.Request) -> web.Response:
        if self._unavailable:
            return _error(503, self._unavailable)
        card = {
            "id": self.settings.model,
            "object": "model",
            "created": int(self._started),
            "owned_by": "simulated",
            "max_model_len": self.settings.limits.max_model_tokens,
        }
        return web.json_response({"object": "list", "data": [card]})

    async def _reset_prefix_cache(self, _request: web.Request) -> web.Response:
        return web.Response(status=200 if self.scheduler.pool.forget_all() else 409)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, chat=True)

    async def _completion(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, chat=False)

    async def _answer(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        if self._unavailable:
            return _error(503, self._unavailable)
        status = await self.faults.strike()
        if status is not None:
            return _error(status, "injected fault")
        try:
            ask = read_ask(await request.read(), chat=chat)
            if ask.model != self.settings.model:
                return _error(404, f"The model `{ask.model}` does not exist.")
            planned = plan_answer(
                self.settings.seed,
                ask.prompt,
                self.settings.mean_output_tokens,
                ask.max_tokens,
                ignore_eos=ask.ignore_eos,
            )
            sequence = self.loop.submit(Request(ask.prompt, planned.tokens, planned.seed, _salt(ask)))
        except (BadRequestError, RequestTooLongError) as error:
            return _error(400, str(error))
        try:
            return await self._write(request, ask, sequence, planned)
        finally:
            self.loop.leave(sequence, planned.finish_reason)

    async def _write(
        self, request: web.Request, ask: Ask, sequence: Sequence, planned: PlannedAnswer
    ) -> web.StreamResponse:
        self._count += 1
        name = f"{'chatcmpl' if ask.chat else 'cmpl'}-{planned.seed:012x}-{self._count}"
        answer = Answer(name, int(time.time()), ask.model, ask.chat)
        if not ask.stream:
            await self.loop.completion(sequence)
            text = planned.text(0, planned.tokens)
            return web.json_response(answer.whole(text, planned.finish_reason, self._usage(sequence)))
        response = await open_event_stream(request)
        sent = 0
        while sent < planned.tokens:
            ready = await self.loop.progress(sequence, sent)
            events = answer.piece(planned.text(sent, ready))
            await response.write(answer.opening() + events if sent == 0 else events)
            sent = ready
        closing = answer.closing(planned.finish_reason)
        if ask.include_usage:
            closing += answer.usage(self._usage(sequence))
        await response.write(closing + DONE)
        await response.write_eof()
        return response

    def _usage(self, sequence: Sequence) -> dict[str, Any]:
        usage: dict[str, Any] = {
            "prompt_tokens": sequence.prompt_tokens,
            "completion_tokens": sequence.generated,
            "total_tokens": sequence.prompt_tokens + sequence.generated,
            "prompt_tokens_details": None,
        }
        if self.settings.prompt_tokens_details:
            usage["prompt_tokens_details"] = {
                "cached_tokens": sequence.cached_tokens,
                "created_cache_tokens": sequence.created_cache_tokens,
            }
        return usage


def _salt(ask: Ask) -> bytes:
    salt = ask.body.get("cache_salt")
    return hashlib.blake2b(str(salt).encode(), digest_size=12).digest() if salt else b""


def _error(status: int, message: str) -> web.Response:
    kind = _ERROR_TYPES.get(status, "InternalServerError")
    headers = {"Connection": "close"} if status == 503 else {}  # a router's pooled connections leave a dying engine
    if status == 429:
        headers["Retry-After"] = "1"
    body = {"error": {"message": message, "type": kind, "param": None, "code": status}}
    return web.json_response(body, status=status, headers=headers)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpu_engine", description="A simulated GPU engine with vLLM's interface.")
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=8000)
    add("--served-model-name", default="model")
    add("--model", help="taken and not needed: nothing is loaded")
    add("--quantization", help="taken and not needed: the speed is given by alpha, beta and gamma")
    add("--tensor-parallel-size", type=int, default=1, help="taken and not needed, likewise")
    add("--max-num-seqs", type=int, default=64, help="largest batch")
    add("--max-num-batched-tokens", type=int, default=2048, help="tokens computed in one iteration")
    add("--max-model-len", type=int, default=8192, help="prompt and answer together, tokens")
    add("--block-size", type=int, default=16, help="tokens in a KV block")
    add("--num-blocks", "--num-gpu-blocks-override", type=int, default=4096, help="KV blocks")
    add("--enable-prompt-tokens-details", action="store_true", help="report cached tokens in usage")
    add("--alpha-ms", type=float, default=6.1, help="fixed cost of an iteration")
    add("--beta-ms", type=float, default=0.05, help="cost of computing one token")
    add("--gamma-ms", type=float, default=0.0004, help="cost of reading one token of context")
    add("--prefill-tokens-per-second", type=float, help="default: from beta, 1000 / beta-ms")
    add("--startup-seconds", type=float, default=0.0, help="time of loading, /health is 503")
    add("--drain-seconds", type=float, default=600.0, help="longest wait for running requests after SIGTERM")
    add("--time-factor", type=float, default=1.0, help="multiplies every duration: 0.1 is ten times faster")
    add("--mean-output-tokens", type=float, help="draw answer lengths; default: exactly max_tokens")
    add("--seed", type=int, default=0)
    return parser


def settings_from(arguments: list[str] | None = None) -> tuple[EngineSettings, str, int]:
    """Settings, host and port from a command line. Exits with a message if the limits contradict each other."""
    parser = _parser()
    given = parser.parse_args(arguments)
    limits = Limits(
        given.max_num_seqs, given.max_num_batched_tokens, given.max_model_len, given.block_size, given.num_blocks
    )
    if limits.blocks_for(limits.max_model_tokens) > limits.blocks:
        parser.error(
            f"--max-model-len {limits.max_model_tokens} needs {limits.blocks_for(limits.max_model_tokens)} KV blocks, "
            f"there are {limits.blocks}: raise --num-blocks or lower --max-model-len"
        )
    rate = given.prefill_tokens_per_second
    iteration_time = IterationTime(
        given.alpha_ms, given.beta_ms, given.gamma_ms, 1000 / rate if rate else None, given.time_factor
    )
    settings = EngineSettings(
        model=given.served_model_name,
        limits=limits,
        iteration_time=iteration_time,
        prompt_tokens_details=given.enable_prompt_tokens_details,
        startup_seconds=given.startup_seconds,
        drain_seconds=given.drain_seconds,
        mean_output_tokens=given.mean_output_tokens,
        seed=given.seed,
    )
    return settings, given.host, given.port


async def _main() -> None:
    settings, host, port = settings_from()
    engine = GpuEngine(settings)
    await serve(engine.application(), host, port, engine.drain)


if __name__ == "__main__":
    asyncio.run(_main())
