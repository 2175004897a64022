"""What is worth a reload of a router's configuration."""

from __future__ import annotations

import pytest
import yaml

from comptroller.render.router.steady import says_the_same


def config(limit: int, weight: int = 500, *, of_route: bool = False) -> str:
    entry = {"model_name": "chat", "litellm_params": {"weight": weight}, "model_info": {"id": "ai/big/chat"}}
    shared = {"pool": "ai/big", "max_concurrency": 100 if of_route else limit, "assured": {"chat": limit}}
    section = {"routes": [{"name": "chat", "shed_ratio": 0.0}], "limits": [shared]}
    return yaml.safe_dump({"model_list": [entry], "x_comptroller": section})


@pytest.mark.parametrize(
    ("limit", "before", "blind", "same"),
    [
        (100, 108, False, True),
        (100, 115, False, False),
        (9, 10, False, True),
        (18, 20, False, False),  # a replica of ten is gone
        (50, 100, False, False),
        (50, 100, True, True),
        (100, 50, True, True),  # loads are not known, so neither is how a pool is to be divided
        (110, 100, True, True),
    ],
)
def test_a_limit_moves_only_with_open_eyes(limit: int, before: int, blind: bool, same: bool) -> None:
    assert says_the_same(config(limit), config(before), blind=blind) is same
    assert says_the_same(config(limit, of_route=True), config(before, of_route=True), blind=blind) is same


def test_a_weight_that_moved_is_news_also_while_blind() -> None:
    assert not says_the_same(config(50, weight=800), config(100), blind=True)
