"""The tokens of answers that ended early, which no provider has reported: the client left, or the stream broke.

OpenAI tells what a stream used only in its last event, Anthropic the prompt in its first one and the answer in its
last. LiteLLM then counts with tokenizers that are not the backend's own, and not everything. Whoever has answered
before has told how many tokens its bytes make, so what has passed is measured by that: of the prompt as the distance
from the last one that began alike, of the answer by its text.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, replace

from .prompt import Prompt
from .tokens import Tokens

FIRST_BYTES_PER_TOKEN = 4.0
MEMORY = 0.1
"""Weight of the newest answer in the mean bytes per token."""
MOST_PREFIXES = 5000
CACHED_SECONDS = 300.0
CACHED_STEP, CACHED_MINIMUM = 128, 1024
"""OpenAI finds prefixes of 1,024 tokens and more, in steps of 128."""
_SAID = re.compile(rb'"(?:content|text|reasoning_content|thinking|arguments|partial_json)": ?"((?:[^"\\]|\\.)*)"')


@dataclass
class Passed:
    """What the gateway has seen of one request."""

    prompt: Prompt
    input_bytes: int
    at_seconds: float
    output_bytes: int = 0
    unfinished: bool = False

    def heard(self, content: bytes) -> None:
        """A piece of the answer, of whichever protocol."""
        self.output_bytes += sum(len(text) for text in _SAID.findall(content))


@dataclass(frozen=True)
class Known:
    """The last answered prompt with some beginning."""

    input_bytes: int
    tokens: int
    at_seconds: float


class Estimates:
    """Bytes per token of each deployment, learned from answers that were reported whole."""

    def __init__(self) -> None:
        self._input: dict[str, float] = {}
        self._output: dict[str, float] = {}
        self._known: OrderedDict[tuple[str, bytes], Known] = OrderedDict()

    def settled(self, deployment: str, passed: Passed, tokens: Tokens, *, told: bool, keyed: bool) -> Tokens:
        """What is booked: as reported if the answer is whole, and learned from. `told`: the prompt's tokens are the
        provider's own; `keyed`: it caches by itself, as OpenAI does."""
        if not passed.unfinished:
            self._learn(deployment, passed, tokens)
            return tokens
        output = round(passed.output_bytes / self._output.get(deployment, FIRST_BYTES_PER_TOKEN))
        if told:
            return replace(tokens, output=output)
        total = self._prompt_tokens(deployment, passed)
        return Tokens(total, min(total, self._cached(deployment, passed) if keyed else 0), output=output)

    def _learn(self, deployment: str, passed: Passed, tokens: Tokens) -> None:
        for means, size, number in (
            (self._input, passed.input_bytes, tokens.input),
            (self._output, passed.output_bytes, tokens.output),
        ):
            if size > 0 and number > 0:
                before = means.get(deployment, size / number)
                means[deployment] = before + MEMORY * (size / number - before)
        if tokens.input > 0:
            self._known[self._key(deployment, passed)] = Known(passed.input_bytes, tokens.input, passed.at_seconds)
            if len(self._known) > MOST_PREFIXES:
                self._known.popitem(last=False)

    def _prompt_tokens(self, deployment: str, passed: Passed) -> int:
        """Worked: one of 8,000 bytes that began alike had 1,950 tokens; 8,200 bytes at 4 bytes a token: 2,000."""
        each, known = self._input.get(deployment, FIRST_BYTES_PER_TOKEN), self._known.get(self._key(deployment, passed))
        if known is None:
            return round(passed.input_bytes / each)
        return max(1, round(known.tokens + (passed.input_bytes - known.input_bytes) / each))

    def _cached(self, deployment: str, passed: Passed) -> int:
        """Tools and system prompt, if they were there within the last minutes."""
        known = self._known.get(self._key(deployment, passed))
        if known is None or passed.prompt.prefix is None or passed.at_seconds - known.at_seconds > CACHED_SECONDS:
            return 0
        sizes = passed.prompt.bytes_up_to or {}
        shared = sizes.get("system", sizes.get("tools", 0)) / self._input.get(deployment, FIRST_BYTES_PER_TOKEN)
        found = int(shared) // CACHED_STEP * CACHED_STEP
        return found if found >= CACHED_MINIMUM else 0

    @staticmethod
    def _key(deployment: str, passed: Passed) -> tuple[str, bytes]:
        return deployment, passed.prompt.prefix or passed.prompt.session


def tells_at_once(model: str | None) -> bool:
    """Whether the first event of a stream tells what the prompt was: Anthropic's does. By LiteLLM's name of a model."""
    return model is not None and (model.startswith("anthropic/") or "/claude" in model)


ESTIMATES = Estimates()
"""Those of this process."""
