"""RoutingPolicy: who asks for what, under which rules, and what may answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from comptroller.api.conditions import Condition
from comptroller.api.fields import (
    ApiModel,
    Figure,
    Image,
    Jurisdiction,
    Matching,
    ModelName,
    Name,
    ObjectName,
    PoolName,
    Ratio,
    Shown,
    Timestamp,
    TimeZone,
    Usd,
    Word,
    as_set,
    by_key,
    rule,
)
from comptroller.api.modelpool import AlternativeStatus, Perimeter, ReplicaBounds
from comptroller.api.podparts import Annotations, Labels, Resources


class Router(ApiModel):
    """The process that clients talk to."""

    type: Literal["litellm"] = Field(default="litellm", description="Which router; only what is wired is listed.")
    image: Image | None = Field(
        default=None,
        description="Container image; absent: the operator's settings.",
        examples=["ghcr.io/berriai/litellm:v1.106.2"],
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="When the image is pulled; absent: the operator's settings."
    )
    replicas: ReplicaBounds = Field(
        default_factory=lambda: ReplicaBounds(min=1, max=4),
        description="Between which counts the router runs; absent: 1 to 4.",
        examples=["{min: 2, max: 4}"],
    )
    resources: Resources | None = Field(
        default=None, description="Requests and limits of the router's container; absent: the operator's own figures."
    )
    labels: Labels = Field(default_factory=dict, description="Labels added to the router's pods.")
    annotations: Annotations = Field(default_factory=dict, description="Annotations added to the router's pods.")
    timeout_seconds: int = Field(
        default=600, ge=1, le=86400, description="Longest that one answer may take, in seconds."
    )
    port: int = Field(default=4000, ge=1, le=65535, description="Port of the router's Service.")

    @rule(
        "!has(self.replicas) || (has(self.replicas.min) && self.replicas.min > 0)",
        "replicas.min must be at least 1: without a router nobody is answered",
        at="replicas.min",
    )
    def _never_without_a_router(self) -> bool:
        return self.replicas.min > 0


class SecretRef(ApiModel):
    """A Secret in the same namespace. Pods mount it; the operator never reads it."""

    name: ObjectName = Field(description="Name of the Secret.", examples=["research-keys"])


class Budget(ApiModel):
    """US dollars per period."""

    usd: Usd = Field(description="US dollars per period.", examples=["100"])
    period: Literal["hour", "day", "week", "month"] = Field(description="The calendar period; a week begins on Monday.")
    time_zone: TimeZone = Field(
        default="UTC", description="IANA time zone of the period's start.", examples=["Europe/Berlin"]
    )
    on_exhausted: Literal["degrade", "reject", "alertOnly"] = Field(
        default="degrade",
        description=(
            "What happens when it is spent. degrade: only pools inside answer; reject: status 429; alertOnly: go on "
            "and tell."
        ),
    )


class Tenant(ApiModel):
    """Who asks."""

    name: Name = Field(description="Name in metrics, budgets and reports.", examples=["research"])
    keys_secret_ref: SecretRef = Field(
        description="A Secret, each value of which is a client key of the tenant. The operator never reads it."
    )
    budget: Budget | None = Field(default=None, description="What the tenant may spend; absent: no limit.")
    routes: Annotated[list[Annotated[str, Field(min_length=1, max_length=63)]], Field(max_length=64)] = Field(
        default_factory=list,
        description="Names of the routes that the tenant may use; absent: all.",
        examples=["[extraction, planning]"],
        json_schema_extra=as_set(),
    )


class Backend(ApiModel):
    """A pool that may answer. The order does not matter: the allocator decides."""

    pool: PoolName = Field(description="A ModelPool in the same namespace.", examples=["qwen3-32b-h100"])
    adapter: ModelName | None = Field(
        default=None, description="One of the pool's adapters; absent: its base model.", examples=["loan-review"]
    )
    pass_rate: Ratio | None = Field(
        default=None,
        description='Share of tasks that it solves: a declared prior, between "0" and "1"; absent: "1".',
        examples=["0.97"],
    )


class ServiceLevelObjective(ApiModel):
    """How fast an answer must be."""

    time_to_first_token_ms: int | None = Field(
        default=None,
        ge=1,
        le=3_600_000,
        description="Longest wait for the first token, in milliseconds; absent: the settings' default.",
        examples=["800"],
    )
    time_per_output_token_ms: int | None = Field(
        default=None,
        ge=1,
        le=60_000,
        description="Longest time between tokens, in milliseconds; absent: the settings' default.",
        examples=["40"],
    )
    percentile: int = Field(default=95, ge=50, le=99, description="Share of requests that must meet it, in percent.")

    @rule(
        "has(self.timeToFirstTokenMs) || has(self.timePerOutputTokenMs)",
        "set timeToFirstTokenMs, timePerOutputTokenMs or both, such as timeToFirstTokenMs: 800",
    )
    def _says_something(self) -> bool:
        return self.time_to_first_token_ms is not None or self.time_per_output_token_ms is not None


class Quality(ApiModel):
    """How good the answers must be."""

    minimum_pass_rate: Ratio = Field(
        description='Least share of tasks that must be solved, over all backends of the route, between "0" and "1".',
        examples=["0.95"],
    )


class Value(ApiModel):
    """What an answer is worth."""

    usd_per_solved_task: Usd | None = Field(
        default=None,
        description="Worth of one solved task, in US dollars; absent: serving always wins over saving.",
        examples=["0.02"],
    )
    usd_per_second: Usd | None = Field(
        default=None,
        description='Worth of one second less latency, in US dollars per request; absent: "0".',
        examples=["0.001"],
    )


class DataRules(ApiModel):
    """Where the data of this route may go: a hard constraint, never a weight."""

    classification: Word | None = Field(
        default=None,
        description="A word of your own, shown in status and reports. By itself it protects nothing.",
        examples=["restricted"],
    )
    jurisdictions: Annotated[list[Jurisdiction], Field(min_length=1, max_length=32)] = Field(
        default_factory=list,
        description="Permitted jurisdictions; absent: any.",
        examples=["[EU, CH]"],
        json_schema_extra=as_set(),
    )
    perimeters: Annotated[list[Perimeter], Field(min_length=1, max_length=3)] = Field(
        default_factory=list,
        description="Permitted perimeters; absent: any.",
        examples=["[onPremises]"],
        json_schema_extra=as_set(),
    )

    @rule(
        "has(self.jurisdictions) || has(self.perimeters)",
        "set jurisdictions, perimeters or both: a classification alone protects nothing",
    )
    def _protects(self) -> bool:
        return bool(self.jurisdictions or self.perimeters)


class RoutePromptCache(ApiModel):
    """Where hosted prompt caches break, and how long they live."""

    breakpoints: Annotated[list[Literal["tools", "system", "lastMessage"]], Field(max_length=3)] = Field(
        default_factory=list,
        description="Where a cached prefix ends; absent: tools and system.",
        examples=["[tools, system]"],
        json_schema_extra=as_set(),
    )
    ttl: Literal["auto", "5m", "1h"] = Field(
        default="auto",
        description=(
            "Lifetime of the cached prefix. auto: chosen by what it costs and saves; the last message then lives 5m."
        ),
    )


class Evaluator(ApiModel):
    """Who judges a sample of the answers."""

    pool: PoolName = Field(
        description="The judging ModelPool. It sees the answers, so the route's data rules hold for it too.",
        examples=["claude-sonnet"],
    )
    sample_ratio: Ratio = Field(description='Share of answers that are judged, between "0" and "1".', examples=["0.05"])
    rubric: str = Field(
        min_length=1,
        max_length=8192,
        description="What makes an answer good, in words.",
        examples=["Every amount of the invoice is listed once, with its currency."],
    )
    escalate_on_fail: bool = Field(
        default=False, description="Whether the next better backend is asked when an answer fails."
    )


class Shadow(ApiModel):
    """A pool that answers a copy of some requests, unseen by the client."""

    pool: PoolName = Field(
        description="The ModelPool that answers the copy. It sees the requests, so the data rules hold for it too.",
        examples=["qwen3-32b-h100"],
    )
    sample_ratio: Ratio = Field(
        description='Share of requests that are copied, between "0" and "1".', examples=["0.02"]
    )


class Route(ApiModel):
    """One model name that clients ask for."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=63),
        Matching(
            "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
            "must be lower-case letters, digits, dashes and dots, such as extraction",
        ),
    ] = Field(description="The model name that clients ask for.", examples=["extraction"])
    workflow: Word | None = Field(
        default=None,
        description="The chain of steps that it belongs to, for the cost per solved task.",
        examples=["diligence"],
    )
    step: Word | None = Field(
        default=None,
        description="Which step it is: planning, extraction, classification, validation, formatting or your own word.",
        examples=["extraction"],
    )
    backends: Annotated[list[Backend], Field(min_length=1, max_length=32)] = Field(
        description="What may answer; the allocator decides which, their order does not matter."
    )
    slo: ServiceLevelObjective | None = Field(
        default=None, description="How fast an answer must be; absent: the settings' default."
    )
    quality: Quality | None = Field(
        default=None, description="How good the answers must be; absent: any backend is good enough."
    )
    value: Value | None = Field(default=None, description="What an answer is worth; absent: serving always wins.")
    data: DataRules | None = Field(
        default=None, description="Where the data may go: a hard constraint; absent: to every backend."
    )
    priority: int = Field(
        default=100, ge=0, le=1000, description="When not everything can be served, lower priorities are shed first."
    )
    on_overload: Literal["spill", "queue", "reject"] = Field(
        default="spill",
        description=(
            "What happens when the pools inside are full. spill: ask a permitted API; queue: wait inside; reject: "
            "status 429."
        ),
    )
    prompt_cache: RoutePromptCache | None = Field(
        default=None,
        description=("How hosted prompt caches are used; absent: as providers do by themselves (with a stable key)."),
    )
    evaluator: Evaluator | None = Field(default=None, description="Who judges a sample of the answers; absent: nobody.")
    shadow: Shadow | None = Field(default=None, description="Who answers a copy of some requests; absent: nobody.")

    @rule(
        "self.backends.all(a, self.backends.exists_one(b, b.pool == a.pool && "
        "(has(a.adapter) ? a.adapter : '') == (has(b.adapter) ? b.adapter : '')))",
        "backends must not name the same pool and adapter twice: remove one of them",
        at="backends",
    )
    def _backends_differ(self) -> bool:
        return len({(one.pool, one.adapter) for one in self.backends}) == len(self.backends)


