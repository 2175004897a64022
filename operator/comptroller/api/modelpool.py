"""ModelPool: something that can answer requests, and what it costs. Exactly one of `local` and `hosted`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from comptroller.api.conditions import Condition
from comptroller.api.fields import ApiModel, Jurisdiction, Name, PositiveNumber, Ratio, Usd, rules

KubeObject = Annotated[
    dict[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
]
"""An object of Kubernetes' own API, passed on as it is and checked by the API server when the child is applied."""

ShortMap = Annotated[dict[str, str], Field(max_length=32)]


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


class Model(ApiModel):
    """Which model it is."""

    name: str = Field(
        min_length=1, max_length=253, description="Name that the engine serves and the router asks for, such as qwen3-32b."
    )
    source: str | None = Field(
        default=None,
        max_length=1024,
        pattern=r"^(hf|s3|gs|oci|pvc|file)://.+$",
        description="Where the weights come from: hf:// s3:// gs:// oci:// pvc://claim/path file:///path. Local pools need it.",
    )
    quantization: Quantization | None = Field(default=None, description="Number format of the weights; absent: as in the source.")
    parameters_billions: PositiveNumber | None = Field(default=None, description="Parameters in billions, such as \"32.8\".")
    context_length: int | None = Field(
        default=None, ge=256, le=10_000_000, description="Longest prompt and answer together, in tokens, that the engine is started for."
    )


class Location(ApiModel):
    """Where the data goes when this pool answers. Routes' sovereignty rules are held against it."""

    jurisdiction: Jurisdiction = Field(description="Whose law reaches the data: EU, US, CH, ...")
    perimeter: Perimeter = Field(description="onPremises, privateCloud or external.")


class EnvVar(ApiModel):
    """One environment variable of the engine: a value, or a reference in Kubernetes' own form."""

    name: str = Field(min_length=1, max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$", description="Its name.")
    value: str | None = Field(default=None, max_length=4096, description="Its value.")
    value_from: KubeObject | None = Field(default=None, description="A reference as in a pod: secretKeyRef, configMapKeyRef, fieldRef.")


class Engine(ApiModel):
    """The inference engine and how it is started."""

    name: EngineName = Field(description="vllm, sglang or llamacpp.")
    image: str | None = Field(default=None, min_length=1, max_length=512, description="Container image; absent: the engine's official one.")
    command: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=16)] = Field(
        default_factory=list, description="Replaces the image's entrypoint; absent: the engine's own command."
    )
    args: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=64)] = Field(
        default_factory=list, description="Arguments after those that the operator derives from the model."
    )
    env: Annotated[list[EnvVar], Field(max_length=64)] = Field(default_factory=list, description="Environment variables.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port of the engine's HTTP server.")


class Accelerator(ApiModel):
    """Which GPUs one replica holds."""

    class_: str = Field(
        alias="class",
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        description="A GPU class of the settings, such as h100 or rtx4090; `cpu` for none.",
    )
    count: int = Field(default=1, ge=0, le=64, description="GPUs per replica; 0 only for class cpu.")
    node_selector: ShortMap = Field(default_factory=dict, description="Labels that are added to the class's node selector.")
    resource_name: str | None = Field(
        default=None, max_length=253, description="Extended resource to ask for; absent: the class's, nvidia.com/gpu."
    )


class ReplicaBounds(ApiModel):
    """Between which replica counts the operator decides."""

    model_config = ConfigDict(
        json_schema_extra=rules(("self.min <= self.max", "min must not be above max: raise max or lower min"))
    )
    min: int = Field(default=0, ge=0, le=1000, description="Never fewer, also without demand.")
    max: int = Field(ge=0, le=1000, description="Never more.")


class Performance(ApiModel):
    """A first guess of the iteration time T(b) = alpha + b (beta (in+out)/(out+1) + gamma (in + out/2)), in milliseconds."""

    alpha_ms: PositiveNumber = Field(description="Fixed time of one decoding step, in milliseconds.")
    beta_ms: PositiveNumber = Field(description="Added time per request in the batch, in milliseconds.")
    gamma_ms: PositiveNumber = Field(description="Added time per context token in the batch, in milliseconds.")
    max_concurrency: int = Field(ge=1, le=4096, description="Requests that one replica decodes at the same time.")


class ModelCache(ApiModel):
    """A volume that keeps downloaded weights between starts."""

    persistent_volume_claim: str = Field(min_length=1, max_length=253, description="Claim in the pool's namespace.")
    path: str = Field(default="/models", min_length=1, max_length=256, pattern=r"^/.*$", description="Where it is mounted.")


class Adapter(ApiModel):
    """A specialised fine-tune (LoRA) that shares the base model's GPUs."""

    name: str = Field(min_length=1, max_length=253, description="Name that the engine serves it under.")
    source: str = Field(min_length=1, max_length=1024, pattern=r"^(hf|s3|gs|oci|pvc|file)://.+$", description="Where its weights come from.")


