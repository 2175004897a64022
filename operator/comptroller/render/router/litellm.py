"""Renders a router plan for LiteLLM: the configuration that its plugin reloads, and the objects that run it.

Verified against LiteLLM 1.106.2. The traps that shaped this file:

- Without `enable_weighted_failover` a failing backend is seen by clients until it is cooled down.
- `order` sends a failed request to the next order before the other planned backends of its own; and a limit that is
  reached counts as a failure. Reserves are therefore given weights so small that they are only drawn when every planned
  backend is excluded: 1e-6 for the first, a thousandth of the one before for each further one.
- A price that LiteLLM does not know counts as zero: prices are always rendered.
- An `allowed_fails` of the router cools a group's only backend too, and its clients read "no deployments"; that of a
  deployment does not. It is rendered per deployment.
- A ConfigMap that is mounted by `subPath` never changes: the folder is mounted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib import resources
from typing import Any

import yaml

from comptroller.api.modelpool import Provider
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.api.settings import Settings
from comptroller.render.child import child
from comptroller.render.errors import RenderError
from comptroller.render.labels import POLICY, ROUTER, labels, router_selector, with_users
from comptroller.render.network_policy import restricted_router_network_policy
from comptroller.render.pod_disruption_budget import pod_disruption_budget
from comptroller.render.router.caches import BackendCache
from comptroller.render.router.litellm_watching import watching_models, watching_section
from comptroller.render.router.plan import RouterBackend, RouterPlan, RouterRoute
from comptroller.render.security import container_security, pod_security
from comptroller.render.service import service

CONFIG_FOLDER = "/etc/comptroller/router"
PLUGIN_FOLDER = "/etc/comptroller/plugin"
KEYS_FOLDER = "/etc/comptroller/keys"
PLUGIN = "router_plugin"
STATE_FILE = "/tmp/spending.json"  # noqa: S108 - in the pod; it outlives the container, not the pod
PORT = 4000
LEAVE_SERVICES_SECONDS = 5
COOLDOWN_SECONDS = 5
FIRST_RESERVE_WEIGHT = 1e-6
LONGEST_CONFIG_BYTES = 900_000

_PREFIX: Mapping[Provider, str] = {
    Provider.OPENAI: "openai",
    Provider.ANTHROPIC: "anthropic",
    Provider.AZURE: "azure",
    Provider.BEDROCK: "bedrock",
    Provider.VERTEX: "vertex_ai",
    Provider.MISTRAL: "mistral",
    Provider.DEEPSEEK: "deepseek",
    Provider.TOGETHER: "together_ai",
    Provider.GROQ: "groq",
    Provider.FIREWORKS: "fireworks_ai",
    Provider.OPENAI_COMPATIBLE: "openai",
}


def litellm_children(
    plan: RouterPlan, spec: RoutingPolicySpec, owner: Mapping[str, Any], settings: Settings
) -> list[dict[str, Any]]:
    """Every object of one router, in the order in which they are applied: the network policy before the pods."""
    ours = labels("litellm", plan.policy, "router", {POLICY: plan.policy, ROUTER: plan.name})
    selector, place = router_selector(plan.name), plan.namespace
    config = litellm_config(plan)
    if len(config) > LONGEST_CONFIG_BYTES:
        entries = sum(len(route.backends) for route in plan.routes)
        problem = f"{entries} backends of all routes do not fit into one ConfigMap: split the policy into several"
        raise RenderError("spec.routes", problem)
    children = []
    if plan.kind == "restricted":
        children.append(restricted_router_network_policy(plan.name, place, ours, selector, plan.inside_pools, owner))
    children += [
        child("v1", "ConfigMap", plan.name, place, ours, owner, data={"config.yaml": config}),
        child("v1", "ConfigMap", f"{plan.name}-plugin", place, ours, owner, data=dict(plugin_files())),
        _service(plan, spec, ours, selector, owner),
        pod_disruption_budget(plan.name, place, ours, selector, owner),
        child("apps/v1", "Deployment", plan.name, place, ours, owner, spec=_deployment(plan, spec, settings, ours)),
    ]
    return children


def litellm_config(plan: RouterPlan) -> str:
    """`config.yaml`: LiteLLM's own sections, and `x_comptroller` for the plugin."""
    config = {
        "model_list": [
            entry for route in plan.routes for entry in (*_entries(plan, route), *_watching_entries(plan, route))
        ],
        "router_settings": {
            "routing_strategy": "simple-shuffle",
            "enable_weighted_failover": True,
            "enable_pre_call_checks": True,
            "max_fallbacks": 16,
            "num_retries": 0,
            "cooldown_time": COOLDOWN_SECONDS,
            "timeout": plan.timeout_seconds,
        },
        "litellm_settings": {
            "callbacks": [f"{PLUGIN}.hooks.usage"],
            "drop_params": True,
            "num_retries": 0,
            "request_timeout": plan.timeout_seconds,
            "require_auth_for_metrics_endpoint": False,
            "turn_off_message_logging": True,
        },
        "general_settings": {
            "custom_auth": f"{PLUGIN}.hooks.authenticate",
            "reject_clientside_metadata_tags": True,
            "disable_budget_reservation": True,
            "cancel_on_disconnect": True,  # else a GPU goes on for a client that has left
        },
        "x_comptroller": _section(plan),
    }
    return yaml.safe_dump(config, sort_keys=False, width=200)


