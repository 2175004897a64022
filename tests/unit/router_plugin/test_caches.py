"""What is added so that a provider caches: its rules hold whatever the client has marked itself."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.router_plugin.caches import MOST_MARKS, Cache, added, marks
from comptroller.router_plugin.prompt import CHAT, MESSAGES, PARTS, Mark, Prompt

LONG = dict(zip(PARTS, (10_000, 20_000, 30_000), strict=True))
ALL = Cache(dict.fromkeys(PARTS, "1h"), minimum_tokens=1024)


def prompt(*theirs: Mark, path: str = MESSAGES, sizes: dict[str, int] = LONG, **more: Any) -> Prompt:
    return Prompt(path, b"s", b"p", sizes, theirs, **({"last_can_be_marked": True} | more))


def test_every_part_is_marked_along_the_row() -> None:
    assert list(marks(ALL, prompt()).items()) == [("tools", "1h"), ("system", "1h"), ("lastMessage", "1h")]


def test_what_is_surely_too_short_is_not_marked() -> None:
    assert marks(ALL, prompt(sizes={"tools": 3000, "system": 3072, "lastMessage": 9000})).keys() == {
        "system",
        "lastMessage",
    }
    assert marks(ALL, prompt(sizes={"lastMessage": 2000})) == {}


def test_a_part_that_the_client_has_marked_is_left_to_it() -> None:
    assert marks(ALL, prompt(Mark("system", "1h"))).keys() == {"tools", "lastMessage"}


def test_a_shorter_life_of_the_client_shortens_what_comes_after_it() -> None:
    assert marks(ALL, prompt(Mark("tools", "5m"))) == {"system": "5m", "lastMessage": "5m"}


def test_nothing_short_comes_before_a_longer_life_of_the_client() -> None:
    assert marks(Cache({"tools": "5m", "system": "5m"}), prompt(Mark("lastMessage", "1h"))) == {}


def test_an_end_that_cannot_be_marked_is_not() -> None:
    assert "lastMessage" not in marks(ALL, prompt(last_can_be_marked=False))


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(PARTS), max_size=6).map(lambda found: sorted(found, key=PARTS.index)),
    st.integers(0, 6),
    st.sampled_from([ALL, Cache({"tools": "1h", "lastMessage": "5m"}), Cache({"system": "5m", "lastMessage": "5m"})]),
)
def test_at_most_four_and_longer_ones_first(theirs: list[str], hours: int, cache: Cache) -> None:
    given_marks = [Mark(part, "1h" if index < hours else "5m") for index, part in enumerate(theirs)]

    ours = marks(cache, prompt(*given_marks))

    assert len(ours) + len(given_marks) <= max(MOST_MARKS, len(given_marks))
    row = [(PARTS.index(part), life) for part, life in ours.items()]
    row += [(PARTS.index(one.part), one.ttl) for one in given_marks]
    for (one, life), (other, later) in itertools.product(row, row):
        assert not (one < other and life == "5m" and later == "1h")


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
def test_other_paths_get_nothing(path: str) -> None:
    assert added(Cache({}, key="k"), prompt(path=path)) == {}
    assert added(ALL, prompt(path=path)) == {}


def test_the_words_are_litellms() -> None:
    five, hour = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
    cache = Cache({"tools": "1h", "system": "1h", "lastMessage": "5m"})

    assert added(cache, prompt()) == {
        "cache_control_injection_points": [
            {"location": "tool_config", "control": hour},
            {"location": "message", "role": "system", "control": hour},
            {"location": "message", "index": -1, "control": five},
        ]
    }
    (point,) = added(Cache({"system": "5m"}), prompt(path=CHAT, system_index=2))["cache_control_injection_points"]
    assert point == {"location": "message", "index": 2, "control": five}
    assert added(Cache({}, key="k"), prompt(path=CHAT)) == {"prompt_cache_key": "k"}


@pytest.mark.parametrize("entry", [{"marks": {"tools": "2h"}}, {"marks": {"nowhere": "5m"}}])
def test_an_entry_that_is_none_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="marks"):
        Cache.parse(entry)
