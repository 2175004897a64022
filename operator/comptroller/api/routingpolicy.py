"""RoutingPolicy: who asks for what, under which rules, and what may answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from comptroller.api.conditions import Condition
from comptroller.api.fields import ApiModel, Jurisdiction, Name, PositiveNumber, Ratio, Usd, rules
from comptroller.api.modelpool import KubeObject, Perimeter, ReplicaBounds, ShortMap

LIST_MAP_BY_NAME = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class Router(ApiModel):
    """The process that clients talk to."""

    type: Literal["litellm"] = Field(default="litellm", description="Which router; only what is wired is listed.")
    image: str | None = Field(default=None, min_length=1, max_length=512, description="Container image; absent: the settings'.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(default=None, description="As in a pod.")
    replicas: ReplicaBounds = Field(default_factory=lambda: ReplicaBounds(min=1, max=4), description="Between which counts the router runs.")
    resources: KubeObject | None = Field(default=None, description="Requests and limits of the router's container.")
    labels: ShortMap = Field(default_factory=dict, description="Labels added to the router's pods.")
    annotations: ShortMap = Field(default_factory=dict, description="Annotations added to the router's pods.")
    timeout_seconds: int = Field(default=600, ge=1, le=86400, description="Longest that one answer may take, in seconds.")
    port: int = Field(default=4000, ge=1, le=65535, description="Port of the router's Service.")


class SecretRef(ApiModel):
    """A Secret in the same namespace. Pods mount it; the operator never reads it."""

    name: str = Field(min_length=1, max_length=253, description="Name of the Secret.")


class Budget(ApiModel):
    """US dollars per period."""

    usd: Usd = Field(description="US dollars per period.")
    period: Literal["hour", "day", "week", "month"] = Field(description="The calendar period.")
    time_zone: str = Field(default="UTC", min_length=1, max_length=64, description="IANA time zone of the period's start, such as Europe/Berlin.")
    on_exhausted: Literal["degrade", "reject", "alertOnly"] = Field(
        default="degrade", description="degrade: only pools inside answer; reject: 429; alertOnly: go on and tell."
    )


class Tenant(ApiModel):
    """Who asks."""

    name: Name = Field(description="Name in metrics, budgets and reports.")
    keys_secret_ref: SecretRef = Field(description="Each value of this Secret is a client key of the tenant.")
    budget: Budget | None = Field(default=None, description="What the tenant may spend.")
    routes: Annotated[list[Annotated[str, Field(min_length=1, max_length=63)]], Field(max_length=128)] = Field(
        default_factory=list, description="Routes that the tenant may use; absent: all."
    )


class Backend(ApiModel):
    """A pool that may answer. The order does not matter: the allocator decides."""

    pool: str = Field(min_length=1, max_length=253, description="A ModelPool in the same namespace.")
    adapter: str | None = Field(default=None, max_length=253, description="One of the pool's adapters; absent: its base model.")
    pass_rate: Ratio | None = Field(default=None, description="Share of tasks it solves; a declared prior, absent: \"1\".")


class ServiceLevelObjective(ApiModel):
    """How fast an answer must be."""

    time_to_first_token_ms: int | None = Field(default=None, ge=1, le=3_600_000, description="Longest wait for the first token, in milliseconds.")
    time_per_output_token_ms: int | None = Field(default=None, ge=1, le=60_000, description="Longest time between tokens, in milliseconds.")
    percentile: int = Field(default=95, ge=50, le=99, description="Share of requests that must meet it, in percent.")


class Quality(ApiModel):
    """How good the answers must be."""

    minimum_pass_rate: Ratio = Field(description="Least share of tasks that must be solved, over all backends of the route.")


class Value(ApiModel):
    """What an answer is worth."""

    usd_per_solved_task: Usd | None = Field(default=None, description="Worth of one solved task; absent: serving always wins.")
    usd_per_second: Usd | None = Field(default=None, description="Worth of one second less latency, per request.")


class DataRules(ApiModel):
    """Where the data of this route may go: a hard constraint, never a weight."""

    classification: str | None = Field(default=None, max_length=63, description="A word of your own, such as restricted; shown in status and reports.")
    jurisdictions: Annotated[list[Jurisdiction], Field(max_length=32)] = Field(default_factory=list, description="Permitted jurisdictions; absent: any.")
    perimeters: Annotated[list[Perimeter], Field(max_length=3)] = Field(default_factory=list, description="Permitted perimeters; absent: any.")


class RoutePromptCache(ApiModel):
    """Where hosted prompt caches break, and how long they live."""

    breakpoints: Annotated[list[Literal["tools", "system", "lastMessage"]], Field(max_length=4)] = Field(
        default_factory=list, description="Where the cached prefix ends."
    )
    ttl: Literal["auto", "5m", "1h"] = Field(default="auto", description="auto: chosen by economics.")


class Evaluator(ApiModel):
    """Who judges a sample of the answers."""

    pool: str = Field(min_length=1, max_length=253, description="The judging ModelPool.")
    sample_ratio: Ratio = Field(description="Share of answers that are judged.")
    rubric: str = Field(min_length=1, max_length=8192, description="What makes an answer good, in words.")
    escalate_on_fail: bool = Field(default=False, description="Ask the next better backend when the answer fails.")


class Shadow(ApiModel):
    """A pool that answers a copy of some requests, unseen by the client."""

    pool: str = Field(min_length=1, max_length=253, description="The ModelPool that answers the copy.")
    sample_ratio: Ratio = Field(description="Share of requests that are copied.")


class Route(ApiModel):
    """One model name that clients ask for."""

    name: str = Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", description="The model name that clients ask for.")
    workflow: str | None = Field(default=None, max_length=63, description="The chain of steps that it belongs to, for cost per solved task.")
    step: str | None = Field(default=None, max_length=63, description="planning, extraction, classification, validation, formatting or a word of your own.")
    backends: Annotated[list[Backend], Field(min_length=1, max_length=32)] = Field(description="What may answer; the allocator decides which.")
    slo: ServiceLevelObjective | None = Field(default=None, description="How fast an answer must be; absent: the settings' default.")
    quality: Quality | None = Field(default=None, description="How good the answers must be.")
    value: Value | None = Field(default=None, description="What an answer is worth.")
    data: DataRules | None = Field(default=None, description="Where the data may go: a hard constraint.")
    priority: int = Field(default=100, ge=0, le=1000, description="Higher is shed later when nothing is left.")
    on_overload: Literal["spill", "queue", "reject"] = Field(
        default="spill", description="When pools inside are full: spill to a permitted API, queue inside, or reject with 429."
    )
    prompt_cache: RoutePromptCache | None = Field(default=None, description="How hosted prompt caches are used.")
    evaluator: Evaluator | None = Field(default=None, description="Who judges a sample of the answers.")
    shadow: Shadow | None = Field(default=None, description="Who answers a copy of some requests.")


class RoutingPolicySpec(ApiModel):
    """Who asks for what, under which rules."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.tenants) || self.tenants.all(t, !has(t.routes) || t.routes.all(r, self.routes.exists(x, x.name == r)))",
                "tenants[].routes must name routes of this policy: add the route or remove the name",
            ),
        )
    )
    router: Router = Field(default_factory=Router, description="The process that clients talk to.")
    tenants: Annotated[list[Tenant], Field(max_length=64)] = Field(
        default_factory=list, description="Who may ask; absent: everybody who reaches the router.", json_schema_extra=LIST_MAP_BY_NAME
    )
    routes: Annotated[list[Route], Field(min_length=1, max_length=64)] = Field(
        description="The model names that clients ask for.", json_schema_extra=LIST_MAP_BY_NAME
    )
    budget: Budget | None = Field(default=None, description="What the whole policy may spend.")