def _section(plan: RouterPlan) -> dict[str, Any]:
    return {
        "policy": f"{plan.namespace}/{plan.policy}",
        "kind": plan.kind,
        "routes": [
            {
                "name": one.name,
                "workflow": one.workflow,
                "step": one.step,
                "shed_ratio": one.shed_ratio,
                "waits": one.waits,
                **watching_section(one),
            }
            for one in plan.routes
        ],
        "limits": [
            {"pool": one.pool, "max_concurrency": one.max_concurrency, "assured": dict(one.assured)}
            for one in plan.limits
        ],
        "prompt_caches": [
            {"pool": backend.pool, "route": one.name, **_cache(backend.cache)}
            for one in plan.routes
            for backend in one.backends
            if backend.cache is not None
        ],
        "tenants": [
            {"name": one.name, "keys": f"{KEYS_FOLDER}/{one.name}", "routes": list(one.routes) or None}
            for one in plan.tenants
        ],
        "elsewhere": dict(plan.elsewhere),
        "outside": sorted({one.pool for route in plan.routes for one in route.everybody() if not one.inside}),
        "budgets": [asdict(one) for one in plan.budgets],
        "redis": plan.redis.url if plan.redis else None,
    }


def _cache(cache: BackendCache) -> dict[str, Any]:
    if cache.key is not None:
        return {"key": cache.key}
    return {"marks": dict(cache.marks), "minimum_tokens": cache.minimum_tokens}


def _entries(plan: RouterPlan, route: RouterRoute) -> list[dict[str, Any]]:
    entries = []
    for backend in route.backends:
        weight = backend.weight or FIRST_RESERVE_WEIGHT * 1e-3 ** (backend.order - 2)
        entries.append(
            {
                "model_name": route.name,
                "litellm_params": _params(plan, route, backend, weight),
                "model_info": {"id": f"{backend.pool}/{route.name}", "allowed_fails": 2},
            }
        )
    return entries


def _watching_entries(plan: RouterPlan, route: RouterRoute) -> list[dict[str, Any]]:
    return [
        {
            "model_name": name,
            "litellm_params": _params(plan, route, backend, 1),
            "model_info": {"id": f"{backend.pool}/{name}", "allowed_fails": 2},
        }
        for name, backend in watching_models(route)
    ]


def _params(plan: RouterPlan, route: RouterRoute, backend: RouterBackend, weight: float) -> dict[str, Any]:
    prefix = "hosted_vllm" if backend.provider is None else _PREFIX[backend.provider]
    params: dict[str, Any] = {"model": f"{prefix}/{backend.model}"}
    if backend.address:
        params["api_base"] = _base(backend)
    params |= _credentials(backend)
    params["weight"] = weight
    if backend.max_concurrency is not None:
        params["max_parallel_requests"] = backend.max_concurrency
    params |= {
        "timeout": plan.timeout_seconds,
        "input_cost_per_token": float(backend.input_usd_per_token),
        "cache_read_input_token_cost": float(backend.cached_input_usd_per_token),
        "cache_creation_input_token_cost": float(backend.cache_write_5m_usd_per_token),
        "cache_creation_input_token_cost_above_1hr": float(backend.cache_write_1h_usd_per_token),
        "output_cost_per_token": float(backend.output_usd_per_token),
        "extra_headers": {"x-comptroller-route": route.name},
    }
    return params


def _base(backend: RouterBackend) -> str:
    """LiteLLM adds /v1/messages to Anthropic's address itself, and only the rest to all others."""
    address = backend.address or ""
    return address.removesuffix("/").removesuffix("/v1") if backend.provider is Provider.ANTHROPIC else address


def _credentials(backend: RouterBackend) -> dict[str, Any]:
    if backend.provider is None:
        return {
            "api_key": "none"
        }  # engines ask for none; without a value LiteLLM would look for one in the environment
    if backend.key is None:
        return {}
    field = "vertex_credentials" if backend.provider is Provider.VERTEX else "api_key"
    return {field: f"os.environ/{backend.key.variable}"}


@cache
def plugin_files() -> tuple[tuple[str, str], ...]:
    """The plugin's source as a ConfigMap carries it: file name -> text."""
    folder = resources.files(f"comptroller.{PLUGIN}")
    files = (entry for entry in folder.iterdir() if entry.name.endswith(".py"))
    return tuple(sorted((entry.name, entry.read_text(encoding="utf-8")) for entry in files))


