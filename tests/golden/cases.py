"""Representative pools, policies and warm-ups, and what is rendered for them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from comptroller.allocation.decision import RoutePlan
from comptroller.api.cachewarmup import CacheWarmupSpec
from comptroller.api.conditions import Reason
from comptroller.api.modelpool import EngineName, ModelPoolSpec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.api.settings import Settings
from comptroller.render.owner import owner_reference
from comptroller.render.policy import policy_children
from comptroller.render.pool import pool_children
from comptroller.render.router.build import BackendState, TokenPrices, build_plans
from comptroller.render.warmup import Replica, Run, Slots, placed_digest, warmup_children, warmup_token

Objects = list[dict[str, Any]]
SETTINGS = Settings()
UID = "00000000-0000-4000-8000-000000000001"


def owner(kind: str, name: str) -> dict[str, Any]:
    return owner_reference(
        {"apiVersion": "comptroller.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "uid": UID}}
    )


def local_pool(
    engine: dict[str, Any], accelerator: dict[str, Any], model: dict[str, Any], **more: Any
) -> ModelPoolSpec:
    return ModelPoolSpec.model_validate(
        {
            "model": model,
            "location": {"jurisdiction": "EU", "perimeter": "onPremises"},
            "local": {"engine": engine, "accelerator": accelerator, "replicas": {"min": 0, "max": 8}, **more},
        }
    )


POOLS: dict[str, ModelPoolSpec] = {
    "qwen3-32b-h100": local_pool(
        {
            "name": "vllm",
            "args": ["--enable-expert-parallel"],
            "env": [{"name": "VLLM_LOGGING_LEVEL", "value": "WARNING"}],
        },
        {"class": "h100", "count": 2},
        {"name": "qwen3-32b", "source": "hf://Qwen/Qwen3-32B-FP8", "quantization": "fp8", "contextLength": 32768},
        performance={"alphaMs": "6.1", "betaMs": "0.05", "gammaMs": "0.0004", "maxConcurrency": 128},
        modelCache={"persistentVolumeClaim": "models", "path": "/models"},
        adapters=[{"name": "loan-review", "source": "hf://acme/loan-review-lora"}],
        pod={
            "labels": {"team": "research", "app.kubernetes.io/managed-by": "somebody-else"},
            "resources": {"requests": {"cpu": "4", "memory": "32Gi"}, "limits": {"memory": "64Gi"}},
            "tolerations": [{"key": "reserved", "operator": "Exists"}],
            "volumes": [{"name": "templates", "configMap": {"name": "chat-templates"}}],
            "volumeMounts": [{"name": "templates", "mountPath": "/templates"}],
            "imagePullSecrets": ["registry"],
            "priorityClassName": "inference",
        },
    ),
    "qwen3-8b-4090": local_pool(
        {"name": "sglang"},
        {"class": "rtx4090", "nodeSelector": {"rack": "b"}},
        {"name": "qwen3-8b", "source": "pvc://weights/qwen3-8b", "quantization": "awq"},
        adapters=[{"name": "kyc", "source": "file:///adapters/kyc"}],
    ),
    "tiny-cpu": local_pool(
        {"name": "llamacpp", "port": 8080},
        {"class": "cpu", "count": 0},
        {"name": "tiny", "source": "oci://registry.example/tiny-gguf:1", "contextLength": 4096},
        performance={"alphaMs": "60", "betaMs": "20", "gammaMs": "0.02", "maxConcurrency": 2},
        startupSeconds=10,
        pod={"terminationGracePeriodSeconds": 30},
    ),
    "claude-sonnet": ModelPoolSpec.model_validate(
        {
            "model": {"name": "claude-sonnet-4-5"},
            "location": {"jurisdiction": "US", "perimeter": "external"},
            "hosted": {"provider": "anthropic", "apiKeySecretRef": {"name": "anthropic", "key": "api-key"}},
        }
    ),
    "gpt-eu": ModelPoolSpec.model_validate(
        {
            "model": {"name": "gpt-5.4-mini"},
            "location": {"jurisdiction": "EU", "perimeter": "external"},
            "hosted": {
                "provider": "openaiCompatible",
                "baseUrl": "https://eu.example/v1",
                "apiKeySecretRef": {"name": "gpt-eu", "key": "api-key"},
                "limits": {"maxConcurrency": 32},
            },
        }
    ),
}
KEYED = {f"inference/{name}": spec for name, spec in POOLS.items()}
STATES = {
    "inference/qwen3-32b-h100": BackendState(TokenPrices(Decimal("0.04"), Decimal("0.01"), Decimal("0.19")), 3, 64),
    "inference/qwen3-8b-4090": BackendState(TokenPrices(), 2, 32),
    "inference/tiny-cpu": BackendState(TokenPrices(), 0, 2),
    "inference/claude-sonnet": BackendState(TokenPrices(Decimal(3), Decimal("0.3"), Decimal(15))),
    "inference/gpt-eu": BackendState(TokenPrices(Decimal("0.4"), Decimal("0.1"), Decimal("1.6")), max_concurrency=32),
}
EVERY_POOL = [{"pool": name} for name in ("qwen3-8b-4090", "qwen3-32b-h100", "tiny-cpu", "claude-sonnet", "gpt-eu")]
POLICY = RoutingPolicySpec.model_validate(
    {
        "router": {"replicas": {"min": 2, "max": 4}, "labels": {"team": "research"}},
        "tenants": [
            {"name": "research", "keysSecretRef": {"name": "research-keys"}},
            {"name": "audit", "keysSecretRef": {"name": "audit-keys"}, "routes": ["deal-review"]},
        ],
        "routes": [
            {
                "name": "extraction",
                "workflow": "diligence",
                "step": "extraction",
                "backends": EVERY_POOL,
                "promptCache": {"breakpoints": ["system", "tools"], "ttl": "1h"},
            },
            {"name": "in-europe", "backends": EVERY_POOL, "data": {"jurisdictions": ["EU"]}},
            {"name": "deal-review", "backends": EVERY_POOL, "data": {"perimeters": ["onPremises"]}},
        ],
    }
)


def decided(route: str, shares: dict[str, float], reserve: list[str], load: float, shed: float = 0.0) -> RoutePlan:
    keyed = {f"inference/{pool}": share for pool, share in shares.items()}
    order = (*keyed, *(f"inference/{pool}" for pool in reserve))
    return RoutePlan(f"inference/research/{route}", keyed, order, shed, 0.0, load, 1.0, 0.0, Reason.DEMAND_SERVED, "")


DECIDED = {
    f"inference/research/{plan.route.split('/')[-1]}": plan
    for plan in (
        decided("extraction", {"qwen3-8b-4090": 0.7, "qwen3-32b-h100": 0.3}, ["gpt-eu", "claude-sonnet"], 30.0),
        decided("in-europe", {"qwen3-32b-h100": 0.9, "gpt-eu": 0.1}, ["qwen3-8b-4090"], 5.0),
        decided("deal-review", {"qwen3-32b-h100": 0.95}, ["qwen3-8b-4090", "tiny-cpu"], 2.2, shed=0.05),
    )
}
TEXTS = {
    "system": {"configMapKeyRef": {"name": "prompts", "key": "compliance.md"}},
    "tools": {"secretKeyRef": {"name": "tools", "key": "tools.json"}},
}
WARMUPS = {
    "compliance": CacheWarmupSpec.model_validate(
        {
            "pools": ["qwen3-32b-h100"],
            "prefixes": [{"name": "policy", **TEXTS}, {"name": "short", "system": {"text": "You are terse."}}],
            "gate": {"timeoutSeconds": 300},
            "verification": {"minimumHitRatio": "0.95"},
        }
    ),
    "shots": CacheWarmupSpec.model_validate(
        {
            "pools": ["tiny-cpu"],
            "prefixes": [
                {
                    "name": "shots",
                    "messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}],
                }
            ],
        }
    ),
}
REPLICAS = {
    "compliance": Replica("qwen3-32b-h100", "qwen3-32b-h100-abc", UID, "10.0.0.7", 8000, EngineName.VLLM, "qwen3-32b"),
    "shots": Replica("tiny-cpu", "tiny-cpu-abc", UID, "fd00::7", 8080, EngineName.LLAMACPP, "tiny", "0123456789abcdef"),
}


SLOTS: dict[str, Slots] = {"compliance": {"policy": (), "short": ()}, "shots": {"shots": (0, 1)}}


def pool(name: str, *, replicas: int, gated: bool) -> Objects:
    spec = POOLS[name]
    return pool_children(name, "inference", spec, owner("ModelPool", name), SETTINGS, replicas=replicas, gated=gated)


def policy() -> Objects:
    plans = build_plans("research", "inference", POLICY, KEYED, STATES, DECIDED)
    return policy_children(plans, POLICY, owner("RoutingPolicy", "research"), SETTINGS)


def policy_with_budgets() -> Objects:
    """The same with a budget for all and one for a tenant, counted in a Redis with a password."""
    whole = {"usd": "5000", "period": "month", "onExhausted": "alertOnly"}
    spec = POLICY.model_dump(mode="json", by_alias=True, exclude_unset=True) | {"budget": whole}
    spec["tenants"][0]["budget"] = {"usd": "100.50", "period": "day", "timeZone": "Europe/Berlin"}
    budgeted = RoutingPolicySpec.model_validate(spec)
    redis = {"url": "redis://redis.shared:6379/0", "passwordSecretRef": {"name": "redis", "key": "password"}}
    settings = Settings.model_validate({"router": {"redis": redis}})
    plans = build_plans("research", "inference", budgeted, KEYED, STATES, DECIDED, redis=settings.router.redis)
    return policy_children(plans, budgeted, owner("RoutingPolicy", "research"), settings)


def warmup(name: str) -> Objects:
    spec, replica = WARMUPS[name], REPLICAS[name]
    slots = SLOTS[name]
    token = warmup_token(name, placed_digest(spec, slots, ""), replica, "start-1")
    run = Run(token, token, slots)
    return warmup_children(name, "inference", spec, replica, owner("CacheWarmup", name), SETTINGS, run)


CASES: dict[str, Callable[[], Objects]] = {
    "pool-vllm-two-gpus-gated": lambda: pool("qwen3-32b-h100", replicas=4, gated=True),
    "pool-sglang-on-a-claim": lambda: pool("qwen3-8b-4090", replicas=0, gated=False),
    "pool-llamacpp-without-gpu": lambda: pool("tiny-cpu", replicas=1, gated=False),
    "pool-hosted-has-no-children": lambda: pool("claude-sonnet", replicas=0, gated=False),
    "policy-open-and-restricted": policy,
    "policy-with-budgets-and-redis": policy_with_budgets,
    "warmup-with-references": lambda: warmup("compliance"),
    "warmup-of-two-slots": lambda: warmup("shots"),
}
