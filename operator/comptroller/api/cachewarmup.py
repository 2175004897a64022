"""CacheWarmup: which prefixes must be hot, where and when."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from comptroller.api.conditions import Condition
from comptroller.api.fields import ApiModel, Name, PositiveNumber, Ratio, Usd, rules
from comptroller.api.modelpool import SecretKeyRef


class ConfigMapKeyRef(ApiModel):
    """A key of a ConfigMap in the same namespace."""

    name: str = Field(min_length=1, max_length=253, description="Name of the ConfigMap.")
    key: str = Field(min_length=1, max_length=253, description="Key in the ConfigMap.")


class TextSource(ApiModel):
    """A text: inline, or a key of a ConfigMap or Secret, which the warm-up's pod mounts."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "[has(self.text), has(self.configMapKeyRef), has(self.secretKeyRef)].filter(x, x).size() == 1",
                "set exactly one of text, configMapKeyRef and secretKeyRef",
            )
        )
    )
    text: str | None = Field(default=None, min_length=1, max_length=16384, description="The text itself.")
    config_map_key_ref: ConfigMapKeyRef | None = Field(default=None, description="A key of a ConfigMap.")
    secret_key_ref: SecretKeyRef | None = Field(default=None, description="A key of a Secret; its content is never shown.")


class Message(ApiModel):
    """One turn of the prefix."""

    role: Literal["user", "assistant"] = Field(description="Who speaks.")
    content: str = Field(min_length=1, max_length=16384, description="What is said.")


class Prefix(ApiModel):
    """What many requests begin with."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.system) || has(self.tools) || (has(self.messages) && size(self.messages) > 0)",
                "a prefix needs at least one of system, tools and messages",
            )
        )
    )
    name: Name = Field(description="Its name in the status.")
    system: TextSource | None = Field(default=None, description="The system message.")
    tools: TextSource | None = Field(default=None, description="The tool definitions, a JSON list as in the chat completions API.")
    messages: Annotated[list[Message], Field(max_length=32)] = Field(default_factory=list, description="Few-shot turns after the system message.")


class Triggers(ApiModel):
    """When the prefixes are sent."""

    on_replica_start: bool = Field(default=True, description="To each new replica before it takes traffic.")
    on_change: bool = Field(default=True, description="To running replicas when a prefix changes.")
    schedule: str | None = Field(default=None, min_length=9, max_length=128, description="A cron expression, such as \"55 7 * * 1-5\".")
    time_zone: str = Field(default="UTC", min_length=1, max_length=64, description="IANA time zone of the schedule.")
    refresh_seconds: int = Field(default=0, ge=0, le=86400, description="Send again after this many seconds, against eviction; 0: never.")


class Gate(ApiModel):
    """Whether a replica waits for its prefixes before it takes traffic."""

    enabled: bool = Field(default=True, description="Hold a replica back until it is warm.")
    timeout_seconds: int = Field(default=600, ge=1, le=86400, description="How long it is held back at most, in seconds.")
    on_failure: Literal["admit", "hold"] = Field(default="admit", description="What a replica that could not be warmed does.")


class Verification(ApiModel):
    """How the hit is proven."""

    minimum_hit_ratio: Ratio = Field(description="Least share of the prefix that a second request must find cached.")


class CacheWarmupSpec(ApiModel):
    """Which prefixes must be hot, where and when."""

    pools: Annotated[list[Annotated[str, Field(min_length=1, max_length=253)]], Field(min_length=1, max_length=32)] = Field(
        description="ModelPools in the same namespace.", json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    prefixes: Annotated[list[Prefix], Field(min_length=1, max_length=16)] = Field(
        description="What many requests begin with.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    triggers: Triggers = Field(default_factory=Triggers, description="When the prefixes are sent.")
    gate: Gate = Field(default_factory=Gate, description="Whether a replica waits for its prefixes.")
    verification: Verification | None = Field(default=None, description="How the hit is proven; absent: a hit ratio of \"0.9\".")
    concurrency_per_replica: int = Field(default=1, ge=1, le=32, description="Prefixes that are sent to one replica at the same time.")


class WarmReplicas(ApiModel):
    """Replica counts over all pools of the warm-up."""

    total: int | None = Field(default=None, description="Replicas that run.")
    warm: int | None = Field(default=None, description="Replicas whose prefixes are proven cached.")
    failed: int | None = Field(default=None, description="Replicas that could not be warmed.")
    summary: str | None = Field(default=None, max_length=32, description="Warm and total as kubectl prints them, such as 2/2.")


class Progress(ApiModel):
    """How far a running warm-up is."""

    done: int | None = Field(default=None, description="Replicas done.")
    total: int | None = Field(default=None, description="Replicas to do.")
    eta_seconds: int | None = Field(default=None, description="Expected time to the end, in seconds.")


class PrefixStatus(ApiModel):
    """What the last warm-up measured on one prefix."""

    name: str = Field(max_length=63, description="The prefix.")
    tokens: int | None = Field(default=None, description="Its length in tokens, as the engine counts.")
    cold_time_to_first_token_ms: int | None = Field(default=None, description="Time of the first request, in milliseconds.")
    warm_time_to_first_token_ms: int | None = Field(default=None, description="Time of the second request, in milliseconds.")
    speedup: PositiveNumber | None = Field(default=None, description="Cold divided by warm.")
    hit_ratio: Ratio | None = Field(default=None, description="Share of the prefix that the second request found cached.")


class HostedKeepAlive(ApiModel):
    """Whether a provider's cache is kept alive, and why."""

    pool: str = Field(max_length=253, description="The hosted pool.")
    keep_alive_usd_per_day: Usd | None = Field(default=None, description="What the pings cost.")
    saved_usd_per_day: Usd | None = Field(default=None, description="What they save.")
    decision: str | None = Field(default=None, max_length=63, description="KeepAlive or LetExpire.")
    reason: str | None = Field(default=None, max_length=1024, description="The sums.")


class CacheWarmupStatus(ApiModel):
    """What the operator has warmed."""

    observed_generation: int | None = Field(default=None, description="The generation of the spec that this status speaks of.")
    pools: int | None = Field(default=None, description="Number of pools.")
    replicas: WarmReplicas | None = Field(default=None, description="Replica counts.")
    progress: Progress | None = Field(default=None, description="How far a running warm-up is.")
    prefixes: Annotated[list[PrefixStatus], Field(max_length=16)] | None = Field(
        default=None,
        description="What the last warm-up measured.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    hit: str | None = Field(default=None, max_length=16, description="Worst hit ratio over the prefixes, as kubectl prints it.")
    cold: str | None = Field(default=None, max_length=16, description="Slowest cold time to first token, as kubectl prints it.")
    warm: str | None = Field(default=None, max_length=16, description="The same warm.")
    speedup: str | None = Field(default=None, max_length=16, description="Cold divided by warm.")
    last_run: Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})] | None = Field(default=None, description="When the last run ended.")
    next_run: Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})] | None = Field(default=None, description="When the next scheduled run begins.")
    hosted: Annotated[list[HostedKeepAlive], Field(max_length=32)] | None = Field(
        default=None,
        description="Whether providers' caches are kept alive.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["pool"]},
    )
    conditions: Annotated[list[Condition], Field(max_length=32)] | None = Field(
        default=None,
        description="Ready, Reconciling, Stalled, Paused, FieldsHonoured.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