class RoutingPolicySpec(ApiModel):
    """Who asks for what, under which rules."""

    router: Router = Field(
        default_factory=Router, description="The process that clients talk to; absent: LiteLLM as the settings have it."
    )
    tenants: Annotated[list[Tenant], Field(max_length=64)] = Field(
        default_factory=list,
        description="Who may ask; absent: everybody who reaches the router.",
        json_schema_extra=by_key("name"),
    )
    routes: Annotated[list[Route], Field(min_length=1, max_length=64)] = Field(
        description="The model names that clients ask for.", json_schema_extra=by_key("name")
    )
    budget: Budget | None = Field(default=None, description="What the whole policy may spend; absent: no limit.")

    @rule(
        "!has(self.tenants) || self.tenants.all(t, !has(t.routes) || "
        "t.routes.all(r, self.routes.exists(x, x.name == r)))",
        "tenants[].routes must name routes of this policy: add the route or remove the name",
        at="tenants",
    )
    def _tenants_ask_for_known_routes(self) -> bool:
        known = {route.name for route in self.routes}
        return all(name in known for tenant in self.tenants for name in tenant.routes)


class BackendShare(ApiModel):
    """Which share of a route a pool carries."""

    pool: str = Field(max_length=253, description="The ModelPool.")
    share: Figure = Field(description="Share of the route's requests.")
    requests_per_second: Figure | None = Field(default=None, description="The same in requests per second.")


