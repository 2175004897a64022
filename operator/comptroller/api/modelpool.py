"""ModelPool: something that can answer requests, and what it costs. Exactly one of `local` and `hosted`."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from comptroller.api.conditions import Condition
from comptroller.api.fields import (
    ApiModel,
    DataKey,
    DecimalText,
    Figure,
    Image,
    Jurisdiction,
    Matching,
    ModelName,
    ObjectName,
    PositiveNumber,
    Shown,
    Source,
    Timestamp,
    Usd,
    as_set,
    by_key,
    rule,
)
from comptroller.api.podparts import (
    Annotations,
    EnvSource,
    Labels,
    Resources,
    ShortMap,
    Toleration,
    Volume,
    VolumeMount,
)


class Perimeter(StrEnum):
    """How far from you the data goes."""

    ON_PREMISES = "onPremises"
    PRIVATE_CLOUD = "privateCloud"
    EXTERNAL = "external"


class Quantization(StrEnum):
    """The number format of the weights."""

    NONE = "none"
    FP8 = "fp8"
    INT8 = "int8"
    INT4 = "int4"
    AWQ = "awq"
    GPTQ = "gptq"
    NVFP4 = "nvfp4"
    MXFP4 = "mxfp4"
    GGUF = "gguf"


class EngineName(StrEnum):
    """Inference engines whose command line, probes and metrics the operator knows."""

    VLLM = "vllm"
    SGLANG = "sglang"
    LLAMACPP = "llamacpp"


class Provider(StrEnum):
    """Hosted APIs whose protocol, price names and cache rules the operator knows."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    AZURE = "azure"
    BEDROCK = "bedrock"
    VERTEX = "vertex"
    MISTRAL = "mistral"
    DEEPSEEK = "deepseek"
    TOGETHER = "together"
    GROQ = "groq"
    FIREWORKS = "fireworks"
    OPENAI_COMPATIBLE = "openaiCompatible"


_ADDRESSED = (Provider.AZURE, Provider.OPENAI_COMPATIBLE)
_KEYLESS = (Provider.BEDROCK, Provider.VERTEX, Provider.OPENAI_COMPATIBLE)

AboveZero = Annotated[
    Decimal,
    DecimalText(
        "^([1-9][0-9]{0,11}([.][0-9]{1,12})?|0[.]0{0,11}[1-9][0-9]{0,11})$",
        Decimal("0.000000000001"),
        Decimal(10) ** 12,
        'must be a decimal number in quotes, above 0, such as "32.8"',
        "32.8",
    ),
]
"""A number above zero, as a decimal string."""


class Model(ApiModel):
    """Which model it is."""

    name: ModelName = Field(description="Name that the engine serves and the router asks for.", examples=["qwen3-32b"])
    source: Source | None = Field(
        default=None,
        description=(
            "Where the weights come from: hf://, s3://, gs://, oci://, pvc://claim/path or file:///path. Local pools "
            "need it, hosted pools must not have it."
        ),
        examples=["hf://Qwen/Qwen3-32B-FP8"],
    )
    quantization: Quantization | None = Field(
        default=None, description="Number format of the weights; absent: as in the source.", examples=["fp8"]
    )
    parameters_billions: AboveZero | None = Field(
        default=None,
        description="Size of the model in billions of parameters; scales the first guess of its speed.",
        examples=["32.8"],
    )
    context_length: int | None = Field(
        default=None,
        ge=256,
        le=10_000_000,
        description=(
            "Longest prompt and answer together, in tokens, that the engine is started for; absent: the model's own."
        ),
        examples=["32768"],
    )


class Location(ApiModel):
    """Where the data goes when this pool answers. Routes' data rules are held against it."""

    jurisdiction: Jurisdiction = Field(
        description="Whose law reaches the data: EU, US, CH, or a region word of your own.", examples=["EU"]
    )
    perimeter: Perimeter = Field(
        description=(
            "How far the data goes. onPremises: your own machines; privateCloud: rented machines or a private endpoint "
            "under your contract; external: a public API."
        ),
    )


