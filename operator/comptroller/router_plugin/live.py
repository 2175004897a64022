"""The configuration in force, and how a new one takes its place without a dropped request.

LiteLLM reads its file once. Its `Router.set_model_list` empties the list before it builds the new one, so a bad entry
leaves nothing: a new list is therefore built on a throw-away Router first, and the last good one stays if that fails.
The swap itself has no `await`: no request sees a half-built list.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import metrics, watching_metrics
from .config import Config, ConfigError
from .keys import ANONYMOUS, KeyRing
from .places import Places
from .prefixes import Prefixes
from .sessions import Sessions
from .spending import Spending

LOG = logging.getLogger("comptroller.router")
POLL_SECONDS = 0.5


class Live:
    """What requests are held against now."""

    def __init__(self, config: Config, path: str) -> None:
        self.config = config
        self.keys = KeyRing(config.tenants)
        self.places = Places(config)
        self.spending = Spending(config)
        self.sessions = Sessions()
        self.prefixes = Prefixes(lambda route, gap: metrics.PREFIX_GAP.labels(self.config.policy, route).observe(gap))
        self._path = Path(path)
        self._seen = config.digest
        self._tell(config)

    async def watch(self) -> None:
        """Looks at the file and the keys for ever. A ConfigMap's files change by a symbolic link, so that inode events
        on the file itself are not reliable; the content is read and hashed instead."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                self.look()
            except Exception:
                LOG.exception("the configuration could not be looked at")

    def look(self) -> None:
        """Reads the file and the keys once, and puts what is new into force."""
        text = self._path.read_text(encoding="utf-8")
        self.keys = KeyRing(self.config.tenants)
        try:
            config = Config.parse(text)
        except ConfigError as error:
            self._reject(text, str(error))
            return
        if config.digest == self._seen:
            return
        self._seen = config.digest
        try:
            swap(self.config, config)
        except Exception as error:  # noqa: BLE001 - LiteLLM raises whatever it likes; the last good one stays
            problem = f"{type(error).__name__}: {error}"
            LOG.warning("configuration %s rejected, %s stays in force: %s", config.digest, self.config.digest, problem)
            metrics.RELOADS.labels("rejected").inc()
            return
        self.keys = KeyRing(config.tenants)
        self.config = config
        self.places.adopt(config)
        self.spending.adopt(config)
        self._tell(config)
        metrics.RELOADS.labels("applied").inc()
        LOG.info("configuration %s is in force", config.digest)

    def _reject(self, text: str, problem: str) -> None:
        mark = f"unreadable:{hash(text)}"
        if mark != self._seen:
            self._seen = mark
            metrics.RELOADS.labels("rejected").inc()
            LOG.error("configuration rejected, %s stays in force: %s", self.config.digest, problem)

    @staticmethod
    def _tell(config: Config) -> None:
        """Names the configuration and its routes. Counters begin at zero: the first request of a series that was not
        there before is none to Prometheus' rate()."""
        metrics.CONFIG_INFO.clear()
        metrics.CONFIG_INFO.labels(config.digest).set(1)
        metrics.ROUTE_INFO.clear()
        for route in config.routes.values():
            metrics.ROUTE_INFO.labels(config.policy, route.name).set(1)
            metrics.PREFIX_GAP.labels(config.policy, route.name)
            # also for a route that no tenant may use: the operator takes an absent rate for an unknown one
            metrics.REQUESTS.labels(config.policy, route.name, metrics.UNKNOWN, route.workflow, route.step)
            for tenant in config.tenants or [ANONYMOUS]:
                if tenant.may_use(route.name):
                    metrics.REQUESTS.labels(config.policy, route.name, tenant.name, route.workflow, route.step)
        watching_metrics.prepare(config)


def swap(old: Config, new: Config) -> None:
    """Puts the new backends into LiteLLM's router. Raises, with the old ones in force, when they cannot be used."""
    from litellm.proxy import proxy_server

    live = proxy_server.llm_router
    if live is None:
        raise ConfigError("LiteLLM has no router yet")
    if new.model_list == old.model_list and new.router_settings == old.router_settings:
        return
    rehearse(new)
    try:
        live.set_model_list(copy.deepcopy(list(new.model_list)))
        live.update_settings(**new.router_settings)
        complete(live, new.model_list)
    except Exception:
        live.set_model_list(copy.deepcopy(list(old.model_list)))
        live.update_settings(**old.router_settings)
        raise
    limit(live, new.model_list)
    proxy_server.llm_model_list = live.get_model_list()


def rehearse(config: Config) -> None:
    """Builds the whole list on a Router that nobody uses. Raises what LiteLLM raises."""
    from litellm import Router

    rehearsal = Router(model_list=copy.deepcopy(list(config.model_list)), **dict(config.router_settings))
    try:
        complete(rehearsal, config.model_list)
    finally:
        rehearsal.discard()


def complete(router: Any, wanted: Sequence[Mapping[str, Any]]) -> None:
    """Raises when the router took less than it was given: LiteLLM skips some bad entries silently."""
    have = {one["model_info"]["id"] for one in router.get_model_list() or []}
    missing = sorted({one["model_info"]["id"] for one in wanted} - have)
    if missing:
        raise ConfigError(f"LiteLLM did not accept {', '.join(missing[:5])}")


def limit(router: Any, wanted: Sequence[Mapping[str, Any]]) -> None:
    """Gives running limits their new height. LiteLLM keeps one limit per deployment id and never looks at it again,
    so that a new `max_parallel_requests` would be ignored until the process ends. The object is kept: it counts what is
    in flight."""
    for one in wanted:
        key = f"{one['model_info']['id']}_max_parallel_requests_client"
        running = router.cache.get_cache(key=key, local_only=True)
        height = one["litellm_params"].get("max_parallel_requests")
        if running is None:
            continue
        if height is None:
            router.cache.in_memory_cache.delete_cache(key)
        else:
            running.max_parallel_requests = int(height)


WRONG_REQUEST = frozenset({400, 413, 422})


def keep_wrong_requests_here() -> None:
    """LiteLLM's weighted failover also repeats a request that a backend has refused as wrong, such as a prompt that
    is too long: each such mistake would be asked, and paid for, at every reserve. It is answered with the first
    refusal."""
    from litellm import Router

    original = Router._maybe_run_weighted_failover

    async def guarded(self: Any, exception: Exception, *args: Any, **kwargs: Any) -> Any:
        if getattr(exception, "status_code", None) in WRONG_REQUEST:
            return None
        return await original(self, exception, *args, **kwargs)

    Router._maybe_run_weighted_failover = guarded
