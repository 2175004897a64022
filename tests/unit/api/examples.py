"""One full example per kind, with every field of its spec and status set. Each call gives a fresh object to change."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def _object(kind: str, name: str, spec: Object) -> Object:
    return {
        "apiVersion": "comptroller.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def full_modelpool_local() -> Object:
    """GPUs that are rented, with everything that a pod may be given."""
    return _object(
        "ModelPool",
        "qwen3-32b-h100",
        {
            "model": {
                "name": "qwen3-32b",
                "source": "hf://Qwen/Qwen3-32B-FP8",
                "quantization": "fp8",
                "parametersBillions": "32.8",
                "contextLength": 32768,
            },
            "location": {"jurisdiction": "EU", "perimeter": "onPremises"},
            "local": {
                "engine": {
                    "name": "vllm",
                    "image": "vllm/vllm-openai:v0.11.0",
                    "command": ["python3", "-m", "vllm.entrypoints.openai.api_server"],
                    "args": ["--gpu-memory-utilization=0.92"],
                    "env": [
                        {"name": "VLLM_LOGGING_LEVEL", "value": "WARNING"},
                        {
                            "name": "HF_TOKEN",
                            "valueFrom": {"secretKeyRef": {"name": "hugging-face", "key": "token", "optional": True}},
                        },
                        {
                            "name": "REGION",
                            "valueFrom": {"configMapKeyRef": {"name": "site", "key": "region", "optional": False}},
                        },
                        {"name": "HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
                    ],
                    "port": 8001,
                },
                "accelerator": {
                    "class": "h100",
                    "count": 2,
                    "nodeSelector": {"topology.kubernetes.io/zone": "hall-2"},
                    "resourceName": "nvidia.com/gpu",
                },
                "replicas": {"min": 1, "max": 8},
                "ownership": "rented",
                "rentUsdPerGpuHour": "2.40",
                "performance": {
                    "alphaMs": "6.1",
                    "betaMs": "0.05",
                    "gammaMs": "0.0004",
                    "rootMs": "1.3",
                    "maxConcurrency": 128,
                },
                "startupSeconds": 160,
                "modelCache": {"persistentVolumeClaim": "models", "path": "/cache"},
                "adapters": [{"name": "loan-review", "source": "hf://acme/loan-review-lora"}],
                "pod": {
                    "labels": {"cost-centre": "research"},
                    "annotations": {"example.com/owner": "platform team"},
                    "resources": {"requests": {"cpu": "4", "memory": "32Gi"}, "limits": {"memory": "64Gi"}},
                    "volumes": [
                        {"name": "prompts", "configMap": {"name": "prompts"}},
                        {"name": "tokens", "secret": {"secretName": "tokens"}},
                        {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
                        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
                        {"name": "store", "csi": {"driver": "secrets-store.csi.k8s.io", "readOnly": True}},
                    ],
                    "volumeMounts": [
                        {"name": "prompts", "mountPath": "/prompts", "subPath": "en", "readOnly": True},
                        {"name": "scratch", "mountPath": "/scratch"},
                    ],
                    "tolerations": [
                        {
                            "key": "dedicated",
                            "operator": "Equal",
                            "value": "inference",
                            "effect": "NoExecute",
                            "tolerationSeconds": 300,
                        }
                    ],
                    "priorityClassName": "inference",
                    "imagePullSecrets": ["registry"],
                    "imagePullPolicy": "IfNotPresent",
                    "terminationGracePeriodSeconds": 900,
                },
            },
        },
    )


def full_modelpool_hosted() -> Object:
    """An API that is paid per token, at a private endpoint."""
    return _object(
        "ModelPool",
        "claude-sonnet",
        {
            "model": {"name": "claude-sonnet-4-5", "parametersBillions": "400", "contextLength": 200000},
            "location": {"jurisdiction": "US", "perimeter": "external"},
            "hosted": {
                "provider": "anthropic",
                "baseUrl": "https://llm.example.com/v1",
                "apiKeySecretRef": {"name": "anthropic", "key": "api-key"},
                "prices": {
                    "inputUsdPerMillionTokens": "3",
                    "cachedInputUsdPerMillionTokens": "0.30",
                    "cacheWriteUsdPerMillionTokens": "3.75",
                    "outputUsdPerMillionTokens": "15",
                },
                "limits": {"requestsPerMinute": 1000, "tokensPerMinute": 400000, "maxConcurrency": 64},
                "promptCache": {"mode": "explicit", "ttls": ["5m", "1h"], "minimumTokens": 1024},
            },
        },
    )


def full_routingpolicy() -> Object:
    """Two tenants and two routes, one of which keeps its data inside."""
    return _object(
        "RoutingPolicy",
        "research",
        {
            "router": {
                "type": "litellm",
                "image": "ghcr.io/berriai/litellm:v1.106.2",
                "imagePullPolicy": "IfNotPresent",
                "replicas": {"min": 1, "max": 4},
                "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
                "labels": {"cost-centre": "research"},
                "annotations": {"example.com/owner": "platform team"},
                "timeoutSeconds": 300,
                "port": 4001,
            },
            "tenants": [
                {
                    "name": "research",
                    "keysSecretRef": {"name": "research-keys"},
                    "budget": {
                        "usd": "100",
                        "period": "day",
                        "timeZone": "Europe/Berlin",
                        "onExhausted": "degrade",
                    },
                    "routes": ["extraction", "planning"],
                },
                {"name": "legal", "keysSecretRef": {"name": "legal-keys"}},
            ],
            "routes": [
                {
                    "name": "extraction",
                    "workflow": "diligence",
                    "step": "extraction",
                    "backends": [
                        {"pool": "qwen3-8b-4090", "passRate": "0.93"},
                        {"pool": "qwen3-8b-4090", "adapter": "loan-review", "passRate": "0.96"},
                        {"pool": "claude-sonnet", "passRate": "0.99"},
                    ],
                    "slo": {"timeToFirstTokenMs": 800, "timePerOutputTokenMs": 40, "percentile": 95},
                    "quality": {"minimumPassRate": "0.95"},
                    "value": {"usdPerSolvedTask": "0.02", "usdPerSecond": "0.001"},
                    "data": {
                        "classification": "restricted",
                        "jurisdictions": ["EU"],
                        "perimeters": ["onPremises", "privateCloud"],
                    },
                    "priority": 200,
                    "onOverload": "queue",
                    "promptCache": {"breakpoints": ["tools", "system", "lastMessage"], "ttl": "1h"},
                    "evaluator": {
                        "pool": "qwen3-32b-h100",
                        "sampleRatio": "0.05",
                        "rubric": "Every amount of the invoice is listed once, with its currency.",
                        "escalateOnFail": True,
                    },
                    "shadow": {"pool": "qwen3-32b-h100", "sampleRatio": "0.02"},
                },
                {"name": "planning", "backends": [{"pool": "claude-sonnet"}]},
            ],
            "budget": {"usd": "5000", "period": "month", "timeZone": "UTC", "onExhausted": "alertOnly"},
        },
    )


def full_cachewarmup() -> Object:
    """A prefix from all three sources, on a schedule."""
    return _object(
        "CacheWarmup",
        "compliance",
        {
            "pools": ["qwen3-32b-h100"],
            "prefixes": [
                {
                    "name": "compliance-policy",
                    "system": {"configMapKeyRef": {"name": "prompts", "key": "compliance.md"}},
                    "tools": {"secretKeyRef": {"name": "prompts", "key": "tools.json"}},
                    "messages": [
                        {"role": "user", "content": "Is clause 4 valid?"},
                        {"role": "assistant", "content": "No: it contradicts clause 2."},
                    ],
                },
                {
                    "name": "greeting",
                    "system": {"text": "You check contracts."},
                    "tools": {"configMapKeyRef": {"name": "prompts", "key": "tools.json"}},
                },
                {
                    "name": "confidential",
                    "system": {"secretKeyRef": {"name": "prompts", "key": "confidential.md"}},
                    "tools": {"text": "[]"},
                    "requestsPerSecond": "2.5",
                },
            ],
            "triggers": {
                "onReplicaStart": True,
                "onChange": False,
                "schedule": "55 7 * * 1-5",
                "timeZone": "Europe/Berlin",
                "refreshSeconds": 1800,
            },
            "gate": {"enabled": True, "timeoutSeconds": 300, "onFailure": "hold"},
            "verification": {"minimumHitRatio": "0.9"},
            "concurrencyPerReplica": 2,
        },
    )


FULL = {
    "local": full_modelpool_local,
    "hosted": full_modelpool_hosted,
    "policy": full_routingpolicy,
    "warmup": full_cachewarmup,
}
"""All builders by a short word."""


def _conditions(reason: str) -> list[Object]:
    return [
        {
            "type": "Ready",
            "status": "True",
            "reason": reason,
            "message": "3 of 3 replicas are ready.",
            "lastTransitionTime": "2026-03-02T14:02:30Z",
            "observedGeneration": 1,
        }
    ]


def full_modelpool_status() -> Object:
    """Everything that is reported of a local pool."""
    return {
        "observedGeneration": 1,
        "modelClass": "h100",
        "summary": {"want": "4", "ready": "2", "warm": "2", "utilisation": "93%", "usdPerMillionTokens": "0.19"},
        "replicas": {"desired": 4, "ready": 2, "warm": 2, "starting": 2},
        "allocation": {
            "desired": 4,
            "since": "2026-03-02T14:02:30Z",
            "reason": "ScalingUp",
            "message": "31.4 rps need 3.4 replicas; 2 are ready.",
            "previous": 2,
            "explained": "Staying at 2 would cost $29.60/h more.",
            "bridge": {
                "readyAt": "2026-03-02T14:05:22Z",
                "requestsPerSecond": "9.1",
                "usdPerHour": "11.2",
                "pools": ["claude-sonnet"],
            },
            "alternatives": [
                {
                    "name": "all hosted",
                    "usdPerHour": "226",
                    "moreUsdPerHour": "212",
                    "unansweredRequestsPerSecond": "2.2",
                }
            ],
            "requestsPerSecond": "22.3",
        },
        "economics": {
            "usdPerHour": "4.1",
            "usdPerMillionTokens": "0.19",
            "allocationUsdPerMillionTokens": "0.52",
            "utilisation": "1.07",
            "breakEvenUtilisation": "0.31",
            "shadowPriceUsdPerGpuHour": "3.1",
            "owningUsdPerGpuHour": "1.34",
            "paybackDays": "515",
            "priceSource": "genai-prices 0.2.3",
        },
        "performance": {
            "alphaMs": "6.1",
            "betaMs": "0.05",
            "gammaMs": "0.0004",
            "rootMs": "1.3",
            "maxRequestsPerSecond": "9.2",
            "source": "learned",
            "samples": 214,
            "confidence": "0.91",
        },
        "startupSeconds": 160,
        "conditions": _conditions("ScalingUp"),
    }


def full_routingpolicy_status() -> Object:
    """Everything that is reported of a policy."""
    return {
        "observedGeneration": 1,
        "totals": {
            "requestsPerSecond": "41.2",
            "inside": "88%",
            "spill": "12%",
            "slo": "99.3%",
            "usdPerHour": "14.10",
            "usdPerTask": "0.0021",
            "saved": "83%",
            "budget": "41%",
            "routes": 2,
        },
        "endpoints": ["http://research-router.inference.svc:4000/v1"],
        "routes": [
            {
                "name": "extraction",
                "classification": "restricted",
                "endpoint": "http://research-router.inference.svc:4000/v1",
                "requestsPerSecond": "31.4",
                "forecast": {"method": "timeOfDay", "skill": "0.31", "samples": 400},
                "judged": [{"pool": "qwen3-8b-4090", "answers": "412", "passed": "0.91", "passRate": "0.92"}],
                "promptCaches": [{"pool": "claude-sonnet", "ttl": "1h", "message": "Read 4 times an hour: 1h pays."}],
                "shares": [{"pool": "qwen3-8b-4090", "share": "0.88", "requestsPerSecond": "27.6"}],
                "passRate": "0.96",
                "usdPerRequest": "0.002",
                "usdPerSolvedTask": "0.0021",
                "timeToFirstTokenMs": 410,
                "spillRatio": "0.12",
                "shedRatio": "0",
                "reason": "Routed",
                "message": "31.4 rps: 88 % inside, 12 % to claude-sonnet.",
            }
        ],
        "spending": {"spentUsd": "41", "budgetUsd": "100", "resetsAt": "2026-12-01T00:00:00Z", "state": "Within"},
        "tenants": [
            {
                "name": "research",
                "spentUsd": "41",
                "budgetUsd": "100",
                "resetsAt": "2026-03-03T00:00:00Z",
                "state": "Within",
            }
        ],
        "savings": {"baselineUsd": "910", "actualUsd": "155", "ratio": "0.83"},
        "alternatives": [
            {
                "name": "previous plan",
                "usdPerHour": "43.7",
                "moreUsdPerHour": "29.6",
                "unansweredRequestsPerSecond": "0",
            }
        ],
        "decisions": [
            {
                "id": "118",
                "at": "2026-03-02T14:02:30Z",
                "message": "Wanted 2 -> 4 of qwen3-32b-h100: 31.4 rps.",
                "rung": "milp",
                "inputs": "9f86d081884c7d65",
                "usdPerHour": "14.1",
                "realisedUsdPerHour": "14.6",
            }
        ],
        "conditions": _conditions("Routed"),
    }


def full_cachewarmup_status() -> Object:
    """Everything that is reported of a warm-up."""
    return {
        "observedGeneration": 1,
        "pools": 1,
        "replicas": {"total": 2, "warm": 2, "failed": 0, "summary": "2/2"},
        "progress": {"done": 2, "total": 2, "etaSeconds": 0},
        "prefixes": [
            {
                "name": "compliance-policy",
                "tokens": 21400,
                "coldTimeToFirstTokenMs": 41300,
                "warmTimeToFirstTokenMs": 2400,
                "speedup": "17.2",
                "hitRatio": "0.97",
            }
        ],
        "caches": [
            {
                "pool": "qwen3-32b-h100",
                "capacityTokens": 524288,
                "leftOut": [{"prefix": "confidential", "reason": "A replica has room for one."}],
            }
        ],
        "hit": "97%",
        "cold": "41.3s",
        "warm": "2.4s",
        "speedup": "17x",
        "lastRun": "2026-03-02T07:56:12Z",
        "nextRun": "2026-03-03T06:55:00Z",
        "next": "Tue 07:55 CET",
        "hosted": [
            {
                "pool": "claude-sonnet",
                "keepAliveUsdPerDay": "1.2",
                "savedUsdPerDay": "9.8",
                "decision": "KeepAlive",
                "reason": "Pings for $1.20 a day save $9.80.",
            }
        ],
        "conditions": _conditions("Warm"),
    }


STATUS = {
    "local": full_modelpool_status,
    "policy": full_routingpolicy_status,
    "warmup": full_cachewarmup_status,
}
"""All builders of a status by the same words."""