class EnvVar(ApiModel):
    """One environment variable of the engine: a value, or a reference in Kubernetes' own form."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=256),
        Matching(
            "^[A-Za-z_][A-Za-z0-9_.-]*$", "must be the name of an environment variable, such as VLLM_LOGGING_LEVEL"
        ),
    ] = Field(description="Its name.", examples=["VLLM_LOGGING_LEVEL"])
    value: str | None = Field(
        default=None, max_length=4096, description="Its value; for secrets use valueFrom.", examples=["WARNING"]
    )
    value_from: EnvSource | None = Field(
        default=None, description="A reference as in a pod: secretKeyRef, configMapKeyRef or fieldRef."
    )

    @rule("!(has(self.value) && has(self.valueFrom))", "set value or valueFrom, not both")
    def _one_value(self) -> bool:
        return self.value is None or self.value_from is None


class Engine(ApiModel):
    """The inference engine and how it is started."""

    name: EngineName = Field(
        description="The engine, whose command line, probes and metrics the operator knows.", examples=["vllm"]
    )
    image: Image | None = Field(
        default=None,
        description="Container image; absent: the engine's official one.",
        examples=["vllm/vllm-openai:v0.11.0"],
    )
    command: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=16)] = Field(
        default_factory=list, description="Replaces the image's entrypoint; absent: the engine's own command."
    )
    args: Annotated[list[Annotated[str, Field(max_length=4096)]], Field(max_length=64)] = Field(
        default_factory=list,
        description="Arguments after those that the operator derives from the model.",
        examples=["[--gpu-memory-utilization=0.92]"],
    )
    env: Annotated[list[EnvVar], Field(max_length=64)] = Field(
        default_factory=list, description="Environment variables.", json_schema_extra=by_key("name")
    )
    port: int = Field(default=8000, ge=1, le=65535, description="Port of the engine's HTTP server.")


class Accelerator(ApiModel):
    """Which GPUs one replica holds."""

    class_: Annotated[
        str,
        Field(min_length=1, max_length=63),
        Matching(
            "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
            "must be a GPU class of the operator's settings, such as h100 or rtx4090, or cpu",
        ),
    ] = Field(
        alias="class",
        description=(
            "A GPU class of the operator's settings: its node selector, tolerations, watts and price. Built in: b200, "
            "h200, h100, a100, l40s, rtx5090, rtx4090, mi300x; cpu for none."
        ),
        examples=["h100"],
    )
    count: int = Field(default=1, ge=0, le=64, description="GPUs per replica; 0 for class cpu, and only there.")
    node_selector: ShortMap = Field(
        default_factory=dict,
        description="Labels that are added to the class's node selector.",
        examples=["{topology.kubernetes.io/zone: hall-2}"],
    )
    resource_name: (
        Annotated[
            str,
            Field(max_length=253),
            Matching(
                "^[a-z0-9][-a-z0-9.]*/[A-Za-z0-9][-_.A-Za-z0-9]*$",
                "must be an extended resource with its domain, such as nvidia.com/gpu or nvidia.com/mig-3g.40gb",
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="Extended resource that is asked for; absent: the class's, mostly nvidia.com/gpu.",
        examples=["nvidia.com/mig-3g.40gb"],
    )

    @rule(
        "self.class == 'cpu' ? (has(self.count) && self.count == 0) : (!has(self.count) || self.count > 0)",
        "count must be 0 for class cpu, and at least 1 for every other class",
        at="count",
    )
    def _gpus_but_on_cpu(self) -> bool:
        return (self.count == 0) == (self.class_ == "cpu")


class ReplicaBounds(ApiModel):
    """Between which replica counts the operator decides."""

    min: int = Field(default=0, ge=0, le=1000, description="Never fewer replicas, also without demand.")
    max: int = Field(ge=0, le=1000, description="Never more replicas.", examples=["8"])

    @rule(
        "!has(self.min) || self.min <= self.max",
        "min must not be above max: raise max or lower min",
    )
    def _in_order(self) -> bool:
        return self.min <= self.max


class Performance(ApiModel):
    """A first guess of the iteration time T(b) = alpha + root sqrt(b) + b (beta (in+out)/(out+1) + gamma (in + out/2)).

    b requests are decoded together; in and out are their prompt and answer lengths in tokens. The operator learns the
    real numbers from the engine's own measurements.
    """

    alpha_ms: AboveZero = Field(
        description="Fixed time of one decoding step, in milliseconds; above 0.", examples=["6.1"]
    )
    beta_ms: PositiveNumber = Field(
        description="Added time per request in the batch, in milliseconds.", examples=["0.05"]
    )
    gamma_ms: PositiveNumber = Field(
        description="Added time per context token in the batch, in milliseconds.", examples=["0.0004"]
    )
    root_ms: PositiveNumber | None = Field(
        default=None,
        description="Added time per square root of the batch, in milliseconds; for mixtures of experts.",
        examples=["1.3"],
    )
    max_concurrency: int = Field(
        ge=1, le=4096, description="Requests that one replica decodes at the same time.", examples=["128"]
    )


class ModelCache(ApiModel):
    """A volume that keeps downloaded weights between starts."""

    persistent_volume_claim: ObjectName = Field(
        description="Claim in the pool's namespace; ReadWriteMany where more than one replica runs.",
        examples=["models"],
    )
    path: Annotated[
        str, Field(min_length=1, max_length=256), Matching("^/.*$", "must be an absolute path, such as /models")
    ] = Field(default="/models", description="Where it is mounted in the engine's container.")


class Adapter(ApiModel):
    """A specialised fine-tune (LoRA) that shares the base model's GPUs."""

    name: ModelName = Field(description="Name that the engine serves it under.", examples=["loan-review"])
    source: Source = Field(description="Where its weights come from.", examples=["hf://acme/loan-review-lora"])


