"""The operator's settings: one YAML file, validated at start with errors that name the field.

Everything has a default that is right for most clusters; `defaults()` lists the built-in GPU classes.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import ConfigDict, Field, ValidationError, model_validator

from comptroller.api.fields import ApiModel
from comptroller.api.parse import in_words, shown


class SettingsError(ValueError):
    """A settings file that cannot be used; the message has one line per field, each with what is wrong."""


class Strict(ApiModel):
    """Settings refuse unknown fields: a typing error must not silently become a default."""

    model_config = ConfigDict(extra="forbid")


class PrometheusSettings(Strict):
    """Where measurements come from."""

    url: str = Field(
        default="http://prometheus.monitoring.svc:9090",
        pattern=r"^https?://[^@\s]+$",
        description="Address, without user or password.",
    )
    bearer_token_file: str | None = Field(
        default=None, description="A mounted file whose content is sent as bearer token."
    )
    timeout_seconds: float = Field(default=3.0, gt=0, le=60, description="Longest wait for one query.")
    stale_after_seconds: float = Field(default=90.0, gt=0, le=3600, description="Older samples count as unknown.")
    rate_window_seconds: int = Field(
        default=60,
        ge=4,
        le=3600,
        description="Window over which rates are taken. It must span at least four scrapes of Prometheus.",
    )
    peak_window_seconds: int = Field(
        default=600, ge=4, le=86400, description="Replicas are sized for its highest rate, where that pays."
    )


class LoopSettings(Strict):
    """How often is decided, and how quickly decisions may change."""

    tick_seconds: float = Field(default=15.0, ge=0.5, le=300, description="Time between decisions.")
    batch_window_seconds: float = Field(
        default=0.5, ge=0, le=10, description="How long spec changes are collected before a decision."
    )
    scale_down_delay_seconds: float = Field(
        default=300.0, ge=0, le=86400, description="Fewer replicas only after fewer have sufficed for this long."
    )
    longest_scale_down_delay_seconds: float = Field(
        default=3600.0,
        ge=0,
        le=86400,
        description=(
            "The delay grows up to this where an idle replica costs little beside what its start-up would have "
            "cost: as long as its idling has not cost that much, it stays."
        ),
    )
    transfer_delay_seconds: float = Field(
        default=60.0,
        ge=0,
        le=86400,
        description="The same where another pool waits for the GPUs.",
    )
    restart_hold_seconds: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="After a start nothing is scaled down for this long: one full window of data.",
    )
    maximum_step_up: int = Field(
        default=16, ge=1, le=1000, description="Most replicas added to one pool by one decision."
    )
    solver_time_limit_seconds: float = Field(
        default=0.6, gt=0, le=60, description="Time limit of the mixed-integer solver in one decision."
    )
    horizon_seconds: float = Field(
        default=1800.0, ge=60, le=86400, description="How long a decision is reckoned to last."
    )
    node_losses_per_year: float = Field(
        default=2.0, ge=0, le=1000, description="How often one node fails: what the reserve is reckoned with."
    )
    improvement_threshold: float = Field(
        default=0.02, ge=0, le=1, description="A new plan must be better by this share, or repair a violation."
    )
    relist_seconds: float = Field(
        default=300.0, ge=10, le=3600, description="Time between full lists that heal lost events."
    )


class EnergySettings(Strict):
    """What power costs."""

    usd_per_kwh: Decimal = Field(default=Decimal("0.20"), ge=0, le=10, description="Price of one kilowatt-hour.")
    pue: Decimal = Field(default=Decimal("1.3"), ge=1, le=5, description="Power usage effectiveness of the room.")


class AmortisationSettings(Strict):
    """How a purchase is spread over its life."""

    years: Decimal = Field(default=Decimal("4"), gt=0, le=20, description="Years of use.")
    maintenance_percent_per_year: Decimal = Field(
        default=Decimal("5"), ge=0, le=100, description="Maintenance, in percent of the price."
    )
    residual_percent: Decimal = Field(
        default=Decimal("20"), ge=0, le=100, description="Value at the end, in percent of the price."
    )


class GpuClass(Strict):
    """A kind of GPU: how its nodes are found, what it draws, what it costs."""

    node_selector: dict[str, str] = Field(
        default_factory=dict, description="Labels of its nodes (GPU feature discovery)."
    )
    tolerations: list[dict[str, Any]] = Field(default_factory=list, description="Tolerations for its nodes.")
    resource_name: str = Field(default="nvidia.com/gpu", description="The extended resource of one GPU.")
    memory_gib: float = Field(gt=0, description="Memory of one GPU.")
    idle_watts: float = Field(ge=0, description="Power of one GPU with a loaded model and no request.")
    busy_watts: float = Field(ge=0, description="Power of one GPU under full load.")
    price_usd: Decimal = Field(ge=0, description="Purchase price of one GPU with its share of the server.")
    rent_usd_per_hour: Decimal = Field(ge=0, description="Rent of one GPU for one hour.")
    alpha_ms: float = Field(
        gt=0, description="Default profile: fixed time of a decoding step for an 8-billion-parameter model."
    )
    beta_ms: float = Field(ge=0, description="Default profile: added time per request.")
    gamma_ms: float = Field(ge=0, description="Default profile: added time per context token.")
    max_concurrency: int = Field(default=64, ge=1, description="Default profile: requests decoded at the same time.")


def _class(
    product: str,
    memory: float,
    idle: float,
    busy: float,
    price: str,
    rent: str,
    alpha: float,
    beta: float,
    gamma: float,
) -> GpuClass:
    return GpuClass(
        node_selector={"nvidia.com/gpu.product": product},
        tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        memory_gib=memory,
        idle_watts=idle,
        busy_watts=busy,
        price_usd=Decimal(price),
        rent_usd_per_hour=Decimal(rent),
        alpha_ms=alpha,
        beta_ms=beta,
        gamma_ms=gamma,
    )


def built_in_gpu_classes() -> dict[str, GpuClass]:
    """The GPU classes that need no settings.

    Prices and watts are typical list figures of 2026; override them with yours.
    """
    return {
        "b200": _class("NVIDIA-B200", 180, 140, 1000, "45000", "6.00", 3.0, 0.02, 0.00008),
        "h200": _class("NVIDIA-H200", 141, 120, 700, "38000", "4.50", 4.2, 0.03, 0.00012),
        "h100": _class("NVIDIA-H100-80GB-HBM3", 80, 110, 600, "34000", "4.00", 5.5, 0.04, 0.00016),
        "a100": _class("NVIDIA-A100-SXM4-80GB", 80, 80, 370, "18000", "2.00", 8.5, 0.06, 0.0003),
        "l40s": _class("NVIDIA-L40S", 48, 60, 330, "11000", "1.50", 19.0, 0.09, 0.0005),
        "rtx5090": _class("NVIDIA-GeForce-RTX-5090", 32, 45, 560, "4500", "0.80", 11.0, 0.07, 0.0004),
        "rtx4090": _class("NVIDIA-GeForce-RTX-4090", 24, 35, 420, "3200", "0.50", 17.0, 0.09, 0.0006),
        "mi300x": GpuClass(
            node_selector={"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"},
            tolerations=[{"key": "amd.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            resource_name="amd.com/gpu",
            memory_gib=192,
            idle_watts=150,
            busy_watts=740,
            price_usd=Decimal("22000"),
            rent_usd_per_hour=Decimal("3.00"),
            alpha_ms=4.5,
            beta_ms=0.04,
            gamma_ms=0.00015,
        ),
        "cpu": GpuClass(
            resource_name="",
            memory_gib=16,
            idle_watts=10,
            busy_watts=60,
            price_usd=Decimal("2000"),
            rent_usd_per_hour=Decimal("0.10"),
            alpha_ms=60.0,
            beta_ms=20.0,
            gamma_ms=0.02,
            max_concurrency=4,
        ),
    }


class BaselineSettings(Strict):
    """What savings are measured against: all requests at this price."""

    pool: str | None = Field(
        default=None,
        description="A hosted pool as namespace/name; absent: the dearest hosted pool that a route permits.",
    )


class DefaultsSettings(Strict):
    """What applies where a policy is silent."""

    time_to_first_token_ms: int = Field(
        default=2000, ge=1, description="Service-level objective of a route without one."
    )
    time_per_output_token_ms: int = Field(
        default=100, ge=1, description="Service-level objective of a route without one."
    )
    input_tokens: int = Field(default=1000, ge=1, description="Prompt length assumed before the first measurement.")
    output_tokens: int = Field(default=250, ge=1, description="Answer length assumed before the first measurement.")
    router_image: str = Field(default="ghcr.io/berriai/litellm:v1.106.2", description="Image of the router.")
    operator_image: str = Field(
        default="ghcr.io/comptroller/comptroller:0.1.0", description="Image of the warm-up Jobs."
    )
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="Of router and warm-up Jobs."
    )


class SecretKeyRef(Strict):
    """A key of a Secret in the namespace of each policy. The router's pod gets it; the operator never reads it."""

    name: str = Field(min_length=1, max_length=253, description="Name of the Secret.")
    key: str = Field(min_length=1, max_length=253, description="Key in the Secret.")


