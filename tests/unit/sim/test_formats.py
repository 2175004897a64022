"""Demand files: each format is found by its content, gaps of a recording are bridged, errors say what to do."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from comptroller.sim.formats.mooncake import reuse
from comptroller.sim.trace import WEIBULL, TraceError, read_trace

EXAMPLES = Path(__file__).parents[3] / "examples" / "simulate"
HEAD = (
    "model,client,window_start_seconds,rate_rps,interarrival_cv,arrival_family,mean_input_tokens,mean_output_tokens\n"
)


def written(folder: Path, text: str, packed: bool = False) -> Path:
    path = folder / "demand.bin"  # the name says nothing
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_servegen_windows_are_read_packed_or_not(tmp_path: Path, packed: bool) -> None:
    rows = "m,1,0,2.5,1.5,Weibull,100,10\nm,1,600,3.5,,Gamma,,\nm,2,600,1,1,Gamma,50,5\nm,3,0,1,1,Gamma,,\n"
    found = read_trace(written(tmp_path, HEAD + rows, packed), 4)
    assert (found.format, found.windows, found.window_seconds) == ("ServeGen windows", 2, 600.0)
    one, two = found.clients
    assert one.requests_per_second.tolist() == [2.5, 3.5]
    assert (one.families[0], bool(np.isnan(one.cvs[1]))) == (WEIBULL, True)
    assert (one.input_tokens, one.output_tokens) == (100.0, 10.0)
    assert two.requests_per_second.tolist() == [0.0, 1.0]
    assert found.untold == {"m": 1}  # client 3 has no token counts


def test_a_window_without_any_row_of_a_model_is_a_gap_and_is_bridged(tmp_path: Path) -> None:
    rows = "".join(f"{model},1,{start},{rate},1,Gamma,100,10\n" for model, start, rate in (
        ("a", 0, 2), ("a", 1800, 4), ("b", 0, 1), ("b", 600, 1), ("b", 1200, 1), ("b", 1800, 1)))  # fmt: skip
    rows += "b,2,0,5,1,Gamma,100,10\n"
    a, b, quiet = read_trace(written(tmp_path, HEAD + rows), 4).clients
    assert a.requests_per_second.tolist() == [2.0, 3.0, 3.0, 4.0]
    assert b.requests_per_second.tolist() == [1.0] * 4
    assert quiet.requests_per_second.tolist() == [5.0, 0.0, 0.0, 0.0]  # no gap: others of its model go on


def test_azure_requests_become_clients_with_rates_by_the_minute() -> None:
    found = read_trace(EXAMPLES / "azure-20min.csv", 6)
    assert (found.format, found.window_seconds, len(found.clients)) == ("Azure requests", 60.0, 6)
    assert sum(float(one.requests_per_second.sum()) * 60 for one in found.clients) == pytest.approx(5985)
    assert 1000 < np.mean([one.input_tokens for one in found.clients]) < 1300
    assert found.start_seconds == 18 * 3600 + 15 * 60


def test_mooncake_requests_know_what_a_cache_still_holds() -> None:
    found = read_trace(EXAMPLES / "mooncake-20min.jsonl.gz", 4)
    assert found.format == "Mooncake requests"
    assert sum(float(one.requests_per_second.sum()) * 60 for one in found.clients) == pytest.approx(3658)
    for one in found.clients:
        assert one.reuse is not None
        whole, half, short = one.reuse(300.0, 1.0), one.reuse(300.0, 0.5), one.reuse(5.0, 1.0)
        assert 0.0 < short < whole < one.reuse(86400.0, 1.0) < 1.0
        assert half < whole


def test_a_cache_holds_leading_blocks_only_and_each_hit_renews_them() -> None:
    talk = [(0.0, (1, 2)), (100.0, (1, 2, 3)), (200.0, (1, 9, 3)), (1000.0, (1, 2))]
    ratio = reuse(talk, np.array([1024.0, 1536.0, 1536.0, 1024.0]))
    assert ratio(150.0, 1.0) == pytest.approx((1024 + 512) / 5120)
    assert ratio(1e9, 1.0) == pytest.approx((1024 + 512 + 1024) / 5120)
    assert ratio(50.0, 1.0) == 0.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty. Give a csv or jsonl file"),
        ("a,b\n1,2\n", "ServeGen windows"),
        (HEAD, "there is no row in it"),
        (HEAD + "m,1,zero,1,1,Gamma,1,1\n", "line 2: could not convert"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,2\n", "line 2: Invalid isoformat"),
        ('{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": []}\n{"timestamp": 1}\n', "line 2"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(TraceError, match=says):
        read_trace(written(tmp_path, text), 4)


def test_a_file_that_is_cut_short_or_missing_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + "m,1,0,1,1,Gamma,1,1\n" * 100, packed=True)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TraceError, match="cannot be read"):
        read_trace(path, 4)
    with pytest.raises(TraceError, match="there is no such file"):
        read_trace(tmp_path / "none", 4)