class PodTemplate(ApiModel):
    """The bounded part of the pod that users may set; everything else is the operator's, for safety."""

    labels: Labels = Field(
        default_factory=dict, description="Labels added to the pods.", examples=["{cost-centre: research}"]
    )
    annotations: Annotations = Field(default_factory=dict, description="Annotations added to the pods.")
    resources: Resources | None = Field(
        default=None,
        description="Requests and limits of processor and memory; GPUs come from the accelerator.",
        examples=['{requests: {cpu: "4", memory: 32Gi}}'],
    )
    volumes: Annotated[list[Volume], Field(max_length=16)] = Field(
        default_factory=list,
        description=(
            "Volumes added to the pods: configMap, secret, emptyDir, persistentVolumeClaim or csi. hostPath is refused."
        ),
        json_schema_extra=by_key("name"),
    )
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=32)] = Field(
        default_factory=list, description="Mounts of these volumes in the engine's container."
    )
    tolerations: Annotated[list[Toleration], Field(max_length=32)] = Field(
        default_factory=list, description="Tolerations added to the class's."
    )
    priority_class_name: ObjectName | None = Field(
        default=None, description="PriorityClass of the pods; absent: the cluster's default.", examples=["inference"]
    )
    image_pull_secrets: Annotated[list[ObjectName], Field(max_length=8)] = Field(
        default_factory=list,
        description="Names of Secrets for the image registry.",
        examples=["[registry]"],
        json_schema_extra=as_set(),
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="When the image is pulled; absent: as Kubernetes does, by the tag."
    )
    termination_grace_period_seconds: int = Field(
        default=600,
        ge=1,
        le=86400,
        description="How long a replica that is removed may finish its running requests, in seconds.",
    )

    @rule(
        "!has(self.volumeMounts) || "
        "self.volumeMounts.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.name))",
        "volumeMounts[].name must be one of volumes: add the volume or remove the mount",
        at="volumeMounts",
    )
    def _mounts_have_volumes(self) -> bool:
        return {mount["name"] for mount in self.volume_mounts} <= {volume["name"] for volume in self.volumes}


