"""The tokenizer: equal text, equal tokens; a conversation continued starts with the tokens it had."""

from hypothesis import given
from hypothesis import strategies as st

from e2e.engines.tokens import count_tokens, generated_text, render_chat, tokenize


def test_four_ascii_characters_are_one_token() -> None:
    assert count_tokens(tokenize("abcdefgh")) == 2
    assert count_tokens(tokenize("abcdefghi")) == 3
    assert count_tokens(tokenize("")) == 0


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_longer_conversation_starts_with_the_tokens_of_the_shorter(first: str, second: str) -> None:
    short = render_chat([("user", first)])
    long = render_chat([("user", first), ("assistant", "fine"), ("user", second)])
    assert long.startswith(short)


@given(st.integers(0, 2**48), st.integers(1, 40))
def test_an_answer_sent_back_as_history_has_the_tokens_that_were_generated(seed: int, length: int) -> None:
    prompt = render_chat([("user", "What is it?")])
    answer = generated_text(seed, 0, length)
    assert count_tokens(tokenize(answer)) == length
    next_turn = render_chat([("user", "What is it?"), ("assistant", answer), ("user", "And then?")])
    assert next_turn.startswith(prompt + tokenize(answer))


@given(st.integers(0, 2**48), st.integers(0, 30), st.integers(0, 30))
def test_an_answer_is_the_same_however_it_is_cut(seed: int, first: int, second: int) -> None:
    whole = generated_text(seed, 0, first + second)
    assert generated_text(seed, 0, first) + generated_text(seed, first, first + second) == whole
