"""The routers of these tests: real processes, one open and one restricted, started once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from comptroller.render.router.build import key_variable
from comptroller.render.router.litellm import COOLDOWN_SECONDS

from .hosted import KEY as HOSTED_KEY
from .hosted import Hosted, anthropic, hosted_plan, openai
from .hosted import serving as serving_hosted
from .plans import plans
from .running import PYTHON, RunningRouter, running, wait_until_ready
from .stubs import Upstream, serving

KEYS = {"team-a": {"first": "key-a"}, "team-b": {"first": "key-b"}}


@pytest.fixture(scope="session")
def _upstreams() -> Iterator[dict[str, Upstream]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(serving(Upstream(name))) for name in ("one", "two", "outside")}


@pytest.fixture
def upstreams(_upstreams: dict[str, Upstream]) -> Iterator[dict[str, Upstream]]:
    """The three backends, well and empty. After a test that made one fail, LiteLLM has time to forgive."""
    for upstream in _upstreams.values():
        upstream.reset()
    yield _upstreams
    if any(upstream.failed for upstream in _upstreams.values()):
        time.sleep(COOLDOWN_SECONDS + 0.5)


@pytest.fixture(scope="session")
def _routers(
    _upstreams: dict[str, Upstream], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, RunningRouter]]:
    if not PYTHON.exists():
        pytest.skip(f"no LiteLLM at {PYTHON}: install requirements/router.txt there, or set COMPTROLLER_ROUTER_PYTHON")
    folder: Path = tmp_path_factory.mktemp("routers")
    with ExitStack() as stack:
        routers = {}
        for kind, plan in plans(_upstreams).items():
            env = {key_variable("outside"): "hosted-key"} if kind == "open" else {}
            routers[kind] = stack.enter_context(running(folder / kind, plan, KEYS, env))
        for router in routers.values():
            wait_until_ready(router)
        yield routers


@pytest.fixture
def router(_routers: dict[str, RunningRouter], upstreams: dict[str, Upstream]) -> RunningRouter:
    """The open router, with the standard plan in force."""
    _routers["open"].apply(plans(upstreams)["open"])
    return _routers["open"]


@pytest.fixture
def restricted_router(_routers: dict[str, RunningRouter], upstreams: dict[str, Upstream]) -> RunningRouter:
    _routers["restricted"].apply(plans(upstreams)["restricted"])
    return _routers["restricted"]


@pytest.fixture(scope="session")
def _hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningRouter, Hosted, Hosted]]:
    if not PYTHON.exists():
        pytest.skip(f"no LiteLLM at {PYTHON}: install requirements/router.txt there, or set COMPTROLLER_ROUTER_PYTHON")
    with ExitStack() as stack:
        claude, gpt = (stack.enter_context(serving_hosted(one)) for one in (anthropic(), openai()))
        env = {key_variable(pool): HOSTED_KEY for pool in ("claude", "gpt")}
        folder = tmp_path_factory.mktemp("hosted") / "router"
        router = stack.enter_context(running(folder, hosted_plan(claude, gpt), KEYS, env))
        wait_until_ready(router)
        yield router, claude, gpt


@pytest.fixture
def hosted(_hosted: tuple[RunningRouter, Hosted, Hosted]) -> Iterator[tuple[RunningRouter, Hosted, Hosted]]:
    """A router in front of two hosted APIs that keep their own books: Anthropic's and OpenAI's, well and without
    records. After a test that made one fail, LiteLLM has time to forgive."""
    for one in _hosted[1:]:
        one.requests.clear()
        one.headers.clear()
    yield _hosted
    failed = any(one.failed for one in _hosted[1:])
    for one in _hosted[1:]:
        one.fail(None)
        one.failed = False
    if failed:
        time.sleep(COOLDOWN_SECONDS + 0.5)