class BackendShare(ApiModel):
    """Which share of a route a pool carries."""

    pool: str = Field(max_length=253, description="The ModelPool.")
    share: Ratio = Field(description="Share of the route's requests.")
    requests_per_second: PositiveNumber | None = Field(default=None, description="The same in requests per second.")


class RouteStatus(ApiModel):
    """What happens on one route."""

    name: str = Field(max_length=63, description="The route.")
    endpoint: str | None = Field(default=None, max_length=512, description="Where clients ask for it.")
    requests_per_second: PositiveNumber | None = Field(default=None, description="Measured arrivals.")
    shares: Annotated[list[BackendShare], Field(max_length=32)] | None = Field(
        default=None, description="Planned share per pool.", json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["pool"]}
    )
    pass_rate: Ratio | None = Field(default=None, description="Expected share of solved tasks under the plan.")
    usd_per_request: Usd | None = Field(default=None, description="Planned cost of one request.")
    usd_per_solved_task: Usd | None = Field(default=None, description="The same divided by the pass rate.")
    time_to_first_token_ms: int | None = Field(default=None, description="Measured mean, in milliseconds.")
    spill_ratio: Ratio | None = Field(default=None, description="Share that hosted APIs answer.")
    shed_ratio: Ratio | None = Field(default=None, description="Share that nobody can answer.")
    reason: str | None = Field(default=None, max_length=128, description="One word why.")
    message: str | None = Field(default=None, max_length=1024, description="One sentence why, with numbers.")