class ForecastStatus(ApiModel):
    """How the demand of a route is told a few minutes ahead, by its own log."""

    method: str | None = Field(
        default=None,
        max_length=63,
        description="What tells most: lastValue, timeOfDay or yesterday. A forecast that does not beat the last value "
        "on the route's own log is not used.",
        examples=["timeOfDay"],
    )
    skill: Figure | None = Field(
        default=None, description="Share of the last value's error that it saves; 0 for the last value itself."
    )
    samples: int | None = Field(default=None, description="Moments of the log that it was scored on.")


class JudgedStatus(ApiModel):
    """What the judge has found out about one pool on a route."""

    pool: str = Field(max_length=253, description="The ModelPool.")
    answers: Figure = Field(description="Judged answers; after ten minutes one counts half.")
    passed: Figure = Field(description="Share of them that passed.")
    pass_rate: Figure | None = Field(
        default=None,
        description="What is reckoned with: both what is declared and what is judged. Absent for a mere shadow.",
    )


class PromptCacheStatus(ApiModel):
    """How long a hosted pool keeps the beginnings of a route's prompts."""

    pool: str = Field(max_length=253, description="The ModelPool.")
    ttl: str = Field(max_length=8, description="5m, 1h, or none where keeping them does not pay.", examples=["1h"])
    message: str | None = Field(default=None, max_length=512, description="One sentence why, with the sums.")


