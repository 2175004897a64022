"""The parts of a pod that users may set, as closed shapes: everything else is the operator's, for safety.

In Python they stay plain dictionaries in Kubernetes' own form, because they are passed on to the pod. What no shape
lists is refused by the API server and dropped here: hostPath, privileged containers, host networks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, ValidatorFunctionWrapHandler, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from comptroller.api.fields import (
    GROUP,
    SPOKEN,
    ApiModel,
    DataKey,
    Name,
    ObjectName,
    Rule,
    rule,
    rules_of,
)

KubeObject = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})]
"""An object of Kubernetes' own API, passed on as it is and checked by the API server when the child is applied."""

_AMOUNT = "^[0-9]{1,15}([.][0-9]{1,9})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
_AMOUNT_RULE = Rule(
    f"type(self) == string ? self.matches('{_AMOUNT}') : self >= 0",
    "must be an amount of processor or memory, such as 500m, 4 or 16Gi",
)


def _amount(value: int | str) -> int | str:
    if (re.fullmatch(_AMOUNT, value) is None) if isinstance(value, str) else value < 0:
        raise PydanticCustomError(SPOKEN, "{message}", {"message": _AMOUNT_RULE.message})
    return value


Quantity = Annotated[
    int | str,
    AfterValidator(_amount),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,
            "x-kubernetes-validations": [_AMOUNT_RULE.as_schema()],
        }
    ),
]
"""An amount of processor or memory as Kubernetes writes it: 500m, 4, 16Gi."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """A plain dictionary whose schema and rules are those of a model; fields that the model lacks are dropped."""

    model: type[ApiModel]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(
            self._check,
            handler.generate_schema(self.model),
            serialization=core_schema.plain_serializer_function_ser_schema(_as_it_is),
        )

    def _check(self, value: Any, validate: ValidatorFunctionWrapHandler) -> dict[str, Any]:
        shape: ApiModel = validate(value)
        for one, holds in rules_of(self.model):
            if not holds(shape):
                raise PydanticCustomError(SPOKEN, "{message}", {"message": one.message})
        return shape.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _as_it_is(value: dict[str, Any]) -> dict[str, Any]:
    return value


_OWN = f"{GROUP}/"
_NOT_OURS = Rule(
    f"self.all(k, !k.startsWith('{_OWN}'))",
    f"names that begin with {_OWN} are the operator's own: choose another prefix",
)


@dataclass(frozen=True, slots=True)
class NotOurs:
    """Keys of a map that must not be the operator's own."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return dict(handler(schema)) | {"x-kubernetes-validations": [_NOT_OURS.as_schema()]}

    def _check(self, value: dict[str, str]) -> dict[str, str]:
        if any(key.startswith(_OWN) for key in value):
            raise PydanticCustomError(SPOKEN, "{message}", {"message": _NOT_OURS.message})
        return value


LabelValue = Annotated[str, Field(max_length=63)]
ShortMap = Annotated[dict[str, LabelValue], Field(max_length=32)]
"""Labels that select, such as those of nodes."""

Labels = Annotated[dict[str, LabelValue], Field(max_length=32), NotOurs()]
"""Labels that are added to pods."""

Annotations = Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32), NotOurs()]
"""Annotations that are added to pods."""


class KeyOf(ApiModel):
    """A key of an object in the same namespace."""

    name: ObjectName = Field(description="Name of the object.")
    key: DataKey = Field(description="Key of its data.")
    optional: bool | None = Field(default=None, description="Start also without it.")


class FieldOf(ApiModel):
    """A field of the pod."""

    field_path: str = Field(min_length=1, max_length=256, description="Path of the field.", examples=["status.hostIP"])


class ValueSource(ApiModel):
    """Where the value of an environment variable comes from."""

    secret_key_ref: Annotated[dict[str, Any], Shaped(KeyOf)] | None = Field(
        default=None, description="A key of a Secret."
    )
    config_map_key_ref: Annotated[dict[str, Any], Shaped(KeyOf)] | None = Field(
        default=None, description="A key of a ConfigMap."
    )
    field_ref: Annotated[dict[str, Any], Shaped(FieldOf)] | None = Field(
        default=None, description="A field of the pod."
    )

    @rule(
        "[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef)].filter(x, x).size() == 1",
        "set exactly one of secretKeyRef, configMapKeyRef and fieldRef",
    )
    def _one_source(self) -> bool:
        return sum(one is not None for one in (self.secret_key_ref, self.config_map_key_ref, self.field_ref)) == 1


