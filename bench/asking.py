"""A client that asks one chat completion after the other and reads each answer to its end."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import httpx

WORDS = 60  # of each question


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request."""

    name: str
    tokens: int
    stream: bool


WHOLE = Kind("whole, 50 tokens", 50, stream=False)
SHORT = Kind("streamed, 10 tokens", 10, stream=True)
LONG = Kind("streamed, 50 tokens", 50, stream=True)
KINDS = (WHOLE, SHORT, LONG)


class WrongAnswerError(Exception):
    """An answer that is not what was asked for: figures over such answers would mean nothing."""


class Client:
    """Asks one server, over one connection that is kept."""

    def __init__(self, base_url: str, model: str, key: str = "") -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=base_url, headers=headers, timeout=60.0)
        self._model = model
        self._asked = 0

    def close(self) -> None:
        self._http.close()

    def ask(self, kind: Kind, count: int) -> list[float]:
        """Asks so often and returns the seconds of each answer. Raises WrongAnswerError."""
        seconds = []
        for _ in range(count):
            begun = time.perf_counter()
            self._one(kind)
            seconds.append(time.perf_counter() - begun)
        return seconds

    def _one(self, kind: Kind) -> None:
        self._asked += 1
        question = f"Question {self._asked}: " + "covenant " * WORDS
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": kind.tokens,
            "stream": kind.stream,
        }
        with self._http.stream("POST", "/v1/chat/completions", json=body) as answer:
            text = answer.read()
        words = sum(len(piece.split()) for piece in re.findall(rb'"content": ?"([^"]*)"', text))
        complete = text.rstrip().endswith(b"[DONE]") if kind.stream else True
        if answer.status_code != 200 or words != kind.tokens or not complete:
            raise WrongAnswerError(f"{answer.status_code} with {words} words: {text[-300:]!r}")
