"""Answers that ended early are measured by those that were reported whole."""

from __future__ import annotations

from comptroller.router_plugin.estimates import Estimates, Passed
from comptroller.router_plugin.prompt import Prompt
from comptroller.router_plugin.tokens import Tokens

AT = "ai/gpt/chat"
PROMPT = Prompt("/v1/chat/completions", b"s", b"p", {"system": 8000, "lastMessage": 8200})


def passed(size: int = 8200, said: int = 200, at: float = 0.0, *, unfinished: bool = False) -> Passed:
    return Passed(PROMPT, size, at, said, unfinished)


def test_a_whole_answer_is_booked_as_reported() -> None:
    tokens = Tokens(2000, 500, output=50)

    assert Estimates().settled(AT, passed(), tokens, told=False, keyed=True) == tokens


def test_a_broken_one_by_what_its_bytes_were_before() -> None:
    estimates = Estimates()
    estimates.settled(AT, passed(), Tokens(2050, output=100), told=True, keyed=True)

    broken = passed(8400, 80, 60.0, unfinished=True)

    assert estimates.settled(AT, broken, Tokens(1, output=9), told=False, keyed=True) == Tokens(2100, 1920, output=40)
    assert estimates.settled(AT, broken, Tokens(1, output=9), told=False, keyed=False) == Tokens(2100, output=40)


def test_what_the_provider_has_told_of_the_prompt_stays() -> None:
    told = Tokens(2050, 100, 200, 300, 7)

    made = Estimates().settled(AT, passed(said=40, unfinished=True), told, told=True, keyed=False)

    assert made == Tokens(2050, 100, 200, 300, 10)


def test_a_cache_is_forgotten_after_a_while() -> None:
    estimates = Estimates()
    estimates.settled(AT, passed(), Tokens(2050, output=100), told=True, keyed=True)

    late = estimates.settled(AT, passed(at=400.0, unfinished=True), Tokens(), told=False, keyed=True)

    assert (late.input, late.cached_input) == (2050, 0)


def test_the_text_of_either_protocol_is_heard_and_nothing_is_kept_of_it() -> None:
    one = passed(said=0)

    one.heard(b'data: {"choices":[{"delta":{"content":"hello"}}]}\n\n')
    one.heard(b'data: {"delta": {"type": "text_delta", "text": "a\\"b"}}\n\n')

    assert one.output_bytes == 9
    assert "hello" not in repr(one)
