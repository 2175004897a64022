"""A tokenizer without a vocabulary: four UTF-8 bytes are one token.

Real tokenizers average about four characters of English per token, so counts come out near the truth, and what a
prefix cache needs holds exactly: equal text has equal tokens, and a prompt that continues another one starts with the
same tokens. The second needs care. Every message is cut on its own and padded to whole tokens, and the marks between
messages are tokens that no text can produce; so the answer of one turn, sent back as history in the next, gives the
very tokens that were generated, and its cache blocks are found again.

A token sequence is a plain `bytes` of 4 bytes a token: a 3,000-token prompt is one 12 kB object that is cut, compared
and hashed at C speed, rather than a list of 3,000 integers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

BYTES_PER_TOKEN = 4

# 0xFF occurs in no UTF-8 text: these four-byte words are markers only.
_MARK_START = b"\xff\xff\xff\x01"
_MARK_END = b"\xff\xff\xff\x02"

# 64 pieces of four ASCII characters: text made of them is cut back into the same tokens.
_SYLLABLES = ("ba", "de", "fi", "go", "hu", "ka", "lo", "mi")
_PIECES = tuple(f"{syllable}{end} " for syllable in _SYLLABLES for end in "bdfgklmn")


def tokenize(text: str) -> bytes:
    """Cut one text into tokens: `count_tokens(tokenize("abcdefghi")) == 3`, the last one padded with zero bytes."""
    raw = text.encode("utf-8", "surrogatepass")
    return raw + b"\0" * (-len(raw) % BYTES_PER_TOKEN)


def count_tokens(tokens: bytes) -> int:
    return len(tokens) // BYTES_PER_TOKEN


def message_start(role: str) -> bytes:
    return _MARK_START + tokenize(role)


def message_end() -> bytes:
    return _MARK_END


def render_chat(messages: Iterable[tuple[str, str]]) -> bytes:
    """Lay out (role, text) pairs as a chat template does, ending where the assistant starts to speak.

    Each message costs its text plus 1 token for its start, 1-3 for its role and 1 for its end.
    """
    parts: list[bytes] = []
    for role, text in messages:
        parts += [message_start(role), tokenize(text), message_end()]
    parts.append(message_start("assistant"))
    return b"".join(parts)


def generated_piece(seed: int, index: int) -> str:
    """The four characters of the token at `index` of the answer drawn from `seed`; the same on every run."""
    return _PIECES[((seed * 2_654_435_761 + index * 40_503) >> 7) % len(_PIECES)]


def generated_text(seed: int, start: int, end: int) -> str:
    """The text of tokens `start` (included) to `end` (excluded) of that answer."""
    return "".join(generated_piece(seed, index) for index in range(start, end))


def answer_seed(server_seed: int, prompt: bytes) -> int:
    """One seed for one prompt, so that the same question gets the same answer from every replica."""
    digest = hashlib.blake2b(prompt, digest_size=6, key=server_seed.to_bytes(8, "big", signed=True)).digest()
    return int.from_bytes(digest, "big")
