"""Every object that must be refused, once: the API server and `parse_spec` are both asked, and say the same.

Rules between fields are listed by hand. Bounds and the shapes of single texts are taken from the schema: for each one a
value that breaks it is put into a full example.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from comptroller.api.kinds import KINDS
from comptroller.api.schema import Schema, object_schema, walk
from tests.unit.api.examples import FULL, STATUS
from tests.unit.api.objects import REMOVED, changed, get

KIND_OF = {"local": "ModelPool", "hosted": "ModelPool", "policy": "RoutingPolicy", "warmup": "CacheWarmup"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An example that was spoilt, the path that the error must name, and what it must say."""

    id: str
    example: str
    obj: dict[str, Any]
    path: str
    message: str
    bound: str = ""

    @property
    def kind(self) -> str:
        return KIND_OF[self.example]


def _refusal(identity: str, example: str, path: str, message: str, changes: dict[str, Any]) -> Refusal:
    return Refusal(identity, example, changed(FULL[example](), changes), path, message)


_POD = "spec.local.pod"
_GPU_ELSEWHERE = "are for cpu, memory and ephemeral-storage: GPUs belong to spec.local.accelerator of a pool"
_NOT_OURS = "names that begin with comptroller.dev/ are the operator's own: choose another prefix"
_HOSTED_KEY = "spec.hosted.apiKeySecretRef"
_HOSTED_URL = "spec.hosted.baseUrl"