class Local(ApiModel):
    """A model on GPUs that you own or rent."""

    engine: Engine = Field(description="The inference engine and how it is started.")
    accelerator: Accelerator = Field(description="Which GPUs one replica holds.")
    replicas: ReplicaBounds = Field(description="Between which replica counts the operator decides.")
    ownership: Literal["owned", "rented"] = Field(
        default="owned",
        description=(
            "How the GPUs are paid. owned: the purchase is sunk and only power counts; rented: each hour costs rent."
        ),
    )
    rent_usd_per_gpu_hour: Usd | None = Field(
        default=None,
        description="Rent of one GPU for one hour, in US dollars; absent: the class's price. Only with rented.",
        examples=["2.40"],
    )
    performance: Performance | None = Field(
        default=None, description="First guess of the speed, learned afterwards; absent: the class's default."
    )
    startup_seconds: int = Field(
        default=180,
        ge=0,
        le=86400,
        description="First guess of the time from creation to ready, in seconds; measured afterwards.",
    )
    model_cache: ModelCache | None = Field(
        default=None,
        description="A volume that keeps downloaded weights; absent: each replica downloads them at its start.",
    )
    adapters: Annotated[list[Adapter], Field(max_length=64)] = Field(
        default_factory=list,
        description="LoRA adapters served beside the base model, on the same GPUs.",
        json_schema_extra=by_key("name"),
    )
    pod: PodTemplate = Field(default_factory=PodTemplate, description="The bounded part of the pod that you may set.")

    @rule(
        "!has(self.rentUsdPerGpuHour) || (has(self.ownership) && self.ownership == 'rented')",
        "rentUsdPerGpuHour is only for ownership rented: set ownership to rented or remove the rent",
        at="rentUsdPerGpuHour",
    )
    def _rent_only_if_rented(self) -> bool:
        return self.rent_usd_per_gpu_hour is None or self.ownership == "rented"


class SecretKeyRef(ApiModel):
    """A key of a Secret in the same namespace. Pods mount it; the operator never reads it."""

    name: ObjectName = Field(description="Name of the Secret.", examples=["anthropic"])
    key: DataKey = Field(description="Key in the Secret.", examples=["api-key"])


class Prices(ApiModel):
    """What the provider charges, in US dollars per million tokens."""

    input_usd_per_million_tokens: Usd = Field(
        description="Prompt tokens that were not cached, in US dollars per million.", examples=["3"]
    )
    cached_input_usd_per_million_tokens: Usd | None = Field(
        default=None,
        description="Prompt tokens read from the cache, in US dollars per million; absent: as input.",
        examples=["0.30"],
    )
    cache_write_usd_per_million_tokens: Usd | None = Field(
        default=None,
        description="Prompt tokens written to the cache, in US dollars per million; absent: as input.",
        examples=["3.75"],
    )
    output_usd_per_million_tokens: Usd = Field(
        description="Generated tokens, in US dollars per million.", examples=["15"]
    )


class RateLimits(ApiModel):
    """What the provider lets you send."""

    requests_per_minute: int | None = Field(
        default=None, ge=1, le=100_000_000, description="Requests per minute; absent: no limit.", examples=["1000"]
    )
    tokens_per_minute: int | None = Field(
        default=None,
        ge=1,
        le=100_000_000_000,
        description="Prompt and generated tokens per minute; absent: no limit.",
        examples=["400000"],
    )
    max_concurrency: int | None = Field(
        default=None, ge=1, le=100_000, description="Requests at the same time; absent: no limit.", examples=["64"]
    )


