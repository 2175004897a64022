"""The independent auditor of a router's pod and of its way out: environment, mounted Secrets, egress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from comptroller.allocation.audit import Violation, may_see, watched_by
from comptroller.allocation.audit_router import own_keys
from comptroller.allocation.audit_section import KEYS_FOLDER, Kind
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import RoutingPolicySpec
from comptroller.api.settings import RedisSettings

_ENVIRONMENT = frozenset(
    (
        "PYTHONPATH",
        "PYTHONDONTWRITEBYTECODE",
        "HOME",
        "LITELLM_LOCAL_MODEL_COST_MAP",
        "LITELLM_TELEMETRY",
        "LITELLM_MODE",
        "LITELLM_LOG",
        "DISABLE_ADMIN_UI",
        "NO_DOCS",
        "GRACEFUL_SHUTDOWN_TIMEOUT",
    )
)

_POD = frozenset(
    (
        "automountServiceAccountToken",
        "enableServiceLinks",
        "securityContext",
        "terminationGracePeriodSeconds",
        "topologySpreadConstraints",
        "volumes",
        "containers",
        "imagePullSecrets",
    )
)
"""Not the node's network, where no NetworkPolicy holds, nor other names for the pools' addresses."""
_COMMAND = ["python3", "-m", "router_plugin"]
_ARGUMENTS = ["--config", "/etc/comptroller/router/config.yaml"]


def audit_router_pod(
    policy: RoutingPolicySpec,
    pools: Mapping[str, ModelPoolSpec],
    kind: Kind,
    pod: Mapping[str, Any],
    *,
    name: str,
    redis: RedisSettings | None = None,
) -> list[Violation]:
    """What a router's pod breaks: variables that are not known (a proxy would be a way around every address), keys of
    pools that no route may use, and client keys of one tenant in another's place. `pod` is the spec of its template."""
    namespace = name.split("/", 1)[0]
    mine = [
        pools[key]
        for route in policy.routes
        for role, pool in (*(("", one.pool) for one in route.backends), *watched_by(route))
        if (key := f"{namespace}/{pool}") in pools and not [*may_see("", role, namespace, route, key, pools)]
    ]
    found = [
        Violation(f"pod.{key}", "is nothing that a router's pod may have") for key in sorted({*pod} - _POD, key=str)
    ]
    found += [
        Violation(f"pod.volumes[{one.get('name')}]", "is no ConfigMap, Secret or empty folder")
        for one in pod.get("volumes") or ()
        if not {*one} <= {"name", "configMap", "secret", "emptyDir"}
    ]
    containers = list(pod.get("containers") or ())
    for container in containers:
        if container.get("command") != _COMMAND or container.get("args", [None])[:2] != _ARGUMENTS:
            found.append(Violation("pod.command", "is not the router with its plugin, which asks for keys"))
        if container.get("envFrom"):
            found.append(Violation("pod.envFrom", "variables must be named one by one"))
        found += [
            Violation(f"pod.env[{variable.get('name')}]", "is no variable that may be rendered")
            for variable in container.get("env") or ()
            if not _is_secret(variable) and (variable.get("name") not in _ENVIRONMENT or "valueFrom" in variable)
        ]
    secrets = secrets_of(pod)
    if kind == "restricted" and secrets:
        found.append(Violation("env", f"a restricted router may hold no key, but its pod gets {', '.join(secrets)}"))
    for variable, secret in sorted(secrets.items()):
        if secret not in own_keys(mine) and (variable, secret) != _redis_password(redis):
            found.append(Violation(f"pod.env[{variable}]", "is the key of no pool that the routes may use"))
    return [*found, *_tenant_mounts(policy, pod, containers)]


def _redis_password(redis: RedisSettings | None) -> tuple[str, tuple[str, str]] | None:
    """The variable and the Secret by which an open router may reach the settings' Redis."""
    reference = redis.password_secret_ref if redis is not None else None
    return None if reference is None else ("COMPTROLLER_REDIS_PASSWORD", (reference.name, reference.key))


