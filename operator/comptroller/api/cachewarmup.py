"""CacheWarmup: which prefixes must be hot, where and when."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from comptroller.api.conditions import Condition
from comptroller.api.fields import (
    ApiModel,
    DataKey,
    Figure,
    Matching,
    Name,
    ObjectName,
    PoolName,
    PositiveNumber,
    Ratio,
    Shown,
    Timestamp,
    TimeZone,
    as_set,
    by_key,
    rule,
)
from comptroller.api.modelpool import SecretKeyRef


class ConfigMapKeyRef(ApiModel):
    """A key of a ConfigMap in the same namespace."""

    name: ObjectName = Field(description="Name of the ConfigMap.", examples=["prompts"])
    key: DataKey = Field(description="Key in the ConfigMap.", examples=["compliance.md"])


class TextSource(ApiModel):
    """A text: inline, or a key of a ConfigMap or Secret, which the warm-up's pod mounts."""

    text: str | None = Field(
        default=None,
        min_length=1,
        max_length=16384,
        description="The text itself; longer texts belong into a ConfigMap.",
        examples=["You check contracts against the policy below."],
    )
    config_map_key_ref: ConfigMapKeyRef | None = Field(default=None, description="A key of a ConfigMap.")
    secret_key_ref: SecretKeyRef | None = Field(
        default=None, description="A key of a Secret; its content is never shown."
    )

    @rule(
        "[has(self.text), has(self.configMapKeyRef), has(self.secretKeyRef)].filter(x, x).size() == 1",
        "set exactly one of text, configMapKeyRef and secretKeyRef",
    )
    def _one_source(self) -> bool:
        return sum(one is not None for one in (self.text, self.config_map_key_ref, self.secret_key_ref)) == 1


class Message(ApiModel):
    """One turn of the prefix."""

    role: Literal["user", "assistant"] = Field(description="Who speaks.")
    content: str = Field(min_length=1, max_length=16384, description="What is said.", examples=["Is clause 4 valid?"])


class Prefix(ApiModel):
    """What many requests begin with."""

    name: Name = Field(description="Its name in the status.", examples=["compliance-policy"])
    system: TextSource | None = Field(default=None, description="The system message.")
    tools: TextSource | None = Field(
        default=None, description="The tool definitions: a JSON list as in the chat completions API."
    )
    messages: Annotated[list[Message], Field(max_length=32)] = Field(
        default_factory=list, description="Few-shot turns after the system message."
    )
    requests_per_second: PositiveNumber | None = Field(
        default=None,
        description=(
            "How often requests begin with it. Where not all prefixes fit into the cache, those are kept that save "
            "the most; absent: as often as the others."
        ),
        examples=["2.5"],
    )

    @rule(
        "has(self.system) || has(self.tools) || (has(self.messages) && self.messages.size() > 0)",
        "a prefix needs at least one of system, tools and messages",
    )
    def _says_something(self) -> bool:
        return self.system is not None or self.tools is not None or bool(self.messages)


class Triggers(ApiModel):
    """When the prefixes are sent."""

    on_replica_start: bool = Field(
        default=True, description="Whether they are sent to each new replica, before it takes traffic if it is gated."
    )
    on_change: bool = Field(
        default=True, description="Whether they are sent to running replicas when a prefix changes."
    )
    schedule: (
        Annotated[
            str,
            Field(min_length=1, max_length=128),
            Matching(
                "^[-0-9A-Za-z*/,]+( [-0-9A-Za-z*/,]+){4}$",
                "must be a cron expression of five fields (minute, hour, day of month, month, day of week), such as "
                '"55 7 * * 1-5"',
            ),
        ]
        | None
    ) = Field(
        default=None,
        description=(
            "When they are sent to all replicas, as a cron expression: minute, hour, day of month, month, day of week; "
            "absent: at no fixed time."
        ),
        examples=["55 7 * * 1-5"],
    )
    time_zone: TimeZone = Field(
        default="UTC", description="IANA time zone of the schedule.", examples=["Europe/Berlin"]
    )
    refresh_seconds: int = Field(
        default=0,
        ge=0,
        le=86400,
        description="Send again after this many seconds, against eviction; 0: never.",
        examples=["1800"],
    )


class Gate(ApiModel):
    """Whether a replica waits for its prefixes before it takes traffic."""

    enabled: bool = Field(default=True, description="Whether a replica is held back until it is warm.")
    timeout_seconds: int = Field(
        default=600, ge=1, le=86400, description="How long a replica is held back at most, in seconds."
    )
    on_failure: Literal["admit", "hold"] = Field(
        default="admit",
        description="What a replica does that could not be warmed. admit: it takes traffic cold; hold: it waits.",
    )


class Verification(ApiModel):
    """How the hit is proven: by the engine's own counters on a second request."""

    minimum_hit_ratio: Ratio = Field(
        description='Least share of the prefix that a second request must find cached, between "0" and "1".',
        examples=["0.9"],
    )


