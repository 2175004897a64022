"""Settings: a wrong file is refused with one line per field, and GPU classes add to the built-in ones."""

from __future__ import annotations

import pytest

from comptroller.api.settings import SettingsError, load_settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("loop: {tickSeconds: 0}", "loop.tickSeconds: must be at least 0.5 (given: 0)"),
        ("lop: {}", "lop: is not known: correct its name or remove it (given: {})"),
        ("energy: {pue: much}", 'energy.pue: must be a decimal number (given: "much")'),
        ("prometheus: {timeoutSeconds: 0}", "prometheus.timeoutSeconds: must be above 0.0 (given: 0)"),
        ("[]", "(file): must be an object with named fields (given: [])"),
        ("loop: {tickSeconds: soon}", 'loop.tickSeconds: must be a number (given: "soon")'),
    ],
)
def test_a_wrong_field_is_named_with_the_remedy(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(text)
    assert str(refused.value).splitlines() == [said]


def test_what_is_not_yaml_is_refused() -> None:
    with pytest.raises(SettingsError, match="not valid YAML"):
        load_settings("loop: [")


def test_an_empty_file_means_the_defaults() -> None:
    assert load_settings("").loop.tick_seconds == 15.0


def test_one_field_of_one_gpu_class_can_be_changed() -> None:
    before, after = load_settings(""), load_settings("gpuClasses: {h100: {priceUsd: '30000'}}")
    assert str(after.gpu_classes["h100"].price_usd) == "30000"
    assert after.gpu_classes["h100"].busy_watts == before.gpu_classes["h100"].busy_watts
    assert set(after.gpu_classes) == set(before.gpu_classes)