class ComputeResources(ApiModel):
    """Processor and memory of a container."""

    requests: Annotated[dict[str, Quantity], Field(max_length=8)] | None = Field(
        default=None, description="What is reserved.", examples=['{cpu: "4", memory: 32Gi}']
    )
    limits: Annotated[dict[str, Quantity], Field(max_length=8)] | None = Field(
        default=None, description="What is allowed at most.", examples=["{memory: 64Gi}"]
    )

    @rule(
        "!has(self.requests) || self.requests.all(k, !k.contains('/'))",
        "requests are for cpu, memory and ephemeral-storage: GPUs belong to spec.local.accelerator of a pool",
    )
    def _requests_no_gpu(self) -> bool:
        return not any("/" in key for key in self.requests or {})

    @rule(
        "!has(self.limits) || self.limits.all(k, !k.contains('/'))",
        "limits are for cpu, memory and ephemeral-storage: GPUs belong to spec.local.accelerator of a pool",
    )
    def _limits_no_gpu(self) -> bool:
        return not any("/" in key for key in self.limits or {})


class VolumeShape(ApiModel):
    """A volume of the pod, in Kubernetes' own form."""

    name: Name = Field(description="Name that volumeMounts refer to.", examples=["prompts"])
    config_map: KubeObject | None = Field(default=None, description="A ConfigMap, as in a pod.")
    secret: KubeObject | None = Field(default=None, description="A Secret, as in a pod.")
    empty_dir: KubeObject | None = Field(default=None, description="Scratch space, as in a pod.")
    persistent_volume_claim: KubeObject | None = Field(default=None, description="A claim, as in a pod.")
    csi: KubeObject | None = Field(default=None, description="A volume of a CSI driver, as in a pod.")

    @rule(
        "[has(self.configMap), has(self.secret), has(self.emptyDir), has(self.persistentVolumeClaim), has(self.csi)]"
        ".filter(x, x).size() == 1",
        "set exactly one of configMap, secret, emptyDir, persistentVolumeClaim and csi; hostPath and other kinds of "
        "volume are refused",
    )
    def _one_kind(self) -> bool:
        kinds = (self.config_map, self.secret, self.empty_dir, self.persistent_volume_claim, self.csi)
        return sum(one is not None for one in kinds) == 1


class VolumeMountShape(ApiModel):
    """Where a volume appears in the engine's container."""

    name: Name = Field(description="One of spec.local.pod.volumes.", examples=["prompts"])
    mount_path: str = Field(min_length=1, max_length=1024, description="Where it appears.", examples=["/prompts"])
    sub_path: str | None = Field(default=None, max_length=1024, description="Only this part of the volume.")
    read_only: bool | None = Field(default=None, description="Mount it read-only.")


class TolerationShape(ApiModel):
    """A taint of nodes that the pods tolerate, in Kubernetes' own form."""

    key: str | None = Field(default=None, max_length=317, description="Key of the taint.", examples=["dedicated"])
    operator: Literal["Exists", "Equal"] | None = Field(default=None, description="How the value is compared.")
    value: LabelValue | None = Field(default=None, description="Value of the taint.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint; absent: all."
    )
    toleration_seconds: int | None = Field(
        default=None, ge=0, le=86400, description="How long NoExecute is tolerated, in seconds."
    )


Resources = Annotated[dict[str, Any], Shaped(ComputeResources)]
Volume = Annotated[dict[str, Any], Shaped(VolumeShape)]
VolumeMount = Annotated[dict[str, Any], Shaped(VolumeMountShape)]
Toleration = Annotated[dict[str, Any], Shaped(TolerationShape)]
EnvSource = Annotated[dict[str, Any], Shaped(ValueSource)]
