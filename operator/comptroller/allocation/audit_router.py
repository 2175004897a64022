"""The independent auditor of routers: holds what was rendered for LiteLLM against the raw specs, and refuses it whole.

Everything is forbidden that is not known to be harmless: a section, a setting or a parameter that this file does not
list is a violation, for each is a possible way past the data rules. It shares no code with the renderer; what both must
know (addresses, names of providers) is written down twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from comptroller.allocation.audit import Violation, may_see, stays_inside
from comptroller.allocation.audit_caches import prompt_caches
from comptroller.allocation.audit_section import Kind, is_amount, own_section
from comptroller.api.modelpool import ModelPoolSpec, Provider
from comptroller.api.routingpolicy import Route, RoutingPolicySpec
from comptroller.api.settings import RedisSettings

Secrets = Mapping[str, tuple[str, str]]
"""Environment variable of the router's pod -> the Secret and the key that it comes from."""

_DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_FROM_ENVIRONMENT = "os.environ/"
_SPOKEN: Mapping[Provider, str] = {
    Provider.OPENAI: "openai",
    Provider.OPENAI_COMPATIBLE: "openai",
    Provider.ANTHROPIC: "anthropic",
    Provider.AZURE: "azure",
    Provider.BEDROCK: "bedrock",
    Provider.VERTEX: "vertex_ai",
    Provider.MISTRAL: "mistral",
    Provider.DEEPSEEK: "deepseek",
    Provider.TOGETHER: "together_ai",
    Provider.GROQ: "groq",
    Provider.FIREWORKS: "fireworks_ai",
}
"""How LiteLLM calls each provider: the part of a model's name that decides where the request goes."""
_PARAMETERS = frozenset(
    (
        "model",
        "api_base",
        "api_key",
        "vertex_credentials",
        "weight",
        "max_parallel_requests",
        "timeout",
        "input_cost_per_token",
        "cache_read_input_token_cost",
        "cache_creation_input_token_cost",
        "cache_creation_input_token_cost_above_1hr",
        "output_cost_per_token",
        "extra_headers",
    )
)
_AMOUNTS = frozenset(one for one in _PARAMETERS if "_cost" in one) | {"weight", "timeout"}
_SETTINGS: Mapping[str, frozenset[str]] = {
    "router_settings": frozenset(
        (
            "routing_strategy",
            "enable_weighted_failover",
            "enable_pre_call_checks",
            "max_fallbacks",
            "num_retries",
            "cooldown_time",
            "timeout",
        )
    ),
    "litellm_settings": frozenset(
        (
            "callbacks",
            "drop_params",
            "num_retries",
            "request_timeout",
            "require_auth_for_metrics_endpoint",
            "turn_off_message_logging",
        )
    ),
    "general_settings": frozenset(
        ("custom_auth", "reject_clientside_metadata_tags", "disable_budget_reservation", "cancel_on_disconnect")
    ),
}
_EXACT = {
    ("general_settings", "custom_auth"): "router_plugin.hooks.authenticate",
    ("litellm_settings", "callbacks"): ["router_plugin.hooks.usage"],
    ("litellm_settings", "turn_off_message_logging"): True,
}
"""Without these anybody may ask, nothing is counted, or prompts get into logs."""


def audit_router_config(
    policy: RoutingPolicySpec,
    pools: Mapping[str, ModelPoolSpec],
    kind: Kind,
    rendered: Mapping[str, Any],
    secrets: Secrets | None = None,
    *,
    name: str,
    redis: RedisSettings | None = None,
) -> list[Violation]:
    """What a rendered LiteLLM configuration breaks; empty if nothing.

    `pools` is keyed namespace/name, `rendered` is the parsed config.yaml, `name` is namespace/name of the policy. Every
    entry must serve a route of the policy from a backend that the route names and its data rules permit, at that pool's
    own address, with that pool's own key. A restricted router has no hosted pool, no address outside the cluster and no
    key; an open one has no route that must stay inside. Never raises, whatever was rendered.
    """
    secrets = secrets or {}
    entries = rendered.get("model_list") if isinstance(rendered, Mapping) else None
    if not isinstance(entries, list):
        return [Violation("model_list", "there is no list of models")]
    found: list[Violation] = []
    seen: set[str] = set()
    namespace = name.split("/", 1)[0]
    for index, entry in enumerate(entries):
        identity = _identity(entry)
        if identity is not None and identity in seen:
            found.append(Violation(f"model_list[{index}].model_info.id", f"{identity} occurs twice"))
        seen.add(identity or "")
        found += _entry(f"model_list[{index}]", entry, namespace, policy, pools, kind, secrets)
    found += _sections(rendered)
    asked = {str(one).rpartition("/")[0] for one in seen}
    outside = {key for key in asked if key in pools and pools[key].hosted is not None}
    found += own_section(rendered.get("x_comptroller"), policy, pools, kind, name, redis, outside)
    found += prompt_caches(rendered.get("x_comptroller"), policy, pools, kind, name)
    allowed = {f"model_list[{index}].litellm_params.{key}" for index in range(len(entries)) for key in _KEY_FIELDS}
    for path in _environment_reads(rendered, ""):
        if kind == "restricted":
            found.append(Violation(path, "a restricted router may hold no key"))
        elif path not in allowed:
            found.append(Violation(path, "no variable of the environment belongs here"))
    return found


