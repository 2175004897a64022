"""The servers as processes: they start from their command lines and leave politely."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

E2E = Path(__file__).parents[2] / "e2e"
QUESTION = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 20}


async def start(module: str, *flags: str) -> tuple[asyncio.subprocess.Process, str]:
    """A server on a free port, and its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"engines.{module}",
        "--port",
        "0",
        *flags,
        env=os.environ | {"PYTHONPATH": str(E2E), "API_KEYS": "team-a=sk-a"},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    return process, "http://" + line.removeprefix("listening on ").strip()


@pytest.mark.parametrize(
    ("module", "path", "headers", "model"),
    [
        ("gpu_engine", "/v1/chat/completions", {}, "model"),
        ("hosted_openai", "/v1/chat/completions", {"Authorization": "Bearer sk-a"}, "gpt-5-mini"),
        ("hosted_anthropic", "/v1/messages", {"x-api-key": "sk-a", "anthropic-version": "1"}, "claude-sonnet-4-5"),
    ],
)
async def test_a_server_starts_answers_and_stops(module: str, path: str, headers: dict[str, str], model: str) -> None:
    process, base = await start(module, "--time-factor", "0.01")
    try:
        async with aiohttp.ClientSession(base, headers=headers) as session:
            body: dict[str, Any] = {"model": model, **QUESTION}
            async with session.post(path, json=body) as response:
                assert response.status == 200
                usage = (await response.json())["usage"]
                assert 20 in (usage.get("completion_tokens"), usage.get("output_tokens"))
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0


async def test_sigterm_lets_a_running_stream_end_and_refuses_new_requests() -> None:
    process, base = await start("gpu_engine", "--alpha-ms", "50")
    try:
        async with aiohttp.ClientSession(base) as session:
            body = {"model": "model", **QUESTION, "stream": True}
            async with session.post("/v1/chat/completions", json=body) as stream:
                await stream.content.readuntil(b"\n\n")
                process.terminate()
                while True:
                    async with session.post("/v1/chat/completions", json=body) as refused:
                        if refused.status == 503:
                            break
                rest = await stream.text()
        assert rest.rstrip().endswith("data: [DONE]")
    finally:
        await process.communicate()
    assert process.returncode == 0