class PromptCache(ApiModel):
    """How the provider caches prompts."""

    mode: Literal["automatic", "explicit", "none"] = Field(
        description="automatic: by itself; explicit: at breakpoints that the request names; none: never."
    )
    ttls: Annotated[list[Literal["5m", "1h"]], Field(max_length=2)] = Field(
        default_factory=list,
        description="Lifetimes on offer. Only with explicit.",
        examples=["[5m, 1h]"],
        json_schema_extra=as_set(),
    )
    minimum_tokens: int = Field(
        default=1024, ge=0, le=1_000_000, description="Shortest prefix that is cached, in tokens."
    )

    @rule(
        "!has(self.ttls) || self.ttls.size() == 0 || self.mode == 'explicit'",
        "ttls is only for mode explicit: set mode to explicit or remove ttls",
        at="ttls",
    )
    def _lifetimes_only_if_explicit(self) -> bool:
        return not self.ttls or self.mode == "explicit"


class Hosted(ApiModel):
    """A model at an API that you pay per token."""

    provider: Provider = Field(description="Whose protocol, price names and cache rules apply.", examples=["anthropic"])
    base_url: (
        Annotated[
            str,
            Field(min_length=1, max_length=512),
            Matching(
                r"^https?://[^@\s]+$",
                "must begin with https:// or http:// and hold no user or password, such as https://llm.example.com/v1",
            ),
        ]
        | None
    ) = Field(
        default=None,
        description=(
            "Address of a compatible or private endpoint, up to and including /v1; absent: the provider's own. Needed "
            "for openaiCompatible and azure."
        ),
        examples=["https://llm.example.com/v1"],
    )
    api_key_secret_ref: SecretKeyRef | None = Field(
        default=None, description="API key, mounted into the router's pod; the operator never reads it."
    )
    prices: Prices | None = Field(
        default=None,
        description="What is charged; absent: from the bundled price list, whose version the status shows.",
    )
    limits: RateLimits = Field(
        default_factory=RateLimits, description="What the provider lets you send; absent: no limits."
    )
    prompt_cache: PromptCache | None = Field(
        default=None, description="How prompts are cached; absent: the provider's rules."
    )

    @rule(
        "!(self.provider in ['azure', 'openaiCompatible']) || has(self.baseUrl)",
        "baseUrl is required for openaiCompatible and azure: the endpoint's address, such as "
        "https://llm.example.com/v1",
        at="baseUrl",
    )
    def _address_where_none_is_known(self) -> bool:
        return self.provider not in _ADDRESSED or self.base_url is not None

    @rule(
        "self.provider in ['bedrock', 'vertex', 'openaiCompatible'] || has(self.baseUrl) || has(self.apiKeySecretRef)",
        "apiKeySecretRef is required for this provider: create a Secret with the API key and name it here",
        at="apiKeySecretRef",
    )
    def _key_where_one_is_asked(self) -> bool:
        return self.provider in _KEYLESS or self.base_url is not None or self.api_key_secret_ref is not None


