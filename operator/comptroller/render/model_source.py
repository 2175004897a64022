"""Where the weights of a model come from: what an engine is told, and the volume that it needs for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from comptroller.render.errors import RenderError

MOUNT_ROOT = "/mnt/comptroller"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A parsed `model.source` or `adapters[].source`.

    `reference` is a repository id of Hugging Face, an object store's address, or a path in the container.
    `volume` and `mount` are the pod's, where the weights lie on a claim or in an OCI artefact.
    """

    kind: Literal["repository", "object", "path"]
    reference: str
    revision: str | None = None
    volume: dict[str, Any] | None = None
    mount: dict[str, Any] | None = None


def parse_model_source(source: str, volume_name: str, path: str) -> ModelSource:
    """Reads `hf://org/repo[@revision]`, `s3://`, `gs://`, `oci://image`, `pvc://claim/path` or `file:///path`.

    `volume_name` names the pod's volume, `path` the field for errors. Raises `RenderError`.
    """
    scheme, _, rest = source.partition("://")
    match scheme:
        case "hf":
            repository, _, revision = rest.partition("@")
            return ModelSource("repository", repository, revision or None)
        case "s3" | "gs":
            return ModelSource("object", source)
        case "file":
            if not rest.startswith("/"):
                raise RenderError(path, f"file:// needs an absolute path, such as file:///models/x (given: {source})")
            return ModelSource("path", rest)
        case "pvc":
            claim, _, below = rest.partition("/")
            mounted = f"{MOUNT_ROOT}/{volume_name}"
            return ModelSource(
                "path",
                f"{mounted}/{below}".rstrip("/"),
                volume={"name": volume_name, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}},
                mount={"name": volume_name, "mountPath": mounted, "readOnly": True},
            )
        case "oci":
            mounted = f"{MOUNT_ROOT}/{volume_name}"
            return ModelSource(
                "path",
                mounted,
                volume={"name": volume_name, "image": {"reference": rest, "pullPolicy": "IfNotPresent"}},
                mount={"name": volume_name, "mountPath": mounted, "readOnly": True},
            )
        case _:
            raise RenderError(path, f"must begin with hf:// s3:// gs:// oci:// pvc:// or file:// (given: {source})")
