"""The shapes that values of a request must have.

A value of the wrong shape (`"stream": "yes"`, `"n": 1000000000`) makes LiteLLM or an engine fail in ways that look like
a broken pool: the request would spill to a hosted API, and the pool would be left alone for a while. A client could so
buy answers outside, and turn others away. Such a request is told what is wrong with it, and nobody else is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .errors import MalformedError

LARGEST_INTEGER = 2**63 - 1
MOST_CHOICES = 128


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_INTEGER


def _number(value: Any) -> bool:
    return isinstance(value, float) or _integer(value)


def _object_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "true or false": lambda value: isinstance(value, bool),
    "true, false or an integer": lambda value: isinstance(value, bool) or _integer(value),
    "an integer": _integer,
    "an integer from 1 on": lambda value: _integer(value) and value >= 1,
    f"an integer from 1 to {MOST_CHOICES}": lambda value: _integer(value) and 1 <= value <= MOST_CHOICES,
    "a number": _number,
    "a text": lambda value: isinstance(value, str),
    "a list": lambda value: isinstance(value, list),
    "a list of objects": _object_list,
    "an object": lambda value: isinstance(value, Mapping),
    "a text or a list": lambda value: isinstance(value, str | list),
    "a text or an object": lambda value: isinstance(value, str | Mapping),
}
_NAMES: Mapping[str, str] = {
    "true or false": "stream echo ignore_eos parallel_tool_calls store add_generation_prompt continue_final_message",
    "true, false or an integer": "logprobs",
    "an integer": "top_k top_logprobs min_tokens seed",
    "an integer from 1 on": "max_tokens max_completion_tokens dimensions",
    f"an integer from 1 to {MOST_CHOICES}": "n best_of",
    "a number": "temperature top_p frequency_penalty presence_penalty min_p repetition_penalty",
    "a text": "user suffix prompt_cache_key safety_identifier verbosity cache_salt guided_regex guided_grammar "
    "encoding_format",
    "a list": "modalities stop_sequences guided_choice stop_token_ids",
    "a list of objects": "messages tools functions",
    "an object": "stream_options logit_bias response_format thinking audio prediction chat_template_kwargs "
    "output_config structured_outputs metadata",
    "a text or a list": "stop system prompt input",
    "a text or an object": "tool_choice function_call reasoning_effort guided_json",
}
SHAPES: Mapping[str, str] = {name: kind for kind, names in _NAMES.items() for name in names.split()}
"""Name of a parameter -> what it must be."""


def check_shapes(body: Mapping[str, Any]) -> None:
    """Raises `MalformedError` for the first value of a wrong shape. `null` is as good as nothing."""
    for name, value in body.items():
        kind = SHAPES.get(name)
        if kind is not None and value is not None and not _KINDS[kind](value):
            raise MalformedError(f"{name}: must be {kind}")