class ModelPoolSpec(ApiModel):
    """Something that can answer requests, and what it costs."""

    model: Model = Field(description="Which model it is.")
    location: Location = Field(description="Where the data goes when this pool answers.")
    local: Local | None = Field(
        default=None, description="A model on GPUs that you own or rent. Exactly one of local and hosted."
    )
    hosted: Hosted | None = Field(
        default=None, description="A model at an API that you pay per token. Exactly one of local and hosted."
    )

    @rule(
        "has(self.local) != has(self.hosted)",
        "set exactly one of local (GPUs you own or rent) and hosted (an API you pay per token)",
    )
    def _local_or_hosted(self) -> bool:
        return (self.local is None) != (self.hosted is None)

    @rule(
        "!has(self.local) || has(self.model.source) || "
        "(has(self.local.engine.args) && self.local.engine.args.size() > 0)",
        "model.source is required for a local pool: where the weights come from, such as hf://Qwen/Qwen3-32B-FP8",
        at="model.source",
    )
    def _weights_for_local(self) -> bool:
        return self.local is None or self.model.source is not None or bool(self.local.engine.args)

    @rule(
        "!has(self.hosted) || !has(self.model.source)",
        "model.source is only for local pools: a hosted API has its own weights",
        at="model.source",
    )
    def _no_weights_for_hosted(self) -> bool:
        return self.hosted is None or self.model.source is None

    @rule(
        "!has(self.local) || self.location.perimeter != 'external'",
        "perimeter external is only for hosted pools: a local pool runs in this cluster, so set onPremises or "
        "privateCloud",
        at="location.perimeter",
    )
    def _local_is_not_external(self) -> bool:
        return self.local is None or self.location.perimeter is not Perimeter.EXTERNAL

    @rule(
        "!has(self.hosted) || has(self.hosted.baseUrl) || self.location.perimeter != 'onPremises'",
        "a hosted pool is onPremises only behind hosted.baseUrl, an endpoint of your own: set baseUrl, or privateCloud "
        "or external",
        at="location.perimeter",
    )
    def _hosted_inside_has_an_address(self) -> bool:
        return (
            self.hosted is None
            or self.hosted.base_url is not None
            or self.location.perimeter is not Perimeter.ON_PREMISES
        )

    @rule(
        "!has(self.local) || !has(self.local.adapters) || self.local.adapters.all(a, a.name != self.model.name)",
        "local.adapters[].name must differ from model.name: the engine serves both side by side",
        at="local.adapters",
    )
    def _adapters_have_own_names(self) -> bool:
        return self.local is None or all(one.name != self.model.name for one in self.local.adapters)


class ReplicaStatus(ApiModel):
    """Replica counts of a local pool."""

    desired: int | None = Field(default=None, description="Replicas that the decision wants.")
    ready: int | None = Field(default=None, description="Replicas whose engine answers and that take traffic.")
    warm: int | None = Field(default=None, description="Ready replicas whose declared prefixes are cached.")
    starting: int | None = Field(default=None, description="Replicas that exist and are not ready yet.")


class AlternativeStatus(ApiModel):
    """What else could have been done with the whole fleet, predicted."""

    name: str = Field(max_length=63, description="previous plan, or all hosted.")
    usd_per_hour: Figure | None = Field(default=None, description="What it would cost, in US dollars per hour.")
    more_usd_per_hour: Figure | None = Field(default=None, description="The same less what the plan costs.")
    unanswered_requests_per_second: Figure | None = Field(default=None, description="What nobody would answer.")


class BridgeStatus(ApiModel):
    """What hosted pools carry until starting replicas are ready."""

    ready_at: Timestamp | None = Field(default=None, description="When the last of them is expected.")
    requests_per_second: Figure | None = Field(default=None, description="What spills meanwhile.")
    usd_per_hour: Figure | None = Field(default=None, description="What that costs.")
    pools: Annotated[list[Annotated[str, Field(max_length=63)]], Field(max_length=8)] | None = Field(
        default=None, description="Where it goes."
    )


class AllocationStatus(ApiModel):
    """The newest decision on this pool, in words."""

    desired: int | None = Field(default=None, description="Replicas that the decision wants.")
    previous: int | None = Field(default=None, description="What was wanted before since.")
    since: Timestamp | None = Field(default=None, description="When desired last changed.")
    reason: str | None = Field(default=None, max_length=128, description="One word why.", examples=["DemandServed"])
    message: str | None = Field(default=None, max_length=1024, description="One sentence why, with numbers.")
    explained: str | None = Field(
        default=None, max_length=4096, description="What bridges, what else could be done, what a GPU is worth."
    )
    bridge: BridgeStatus | None = Field(default=None, description="What spills while replicas start.")
    alternatives: Annotated[list[AlternativeStatus], Field(max_length=4)] | None = Field(
        default=None, description="What else could have been done."
    )
    requests_per_second: Figure | None = Field(
        default=None, description="Requests per second that the plan sends here."
    )