BETWEEN_FIELDS = (
    _refusal(
        "name too long for a Service",
        "local",
        "",
        "metadata.name must begin with a letter and have at most 50 lower-case letters, digits and dashes: Services "
        "and Deployments are named after it",
        {"metadata.name": "q" * 51},
    ),
    _refusal(
        "policy whose name begins with a digit",
        "policy",
        "",
        "metadata.name must begin with a letter",
        {"metadata.name": "4-research"},
    ),
    _refusal("warm-up whose name has a dot", "warmup", "", "metadata.name must begin", {"metadata.name": "a.b"}),
    _refusal(
        "both local and hosted",
        "local",
        "spec",
        "set exactly one of local (GPUs you own or rent) and hosted (an API you pay per token)",
        {"spec.hosted": FULL["hosted"]()["spec"]["hosted"], "spec.model.source": REMOVED},
    ),
    _refusal("neither local nor hosted", "local", "spec", "set exactly one of local", {"spec.local": REMOVED}),
    _refusal(
        "local without weights",
        "local",
        "spec.model.source",
        "model.source is required for a local pool: where the weights come from, such as hf://Qwen/Qwen3-32B-FP8",
        {"spec.model.source": REMOVED, "spec.local.engine.args": REMOVED},
    ),
    _refusal(
        "hosted with weights",
        "hosted",
        "spec.model.source",
        "model.source is only for local pools: a hosted API has its own weights",
        {"spec.model.source": "hf://Qwen/Qwen3-8B"},
    ),
    _refusal(
        "local and external",
        "local",
        "spec.location.perimeter",
        "perimeter external is only for hosted pools: a local pool runs in this cluster, so set onPremises or "
        "privateCloud",
        {"spec.location.perimeter": "external"},
    ),
    _refusal(
        "public API on premises",
        "hosted",
        "spec.location.perimeter",
        "a hosted pool is onPremises only behind hosted.baseUrl, an endpoint of your own: set baseUrl, or privateCloud "
        "or external",
        {"spec.location.perimeter": "onPremises", _HOSTED_URL: REMOVED},
    ),
    _refusal(
        "adapter named as its model",
        "local",
        "spec.local.adapters",
        "local.adapters[].name must differ from model.name: the engine serves both side by side",
        {"spec.local.adapters[0].name": "qwen3-32b"},
    ),
    _refusal(
        "value and valueFrom",
        "local",
        "spec.local.engine.env[1]",
        "set value or valueFrom, not both",
        {"spec.local.engine.env[1].value": "secret"},
    ),
    _refusal(
        "valueFrom from two sources",
        "local",
        "spec.local.engine.env[1].valueFrom",
        "set exactly one of secretKeyRef, configMapKeyRef and fieldRef",
        {"spec.local.engine.env[1].valueFrom.fieldRef": {"fieldPath": "status.hostIP"}},
    ),
    _refusal(
        "valueFrom from nowhere",
        "local",
        "spec.local.engine.env[1].valueFrom",
        "set exactly one of secretKeyRef",
        {"spec.local.engine.env[1].valueFrom": {}},
    ),
    _refusal(
        "cpu with a GPU",
        "local",
        "spec.local.accelerator.count",
        "count must be 0 for class cpu, and at least 1 for every other class",
        {"spec.local.accelerator.class": "cpu"},
    ),
    _refusal(
        "cpu with the default count",
        "local",
        "spec.local.accelerator.count",
        "count must be 0 for class cpu",
        {"spec.local.accelerator.class": "cpu", "spec.local.accelerator.count": REMOVED},
    ),
    _refusal(
        "GPU class without a GPU",
        "local",
        "spec.local.accelerator.count",
        "count must be 0 for class cpu",
        {"spec.local.accelerator.count": 0},
    ),
    _refusal(
        "min above max",
        "local",
        "spec.local.replicas",
        "min must not be above max: raise max or lower min",
        {"spec.local.replicas.min": 9},
    ),
    _refusal(
        "rent of an owned GPU",
        "local",
        "spec.local.rentUsdPerGpuHour",
        "rentUsdPerGpuHour is only for ownership rented: set ownership to rented or remove the rent",
        {"spec.local.ownership": "owned"},
    ),
    _refusal(
        "rent with the default ownership",
        "local",
        "spec.local.rentUsdPerGpuHour",
        "rentUsdPerGpuHour is only for ownership rented",
        {"spec.local.ownership": REMOVED},
    ),
    _refusal(
        "label of the operator", "local", f"{_POD}.labels", _NOT_OURS, {f'{_POD}.labels."comptroller.dev/pool"': "x"}
    ),
    _refusal(
        "GPU among the requests",
        "local",
        f"{_POD}.resources",
        f"requests {_GPU_ELSEWHERE}",
        {f'{_POD}.resources.requests."nvidia.com/gpu"': "1"},
    ),
    _refusal(
        "GPU among the limits",
        "local",
        f"{_POD}.resources",
        f"limits {_GPU_ELSEWHERE}",
        {f'{_POD}.resources.limits."nvidia.com/gpu"': "1"},
    ),
    *(
        _refusal(
            f"GPU among the router's {part}",
            "policy",
            "spec.router.resources",
            f"{part} {_GPU_ELSEWHERE}",
            {f'spec.router.resources.{part}."nvidia.com/gpu"': "1"},
        )
        for part in ("requests", "limits")
    ),
    _refusal(
        "hostPath",
        "local",
        f"{_POD}.volumes[0]",
        "set exactly one of configMap, secret, emptyDir, persistentVolumeClaim and csi; hostPath and other kinds of "
        "volume are refused",
        {f"{_POD}.volumes[0]": {"name": "prompts", "hostPath": {"path": "/"}}},
    ),
    _refusal(
        "volume of two kinds",
        "local",
        f"{_POD}.volumes[0]",
        "set exactly one of configMap",
        {f"{_POD}.volumes[0].emptyDir": {}},
    ),
    _refusal(
        "mount without a volume",
        "local",
        f"{_POD}.volumeMounts",
        "volumeMounts[].name must be one of volumes: add the volume or remove the mount",
        {f"{_POD}.volumeMounts[0].name": "elsewhere"},
    ),
    _refusal(
        "mounts without any volume",
        "local",
        f"{_POD}.volumeMounts",
        "volumeMounts[].name must be one of volumes",
        {f"{_POD}.volumes": REMOVED},
    ),
    _refusal(
        "compatible API without an address",
        "hosted",
        _HOSTED_URL,
        "baseUrl is required for openaiCompatible and azure: the endpoint's address, such as https://llm.example.com/v1",
        {"spec.hosted.provider": "openaiCompatible", _HOSTED_URL: REMOVED},
    ),
    _refusal(
        "API without a key",
        "hosted",
        _HOSTED_KEY,
        "apiKeySecretRef is required for this provider: create a Secret with the API key and name it here",
        {_HOSTED_KEY: REMOVED, _HOSTED_URL: REMOVED},
    ),
    _refusal(
        "lifetimes of an automatic cache",
        "hosted",
        "spec.hosted.promptCache.ttls",
        "ttls is only for mode explicit: set mode to explicit or remove ttls",
        {"spec.hosted.promptCache.mode": "automatic"},
    ),
    _refusal(
        "router's min above max",
        "policy",
        "spec.router.replicas",
        "min must not be above max: raise max or lower min",
        {"spec.router.replicas.min": 5},
    ),
    _refusal(
        "no router",
        "policy",
        "spec.router.replicas.min",
        "replicas.min must be at least 1: without a router nobody is answered",
        {"spec.router.replicas.min": 0},
    ),
    _refusal(
        "no router by the default",
        "policy",
        "spec.router.replicas.min",
        "replicas.min must be at least 1",
        {"spec.router.replicas.min": REMOVED},
    ),
    _refusal(
        "tenant of an unknown route",
        "policy",
        "spec.tenants",
        "tenants[].routes must name routes of this policy: add the route or remove the name",
        {"spec.tenants[0].routes": ["extraction", "unknown"]},
    ),
    _refusal(
        "the same backend twice",
        "policy",
        "spec.routes[0].backends",
        "backends must not name the same pool and adapter twice: remove one of them",
        {"spec.routes[0].backends[1].adapter": REMOVED},
    ),
    _refusal(
        "objective that says nothing",
        "policy",
        "spec.routes[0].slo",
        "set timeToFirstTokenMs, timePerOutputTokenMs or both, such as timeToFirstTokenMs: 800",
        {"spec.routes[0].slo": {"percentile": 95}},
    ),
    _refusal(
        "classification that protects nothing",
        "policy",
        "spec.routes[0].data",
        "set jurisdictions, perimeters or both: a classification alone protects nothing",
        {"spec.routes[0].data": {"classification": "restricted"}},
    ),
    _refusal(
        "text from two sources",
        "warmup",
        "spec.prefixes[0].system",
        "set exactly one of text, configMapKeyRef and secretKeyRef",
        {"spec.prefixes[0].system.text": "You check contracts."},
    ),
    _refusal(
        "text from nowhere",
        "warmup",
        "spec.prefixes[0].system",
        "set exactly one of text",
        {"spec.prefixes[0].system": {}},
    ),
    _refusal(
        "empty prefix",
        "warmup",
        "spec.prefixes[1]",
        "a prefix needs at least one of system, tools and messages",
        {"spec.prefixes[1].system": REMOVED, "spec.prefixes[1].tools": REMOVED},
    ),
    _refusal(
        "gate that nothing opens",
        "warmup",
        "spec.gate",
        "gate.enabled must be false where triggers.onReplicaStart is false: nothing would warm the replicas that the "
        "gate holds back",
        {"spec.triggers.onReplicaStart": False},
    ),
    _refusal(
        "gate by default that nothing opens",
        "warmup",
        "spec.gate",
        "gate.enabled must be false",
        {"spec.triggers.onReplicaStart": False, "spec.gate": REMOVED},
    ),
    # shapes whose message is promised word for word
    _refusal(
        "pass rate above one",
        "policy",
        "spec.routes[0].quality.minimumPassRate",
        'must be between 0 and 1, such as "0.95"',
        {"spec.routes[0].quality.minimumPassRate": "1.2"},
    ),
    _refusal(
        "schedule of four fields",
        "warmup",
        "spec.triggers.schedule",
        "must be a cron expression of five fields",
        {"spec.triggers.schedule": "55 7 * *"},
    ),
    _refusal("negative money", "policy", "spec.budget.usd", "must be US dollars", {"spec.budget.usd": "-1"}),
    _refusal("money in words", "policy", "spec.budget.usd", "must be US dollars", {"spec.budget.usd": "1e3"}),
    _refusal(
        "speed of zero",
        "local",
        "spec.local.performance.alphaMs",
        "must be a decimal number in quotes, above 0",
        {"spec.local.performance.alphaMs": "0.000"},
    ),
    _refusal(
        "password in the address",
        "hosted",
        _HOSTED_URL,
        "must begin with https:// or http:// and hold no user or password",
        {_HOSTED_URL: "https://me:secret@llm.example.com/v1"},
    ),
)
"""Rules between fields, and a few shapes that deserve a case of their own."""


