"""What is told of an engine that refuses a request."""

from __future__ import annotations

import json

import httpx
import pytest

from comptroller.warmup.plan import PlannedPrefix
from comptroller.warmup.request import RefusedError, ask

SECRET = "the-merger-is-on-friday"
PREFIX = PlannedPrefix("one", ({"role": "system", "content": SECRET},), ())


async def refusal(body: str, status: int = 400) -> str:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text=body))
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as client:
        with pytest.raises(RefusedError) as error:
            await ask(client, "m", PREFIX, "?", None)
    return str(error.value)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"error": {"message": SECRET, "type": "BadRequestError", "code": 400}}, "400 BadRequestError"),
        ({"object": "error", "message": SECRET, "type": "invalid_request", "code": "too_long"},
         "400 invalid_request too_long"),
        ({"error": {"message": SECRET, "type": f"bad input: {SECRET}", "code": SECRET * 3}}, "400"),
        ({"error": {"type": [SECRET], "code": {"input": SECRET}}}, "400"),
        ({"error": SECRET}, "400"),
        ({"detail": [{"type": "missing", "input": SECRET}]}, "400"),
        ([SECRET], "400"),
    ],
)  # fmt: skip
async def test_only_type_and_code_of_a_refusal_are_told(
    answer: object, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await refusal(json.dumps(answer)) == f"prefix one: {told}"
    assert SECRET not in "".join(capsys.readouterr())


@pytest.mark.parametrize("body", ["", f"<p>{SECRET}</p>", "[" * 100_000])
async def test_an_answer_that_is_no_json_is_only_its_status(body: str) -> None:
    assert await refusal(body, 422) == "prefix one: 422"