class RouteStatus(ApiModel):
    """What happens on one route."""

    name: str = Field(max_length=63, description="The route.")
    classification: str | None = Field(
        default=None, max_length=63, description="The word of `data.classification`.", examples=["restricted"]
    )
    endpoint: str | None = Field(default=None, max_length=512, description="Where clients ask for it.")
    requests_per_second: Figure | None = Field(default=None, description="Measured arrivals.")
    forecast: ForecastStatus | None = Field(default=None, description="How its demand is told ahead.")
    shares: Annotated[list[BackendShare], Field(max_length=32)] | None = Field(
        default=None, description="Planned share per pool.", json_schema_extra=by_key("pool")
    )
    prompt_caches: Annotated[list[PromptCacheStatus], Field(max_length=32)] | None = Field(
        default=None, description="Hosted pools that keep its prompts.", json_schema_extra=by_key("pool")
    )
    pass_rate: Figure | None = Field(default=None, description="Expected share of solved tasks under the plan.")
    judged: Annotated[list[JudgedStatus], Field(max_length=33)] | None = Field(
        default=None, description="What the pass rate stands on, per pool.", json_schema_extra=by_key("pool")
    )
    usd_per_request: Figure | None = Field(default=None, description="Planned cost of one request.")
    usd_per_solved_task: Figure | None = Field(
        default=None, description="The same and the route's judges and shadow, divided by the pass rate."
    )
    time_to_first_token_ms: int | None = Field(default=None, description="Measured mean, in milliseconds.")
    spill_ratio: Figure | None = Field(default=None, description="Share that hosted APIs answer.")
    shed_ratio: Figure | None = Field(default=None, description="Share that nobody can answer.")
    reason: str | None = Field(default=None, max_length=128, description="One word why.")
    message: str | None = Field(default=None, max_length=1024, description="One sentence why, with numbers.")