def _service(
    plan: RouterPlan,
    spec: RoutingPolicySpec,
    ours: Mapping[str, str],
    selector: Mapping[str, str],
    owner: Mapping[str, Any],
) -> dict[str, Any]:
    return service(plan.name, plan.namespace, ours, selector, spec.router.port, owner)


def _deployment(
    plan: RouterPlan, spec: RoutingPolicySpec, settings: Settings, ours: Mapping[str, str]
) -> dict[str, Any]:
    """The pod template depends on the structure (image, keys, tenants, plugin), never on weights: a new split is a new
    ConfigMap, which the plugin reloads, and not a rollout."""
    annotations = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(PORT),
        "prometheus.io/path": "/metrics",
        "comptroller.dev/plugin": hashlib.sha256(json.dumps(plugin_files()).encode()).hexdigest()[:16],
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": plan.timeout_seconds + 30,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": router_selector(plan.name)},
            }
        ],
        "volumes": _volumes(plan),
        "containers": [_container(plan, spec, settings)],
    }
    return {
        "replicas": plan.replicas,
        "revisionHistoryLimit": 3,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": {"matchLabels": router_selector(plan.name)},
        "template": {
            "metadata": {
                "labels": with_users(spec.router.labels, ours),
                "annotations": with_users(spec.router.annotations, annotations),
            },
            "spec": pod,
        },
    }


def _container(plan: RouterPlan, spec: RoutingPolicySpec, settings: Settings) -> dict[str, Any]:
    ready = {"httpGet": {"path": "/health/readiness", "port": "http"}, "timeoutSeconds": 5}
    alive = {"httpGet": {"path": "/health/liveliness", "port": "http"}, "timeoutSeconds": 10}
    mounts = [
        {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
        {"name": "plugin", "mountPath": f"{PLUGIN_FOLDER}/{PLUGIN}", "readOnly": True},
        {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 - in the pod
    ]
    mounts += [
        {"name": f"keys-{index}", "mountPath": f"{KEYS_FOLDER}/{tenant.name}", "readOnly": True}
        for index, tenant in enumerate(plan.tenants)
    ]
    return {
        "name": "router",
        "image": spec.router.image or settings.defaults.router_image,
        "imagePullPolicy": spec.router.image_pull_policy or settings.defaults.image_pull_policy,
        "command": ["python3", "-m", PLUGIN],
        "args": ["--config", f"{CONFIG_FOLDER}/config.yaml", "--port", str(PORT), "--state", STATE_FILE],
        "env": _env(plan),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        # LiteLLM takes 320 MiB when idle and leaks slowly (BerriAI/litellm#27954): the limit ends a pod before the
        # node.
        "resources": spec.router.resources
        or {"requests": {"cpu": "500m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
        "securityContext": container_security(read_only=False),
        # LiteLLM imports for 10 to 16 seconds of processor time before it listens.
        "startupProbe": {**alive, "periodSeconds": 2, "failureThreshold": 150},
        "readinessProbe": {**ready, "periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {**alive, "periodSeconds": 10, "failureThreshold": 6},
        # First the Services forget the pod, then SIGTERM lets the running answers finish.
        "lifecycle": {"preStop": {"sleep": {"seconds": LEAVE_SERVICES_SECONDS}}},
        "volumeMounts": mounts,
    }


def _env(plan: RouterPlan) -> list[dict[str, Any]]:
    """A restricted router has no key: its backends are local, and local backends have none."""
    values = {
        "PYTHONPATH": PLUGIN_FOLDER,
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/tmp",  # noqa: S108 - in the pod
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "WARNING",
        "DISABLE_ADMIN_UI": "True",
        "NO_DOCS": "True",
        "GRACEFUL_SHUTDOWN_TIMEOUT": str(plan.timeout_seconds),
    }
    env: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in values.items()]
    if plan.kind == "restricted":
        return env
    keys = [
        {"name": key.variable, "valueFrom": {"secretKeyRef": {"name": key.secret, "key": key.key}}}
        for key in (*plan.keys, *([plan.redis.password] if plan.redis and plan.redis.password else ()))
    ]
    return env + keys


def _volumes(plan: RouterPlan) -> list[dict[str, Any]]:
    """Tenants' Secrets are optional: a tenant whose Secret does not exist yet has no key, and the others go on."""
    volumes: list[dict[str, Any]] = [
        {"name": "config", "configMap": {"name": plan.name}},
        {"name": "plugin", "configMap": {"name": f"{plan.name}-plugin"}},
        {"name": "temporary", "emptyDir": {}},
    ]
    volumes += [
        {"name": f"keys-{index}", "secret": {"secretName": tenant.secret, "optional": True, "defaultMode": 0o440}}
        for index, tenant in enumerate(plan.tenants)
    ]
    return volumes
