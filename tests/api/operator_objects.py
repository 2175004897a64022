"""Small objects of users for the tests of the operator; each call gives a fresh one to change."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def local_pool(name: str, gpu_class: str, *, minimum: int = 1, maximum: int = 4, **local: Any) -> Object:
    """A pool on GPUs of the fleet: one replica of it answers some six requests per second of the usual length."""
    return _object(
        "ModelPool",
        name,
        {
            "model": {"name": name, "source": "hf://acme/model", "parametersBillions": "32"},
            "location": {"jurisdiction": "EU", "perimeter": "onPremises"},
            "local": {
                "engine": {"name": "vllm"},
                "accelerator": {"class": gpu_class, "count": 1},
                "replicas": {"min": minimum, "max": maximum},
                "performance": {"alphaMs": "6.1", "betaMs": "0.05", "gammaMs": "0.0004", "maxConcurrency": 64},
                "startupSeconds": 5,
                **local,
            },
        },
    )


def hosted_pool(name: str, **hosted: Any) -> Object:
    """An API that is paid per token."""
    prices = {"inputUsdPerMillionTokens": "3", "outputUsdPerMillionTokens": "15"}
    return _object(
        "ModelPool",
        name,
        {
            "model": {"name": f"model-of-{name}"},
            "location": {"jurisdiction": "US", "perimeter": "external"},
            "hosted": {
                "provider": "openai",
                "apiKeySecretRef": {"name": name, "key": "api-key"},
                "prices": prices,
                **hosted,
            },
        },
    )


def policy(name: str, *pools: str, **route: Any) -> Object:
    """One route `chat` that these pools may answer."""
    return _object(
        "RoutingPolicy",
        name,
        {
            "router": {"type": "litellm", "replicas": {"min": 1, "max": 2}},
            "tenants": [{"name": "research", "keysSecretRef": {"name": "research-keys"}}],
            "routes": [
                {
                    "name": "chat",
                    "backends": [{"pool": one, "passRate": "0.95"} for one in pools],
                    "slo": {"timeToFirstTokenMs": 1500, "timePerOutputTokenMs": 40, "percentile": 95},
                    **route,
                }
            ],
        },
    )


def warmup(name: str, *pools: str, **gate: Any) -> Object:
    """One short prefix."""
    return _object(
        "CacheWarmup",
        name,
        {
            "pools": list(pools),
            "prefixes": [{"name": "rules", "system": {"text": "Answer briefly."}}],
            "triggers": {"onReplicaStart": True},
            "gate": {"enabled": True, "timeoutSeconds": 60, "onFailure": "admit", **gate},
        },
    )


def _object(kind: str, name: str, spec: Object) -> Object:
    return {"apiVersion": "comptroller.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
