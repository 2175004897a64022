"""The gateway around LiteLLM's application: count, authenticate, check, then hand over; and watch the answer go by."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from . import guard, hooks, metrics, quiet, verify
from .answer import Answer, Send
from .body import Receive, read_object
from .charge import CHARGE, Charge
from .config import Config, Route, Tenant
from .errors import MalformedError, Refusal, RefusedError
from .estimates import Passed
from .inner import Inner, forwarded, replay
from .keep import Keeper
from .keys import presented_key
from .live import Live
from .places import PLACE, Place
from .prompt import PROMPT, Prompt, read
from .watching import Watching

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEALTH = frozenset({"/health/readiness", "/health/liveliness", "/health/liveness"})
MODELS = frozenset({"/v1/models", "/models"})
METRICS = frozenset({"/metrics", "/metrics/"})


class Gateway:
    """Pure ASGI middleware, outside everything of LiteLLM's own.

    Only the paths that lead to a model, the list of routes, health and metrics exist; LiteLLM's management, debugging
    and pass-through paths do not.
    """

    def __init__(self, app: App, live: Live, keeper: Keeper) -> None:
        self.app = app
        self.live = live
        self.inner = Inner(app, live)
        self.watching = Watching(self.inner)
        self._keeper = keeper
        self._tasks: list[asyncio.Task[None]] = []
        hooks.bind(live)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, self._starting(send))
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})

    def _starting(self, send: Send) -> Send:
        """Begins to watch the configuration once LiteLLM has read its own copy."""

        async def wrapped(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._tasks = [asyncio.create_task(one()) for one in (self.live.watch, self._keeper.run)]
                quiet.begin()
            elif message["type"] == "lifespan.shutdown.complete":
                await self._keeper.close()
            await send(message)

        return wrapped

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if path in METRICS and method == "GET":
            await respond(send, 200, generate_latest(), CONTENT_TYPE_LATEST)
        elif path in HEALTH and method == "GET":
            await respond(send, 200, b'{"status":"healthy"}', "application/json")
        elif path in MODELS and method == "GET":
            await self._models(scope, send)
        elif path in guard.PATHS and method == "POST":
            await self._model(guard.PATHS[path], scope, receive, send)
        else:
            await refuse(send, UNKNOWN_PATH)

    async def _models(self, scope: Scope, send: Send) -> None:
        config = self.live.config
        tenant = self.live.keys.tenant_of(presented_key(scope["headers"]))
        if tenant is None:
            await refuse(send, UNAUTHORIZED)
            return
        names = [name for name in config.routes if tenant.may_use(name)]
        models = [{"id": name, "object": "model", "created": 0, "owned_by": config.policy} for name in names]
        await respond(send, 200, json.dumps({"object": "list", "data": models}).encode(), "application/json")

    async def _model(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        arrived = asyncio.get_running_loop().time()
        config = self.live.config
        tenant = self.live.keys.tenant_of(presented_key(scope["headers"]))
        # nobody's body is read: what is not read, uvicorn throws away
        body = UNAUTHORIZED if tenant is None else await read_object(scope["headers"], receive)
        asked = None if isinstance(body, Refusal) else body.get("model")
        route = config.routes.get(asked) if isinstance(asked, str) else None
        outcome = decide(config, path, scope, body, tenant, route)
        if tenant is not None and route is not None and not isinstance(outcome, Refusal):
            outcome = self.live.spending.refusal(tenant.name, route.name) or outcome
        demand = not isinstance(outcome, Refusal) or outcome.outcome in ("shed", "budget")
        metrics.REQUESTS.labels(
            config.policy,
            route.name if demand and route else metrics.UNKNOWN,
            tenant.name if tenant else metrics.UNKNOWN,
            route.workflow if demand and route else "",
            route.step if demand and route else "",
        ).inc()
        if isinstance(outcome, Refusal):
            who = tenant.name if tenant else metrics.UNKNOWN
            what = route.name if route else metrics.UNKNOWN
            metrics.RESPONSES.labels(config.policy, what, who, metrics.NONE, outcome.outcome).inc()
            await refuse(send, outcome)
            return
        if tenant is None or route is None:
            raise AssertionError("decide() admits only a known tenant on a known route")
        admitted = hooks.Admitted(config.policy, tenant.name, route.name)
        prompt = read(path, tenant.name, route.name, scope["headers"], outcome)
        self.live.prefixes.arrived(route.name, prompt.prefix, arrived)
        await self._answer(admitted, prompt, outcome, arrived, scope, receive, send)

    async def _answer(
        self,
        admitted: hooks.Admitted,
        prompt: Prompt,
        body: dict[str, Any],
        arrived: float,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        path = prompt.path
        wants_usage = ask_for_usage(path, body)
        config, gone = self.live.config, asyncio.Event()
        verified = verify.verified(self.inner, config, admitted, scope, path, body, gone)
        drawn = None if verified else self.watching.drawn(config, admitted, path, body, scope)
        send = drawn.listening(send) if drawn else send
        clock = asyncio.get_running_loop().time
        answer = Answer(admitted, arrived, clock, send, drop_usage=not wants_usage, timed=verified is None)
        content = json.dumps(body).encode()
        listening = asyncio.create_task(listen(receive, answer, gone))
        place = Place(self.live.places)
        charge = Charge(self.live.spending, admitted.tenant, admitted.route, body, len(content))
        answer.passed = charge.passed = Passed(prompt, len(content), arrived)
        book = partial(hooks.usage.book, passed=charge.passed)
        marks = PLACE.set(place), PROMPT.set(prompt), CHARGE.set(charge)
        with metrics.IN_FLIGHT.labels(admitted.policy, admitted.route).track_inprogress():
            try:
                if verified is not None:
                    await verified.send(answer.send)
                else:
                    received = replay(content, gone)
                    await self.app(forwarded(scope, path, content, admitted), received, unless_spent(charge, answer))
            finally:
                PLACE.reset(marks[0])
                PROMPT.reset(marks[1])
                CHARGE.reset(marks[2])
                place.close()
                listening.cancel()
                answer.end()
                charge.close(produced=answer.produced, pieces=answer.pieces, book=book)
                if drawn is not None:
                    drawn.ended()


UNAUTHORIZED = Refusal(
    401,
    "unauthorized",
    "invalid_api_key",
    "a valid key is needed: send it as `Authorization: Bearer KEY`; it is a value of the tenant's Secret",
)
UNKNOWN_PATH = Refusal(
    404, "unknown_path", "not_found", f"there are only {', '.join(sorted(guard.PERMITTED))} (POST) and /v1/models (GET)"
)


def decide(
    config: Config,
    path: str,
    scope: Scope,
    body: dict[str, Any] | Refusal,
    tenant: Tenant | None,
    route: Route | None,
) -> dict[str, Any] | Refusal:
    """The body to hand over, or why not. In this order: who, what, whether permitted, whether harmless, whether there
    is room."""
    if tenant is None:
        return UNAUTHORIZED
    if isinstance(body, Refusal):
        return body
    if route is None:
        return unknown_route(config, tenant, body.get("model"))
    if not tenant.may_use(route.name):
        mine = ", ".join(name for name in config.routes if tenant.may_use(name)) or "none"
        message = (
            f"tenant {tenant.name} may not use route {route.name}; its routes here: {mine}. "
            "Ask for one of those, or have it added to the tenant in the policy's spec.tenants"
        )
        return Refusal(403, "forbidden", "route_not_permitted", message)
    try:
        guard.check_headers(scope["headers"])
        checked = guard.checked_body(path, body)
        verify.check(scope["headers"], path, body, route)
    except MalformedError as error:
        return Refusal(400, "malformed", "invalid_value", str(error))
    except RefusedError as error:
        return Refusal(400, "refused", "parameter_not_accepted", str(error))
    if route.name not in config.served:
        message = f"nothing that route {route.name} permits is running; try again in 15 seconds"
        return Refusal(503, "shed", "no_backend", message, {"retry-after": "15"})
    if route.shed_ratio and random.random() < route.shed_ratio:  # noqa: S311 - no secret
        message = f"route {route.name} is asked more than all that it permits can answer; try again in 5 seconds"
        return Refusal(429, "shed", "overloaded", message, {"retry-after": "5"})
    return checked


def unknown_route(config: Config, tenant: Tenant, asked: Any) -> Refusal:
    """OpenAI's answer to a model that does not exist, with those that do."""
    if isinstance(asked, str) and asked in config.elsewhere and tenant.may_use(asked):
        message = f"route {asked} is answered by another router of this policy: {config.elsewhere[asked]}"
    else:
        mine = ", ".join(name for name in config.routes if tenant.may_use(name)) or "none"
        message = f"model must be the name of a route; yours here: {mine}"
    return Refusal(404, "unknown_route", "model_not_found", message)


