"""The images of the demo and of the tests: what is in each and how it is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Code:
    """A directory of the repository and where it is in the image."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image on the common base; paths are relative to the repository, or to the image's root."""

    name: str
    entrypoint: tuple[str, ...]
    requirements: str | None = None
    code: Code | None = None
    debian_package: str | None = None
    debian_files: tuple[str, ...] = ()
    needless: tuple[str, ...] = ()  # globs below the Python packages
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        return f"comptroller/{self.name}:dev"


PYTHON_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}
ENGINES = Code("e2e/engines", "app/engines")

IMAGES = {
    image.name: image
    for image in (
        Image(
            "operator",
            entrypoint=("python3", "-m", "comptroller"),
            requirements="requirements/operator.txt",
            code=Code("operator/comptroller", "usr/local/lib/python3.11/dist-packages/comptroller"),
        ),
        Image(
            "litellm",
            entrypoint=("litellm",),
            requirements="requirements/router.txt",
            # The web pages of the administrator are most of the package; a router without a database has none.
            needless=("litellm/proxy/_experimental/out",),
            environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},  # no request for prices at each start
        ),
        Image(
            "simulation",
            entrypoint=("python3",),
            requirements="requirements/simulation.txt",
            code=ENGINES,
            environment={"PYTHONPATH": "/app"},
        ),
        Image(
            "llamacpp",
            entrypoint=("python3",),
            requirements="requirements/llamacpp.txt",
            code=ENGINES,
            environment={"PYTHONPATH": "/app"},
        ),
        Image(
            "prometheus",
            entrypoint=("prometheus",),
            debian_package="prometheus",
            debian_files=("usr/bin/prometheus",),
        ),
    )
}


def missing_sources(image: Image, repository: Path) -> list[str]:
    """What the image is made of and is not there."""
    wanted = [image.requirements, image.code.source if image.code else None]
    missing = [path for path in wanted if path and not (repository / path).exists()]
    if image.code and not missing and not any((repository / image.code.source).rglob("*.py")):
        missing.append(f"{image.code.source}/*.py")
    return missing