class TenantStatus(ApiModel):
    """What one tenant has spent."""

    name: str = Field(max_length=63, description="The tenant.")
    spent_usd: Usd | None = Field(default=None, description="Spent in the present period.")
    budget_usd: Usd | None = Field(default=None, description="The budget of the period.")
    resets_at: Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})] | None = Field(default=None, description="When the period ends.")
    state: str | None = Field(default=None, max_length=63, description="Within, Near or Exhausted.")


class SavingsStatus(ApiModel):
    """Money spent against the declared baseline, since the operator started to count."""

    baseline_usd: Usd | None = Field(default=None, description="All requests at the baseline's price.")
    actual_usd: Usd | None = Field(default=None, description="What was spent.")
    ratio: Ratio | None = Field(default=None, description="Share saved.")


class DecisionStatus(ApiModel):
    """One of the last decisions."""

    id: str = Field(max_length=63, description="Its number, as in the log.")
    at: Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})] = Field(description="When it was made.")
    message: str = Field(max_length=1024, description="What changed and why.")


class Totals(ApiModel):
    """The whole policy in one line, as `kubectl get` prints it."""

    requests_per_second: str | None = Field(default=None, max_length=32, description="Arrivals of all routes.")
    inside: str | None = Field(default=None, max_length=32, description="Share answered inside.")
    spill: str | None = Field(default=None, max_length=32, description="Share that hosted APIs answer.")
    usd_per_hour: str | None = Field(default=None, max_length=32, description="Planned spending per hour, marginal basis.")
    usd_per_task: str | None = Field(default=None, max_length=32, description="Planned cost per solved task.")
    saved: str | None = Field(default=None, max_length=32, description="Share saved against the baseline.")
    routes: int | None = Field(default=None, description="Number of routes.")


class RoutingPolicyStatus(ApiModel):
    """What the operator sees and has decided."""

    observed_generation: int | None = Field(default=None, description="The generation of the spec that this status speaks of.")
    totals: Totals | None = Field(default=None, description="The whole policy in one line.")
    endpoints: Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=4)] | None = Field(
        default=None, description="Where clients ask: the open router, and the restricted one if there is one."
    )
    routes: Annotated[list[RouteStatus], Field(max_length=64)] | None = Field(
        default=None, description="What happens on each route.", json_schema_extra=LIST_MAP_BY_NAME
    )
    tenants: Annotated[list[TenantStatus], Field(max_length=64)] | None = Field(
        default=None, description="What each tenant has spent.", json_schema_extra=LIST_MAP_BY_NAME
    )
    savings: SavingsStatus | None = Field(default=None, description="Money spent against the baseline.")
    decisions: Annotated[list[DecisionStatus], Field(max_length=10)] | None = Field(default=None, description="The last ten decisions, newest first.")
    conditions: Annotated[list[Condition], Field(max_length=32)] | None = Field(
        default=None,
        description="Ready, Reconciling, Stalled, MetricsAvailable, Paused, FieldsHonoured.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