class PodTemplate(ApiModel):
    """The bounded part of the pod that users may set; everything else is the operator's, for safety."""

    labels: ShortMap = Field(default_factory=dict, description="Labels added to the pods.")
    annotations: ShortMap = Field(default_factory=dict, description="Annotations added to the pods.")
    resources: KubeObject | None = Field(default=None, description="Requests and limits of processor and memory; GPUs come from the accelerator.")
    volumes: Annotated[list[KubeObject], Field(max_length=16)] = Field(
        default_factory=list, description="configMap, secret, emptyDir, persistentVolumeClaim and csi volumes; hostPath is refused."
    )
    volume_mounts: Annotated[list[KubeObject], Field(max_length=32)] = Field(default_factory=list, description="Mounts of the engine's container.")
    tolerations: Annotated[list[KubeObject], Field(max_length=32)] = Field(default_factory=list, description="Tolerations added to the class's.")
    priority_class_name: str | None = Field(default=None, max_length=253, description="PriorityClass of the pods.")
    image_pull_secrets: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=8)] = Field(
        default_factory=list, description="Names of Secrets for the image registry."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(default=None, description="As in a pod.")
    termination_grace_period_seconds: int = Field(
        default=600, ge=1, le=86400, description="How long a replica may finish its requests when it is removed, in seconds."
    )


class Local(ApiModel):
    """A model on GPUs that you own or rent."""

    engine: Engine = Field(description="The inference engine.")
    accelerator: Accelerator = Field(description="Which GPUs one replica holds.")
    replicas: ReplicaBounds = Field(description="Between which replica counts the operator decides.")
    ownership: Literal["owned", "rented"] = Field(
        default="owned", description="owned: the purchase is sunk and only power counts; rented: each hour costs rent."
    )
    rent_usd_per_gpu_hour: Usd | None = Field(default=None, description="Rent of one GPU for one hour; absent: the class's price. Only for rented.")
    performance: Performance | None = Field(default=None, description="First guess of the speed; absent: the class's default.")
    startup_seconds: int = Field(default=180, ge=0, le=86400, description="First guess from creation to ready, in seconds; measured afterwards.")
    model_cache: ModelCache | None = Field(default=None, description="A volume that keeps downloaded weights.")
    adapters: Annotated[list[Adapter], Field(max_length=64)] = Field(
        default_factory=list,
        description="LoRA adapters served beside the base model.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    pod: PodTemplate = Field(default_factory=PodTemplate, description="The bounded part of the pod that you may set.")


class SecretKeyRef(ApiModel):
    """A key of a Secret in the same namespace. Pods mount it; the operator never reads it."""

    name: str = Field(min_length=1, max_length=253, description="Name of the Secret.")
    key: str = Field(min_length=1, max_length=253, description="Key in the Secret.")


class Prices(ApiModel):
    """What the provider charges, in US dollars per million tokens."""

    input_usd_per_million_tokens: Usd = Field(description="Prompt tokens that were not cached.")
    cached_input_usd_per_million_tokens: Usd | None = Field(default=None, description="Prompt tokens read from the cache; absent: as input.")
    cache_write_usd_per_million_tokens: Usd | None = Field(default=None, description="Prompt tokens written to the cache; absent: as input.")
    output_usd_per_million_tokens: Usd = Field(description="Generated tokens.")


class RateLimits(ApiModel):
    """What the provider lets you send."""

    requests_per_minute: int | None = Field(default=None, ge=1, le=100_000_000, description="Requests per minute.")
    tokens_per_minute: int | None = Field(default=None, ge=1, le=100_000_000_000, description="Prompt and generated tokens per minute.")
    max_concurrency: int | None = Field(default=None, ge=1, le=100_000, description="Requests at the same time.")


class PromptCache(ApiModel):
    """How the provider caches prompts; defaults by provider."""

    mode: Literal["automatic", "explicit", "none"] = Field(description="automatic: by itself; explicit: at breakpoints; none.")
    ttls: Annotated[list[Literal["5m", "1h"]], Field(max_length=2)] = Field(default_factory=list, description="Lifetimes on offer.")
    minimum_tokens: int = Field(default=1024, ge=0, le=1_000_000, description="Shortest prefix that is cached, in tokens.")


class Hosted(ApiModel):
    """A model at an API that you pay per token."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.provider != 'openaiCompatible' || has(self.baseUrl)",
                "baseUrl is required for provider openaiCompatible: the address up to and including /v1",
            )
        )
    )
    provider: Provider = Field(description="Whose protocol, price names and cache rules apply.")
    base_url: str | None = Field(default=None, max_length=512, pattern=r"^https?://[^@\s]+$", description="Address of a compatible or private endpoint, without user or password.")
    api_key_secret_ref: SecretKeyRef | None = Field(default=None, description="API key, mounted into the router's pod; the operator never reads it.")
    prices: Prices | None = Field(default=None, description="What is charged; absent: from the bundled price list, whose version the status shows.")
    limits: RateLimits = Field(default_factory=RateLimits, description="What the provider lets you send.")
    prompt_cache: PromptCache | None = Field(default=None, description="How prompts are cached; absent: the provider's rules.")


class ModelPoolSpec(ApiModel):
    """Something that can answer requests, and what it costs."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.local) != has(self.hosted)",
                "set exactly one of local (GPUs you own or rent) and hosted (an API you pay per token)",
            ),
            (
                "!has(self.local) || has(self.model.source) || (has(self.local.engine.args) && size(self.local.engine.args) > 0)",
                "model.source is required for a local pool: where the weights come from, such as hf://Qwen/Qwen3-32B-FP8",
            ),
            (
                "!has(self.hosted) || !has(self.model.source)",
                "model.source is only for local pools: a hosted API has its own weights",
            ),
        )
    )
    model: Model = Field(description="Which model it is.")
    location: Location = Field(description="Where the data goes when this pool answers.")
    local: Local | None = Field(default=None, description="GPUs that you own or rent.")
    hosted: Hosted | None = Field(default=None, description="An API that you pay per token.")


