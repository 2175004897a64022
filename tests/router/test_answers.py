"""What clients get, on a real LiteLLM."""

from __future__ import annotations

import pytest

from .running import RunningRouter
from .stubs import Upstream

pytestmark = [pytest.mark.router, pytest.mark.timeout(300)]


def test_answers_come_from_the_planned_pools_with_the_route_told_to_them(
    router: RunningRouter, upstreams: dict[str, Upstream]
) -> None:
    answers = [router.chat("chat") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200] * 5, answers[0].text
    assert {answer.json()["choices"][0]["message"]["content"] for answer in answers} <= {"one", "two"}
    assert {headers["x-comptroller-route"] for one in upstreams.values() for headers in one.headers} == {"chat"}
