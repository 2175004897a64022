"""The command line that both hosted APIs share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

from .hosted_account import HostedSettings
from .hosted_latency import Latency
from .hosted_prices import Price, read_prices

_KEYS_VARIABLE = "API_KEYS"


def read_settings(
    program: str, default_prices: Mapping[str, Price], arguments: list[str] | None = None
) -> tuple[HostedSettings, str, int]:
    """Settings, host and port from the command line and the environment. Exits with a message if a key is missing."""
    parser = argparse.ArgumentParser(prog=program, description=f"A hosted API. Keys come from ${_KEYS_VARIABLE}.")
    add = parser.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=8080)
    add("--prices", type=Path, help="JSON price file; its models are those served")
    add("--requests-per-minute", type=int, default=600, help="per key")
    add("--tokens-per-minute", type=int, default=400_000, help="per key")
    add("--first-token-ms", type=float, default=350.0)
    add("--output-token-ms", type=float, default=12.0)
    add("--prefill-tokens-per-second", type=float, default=20_000.0)
    add("--time-factor", type=float, default=1.0, help="multiplies every latency: 0.1 is ten times faster")
    add("--cache-seconds", type=float, default=300.0, help="life of a cached prefix (Anthropic: ttl 5m)")
    add("--cache-seconds-1h", type=float, default=3600.0, help="life of a prefix with ttl 1h (Anthropic)")
    add("--mean-output-tokens", type=float, help="draw answer lengths; default: exactly max_tokens")
    add("--canary", action="append", default=[], help="marker whose arrival is put on record; repeatable")
    add("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    keys = read_keys(os.environ.get(_KEYS_VARIABLE, ""))
    if not keys:
        parser.error(f"set {_KEYS_VARIABLE} to the accepted keys: key or name=key, separated by commas")
    settings = HostedSettings(
        prices=default_prices if given.prices is None else read_prices(given.prices),
        keys=keys,
        requests_per_minute=given.requests_per_minute,
        tokens_per_minute=given.tokens_per_minute,
        latency=Latency(
            given.first_token_ms, given.output_token_ms, given.prefill_tokens_per_second, given.time_factor
        ),
        canaries=tuple(given.canary),
        mean_output_tokens=given.mean_output_tokens,
        seed=given.seed,
        seconds_5m=given.cache_seconds,
        seconds_1h=given.cache_seconds_1h,
    )
    return settings, given.host, given.port


def read_keys(text: str) -> dict[str, str]:
    """`"team-a=sk-1,sk-22334455"` gives {"sk-1": "team-a", "sk-22334455": "...4455"}: names, never keys, are shown."""
    keys: dict[str, str] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, separator, key = item.partition("=")
        keys[key if separator else item] = name if separator else f"...{item[-4:]}"
    return keys