def ask_for_usage(path: str, body: dict[str, Any]) -> bool:
    """Makes streams end with their token counts, for the books. True if the client had asked for them itself."""
    if not body.get("stream") or path not in ("/v1/chat/completions", "/v1/completions"):
        return True
    options = body.get("stream_options")
    asked = isinstance(options, dict) and bool(options.get("include_usage"))
    body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return asked


async def listen(receive: Receive, answer: Answer, gone: asyncio.Event) -> None:
    """Waits until the client has left. LiteLLM does not listen all the time, and uvicorn does not raise on `send`."""
    while (await receive())["type"] != "http.disconnect":
        pass
    answer.left()
    gone.set()


async def respond(send: Send, status: int, content: bytes, kind: str, extra: dict[str, str] | None = None) -> None:
    """One whole answer."""
    headers = {"content-type": kind, "content-length": str(len(content))} | (extra or {})
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": content})


def unless_spent(charge: Charge, answer: Answer) -> Send:
    """The answer's `send`, with the budget's own refusal in place of LiteLLM's where no backend could be paid."""

    async def wrapped(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start" and message["status"] == 429 and charge.refusal is not None:
            answer.refused = charge.refusal.outcome
            await refuse(answer.send, charge.refusal)
        elif answer.refused is None:
            await answer.send(message)

    return wrapped


async def refuse(send: Send, refusal: Refusal) -> None:
    """A refusal in OpenAI's shape."""
    await respond(send, refusal.status, refusal.body(), "application/json", dict(refusal.headers))
