"""The benchmark of demand, on two days of two made-up clients."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest

from bench import demand

HEAD = "model,client,window_start_seconds,rate_rps,interarrival_cv,arrival_family,mean_input_tokens,mean_output_tokens"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    lines = [HEAD]
    for window in range(288):
        if window != 200:  # a gap: no client of the model has a row
            lines += [
                f"m,{client},{600 * window},{rate * (1.2 + math.sin(window / 23)):.4f},1.0,Gamma,{tokens}"
                for client, rate, tokens in (("1", 10.0, "100,20"), ("2", 3.0, "1000,200"), ("3", 5.0, ","))
            ]
    path = tmp_path / "windows.csv.gz"
    with gzip.open(path, "wt") as text:
        text.write("\n".join(lines) + "\n")
    return path


def test_clients_with_most_work_are_chosen_and_gaps_are_unknown(recording: Path) -> None:
    traffic = demand.read_traffic(recording, days=2, clients=12, seed=1)

    assert traffic.routes == ("m/2", "m/1")  # nothing is known of the third one's tokens
    assert traffic.work.tolist() == [300.0, 30.0]
    assert traffic.rates.shape == (2880, 2)
    unknown = [minute for minute in range(2880) if math.isnan(traffic.rates[minute, 0])]
    assert unknown == list(range(2000, 2010))


def test_every_way_to_tell_demand_is_scored(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demand, "WARM_UP_DAYS", 1)
    monkeypatch.setattr(demand, "SPANS_MINUTES", (10,))

    found = demand.measure(recording, days=2)

    (table,) = found.tables
    assert [row[0] for row in table.rows][0::4] == ["last value, one number", "chosen by skill"]
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert set(found.values["spans"]["10"]["chosen by skill"]["methods"]) == {"m/1", "m/2"}


def test_without_a_recording_it_says_so(tmp_path: Path) -> None:
    assert "is not there" in demand.measure(tmp_path / "none.csv.gz").skipped
