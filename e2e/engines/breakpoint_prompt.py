"""An Anthropic request as the cache sees it: a row of blocks, some of which end a cacheable prefix.

The order of the row is fixed: tools, then system, then messages. A `cache_control` on a block makes everything up to
and including it a prefix to keep, for 5 minutes or, with `"ttl": "1h"`, for an hour. At most four blocks may carry one,
and along the row a longer life may not follow a shorter one.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .openai_wire import BadRequestError, compact
from .tokens import count_tokens, message_end, message_start, tokenize

MOST_BREAKPOINTS = 4
_LIVES = ("5m", "1h")


@dataclass(frozen=True, slots=True)
class PrefixBlock:
    """One block of the row, and what the prefix that it ends amounts to."""

    place: str  # as error messages name it: "system.0", "messages.2.content.0"
    prefix_tokens: int
    prefix_hash: bytes
    life: str | None  # "5m", "1h", or None without cache_control


@dataclass(frozen=True, slots=True)
class BreakpointPrompt:
    blocks: tuple[PrefixBlock, ...]
    tokens: int  # of the whole prompt, the cue for the answer included
    digest: bytes  # stands for the whole prompt, to draw the answer from

    @property
    def breakpoints(self) -> list[int]:
        """Positions of the blocks with cache_control."""
        return [position for position, block in enumerate(self.blocks) if block.life is not None]


def read_prompt(body: dict[str, Any]) -> BreakpointPrompt:
    """Lay out the request's blocks. Raises BadRequestError in the provider's words if the breakpoints break a rule."""
    chain, total = b"", 0
    blocks: list[PrefixBlock] = []
    for place, lead, block in _blocks(body):
        life = _life(block, place)
        tokens = lead + tokenize(_text(block))
        chain = hashlib.blake2b(tokens, digest_size=16, key=chain).digest()
        total += count_tokens(tokens)
        blocks.append(PrefixBlock(place, total, chain, life))
    _check_rules(blocks)
    cue = message_start("assistant")
    return BreakpointPrompt(tuple(blocks), total + count_tokens(cue), chain)


def _blocks(body: dict[str, Any]) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """(place, tokens before the block's own, block) along the row."""
    for index, tool in enumerate(_dicts(body.get("tools") or [], "tools")):
        yield f"tools.{index}", b"", tool
    system = body.get("system") or []
    for index, block in enumerate(_dicts(_as_blocks(system), "system")):
        yield f"system.{index}", message_start("system") if index == 0 else b"", block
    messages = _dicts(body.get("messages"), "messages")
    if not messages:
        raise BadRequestError("messages: at least one message is required")
    for number, message in enumerate(messages):
        if message.get("role") not in ("user", "assistant"):
            raise BadRequestError(f"messages.{number}.role: Input should be 'user' or 'assistant'")
        # The end of the message before is counted here: it is known only once another message follows.
        lead = (message_end() if number or system else b"") + message_start(str(message["role"]))
        for index, block in enumerate(_dicts(_as_blocks(message.get("content")), f"messages.{number}.content")):
            yield f"messages.{number}.content.{index}", lead if index == 0 else b"", block


def _as_blocks(content: object) -> object:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _dicts(value: object, place: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise BadRequestError(f"{place}: Input should be a valid list of objects")
    return value


def _text(block: dict[str, Any]) -> str:
    if block.get("type") == "text" and isinstance(block.get("text"), str):
        return str(block["text"])
    return compact({name: value for name, value in block.items() if name != "cache_control"})


def _life(block: dict[str, Any], place: str) -> str | None:
    control = block.get("cache_control")
    if control is None:
        return None
    if not isinstance(control, dict) or control.get("type") != "ephemeral":
        raise BadRequestError(f"{place}.cache_control.type: Input should be 'ephemeral'")
    life = control.get("ttl", "5m")
    if life not in _LIVES:
        raise BadRequestError(f"{place}.cache_control.ttl: Input should be '5m' or '1h'")
    return str(life)


def _check_rules(blocks: list[PrefixBlock]) -> None:
    marked = [block for block in blocks if block.life is not None]
    if len(marked) > MOST_BREAKPOINTS:
        raise BadRequestError(
            f"A maximum of {MOST_BREAKPOINTS} blocks with cache_control may be provided. Found {len(marked)}."
        )
    for earlier, later in itertools.pairwise(marked):
        if earlier.life == "5m" and later.life == "1h":
            raise BadRequestError(
                f"{later.place}.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' "
                "cache_control block. Note that blocks are processed in the following order: `tools`, `system`, "
                "`messages`."
            )