_KEY_FIELDS = ("api_key", "vertex_credentials")


def _identity(entry: Any) -> str | None:
    info = entry.get("model_info") if isinstance(entry, Mapping) else None
    return str(info["id"]) if isinstance(info, Mapping) and "id" in info else None


def _entry(
    field: str, entry: Any, namespace: str, policy: RoutingPolicySpec, pools: Mapping[str, ModelPoolSpec], kind: Kind,
    secrets: Secrets,
) -> Iterator[Violation]:  # fmt: skip
    try:
        name, identity = str(entry["model_name"]), str(entry["model_info"]["id"])
        parameters = dict(entry["litellm_params"])
    except (KeyError, TypeError, ValueError):
        yield Violation(field, "the entry lacks model_name, model_info.id or litellm_params")
        return
    place, pool, claimed = ([*identity.split("/", 2), "", ""])[:3]
    role, _, served = name.rpartition(":")
    route = next((one for one in policy.routes if one.name == served), None)
    spec = pools.get(f"{place}/{pool}")
    if route is None or claimed != name:
        yield Violation(f"{field}.model_name", f"{name} is not the route that its id {identity} speaks of")
        return
    if spec is None or place != namespace:
        yield Violation(f"{field}.model_info.id", f"there is no pool {place}/{pool} in namespace {namespace}")
        return
    for key in sorted({*entry} - {"model_name", "litellm_params", "model_info"}, key=str):
        yield Violation(f"{field}.{key}", "is nothing that an entry may have")
    for key in sorted({*entry["model_info"]} - {"id", "allowed_fails"}, key=str):
        yield Violation(f"{field}.model_info.{key}", "is nothing that an entry may have")
    yield from may_see(f"{field}.model_info.id", role, namespace, route, f"{place}/{pool}", pools)
    if kind == "open" and stays_inside(route):
        yield Violation(field, f"route {name} must stay inside and may not be on a router with a way out")
    if kind == "restricted" and spec.hosted is not None:
        yield Violation(field, f"a restricted router may not know the hosted pool {pool}")
    field = f"{field}.litellm_params"
    yield from _parameters(field, parameters, route, spec)
    yield from _model(f"{field}.model", parameters.get("model"), route, pool, spec, watches=role != "")
    yield from _address(f"{field}.api_base", parameters.get("api_base"), namespace, pool, spec, kind)
    yield from _keys(field, parameters, spec, secrets)


def _parameters(field: str, parameters: Mapping[str, Any], route: Route, spec: ModelPoolSpec) -> Iterator[Violation]:
    """Only what is known to be harmless, and numbers that are numbers."""
    for key in sorted({*parameters} - _PARAMETERS, key=str):
        yield Violation(f"{field}.{key}", "is no parameter that may be rendered")
    for key in sorted(_AMOUNTS & {*parameters}):
        if not is_amount(parameters[key]):
            yield Violation(f"{field}.{key}", f"{parameters[key]!r} is no number from 0 on")
    if "weight" not in parameters:
        yield Violation(f"{field}.weight", "is missing: a reserve would get as much as any other")
    headers = parameters.get("extra_headers") or {}
    if headers and headers != {"x-comptroller-route": route.name}:
        yield Violation(f"{field}.extra_headers", "only x-comptroller-route with the route's name may be sent along")
    limit, given = None if spec.hosted is None else spec.hosted.limits.max_concurrency, "max_parallel_requests"
    most = parameters.get(given)
    if given in parameters and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        yield Violation(f"{field}.{given}", f"{most!r} is no number of requests from 1 on")
    # A quarter of slack: a configuration in force stays when the new one says nearly the same.
    elif limit is not None and (most is None or most > max(limit + 1, 1.25 * limit)):
        yield Violation(f"{field}.{given}", f"{most} is above spec.hosted.limits.maxConcurrency, {limit}")


def _model(
    field: str, model: Any, route: Route, pool: str, spec: ModelPoolSpec, *, watches: bool
) -> Iterator[Violation]:
    """The prefix decides which provider is asked; the rest which model: who judges or shadows has no adapter."""
    if spec.hosted is not None:
        may = {f"{_SPOKEN[spec.hosted.provider]}/{spec.model.name}"}
    else:
        named = [one.adapter for one in route.backends if one.pool == pool] if not watches else [None]
        may = {f"hosted_vllm/{adapter or spec.model.name}" for adapter in named}
    if not isinstance(model, str) or model not in may:
        yield Violation(field, f"{model!r} is not what pool {pool} serves for route {route.name}")