def from_schema(example: str, root: str = "spec") -> Iterator[Refusal]:
    """A refusal for each bound and each shape of a single text under `spec` or `status`."""
    schema = object_schema(KINDS[KIND_OF[example]])
    whole = FULL[example]()
    if root == "status":
        whole["status"] = STATUS[example]()
    for path, node in walk(schema["properties"][root], root):
        here = _first(whole, path)
        if here is None:
            continue
        for bound, value, message in _violations(node, get(whole, here)):
            # what lies under the spoilt field is the field's own error; map values and list entries are named too
            spoilt = changed(whole, {here: value})
            yield Refusal(f"{path} {bound}", example, spoilt, here.replace('"', ""), message, bound)
        for name in node.get("required", ()):
            gone = changed(whole, {f"{here}.{name}": REMOVED})
            yield Refusal(f"{path}.{name} required", example, gone, f"{here}.{name}", "equired", "required")


def _first(whole: dict[str, Any], path: str) -> str | None:
    """The first place of an example that a path of the schema means: `[]` becomes the entry that has the rest."""
    places = [""]
    for step in re.findall(r"\[\]|\.\*|[^.\[\]*]+", path):
        further = []
        for place in places:
            value = get(whole, place) if place else whole
            if step == "[]" and isinstance(value, list):
                further += [f"{place}[{index}]" for index in range(len(value))]
            elif step == ".*" and isinstance(value, dict):
                further += [f'{place}."{key}"' if "." in key else f"{place}.{key}" for key in value]
            elif isinstance(value, dict) and step in value:
                further.append(f"{place}.{step}" if place else step)
        places = further
    return places[0] if places else None


