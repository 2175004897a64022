"""Two hundred configurations while clients ask without a pause: nobody notices."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Self

import anthropic
import openai
import pytest

from .plans import decided, plans
from .running import RunningRouter
from .stubs import Upstream

pytestmark = [pytest.mark.router, pytest.mark.timeout(900)]

CHANGES = 200
HELLO: Any = [{"role": "user", "content": "hello"}]
BROKEN = ("model_list: [", "x_comptroller: 3", "model_list: []")


class Load:
    """Real clients, each asking again and again until the end; without retries, so that no failure is hidden."""

    def __init__(self, url: str) -> None:
        openai_client = openai.OpenAI(base_url=f"{url}/v1", api_key="key-a", max_retries=0, timeout=60)
        claude = anthropic.Anthropic(base_url=url, api_key="key-a", max_retries=0, timeout=60)
        self.answered: dict[str, int] = {}
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(name, ask))
            for name, ask in {
                "whole": lambda: self._whole(openai_client),
                "stream": lambda: self._stream(openai_client),
                "anthropic": lambda: self._anthropic(claude),
            }.items()
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, name: str, ask: Callable[[], bool]) -> None:
        while not self._stop.is_set():
            try:
                complete = ask()
            except Exception as error:  # noqa: BLE001 - whatever a client raises is a failed request
                self.failures.append(f"{name}: {type(error).__name__}: {error}")
            else:
                self.answered[name] = self.answered.get(name, 0) + 1
                if not complete:
                    self.failures.append(f"{name}: an answer was cut short")

    @staticmethod
    def _whole(client: openai.OpenAI) -> bool:
        answer = client.chat.completions.create(model="chat", messages=HELLO)
        return answer.choices[0].message.content in ("one", "two", "outside")

    @staticmethod
    def _stream(client: openai.OpenAI) -> bool:
        pieces = client.chat.completions.create(model="chat", messages=HELLO, stream=True)
        return "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == "abcde"

    @staticmethod
    def _anthropic(client: anthropic.Anthropic) -> bool:
        with client.messages.stream(model="chat", max_tokens=10, messages=HELLO) as stream:
            return "".join(stream.text_stream) == "abcde"


def test_two_hundred_changes_under_load_lose_no_request(router: RunningRouter, upstreams: dict[str, Upstream]) -> None:
    applied, rejected = (f'comptroller_router_reloads_total{{result="{one}"}}' for one in ("applied", "rejected"))
    before = router.metrics()

    with Load(router.url) as load:
        for number in range(CHANGES):
            pools = [("one", "two"), ("two", "outside"), ("outside", "one"), ("one",)][number % 4]
            part = 0.5 + 0.4 * number / CHANGES
            shares = dict(zip(pools, (part, 1 - part), strict=False))
            reserve = tuple({"one", "two", "outside"} - {*pools})
            router.apply(plans(upstreams, chat=decided("chat", shares, reserve))["open"])
            if number % 50 == 25:  # between good ones also some that cannot be used
                wrong = router.metrics().get(rejected, 0.0)
                router.put_text(BROKEN[number // 50 % len(BROKEN)])
                router.wait_for(rejected, wrong + 1)

    assert load.failures == []
    assert min(load.answered.get(name, 0) for name in ("whole", "stream", "anthropic")) > 50
    after = router.metrics()
    assert after[applied] - before.get(applied, 0.0) == CHANGES
    assert after[rejected] - before.get(rejected, 0.0) == CHANGES // 50
