"""`comptroller report`: options that cannot be meant are refused with what to write instead."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from comptroller.cli.main import main
from comptroller.cli.report import WrongUseError, length, moment, span

NOW = 1_800_000_000.0


def options(**given: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"since": None, "start": None, "end": None} | given)


def test_a_day_is_the_default() -> None:
    assert span(options(), NOW) == (NOW - 86_400.0, NOW)


def test_times_are_utc_unless_they_say_otherwise() -> None:
    assert moment("2027-01-15", "--from") == moment("2027-01-15T01:00+01:00", "--from")
    assert span(options(start="2027-01-01", end="2027-01-02"), NOW)[1] == moment("2027-01-02", "--to")


@pytest.mark.parametrize(
    "given", [{"since": "1d", "start": "2027-01-01"}, {"start": "2027-01-02", "end": "2027-01-01"}]
)
def test_a_span_that_is_none_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(WrongUseError, match="--from"):
        span(options(**given), NOW)


@pytest.mark.parametrize("text", ["", "24", "0h", "-1h", "1y", "1.5h"])
def test_a_length_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(WrongUseError, match="such as 24h or 7d"):
        length(text)


def test_without_an_address_it_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PROMETHEUS_URL", raising=False)
    assert main(["report"]) == 2
    assert "kubectl port-forward" in capsys.readouterr().err


def test_settings_that_are_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--prometheus", "http://localhost:1", "--settings", "/nowhere.yaml"]) == 2
    assert "/nowhere.yaml: cannot be read" in capsys.readouterr().err