class EconomicsStatus(ApiModel):
    """What this pool costs now."""

    usd_per_hour: Figure | None = Field(
        default=None, description="What the pool costs now, in US dollars per hour, marginal basis."
    )
    usd_per_million_tokens: Figure | None = Field(
        default=None,
        description="Marginal cost at the present load, in US dollars per million tokens: what another hour adds.",
    )
    allocation_usd_per_million_tokens: Figure | None = Field(
        default=None,
        description="The same on the allocation basis: with the purchase spread over all hours of its life.",
    )
    utilisation: Figure | None = Field(
        default=None,
        description="Load against the capacity at the service-level objective; 1 is full, above 1 is overload.",
    )
    break_even_utilisation: Figure | None = Field(
        default=None, description="Utilisation above which owning beats the cheapest permitted API."
    )
    shadow_price_usd_per_gpu_hour: Figure | None = Field(
        default=None, description="What one more GPU of this class would be worth, in US dollars per hour."
    )
    owning_usd_per_gpu_hour: Figure | None = Field(
        default=None, description="What owning one GPU costs per hour, allocation basis, under full load."
    )
    payback_days: Figure | None = Field(
        default=None, description="After how many days one more GPU has earned its price; absent: never."
    )
    price_source: str | None = Field(
        default=None, max_length=128, description="Where a hosted price comes from, with its version."
    )


class PerformanceStatus(ApiModel):
    """The speed that the decision reckons with."""

    alpha_ms: Figure | None = Field(default=None, description="Fixed time of one decoding step, in milliseconds.")
    beta_ms: Figure | None = Field(default=None, description="Added time per request in the batch, in milliseconds.")
    gamma_ms: Figure | None = Field(default=None, description="Added time per context token, in milliseconds.")
    root_ms: Figure | None = Field(default=None, description="Added time per square root of the batch.")
    max_requests_per_second: Figure | None = Field(
        default=None, description="Requests per second of one replica at the strictest route's objective."
    )
    source: Literal["declared", "learned", "default"] | None = Field(
        default=None,
        description="Where the numbers come from: the spec, the engine's measurements, or the GPU class.",
    )
    samples: int | None = Field(default=None, description="Number of measurements behind learned numbers.")
    confidence: Figure | None = Field(
        default=None, description="0 to 1: how far measurements bear the numbers out; from 0.5 on they are used."
    )


class PoolSummary(ApiModel):
    """The pool in one line, as `kubectl get` prints it; numbers to reckon with are in the other fields."""

    want: Shown | None = Field(default=None, description="Replicas wanted; - for a hosted pool.", examples=["4"])
    ready: Shown | None = Field(default=None, description="Replicas ready; - for a hosted pool.", examples=["2"])
    warm: Shown | None = Field(default=None, description="Replicas warm; - for a hosted pool.", examples=["2"])
    utilisation: Shown | None = Field(default=None, description="Utilisation; - for a hosted pool.", examples=["71%"])
    usd_per_million_tokens: Shown | None = Field(
        default=None, description="Marginal cost in US dollars per million tokens.", examples=["0.19"]
    )


class ModelPoolStatus(ApiModel):
    """What the operator sees and has decided."""

    observed_generation: int | None = Field(
        default=None, description="The generation of the spec that this status speaks of."
    )
    model_class: str | None = Field(default=None, max_length=64, description="GPU class, or hosted.", examples=["h100"])
    summary: PoolSummary | None = Field(default=None, description="The pool in one line.")
    replicas: ReplicaStatus | None = Field(default=None, description="Replica counts of a local pool.")
    allocation: AllocationStatus | None = Field(default=None, description="The newest decision, in words.")
    economics: EconomicsStatus | None = Field(default=None, description="What the pool costs now.")
    performance: PerformanceStatus | None = Field(default=None, description="The speed that the decision reckons with.")
    startup_seconds: int | None = Field(default=None, description="Measured time from creation to ready, in seconds.")
    conditions: Annotated[list[Condition], Field(max_length=32)] | None = Field(
        default=None,
        description="Ready, Reconciling, Stalled, MetricsAvailable, CapacityAvailable, Paused, FieldsHonoured.",
        json_schema_extra=by_key("type"),
    )