def secrets_of(pod: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The variables that a pod gets from Secrets: name -> Secret and key."""
    variables = (one for container in pod.get("containers") or () for one in container.get("env") or ())
    references = ((one["name"], one["valueFrom"]["secretKeyRef"]) for one in variables if _is_secret(one))
    return {name: (str(reference.get("name")), str(reference.get("key"))) for name, reference in references}


def _is_secret(variable: Mapping[str, Any]) -> bool:
    return "secretKeyRef" in (variable.get("valueFrom") or {})


def _tenant_mounts(
    policy: RoutingPolicySpec, pod: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]
) -> Iterator[Violation]:
    volumes = {one["name"]: one["secret"].get("secretName") for one in pod.get("volumes") or () if "secret" in one}
    mounts = [one for container in containers for one in container.get("volumeMounts") or ()]
    mounted = {(str(one.get("mountPath")), volumes[one["name"]]) for one in mounts if one.get("name") in volumes}
    wanted = {(f"{KEYS_FOLDER}{one.name}", one.keys_secret_ref.name) for one in policy.tenants}
    if mounted != wanted:
        yield Violation("pod.volumes", "the mounted Secrets are not the client keys of the policy's tenants")


def audit_egress(
    policy: RoutingPolicySpec,
    pools: Mapping[str, ModelPoolSpec],
    rendered: Mapping[str, Any] | None,
    labels: Mapping[str, str],
    *,
    name: str,
) -> list[Violation]:
    """What the NetworkPolicy of a restricted router breaks: it may reach pods of its pools on their ports, and the
    cluster's DNS. None: there is no policy, which is a way out; so is one that does not choose the pods, which have
    these labels."""
    namespace = name.split("/", 1)[0]
    spec, metadata = (rendered or {}).get("spec") or {}, (rendered or {}).get("metadata") or {}
    chosen = spec.get("podSelector") or {}
    holds = metadata.get("namespace") == namespace and {*chosen} <= {"matchLabels"}
    if not holds or not {*(chosen.get("matchLabels") or {}).items()} <= {*labels.items()}:
        return [Violation("networkPolicy.podSelector", "does not choose the router's pods")]
    if "Egress" not in (spec.get("policyTypes") or ()) or not isinstance(spec.get("egress"), list):
        return [Violation("networkPolicy", "nothing keeps the restricted router inside")]
    ports = {
        name: pool.local.engine.port
        for route in policy.routes
        for name in (*(one.pool for one in route.backends), *(one for _, one in watched_by(route)))
        if (pool := pools.get(f"{namespace}/{name}")) is not None and pool.local is not None
    }
    found: list[Violation] = []
    for index, rule in enumerate(spec["egress"]):
        if not _is_dns(rule) and not _is_engine(rule, ports):
            found.append(Violation(f"networkPolicy.egress[{index}]", "leads elsewhere than to a pool or the DNS"))
    return found


def _is_dns(rule: Mapping[str, Any]) -> bool:
    """Port 53 of the cluster's own DNS: the same port elsewhere is a tunnel."""
    system = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
    targets, ports = rule.get("to") or [{}], rule.get("ports") or [{}]
    return all({**one, "podSelector": None} == {**system, "podSelector": None} for one in targets) and all(
        one.get("port") == 53 and "endPort" not in one for one in ports
    )


def _is_engine(rule: Mapping[str, Any], ports: Mapping[str, int]) -> bool:
    for target in rule.get("to") or [{}]:
        chosen = (target.get("podSelector") or {}).get("matchLabels") or {}
        if set(target) != {"podSelector"} or set(target["podSelector"]) != {"matchLabels"}:
            return False
        if chosen.get("app.kubernetes.io/component") != "engine":
            return False
        expected = ports.get(str(chosen.get("comptroller.dev/pool")))
        given = rule.get("ports") or [{}]
        if expected is None or any(one.get("port") != expected or "endPort" in one for one in given):
            return False
    return True
