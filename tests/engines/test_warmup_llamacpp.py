"""The warm-up's program against the real engine: every slot is warm, and saved caches spare the next replica work."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from comptroller.warmup.plan import Plan, PlannedPrefix
from comptroller.warmup.request import Answer, ask
from comptroller.warmup.run import warm
from e2e.engines.tiny_model import Shape, write_tiny_model

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

E2E = Path(__file__).parents[2] / "e2e"
TEXT = "".join(chr(97 + (number * number) % 26) for number in range(2000))  # one token per character
SYSTEM = PlannedPrefix("rules", ({"role": "system", "content": TEXT},), (), (0, 2), may_be_saved=True)
SHOTS = PlannedPrefix(
    "shots",
    ({"role": "user", "content": TEXT[::-1]}, {"role": "assistant", "content": "yes"}),
    (),
    (1, 3),
    may_be_saved=True,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_tiny_model(path, Shape(layers=2, hidden=128, feed_forward=352))
    return path


@asynccontextmanager
async def replica(model: Path, saved: Path, *, context: int = 16_384) -> AsyncIterator[str]:
    """A replica of four slots without any cache behind them; its address."""
    command = [sys.executable, "-m", "engines.llamacpp_server", "--model", str(model), "--port", "0", "-np", "4"]
    command += ["-c", str(context), "--cache-ram", "0", "--slot-save-path", str(saved)]
    process = await asyncio.create_subprocess_exec(
        *command, env=os.environ | {"PYTHONPATH": str(E2E)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
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


def plan(address: str, *prefixes: PlannedPrefix, save: bool = True, key: str = "pool") -> Plan:
    return Plan(address, "tiny", prefixes or (SYSTEM, SHOTS), 0.97, 1, 60.0, key, save)


async def burst(address: str, prefix: PlannedPrefix, count: int) -> list[Answer]:
    """Questions of users, all at once."""
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        questions = (f"Question {number}: is clause {number} valid?" for number in range(count))
        return await asyncio.gather(*(ask(client, "tiny", prefix, one, None) for one in questions))


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.mark.engine
async def test_the_first_replica_computes_and_the_next_ones_restore(model: Path, tmp_path: Path) -> None:
    async with replica(model, tmp_path) as first:
        computed = await warm(plan(first))
        answers = [*await burst(first, SYSTEM, 2), *await burst(first, SHOTS, 2)]
    assert (computed.warm, computed.error) == (True, "")
    assert all(one.cold_ms is not None for one in computed.prefixes)
    assert all(one.cached_tokens is not None and one.cached_tokens >= len(TEXT) for one in answers)
    assert len(files(tmp_path)) == 2

    async with replica(model, tmp_path) as second:
        restored = await warm(plan(second))
        answers = [*await burst(second, SYSTEM, 2), *await burst(second, SHOTS, 2)]
    assert (restored.warm, restored.error) == (True, "")
    assert [one.cold_ms for one in restored.prefixes] == [None, None]
    assert restored.prompt_tokens - restored.cached_tokens < 0.1 * len(TEXT)
    assert all(one.cached_tokens is not None and one.cached_tokens >= len(TEXT) for one in answers)
    assert restored.digest == computed.digest


@pytest.mark.engine
async def test_a_saved_cache_that_is_broken_or_of_another_prefix_costs_a_prefill_and_no_more(
    model: Path, tmp_path: Path
) -> None:
    async with replica(model, tmp_path) as first:
        await warm(plan(first))
    rules, shots = files(tmp_path)
    rules.write_bytes(rules.read_bytes()[:5000])
    shots.write_bytes(b"nothing")
    async with replica(model, tmp_path) as second:
        result = await warm(plan(second))
    assert (result.warm, result.error) == (True, "")
    assert all(one.cold_ms is not None for one in result.prefixes)

    one, other = files(tmp_path)
    one.write_bytes(other.read_bytes())
    async with replica(model, tmp_path) as third:
        result = await warm(plan(third))
    assert (result.warm, result.error) == (True, "")
    assert sorted(one.cold_ms is None for one in result.prefixes) == [False, True]


@pytest.mark.engine
async def test_beside_users_nothing_is_saved_and_every_slot_is_computed(model: Path, tmp_path: Path) -> None:
    async with replica(model, tmp_path) as address:
        result = await warm(plan(address, save=False))
    assert result.warm
    assert files(tmp_path) == []
    assert result.prompt_tokens - result.cached_tokens > 3.9 * len(TEXT)


@pytest.mark.engine
async def test_a_prefix_that_is_longer_than_the_context_says_so_and_the_others_are_warmed(
    model: Path, tmp_path: Path
) -> None:
    short = PlannedPrefix("short", ({"role": "system", "content": TEXT[:600]},), (), (1,))
    async with replica(model, tmp_path, context=4 * 1024) as address:
        result = await warm(plan(address, SYSTEM, short))
    assert not result.warm
    assert result.wrong
    assert result.error == (
        "prefix rules: 400 exceed_context_size_error: the prefix is longer than the engine's context: shorten it, or "
        "raise spec.model.contextLength of the pool"
    )
    assert [(one.name, one.hit_ratio >= 0.97) for one in result.prefixes] == [("short", True)]