class SpendingStatus(ApiModel):
    """What is spent of a budget."""

    spent_usd: Figure | None = Field(default=None, description="Spent in the present period.")
    budget_usd: Figure | None = Field(default=None, description="The budget of the period.")
    resets_at: Timestamp | None = Field(default=None, description="When the period ends.")
    state: str | None = Field(default=None, max_length=63, description="Within, Near (from 80 % on) or Exhausted.")


class TenantStatus(SpendingStatus):
    """What one tenant has spent; only the name where it has no budget."""

    name: str = Field(max_length=63, description="The tenant.")


class SavingsStatus(ApiModel):
    """Money spent against the declared baseline, since the operator started to count."""

    baseline_usd: Figure | None = Field(default=None, description="All requests at the baseline's price.")
    actual_usd: Figure | None = Field(default=None, description="What was spent.")
    ratio: Figure | None = Field(default=None, description="Share saved.")


class DecisionStatus(ApiModel):
    """One of the last decisions."""

    id: str = Field(max_length=63, description="Its number, as in the log.")
    at: Timestamp = Field(description="When it was made.")
    message: str = Field(max_length=1024, description="What changed and why.")
    rung: str | None = Field(
        default=None, max_length=63, description="How it was found: milp, routing-lp, greedy or hold."
    )
    inputs: str | None = Field(default=None, max_length=63, description="Digest of what it was decided from.")
    usd_per_hour: Figure | None = Field(
        default=None, description="Predicted cost of the whole fleet, in US dollars per hour, marginal basis."
    )
    realised_usd_per_hour: Figure | None = Field(
        default=None, description="What its interval cost; absent: not over yet, or not measured throughout."
    )


class Totals(ApiModel):
    """The whole policy in one line, as `kubectl get` prints it."""

    requests_per_second: Shown | None = Field(default=None, description="Arrivals of all routes.")
    inside: Shown | None = Field(default=None, description="Share answered inside.")
    spill: Shown | None = Field(default=None, description="Share that hosted APIs answer.")
    slo: Shown | None = Field(default=None, description="Share of requests that meet their objective.")
    usd_per_hour: Shown | None = Field(default=None, description="Planned spending per hour, marginal basis.")
    usd_per_task: Shown | None = Field(default=None, description="Planned cost per solved task.")
    saved: Shown | None = Field(default=None, description="Share saved against the baseline.")
    budget: Shown | None = Field(default=None, description="Share of the policy's budget that is spent.")
    routes: int | None = Field(default=None, description="Number of routes.")


class RoutingPolicyStatus(ApiModel):
    """What the operator sees and has decided."""

    observed_generation: int | None = Field(
        default=None, description="The generation of the spec that this status speaks of."
    )
    totals: Totals | None = Field(default=None, description="The whole policy in one line.")
    endpoints: Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=4)] | None = Field(
        default=None, description="Where clients ask: the open router, and the restricted one if there is one."
    )
    routes: Annotated[list[RouteStatus], Field(max_length=64)] | None = Field(
        default=None, description="What happens on each route.", json_schema_extra=by_key("name")
    )
    tenants: Annotated[list[TenantStatus], Field(max_length=64)] | None = Field(
        default=None, description="What each tenant has spent.", json_schema_extra=by_key("name")
    )
    spending: SpendingStatus | None = Field(default=None, description="What is spent of the policy's own budget.")
    savings: SavingsStatus | None = Field(default=None, description="Money spent against the baseline.")
    alternatives: Annotated[list[AlternativeStatus], Field(max_length=4)] | None = Field(
        default=None, description="What else could have been done with the whole fleet."
    )
    decisions: Annotated[list[DecisionStatus], Field(max_length=10)] | None = Field(
        default=None, description="The last ten decisions, newest first."
    )
    conditions: Annotated[list[Condition], Field(max_length=32)] | None = Field(
        default=None,
        description="Ready, Reconciling, Stalled, MetricsAvailable, Paused, FieldsHonoured, BudgetsShared.",
        json_schema_extra=by_key("type"),
    )