def _address(
    field: str, address: Any, namespace: str, pool: str, spec: ModelPoolSpec, kind: Kind
) -> Iterator[Violation]:
    """A local pool is asked at its Service, with its port; a hosted one at its declared address or the provider's."""
    if spec.hosted is not None and kind == "open":
        if address != _declared(spec):  # also a missing one: the provider's own would be asked instead
            yield Violation(field, f"{address} is not spec.hosted.baseUrl of pool {pool}")
        return
    host, port = _host(address)
    if host is None or host[1:2] != [namespace] or host[2:] not in (["svc"], ["svc", "cluster", "local"]):
        yield Violation(field, f"{address} is not the address of a pool in namespace {namespace}")
    elif host[0] != pool or not _DNS_LABEL.fullmatch(pool):
        yield Violation(field, f"{address} is not the address of pool {pool}")
    elif spec.local is not None and port != spec.local.engine.port:
        yield Violation(field, f"{address} is not port {spec.local.engine.port} of pool {pool}")


def _declared(spec: ModelPoolSpec) -> str | None:
    """The hosted pool's address as LiteLLM wants it: of Anthropic without the version, which it adds itself."""
    address = None if spec.hosted is None else spec.hosted.base_url
    if address is None or spec.hosted is None or spec.hosted.provider is not Provider.ANTHROPIC:
        return address
    return address.removesuffix("/").removesuffix("/v1")


def _host(address: Any) -> tuple[list[str] | None, int | None]:
    """The labels of the host and the port of http://HOST:PORT/v1; None for anything else."""
    try:
        parts = urlsplit(address if isinstance(address, str) else "")
        plain = f"http://{parts.hostname}:{parts.port}/v1"
    except ValueError:
        return None, None
    return (str(parts.hostname).split("."), parts.port) if address == plain else (None, None)


def _keys(field: str, parameters: Mapping[str, Any], spec: ModelPoolSpec, secrets: Secrets) -> Iterator[Violation]:
    """Keys come from the environment, by name, only to hosted pools and only their own; none stands in the file."""
    if spec.hosted is None and parameters.get("api_key") != "none":
        yield Violation(f"{field}.api_key", "must be none for a local pool: LiteLLM would look for a key elsewhere")
    for name in _KEY_FIELDS:
        key, path = parameters.get(name), f"{field}.{name}"
        if key is None:
            continue
        if not isinstance(key, str):
            yield Violation(path, "a key stands in the configuration itself")
        elif key.startswith(_FROM_ENVIRONMENT):
            variable = key.removeprefix(_FROM_ENVIRONMENT)
            if spec.hosted is None:
                yield Violation(path, "a local pool gets no key")
            elif variable not in secrets:
                yield Violation(path, f"{variable} comes from no Secret of the pod")
            elif secrets[variable] not in own_keys([spec]):
                yield Violation(path, f"{variable} is the key of another pool")
        elif key not in ("", "none"):
            yield Violation(path, "a key stands in the configuration itself")


def own_keys(pools: Sequence[ModelPoolSpec]) -> set[tuple[str, str]]:
    """Secret and key of each hosted pool that has one."""
    references = (one.hosted.api_key_secret_ref for one in pools if one.hosted is not None)
    return {(one.name, one.key) for one in references if one is not None}


def _sections(rendered: Mapping[str, Any]) -> Iterator[Violation]:
    """LiteLLM's own sections: settings that are known, each with a plain value.

    Fallbacks and aliases lead from one route's backends to another's, callbacks and caches carry prompts away,
    pass-through endpoints lead out of any route.
    """
    for section in sorted({*rendered} - {"model_list", "x_comptroller", *_SETTINGS}, key=str):
        yield Violation(str(section), "is no section that may be rendered")
    for section, known in _SETTINGS.items():
        settings = rendered.get(section)
        if not isinstance(settings, Mapping):
            yield Violation(section, "is missing or no section")
            continue
        for name in sorted({*settings} - known, key=str):
            why = "a fallback leads past the data rules of the route" if "fallbacks" in str(name) else "is not known"
            yield Violation(f"{section}.{name}", why)
        for name, value in settings.items():
            if (section, name) not in _EXACT and not isinstance(value, bool | int | float | str):
                yield Violation(f"{section}.{name}", "must be a plain value")
    for (section, name), value in _EXACT.items():
        settings = rendered.get(section)
        if isinstance(settings, Mapping) and settings.get(name) != value:
            yield Violation(f"{section}.{name}", f"must be {value}")


def _environment_reads(value: Any, path: str) -> Iterator[str]:
    """The paths of all strings that LiteLLM would replace by an environment variable."""
    if isinstance(value, str) and _FROM_ENVIRONMENT in value:
        yield path
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _environment_reads(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _environment_reads(inner, f"{path}[{index}]")
