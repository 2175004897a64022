"""What is worth a reload of a router's configuration."""

from __future__ import annotations

import pytest
import yaml

from comptroller.render.router.steady import says_the_same


def config(limit: int, weight: int = 500) -> str:
    params = {"weight": weight, "max_parallel_requests": limit}
    entry = {"model_name": "chat", "litellm_params": params, "model_info": {"id": "ai/big/chat"}}
    return yaml.safe_dump(
        {"model_list": [entry], "x_comptroller": {"routes": [{"name": "chat", "shed_ratio": 0.0}]}}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "before", "blind", "same"),
    [
        (100, 110, False, True),
        (50, 100, False, False),
        (50, 100, True, True),
        (100, 50, True, True),  # loads are not known, so neither is how a pool is to be divided
        (110, 100, True, True),
    ],
)
def test_a_limit_moves_only_with_open_eyes(limit: int, before: int, blind: bool, same: bool) -> None:
    assert says_the_same(config(limit), config(before), blind=blind) is same


def test_a_weight_that_moved_is_news_also_while_blind() -> None:
    assert not says_the_same(config(50, weight=800), config(100), blind=True)
