"""The real engine: llama.cpp's server, as its own process, on the tiny model."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from e2e.engines.tiny_model import Shape, write_tiny_model

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

E2E = Path(__file__).parents[2] / "e2e"
PREFIX_TOKENS = 1500  # one token per character


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_tiny_model(path, Shape(layers=2, hidden=128, feed_forward=352))
    return path


@pytest.fixture
async def base(model: Path) -> AsyncIterator[str]:
    """Address of a running server; stopped by SIGTERM, which it must obey."""
    command = [sys.executable, "-m", "engines.llamacpp_server", "--model", str(model), "--port", "0", "--metrics"]
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | {"PYTHONPATH": str(E2E)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        line = ""
        while not line.startswith("listening on "):
            raw = await process.stdout.readline()
            assert raw, "the server ended before it listened"
            line = raw.decode()
        yield line.removeprefix("listening on ").strip()
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0


@pytest.mark.engine
async def test_a_warm_prefix_is_not_computed_again(base: str) -> None:
    prefix = "".join(chr(97 + (number * number) % 26) for number in range(PREFIX_TOKENS))

    async with aiohttp.ClientSession(base) as session:

        async def ask(question: str) -> dict[str, Any]:
            messages = [{"role": "system", "content": prefix}, {"role": "user", "content": question}]
            body = {"model": "tiny", "messages": messages, "max_tokens": 2, "temperature": 0}
            async with session.post("/v1/chat/completions", json=body) as response:
                assert response.status == 200
                return dict((await response.json())["usage"])

        async def metric(name: str) -> float:
            async with session.get("/metrics") as response:
                lines = (await response.text()).splitlines()
            return next(float(line.split()[1]) for line in lines if line.startswith(f"llamacpp:{name} "))

        cold = await ask("What is it?")
        warm = await ask("And who wrote it?")
        cached_in_all = await metric("prompt_tokens_cached_total")

    assert cold["prompt_tokens"] >= PREFIX_TOKENS
    assert cold["prompt_tokens_details"]["cached_tokens"] < 0.1 * PREFIX_TOKENS
    assert warm["prompt_tokens_details"]["cached_tokens"] >= 0.9 * PREFIX_TOKENS
    assert cached_in_all >= 0.9 * PREFIX_TOKENS


@pytest.mark.engine
def test_the_tiny_model_is_the_same_on_every_run(tmp_path: Path) -> None:
    shape = Shape(layers=1, hidden=64, feed_forward=64)
    for name in ("one", "two"):
        write_tiny_model(tmp_path / name, shape)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
