"""What is added for a hosted pool's cache: by the provider's rules, the pool's declaration and the route's wishes."""

from __future__ import annotations

from typing import Any

import pytest

from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import Backend, Route, RoutePromptCache
from comptroller.render.router.caches import BackendCache, backend_cache, lives_of


def pool(provider: str = "anthropic", model: str = "claude-sonnet-4-5", **cache: Any) -> ModelPoolSpec:
    hosted = {"provider": provider, "baseUrl": "https://llm.example.com/v1"} | ({"promptCache": cache} if cache else {})
    place = {"jurisdiction": "US", "perimeter": "external"}
    return ModelPoolSpec.model_validate({"model": {"name": model}, "location": place, "hosted": hosted})


def cache(given: ModelPoolSpec, chosen: str | None = None, **asked: Any) -> BackendCache | None:
    wishes = RoutePromptCache(**asked) if asked else None
    route = Route(name="chat", backends=[Backend(pool="p")], prompt_cache=wishes)
    return backend_cache("ai/policy", route, given, chosen)


def test_a_route_that_asks_for_nothing_gets_no_marks() -> None:
    assert cache(pool()) is None


def test_where_nothing_is_said_the_shared_parts_are_marked() -> None:
    assert cache(pool(), ttl="auto") == BackendCache((("tools", "5m"), ("system", "5m")), 1024)


def test_marks_stand_along_the_prompt_for_as_long_as_asked() -> None:
    parts = ["lastMessage", "system", "tools"]

    made = cache(pool(), breakpoints=parts, ttl="1h")

    assert made is not None
    assert made.marks == (("tools", "1h"), ("system", "1h"), ("lastMessage", "1h"))


def test_what_pays_is_taken_and_the_last_message_lives_short() -> None:
    made = cache(pool(), "1h", breakpoints=["tools", "lastMessage"])
    none = cache(pool(), "none", breakpoints=["tools", "lastMessage"])

    assert made is not None
    assert made.marks == (("tools", "1h"), ("lastMessage", "5m"))
    assert none is not None
    assert none.marks == (("lastMessage", "5m"),)
    assert cache(pool(), "none", ttl="auto") is None


def test_a_life_that_is_not_offered_becomes_one_that_is() -> None:
    short = pool(mode="explicit", ttls=["5m"], minimumTokens=4096)

    assert cache(short, ttl="1h") == BackendCache((("tools", "5m"), ("system", "5m")), 4096)
    assert lives_of(short) == ("5m",)
    assert lives_of(pool(mode="explicit", ttls=["1h", "5m"])) == ("5m", "1h")


@pytest.mark.parametrize("provider", ["openai", "azure", "fireworks"])
def test_a_stable_key_for_those_who_take_one(provider: str) -> None:
    first, again = cache(pool(provider, "gpt-5")), cache(pool(provider, "gpt-5"), ttl="1h")

    assert first is not None
    assert first == again
    assert first.key is not None
    assert len(first.key) == 32
    assert not first.marks


@pytest.mark.parametrize("provider", ["openai", "anthropic", "azure", "bedrock"])
def test_never_means_never(provider: str) -> None:
    assert cache(pool(provider, mode="none"), breakpoints=["tools"], ttl="1h") is None
    assert lives_of(pool(provider, mode="none")) == ()


@pytest.mark.parametrize("provider", ["mistral", "deepseek", "together", "groq", "openaiCompatible"])
def test_others_get_nothing_that_they_may_refuse(provider: str) -> None:
    assert cache(pool(provider), ttl="1h") is None
    assert cache(pool(provider, mode="explicit"), ttl="1h") is None


@pytest.mark.parametrize(
    ("provider", "model", "takes"),
    [
        ("bedrock", "anthropic.claude-sonnet-4-5-v1:0", True),
        ("bedrock", "amazon.nova-pro-v1:0", True),
        ("bedrock", "meta.llama4-maverick-v1:0", False),
        ("vertex", "claude-sonnet-4-5", True),
        ("vertex", "gemini-2.5-pro", False),
    ],
)
def test_clouds_take_marks_for_the_models_that_know_them(provider: str, model: str, takes: bool) -> None:
    made = cache(pool(provider, model, mode="explicit"), ttl="1h")

    assert (made is not None) is takes
    assert cache(pool(provider, model), ttl="1h") is None  # not unless it is declared
    if made is not None:
        assert made.marks == (("tools", "5m"), ("system", "5m"))
