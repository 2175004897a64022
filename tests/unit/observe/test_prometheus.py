"""Answers of Prometheus: what is believed, and that nothing ever raises."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from comptroller.allocation.snapshot import Sample, Unknown
from comptroller.api.settings import PrometheusSettings
from comptroller.observe.prometheus import LARGEST_ANSWER, PrometheusSource, Series, read_rows

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def row(value: Any, **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [1795327200.0, value]}


def read(*rows: Any) -> Series:
    found = read_rows(list(rows), ("pool",))
    assert not isinstance(found, Unknown)
    return found


def test_rows_are_keyed_by_the_labels_asked_for_and_a_missing_one_is_empty() -> None:
    found = read_rows([row("1.5", pool="big", pod="a"), row("0")], ("namespace", "pool"))
    assert found == {("", "big"): Sample(1.5), ("", ""): Sample(0.0)}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-1", "-0.001"])
def test_a_value_that_cannot_be_is_unknown_and_hides_no_other(value: str) -> None:
    found = read(row(value, pool="broken"), row("2", pool="fine"))
    assert isinstance(found["broken",], Unknown)
    assert found["fine",] == Sample(2.0)


@pytest.mark.parametrize("copies", [2, 3])
def test_several_series_for_one_key_are_unknown(copies: int) -> None:
    found = read(*[row("2", pool="double")] * copies, row("1", pool="fine"))
    assert isinstance(found["double",], Unknown)
    assert found["fine",] == Sample(1.0)


@pytest.mark.parametrize(
    "rows",
    [
        None, "a", 3, {"a": 1}, [1, "2"], [{}], [{"metric": {}}], [{"metric": {}, "value": []}],
        [{"metric": {}, "value": [1, "many"]}], [{"metric": {}, "value": [1, None]}],
        [{"metric": 3, "value": [1, "1"]}],
        [row("1", pool="a"), None], [row("0")] * (LARGEST_ANSWER + 1),
    ],
)  # fmt: skip
def test_garbage_is_unknown(rows: Any) -> None:
    assert isinstance(read_rows(rows, ("pool",)), Unknown)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["metric", "value", "x"]), inner),
    max_leaves=12,
)


@given(JSON)
def test_whatever_arrives_every_number_that_is_believed_is_finite_and_not_negative(rows: Any) -> None:
    found = read_rows(rows, ("pool",))
    if not isinstance(found, Unknown):
        assert all(0 <= one.value < float("inf") for one in found.values() if isinstance(one, Sample))


async def ask(handler: Handler | None, **settings: Any) -> Series | Unknown:
    """One question to a server on loopback; without a handler nobody listens there."""
    application = web.Application()
    if handler is not None:
        application.router.add_get("/api/v1/query", handler)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    if handler is None:
        await site.stop()
    source = PrometheusSource(PrometheusSettings(url=f"http://127.0.0.1:{port}", **settings))
    try:
        return await source.query("up", ("pool",))
    finally:
        source.close()
        await runner.cleanup()


def answering(status: int, body: Any) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, content_type="application/json")

    return handler


def vector(*rows: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "vector", "result": list(rows)}}


async def test_a_good_answer_is_read() -> None:
    assert await ask(answering(200, vector(row("3", pool="big")))) == {("big",): Sample(3.0)}


async def test_an_empty_answer_is_known_to_be_empty() -> None:
    assert await ask(answering(200, vector())) == {}


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        pytest.param(None, "cannot be reached", id="nobody listens"),
        pytest.param(answering(500, "oops"), "500", id="it is broken"),
        pytest.param(answering(503, "starting"), "503", id="it starts"),
        pytest.param(
            answering(400, {"status": "error", "error": "parse error at char 3"}), "parse error", id="refused"
        ),
        pytest.param(answering(404, "not found"), "404", id="something else listens"),
        pytest.param(answering(200, "<html>"), "", id="no JSON"),
        pytest.param(answering(200, []), "cannot be read", id="a list"),
        pytest.param(answering(200, {"status": "success"}), "cannot be read", id="no data"),
        pytest.param(answering(200, {"data": {"result": None}}), "NoneType", id="no result"),
        pytest.param(answering(200, {"data": {"result": [1795327200, "2"]}}), "cannot be read", id="a scalar"),
    ],
)
async def test_every_failure_is_unknown_with_its_reason(handler: Handler | None, words: str) -> None:
    found = await ask(handler)
    assert isinstance(found, Unknown)
    assert words in found.reason


async def test_a_server_that_hangs_is_asked_once_and_given_up_after_the_limit() -> None:
    asked = []

    async def hanging(_: web.Request) -> web.StreamResponse:
        asked.append(1)
        await asyncio.sleep(30)
        raise AssertionError

    async with asyncio.timeout(5):
        found = await ask(hanging, timeout_seconds=0.05)
    assert found == Unknown("Prometheus did not answer within 0.05 s")
    assert len(asked) == 1


async def test_the_bearer_token_is_sent(tmp_path: Path) -> None:
    seen = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        return web.json_response(vector())

    token = tmp_path / "token"
    token.write_text("secret\n")
    assert await ask(handler, bearer_token_file=str(token)) == {}
    assert seen == ["Bearer secret"]


async def test_a_bearer_token_that_is_not_there_is_unknown(tmp_path: Path) -> None:
    found = await ask(answering(200, vector()), bearer_token_file=str(tmp_path / "absent"))
    assert isinstance(found, Unknown)
    assert "bearer token" in found.reason
