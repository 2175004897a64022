"""Requests that the gateway makes itself: through the same application as a client's, so that every backend is asked,
priced and limited in the one way; but counted as nobody's demand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from . import guard, hooks
from .charge import CHARGE, Charge
from .errors import Refusal
from .hooks import Admitted
from .live import Live
from .places import PLACE, Place
from .prompt import PROMPT, read

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
LARGEST_ANSWER_BYTES = 64 * 1024 * 1024


@dataclass
class Whole:
    """An answer that is not streamed. Status 504: it did not come in time; 500: it broke."""

    status: int = 500
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    complete: bool = False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", []))
        elif message["type"] == "http.response.body" and len(self.body) <= LARGEST_ANSWER_BYTES:
            self.body += message.get("body", b"")
            self.complete = not message.get("more_body", False)

    @property
    def pool(self) -> str:
        """Who gave it."""
        found = next((value for name, value in self.headers if name.lower() == b"x-litellm-model-id"), b"")
        return found.decode("latin-1").rpartition("/")[0]

    def messages(self, *extra: tuple[bytes, bytes]) -> list[dict[str, Any]]:
        """The same for a client, with further headers."""
        headers = [*self.headers, *extra]
        return [
            {"type": "http.response.start", "status": self.status, "headers": headers},
            {"type": "http.response.body", "body": self.body},
        ]


@dataclass
class Inner:
    """Asks. `scope` of a request is that of the client's request on whose behalf it is made."""

    app: App
    live: Live

    async def ask(
        self,
        scope: Scope,
        path: str,
        body: dict[str, Any],
        admitted: Admitted,
        seconds: float,
        *,
        only: frozenset[str] | None = None,
        gone: asyncio.Event | None = None,
    ) -> Whole:
        """One answer, of whatever status. `only` are the pools that may be asked; `gone` is set when nobody wants it.
        The request takes a place at its pool like any other: 429 where there is none."""
        content = json.dumps(body).encode()
        whole, place, late = Whole(), Place(self.live.places, only), False
        charge = Charge(self.live.spending, admitted.tenant, admitted.route, body, len(content))
        mark, bill = PLACE.set(place), CHARGE.set(charge)
        prompt = PROMPT.set(read(path, admitted.tenant, admitted.route, scope["headers"], body))
        try:
            async with asyncio.timeout(seconds):
                await self.app(forwarded(scope, path, content, admitted), replay(content, gone), whole.send)
        except TimeoutError:
            late = True
            return failed(504)
        except Exception:  # noqa: BLE001 - LiteLLM raises whatever it likes, and its texts may hold the prompt
            return failed(500)
        finally:
            PLACE.reset(mark)
            CHARGE.reset(bill)
            PROMPT.reset(prompt)
            charge.close(produced=late or whole.status == 200, pieces=0, book=hooks.usage.book)
            place.close()
        if whole.status == 429 and charge.refusal is not None:
            return refused(charge.refusal)
        return whole if whole.complete else failed(500)


def refused(refusal: Refusal) -> Whole:
    """A refusal as an answer."""
    body = refusal.body()
    headers = {"content-type": "application/json", "content-length": str(len(body))} | dict(refusal.headers)
    return Whole(refusal.status, [(name.encode(), value.encode()) for name, value in headers.items()], body)


def failed(status: int) -> Whole:
    """An answer that did not come, in OpenAI's shape and without a word of what was asked."""
    text = "the answer did not come in time" if status == 504 else "the answer broke off"
    return refused(Refusal(status, "error", "no_answer", f"{text}; try again"))


def forwarded(scope: Scope, path: str, content: bytes, admitted: Admitted) -> Scope:
    """A request as LiteLLM shall see it: canonical path, no query, no key, only headers that steer nothing."""
    headers = [(name, value) for name, value in scope["headers"] if name.lower() in guard.FORWARDED_HEADERS]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    return {
        **scope,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "comptroller": admitted,
    }


def replay(content: bytes, gone: asyncio.Event | None = None) -> Receive:
    """The body once, and after it only the news that the client has left."""
    pending, left = [content], gone or asyncio.Event()

    async def wrapped() -> MutableMapping[str, Any]:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    return wrapped