class ReplicaStatus(ApiModel):
    """Replica counts of a local pool."""

    desired: int | None = Field(default=None, description="Replicas that the decision wants.")
    ready: int | None = Field(default=None, description="Replicas whose engine answers and that take traffic.")
    warm: int | None = Field(default=None, description="Ready replicas whose declared prefixes are cached.")
    starting: int | None = Field(default=None, description="Replicas that exist and are not ready yet.")


class AllocationStatus(ApiModel):
    """The newest decision on this pool, in words."""

    desired: int | None = Field(default=None, description="Replicas that the decision wants.")
    since: Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})] | None = Field(default=None, description="When desired last changed.")
    reason: str | None = Field(default=None, max_length=128, description="One word why.")
    message: str | None = Field(default=None, max_length=1024, description="One sentence why, with numbers.")
    explained: str | None = Field(default=None, max_length=4096, description="The alternatives and what they would cost.")
    requests_per_second: PositiveNumber | None = Field(default=None, description="Requests per second that the plan sends here.")


class EconomicsStatus(ApiModel):
    """What this pool costs now."""

    usd_per_hour: Usd | None = Field(default=None, description="What the pool costs per hour now, marginal basis.")
    usd_per_million_tokens: Usd | None = Field(default=None, description="Marginal cost per million tokens at the present load.")
    allocation_usd_per_million_tokens: Usd | None = Field(default=None, description="The same with the purchase spread over all hours.")
    utilisation: Ratio | None = Field(default=None, description="Load held against the capacity at the service-level objective.")
    break_even_utilisation: Ratio | None = Field(default=None, description="Utilisation above which owning beats the cheapest permitted API.")
    shadow_price_usd_per_gpu_hour: Usd | None = Field(default=None, description="What one more GPU of this class would be worth for one hour.")
    price_source: str | None = Field(default=None, max_length=128, description="Where a hosted price comes from, with its version.")


class PerformanceStatus(ApiModel):
    """The speed that the decision reckons with."""

    alpha_ms: PositiveNumber | None = Field(default=None, description="Fixed time of one decoding step, in milliseconds.")
    beta_ms: PositiveNumber | None = Field(default=None, description="Added time per request in the batch, in milliseconds.")
    gamma_ms: PositiveNumber | None = Field(default=None, description="Added time per context token, in milliseconds.")
    max_requests_per_second: PositiveNumber | None = Field(default=None, description="Per replica at the strictest route's objective.")
    source: Literal["declared", "learned", "default"] | None = Field(default=None, description="Where the numbers come from.")
    samples: int | None = Field(default=None, description="Measurements behind learned numbers.")


class ModelPoolStatus(ApiModel):
    """What the operator sees and has decided."""

    observed_generation: int | None = Field(default=None, description="The generation of the spec that this status speaks of.")
    model_class: str | None = Field(default=None, max_length=64, description="GPU class, or `hosted`.")
    replicas: ReplicaStatus | None = Field(default=None, description="Replica counts.")
    allocation: AllocationStatus | None = Field(default=None, description="The newest decision.")
    economics: EconomicsStatus | None = Field(default=None, description="What it costs.")
    performance: PerformanceStatus | None = Field(default=None, description="The speed that the decision reckons with.")
    startup_seconds: int | None = Field(default=None, description="Measured time from creation to ready, in seconds.")
    conditions: Annotated[list[Condition], Field(max_length=32)] | None = Field(
        default=None,
        description="Ready, Reconciling, Stalled, MetricsAvailable, CapacityAvailable, Paused, FieldsHonoured.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
