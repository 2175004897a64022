"""The mounted configuration: LiteLLM's part, and the section `x_comptroller` that only this plugin reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from .budget import Budget
from .caches import Cache
from .tokens import Prices
from .watchers import Evaluator, Shadow, evaluator_of, shadow_of


class ConfigError(ValueError):
    """A configuration that must not be put into force; the message says what is wrong."""


@dataclass(frozen=True)
class Route:
    """One model name that clients ask for."""

    name: str
    workflow: str = ""
    step: str = ""
    shed_ratio: float = 0.0  # share of the requests that the plan has nobody for
    waits: bool = False  # where all its pools are full: in the engine's queue, instead of a 429
    evaluator: Evaluator | None = None
    shadow: Shadow | None = None


@dataclass(frozen=True)
class Tenant:
    """Who may ask. `routes` None: all. `keys` is the folder of the mounted Secret, one client key per file."""

    name: str
    keys: str
    routes: frozenset[str] | None = None

    def may_use(self, route: str) -> bool:
        return self.routes is None or route in self.routes


@dataclass(frozen=True)
class Config:
    """One version of the mounted file."""

    digest: str
    policy: str
    restricted: bool
    routes: Mapping[str, Route]
    tenants: Sequence[Tenant]
    elsewhere: Mapping[str, str]  # route -> address of the other router of the policy
    model_list: Sequence[Mapping[str, Any]]
    router_settings: Mapping[str, Any]
    served: frozenset[str]  # routes with at least one backend
    prices: Mapping[str, Prices]  # of each deployment
    limits: Mapping[str, int]  # pool -> requests in flight of all routes of this process
    assured: Mapping[str, int]  # deployment -> requests in flight that its route may have while the pool is full
    heights: Mapping[str, int]  # deployment -> requests in flight of its route alone
    outside: frozenset[str]  # hosted pools
    budgets: Sequence[Budget]
    redis: str | None  # where budgets are counted together
    answered_inside: frozenset[str]  # routes with at least one backend inside
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # route -> deployment -> its weight
    caches: Mapping[str, Cache] = field(default_factory=dict)  # of hosted deployments that cache prompts

    @classmethod
    def parse(cls, text: str) -> Config:
        """Reads a file. Raises `ConfigError`."""
        try:
            content = yaml.safe_load(text)
            section = content["x_comptroller"]
            routes = {
                str(one["name"]): Route(
                    str(one["name"]),
                    str(one.get("workflow") or ""),
                    str(one.get("step") or ""),
                    float(one.get("shed_ratio") or 0.0),
                    one.get("waits") is True,
                    evaluator_of(one),
                    shadow_of(one),
                )
                for one in section["routes"]
            }
            tenants = [
                Tenant(
                    str(one["name"]), str(one["keys"]), None if one.get("routes") is None else frozenset(one["routes"])
                )
                for one in section.get("tenants") or []
            ]
            models = list(content["model_list"] or [])
            limits = list(section.get("limits") or [])
            outside = frozenset(str(one) for one in section.get("outside") or [])
            return cls(
                digest=hashlib.sha256(text.encode()).hexdigest()[:16],
                policy=str(section["policy"]),
                restricted=section["kind"] == "restricted",
                routes=routes,
                tenants=tenants,
                elsewhere=dict(section.get("elsewhere") or {}),
                model_list=models,
                router_settings=dict(content.get("router_settings") or {}),
                served=frozenset(one["model_name"] for one in models),
                prices={one["model_info"]["id"]: Prices.parse(one["litellm_params"]) for one in models},
                limits={str(one["pool"]): int(one["max_concurrency"]) for one in limits},
                assured={
                    f"{one['pool']}/{route}": int(number)
                    for one in limits
                    for route, number in (one.get("assured") or {}).items()
                },
                heights={
                    one["model_info"]["id"]: int(one["litellm_params"]["max_parallel_requests"])
                    for one in models
                    if one["litellm_params"].get("max_parallel_requests") is not None
                },
                outside=outside,
                budgets=[Budget.parse(one) for one in section.get("budgets") or []],
                redis=section.get("redis"),
                answered_inside=frozenset(
                    one["model_name"] for one in models if pool_of(one["model_info"]["id"]) not in outside
                ),
                weights=_weights(models),
                caches={
                    f"{one['pool']}/{one['route']}": Cache.parse(one) for one in section.get("prompt_caches") or []
                },
            )
        except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"the configuration cannot be read: {type(error).__name__}: {error}") from error

    def model_of(self, deployment: Any) -> str | None:
        """LiteLLM's name of the model that a deployment asks for: the provider, and the provider's own name."""
        found = (one["litellm_params"]["model"] for one in self.model_list if one["model_info"]["id"] == deployment)
        return next((str(one) for one in found), None)

    def inside(self, deployment: str) -> bool:
        """Whether a deployment is a pool of ours."""
        return pool_of(deployment) not in self.outside


def _weights(models: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for one in models:
        found.setdefault(one["model_name"], {})[one["model_info"]["id"]] = float(
            one["litellm_params"].get("weight") or 0
        )
    return found


def pool_of(deployment: str) -> str:
    """The pool of a LiteLLM deployment: "inference/qwen3-32b/extraction" is pool "inference/qwen3-32b"."""
    return deployment.rpartition("/")[0] or "none"