class CacheWarmupSpec(ApiModel):
    """Which prefixes must be hot, where and when."""

    pools: Annotated[list[PoolName], Field(min_length=1, max_length=32)] = Field(
        description=(
            "ModelPools in the same namespace. In a local pool each replica is warmed; at a hosted one the provider's "
            "cache is kept alive."
        ),
        examples=["[qwen3-32b-h100]"],
        json_schema_extra=as_set(),
    )
    prefixes: Annotated[list[Prefix], Field(min_length=1, max_length=16)] = Field(
        description="What many requests begin with.", json_schema_extra=by_key("name")
    )
    triggers: Triggers = Field(
        default_factory=Triggers, description="When the prefixes are sent; absent: on replica start and on change."
    )
    gate: Gate = Field(
        default_factory=Gate,
        description="Whether a replica waits for its prefixes; absent: it does, for at most 600 seconds.",
    )
    verification: Verification | None = Field(
        default=None, description='How the hit is proven; absent: a hit ratio of at least "0.9".'
    )
    concurrency_per_replica: int = Field(
        default=1, ge=1, le=32, description="Prefixes that are sent to one replica at the same time."
    )

    @rule(
        "!(has(self.triggers) && has(self.triggers.onReplicaStart) && !self.triggers.onReplicaStart) || "
        "(has(self.gate) && has(self.gate.enabled) && !self.gate.enabled)",
        "gate.enabled must be false where triggers.onReplicaStart is false: nothing would warm the replicas that the "
        "gate holds back",
        at="gate",
    )
    def _gate_is_opened_by_something(self) -> bool:
        return self.triggers.on_replica_start or not self.gate.enabled


class WarmReplicas(ApiModel):
    """Replica counts over all pools of the warm-up."""

    total: int | None = Field(default=None, description="Replicas that run.")
    warm: int | None = Field(default=None, description="Replicas whose prefixes are proven cached.")
    failed: int | None = Field(default=None, description="Replicas that could not be warmed.")
    summary: Shown | None = Field(default=None, description="Warm and total as kubectl prints them, such as 2/2.")


class Progress(ApiModel):
    """How far a running warm-up is."""

    done: int | None = Field(default=None, description="Replicas done.")
    total: int | None = Field(default=None, description="Replicas to do.")
    eta_seconds: int | None = Field(default=None, description="Expected time to the end, in seconds.")


class PrefixStatus(ApiModel):
    """What the last warm-up measured on one prefix."""

    name: str = Field(max_length=63, description="The prefix.")
    tokens: int | None = Field(default=None, description="Its length in tokens, as the engine counts.")
    cold_time_to_first_token_ms: int | None = Field(
        default=None, description="Time of the first request that had to compute it, in milliseconds."
    )
    warm_time_to_first_token_ms: int | None = Field(
        default=None, description="Time of the second request, in milliseconds."
    )
    speedup: Figure | None = Field(default=None, description="Cold divided by warm.")
    hit_ratio: Figure | None = Field(
        default=None, description="Share of the prefix that the second request found cached."
    )


class HostedKeepAlive(ApiModel):
    """Whether a provider's cache is kept alive, and why."""

    pool: str = Field(max_length=253, description="The hosted pool.")
    keep_alive_usd_per_day: Figure | None = Field(default=None, description="What the pings cost.")
    saved_usd_per_day: Figure | None = Field(default=None, description="What they save.")
    decision: str | None = Field(default=None, max_length=63, description="KeepAlive or LetExpire.")
    reason: str | None = Field(default=None, max_length=1024, description="The sums.")


class LeftOut(ApiModel):
    """A prefix that a pool's cache has no room for."""

    prefix: str = Field(max_length=63, description="The prefix.")
    reason: str | None = Field(default=None, max_length=1024, description="Why others are kept instead.")


class PoolCache(ApiModel):
    """What a pool's caches hold of this warm-up."""

    pool: str = Field(max_length=253, description="The pool.")
    capacity_tokens: int | None = Field(
        default=None, description="Tokens that the cache of one replica holds, as the engine says."
    )
    left_out: Annotated[list[LeftOut], Field(max_length=16)] | None = Field(
        default=None, description="Prefixes that are not warmed, for lack of room.", json_schema_extra=by_key("prefix")
    )


class CacheWarmupStatus(ApiModel):
    """What the operator has warmed."""

    observed_generation: int | None = Field(
        default=None, description="The generation of the spec that this status speaks of."
    )
    pools: int | None = Field(default=None, description="Number of pools.")
    replicas: WarmReplicas | None = Field(default=None, description="Replica counts.")
    progress: Progress | None = Field(default=None, description="How far a running warm-up is.")
    prefixes: Annotated[list[PrefixStatus], Field(max_length=16)] | None = Field(
        default=None,
        description="What the last warm-up measured.",
        json_schema_extra=by_key("name"),
    )
    caches: Annotated[list[PoolCache], Field(max_length=32)] | None = Field(
        default=None, description="What each pool's caches hold of it.", json_schema_extra=by_key("pool")
    )
    hit: Shown | None = Field(default=None, description="Worst hit ratio over the prefixes, as kubectl prints it.")
    cold: Shown | None = Field(default=None, description="Slowest cold time to first token, as kubectl prints it.")
    warm: Shown | None = Field(default=None, description="The same warm.")
    speedup: Shown | None = Field(default=None, description="Cold divided by warm.")
    last_run: Timestamp | None = Field(default=None, description="When the last run ended.")
    next_run: Timestamp | None = Field(default=None, description="When the next scheduled run begins.")
    next: Shown | None = Field(
        default=None,
        description="When the next scheduled run begins, as kubectl prints it.",
        examples=["Mon 07:55 CET"],
    )
    hosted: Annotated[list[HostedKeepAlive], Field(max_length=32)] | None = Field(
        default=None,
        description="Whether providers' caches are kept alive.",
        json_schema_extra=by_key("pool"),
    )
    conditions: Annotated[list[Condition], Field(max_length=32)] | None = Field(
        default=None,
        description="Ready, Reconciling, Stalled, Paused, FieldsHonoured.",
        json_schema_extra=by_key("type"),
    )
