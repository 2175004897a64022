"""What saved caches are worth: a new replica of the real llama.cpp computes its prefixes, or restores them.

Three replicas, each a fresh process, are warmed by the warm-up's own program: without saved caches, as the first that
saves them, and as the next one that finds them. Then the first users ask, one per slot at once.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import httpx

from bench.processes import server
from bench.report import Report, Table
from comptroller.warmup.plan import Plan, PlannedPrefix
from comptroller.warmup.request import ask
from comptroller.warmup.run import warm

SLOTS, DEADLINE_SECONDS = 4, 900.0
WAYS = {"without saved caches": (False, False), "first, saves": (True, True), "next, restores": (True, False)}


def measure(*, tokens: int = 3000) -> Report:
    """One prefix of about so many tokens on four slots."""
    text = "".join(chr(97 + (number * number + number // 7) % 26) for number in range(tokens))
    prefix = PlannedPrefix("prefix", ({"role": "system", "content": text},), (), tuple(range(SLOTS)), may_be_saved=True)
    values: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (snapshots, save) in WAYS.items():
            plan = Plan("", "tiny", (prefix,), 0.97, 1, DEADLINE_SECONDS, "bench" if snapshots else "", save)
            values[name] = _replica(plan, Path(folder))
        saved = sum(one.stat().st_size for one in Path(folder).iterdir())
    rows = tuple(
        (
            name,
            f"{found['warming_seconds']:.2f}",
            f"{found['computed_tokens']:.0f}",
            f"{found['first_user_seconds']:.2f}",
            f"{100 * found['hit_ratio']:.1f}",
        )
        for name, found in values.items()
    )
    table = Table(
        f"Warming a new replica of llama.cpp: a prefix of {tokens} tokens, {SLOTS} slots",
        ("replica", "s until warm", "tokens computed", "slowest first user, s", "hit ratio %"),
        rows,
        (f"The saved cache has {saved / 1e6:.1f} MB. Users ask all slots at once.",),
    )
    return Report("restore", (table,), {"saved_bytes": saved, **values})


def _replica(plan: Plan, folder: Path) -> dict[str, float]:
    command = ["-m", "e2e.engines.llamacpp_server", "--tiny-model", "--port=0", "-np", str(SLOTS), "--cache-ram=0"]
    command += ["-c", str(SLOTS * 8192), "--slot-save-path", str(folder)]
    with server(sys.executable, *command) as (_, address):
        return asyncio.run(
            _warmed(replace(plan, address=address.removeprefix("http://")))
        )  # it tells its whole address


async def _warmed(plan: Plan) -> dict[str, float]:
    began = time.monotonic()
    result = await warm(plan)
    warming = time.monotonic() - began
    if not result.warm:
        raise RuntimeError(result.error)
    async with httpx.AsyncClient(base_url=plan.address, timeout=DEADLINE_SECONDS) as client:
        (prefix,) = plan.prefixes
        questions = (ask(client, plan.model, prefix, f"Is clause {number} valid?", None) for number in range(SLOTS))
        users = await asyncio.gather(*questions)
    return {
        "warming_seconds": warming,
        "computed_tokens": float(result.prompt_tokens - result.cached_tokens),
        "first_user_seconds": max(one.first_token_seconds for one in users),
        "hit_ratio": min((one.cached_tokens or 0) / one.prompt_tokens for one in users),
    }