class RedisSettings(Strict):
    """A Redis by which the processes of a router share what they have spent of a budget."""

    url: str = Field(max_length=512, pattern=r"^rediss?://[^@\s]+$", description="Address, without user or password.")
    password_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Where the routers' pods get its password; absent: none is needed."
    )


class RouterSettings(Strict):
    """What all routers have in common."""

    redis: RedisSettings | None = Field(
        default=None, description="Budgets are counted here together; absent: each router process has an even part."
    )


class LeaderElectionSettings(Strict):
    """Which of several operator processes decides and writes: the one that holds a Lease."""

    enabled: bool = Field(default=True, description="Whether there may be several processes.")
    namespace: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        description="Where the Lease is; absent: the namespace of the operator's pod. Outside of a cluster there is no "
        "election without it.",
    )
    lease_name: str = Field(default="comptroller", min_length=1, max_length=253, description="Name of the Lease.")
    lease_duration_seconds: int = Field(
        default=15, ge=2, le=3600, description="A holder that was not heard of for this long is replaced."
    )
    renew_deadline_seconds: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        description="A holder that could not renew for this long stops writing; at most 0.8 of the duration.",
    )
    retry_period_seconds: float = Field(
        default=2.0, gt=0, le=600, description="Time between attempts; at most half of the deadline."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        """What keeps two processes from writing at once."""
        if self.renew_deadline_seconds > 0.8 * self.lease_duration_seconds:
            raise ValueError(
                "renewDeadlineSeconds must be at most 0.8 of leaseDurationSeconds: a holder must stop writing before "
                "another may begin"
            )
        if self.retry_period_seconds > 0.5 * self.renew_deadline_seconds:
            raise ValueError(
                "retryPeriodSeconds must be at most half of renewDeadlineSeconds: one attempt that fails must not end "
                "a term"
            )
        return self


class PageSettings(Strict):
    """The read-only page for people under `/` of the port."""

    enabled: bool = Field(
        default=False,
        description="Whether it is served. It has no login: it names pools, routes, tenants and what they spend.",
    )


class Settings(Strict):
    """All settings of the operator."""

    prometheus: PrometheusSettings = Field(default_factory=PrometheusSettings)
    loop: LoopSettings = Field(default_factory=LoopSettings)
    gpu_classes: dict[str, GpuClass] = Field(default_factory=built_in_gpu_classes)
    energy: EnergySettings = Field(default_factory=EnergySettings)
    amortisation: AmortisationSettings = Field(default_factory=AmortisationSettings)
    baseline: BaselineSettings = Field(default_factory=BaselineSettings)
    defaults: DefaultsSettings = Field(default_factory=DefaultsSettings)
    router: RouterSettings = Field(default_factory=RouterSettings)
    watch_namespaces: Annotated[list[str], Field(max_length=256)] = Field(
        default_factory=list, description="Namespaces that are watched; absent: all."
    )
    leader_election: LeaderElectionSettings = Field(default_factory=LeaderElectionSettings)
    page: PageSettings = Field(default_factory=PageSettings)
    listen_port: int = Field(default=8080, ge=1, le=65535, description="Port of health, metrics and target discovery.")

    @model_validator(mode="before")
    @classmethod
    def _classes_add_to_the_built_in_ones(cls, value: Any) -> Any:
        """`gpuClasses` overrides or adds single classes and single fields; it does not replace the built-in list."""
        if not isinstance(value, dict):
            return value
        key = "gpuClasses" if "gpuClasses" in value else "gpu_classes"
        given = value.get(key)
        if not isinstance(given, dict):
            return value
        classes: dict[str, Any] = {name: one.model_dump(by_alias=True) for name, one in built_in_gpu_classes().items()}
        for name, one in given.items():
            classes[name] = classes.get(name, {}) | one if isinstance(one, dict) else one
        return {k: v for k, v in value.items() if k != key} | {"gpuClasses": classes}


def load_settings(text: str) -> Settings:
    """Reads settings from YAML. Raises `SettingsError` with one line per wrong field.

    >>> load_settings("loop: {tickSeconds: 0}")
    Traceback (most recent call last):
    comptroller.api.settings.SettingsError: loop.tickSeconds: must be at least 0.5 (given: 0)
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"not valid YAML: {error}") from error
    try:
        return Settings.model_validate({} if content is None else content)
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in one['loc']) or '(file)'}: {in_words(one)} (given: {shown(one['input'])})"
            for one in error.errors(include_url=False)
        ]
        raise SettingsError("\n".join(lines)) from error