_BREAKS: Mapping[str, Callable[[Any, Any], tuple[Any, str]]] = {
    "enum": lambda _, good: ("nonsense", "upported value"),
    "minimum": lambda bound, good: (bound - 1, f"greater than or equal to {bound}"),
    "maximum": lambda bound, good: (bound + 1, f"less than or equal to {bound}"),
    "minLength": lambda bound, good: ("x" * (bound - 1), f"at least {bound} chars"),
    "maxLength": lambda bound, good: ("1" * (bound + 1), f"may not be more than {bound}"),
    "minItems": lambda bound, good: ([], f"at least {bound} items"),
    "maxItems": lambda bound, good: (_many(good[0], bound + 1), f"at most {bound} items"),
    "maxProperties": lambda bound, good: ({f"key-{n}": "1" for n in range(bound + 1)}, f"at most {bound} items"),
}
"""For each keyword a value that breaks it, from the bound and a good value, and what the server says then."""


def _violations(node: Schema, good: Any) -> Iterator[tuple[str, Any, str]]:
    """The bounds of a node: (keyword, a value that breaks it, what the error says)."""
    for keyword, broken in _BREAKS.items():
        if keyword in node:
            yield keyword, *broken(node[keyword], good)
    if node.get("x-kubernetes-list-type") in ("set", "map"):
        yield "unique", [good[0], good[0]], "uplicate value"
    for rule in node.get("x-kubernetes-validations", []):
        if "maxProperties" in node:
            yield "shape", {"comptroller.dev/x": "1"}, rule["message"]
        elif "maxLength" in node:
            yield "shape", "!not a shape!", rule["message"]


def _many(entry: Any, count: int) -> list[Any]:
    return [_another(entry, index) for index in range(count)]


def _another(entry: Any, index: int) -> Any:
    """An entry that differs from its neighbours where that is asked."""
    if not isinstance(entry, dict) or "name" not in entry:
        return f"x{index}" if isinstance(entry, str) else entry
    return copy.deepcopy(entry) | {"name": f"name-{index}"}


SPEC_BOUNDS = tuple(one for example in FULL for one in from_schema(example))
STATUS_BOUNDS = tuple(one for example in STATUS for one in from_schema(example, "status"))
