"""The layers of an image, each made again only when what it is made of has changed.

The base (Debian) changes hardly ever, the Python packages with their lock file, our code all the time: so a change of
code makes and loads some hundred kilobytes.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster.imagestore import ImageStore, Layer
from e2e.cluster.layout import REPOSITORY, ClusterError
from e2e.images import debian
from e2e.images.catalogue import PYTHON_ENVIRONMENT, Code, Image, missing_sources

EDITION = "1"  # to be raised when layers are made in another way from the same input


class Layers:
    """Makes images in a store. `workspace` keeps the base's root directory, whose Python installs the packages."""

    def __init__(self, store: ImageStore, workspace: Path) -> None:
        self.store = store
        self.base_key = _digest(EDITION, debian.SUITE, *debian.PACKAGES, debian.ACCOUNTS, *debian.NEEDLESS)
        self.base_root = workspace / f"base-{self.base_key[:12]}"

    def build(self, image: Image) -> str:
        """Makes the image where its sources have changed; returns its digest."""
        if missing := missing_sources(image, REPOSITORY):
            raise ClusterError(f"the image {image.name} needs {', '.join(missing)}: not there")
        layers = [self.base()]
        if image.debian_package:
            layers.append(self.debian_files(image))
        if image.requirements:
            layers.append(self.packages(REPOSITORY / image.requirements, image.needless))
        if image.code:
            layers.append(self.code(image.code))
        environment = PYTHON_ENVIRONMENT | image.environment
        config = {
            "Entrypoint": list(image.entrypoint),
            "Env": [f"{key}={value}" for key, value in environment.items()],
            "User": f"{debian.USER}:{debian.USER}",
            "WorkingDir": "/tmp",
        }
        return self.store.put(image.reference, layers, config)

    def base(self) -> Layer:
        if not self.base_root.exists():
            draft = self.base_root.with_name("base.draft")
            shutil.rmtree(draft, ignore_errors=True)
            draft.parent.mkdir(parents=True, exist_ok=True)
            debian.make_base(draft)
            for outdated in self.base_root.parent.glob("base-*"):
                shutil.rmtree(outdated)
            draft.rename(self.base_root)
        return self.store.cached_layer(self.base_key, lambda: self.store.add_directory(self.base_root))

    def debian_files(self, image: Image) -> Layer:
        def make() -> Layer:
            with _scratch() as root:
                debian.take_out(str(image.debian_package), image.debian_files, root)
                return self.store.add_directory(root)

        return self.store.cached_layer(_digest(self.base_key, str(image.debian_package), *image.debian_files), make)

    def packages(self, requirements: Path, needless: tuple[str, ...]) -> Layer:
        def make() -> Layer:
            with _scratch() as root:
                target = root / debian.SITE_PACKAGES
                self._pip_install(requirements, target)
                for pattern in needless:
                    for path in target.glob(pattern):
                        shutil.rmtree(path)
                _move_scripts(target / "bin", root / "usr/local/bin")
                debian.compile_python(self.base_root, target, root)
                return self.store.add_directory(root)

        return self.store.cached_layer(_digest(self.base_key, requirements.read_text(), *needless), make)

    def code(self, code: Code) -> Layer:
        source = REPOSITORY / code.source
        files = [path for path in sorted(source.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
        contents = [f"{path.relative_to(source)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files]

        def make() -> Layer:
            with _scratch() as root:
                shutil.copytree(source, root / code.target, ignore=shutil.ignore_patterns("__pycache__"))
                debian.compile_python(self.base_root, root / code.target, root)
                return self.store.add_directory(root)

        return self.store.cached_layer(_digest(self.base_key, code.target, *contents), make)

    def _pip_install(self, requirements: Path, target: Path) -> None:
        """This machine's pip, run by the image's Python: what is required depends on its exact version."""
        command = [
            sys.executable, "-m", "pip", "--python", str(self.base_root / debian.PYTHON),
            "install", "--quiet", "--quiet", "--root-user-action=ignore", "--no-compile",
            "--require-hashes", "--only-binary", ":all:", "--requirement", str(requirements), "--target", str(target),
        ]  # fmt: skip
        if subprocess.run(command).returncode:
            raise ClusterError(f"pip did not install {requirements.name}")


def _move_scripts(source: Path, target: Path) -> None:
    """Puts the packages' commands on the PATH; pip has written the path of the Python that it ran by into them."""
    if not source.is_dir():
        return
    target.mkdir(parents=True)
    for script in source.iterdir():
        interpreter, newline, rest = script.read_bytes().partition(b"\n")
        if interpreter.startswith(b"#!") and b"python" in interpreter:
            script.write_bytes(b"#!/usr/bin/python3" + newline + rest)
        shutil.move(script, target / script.name)
    source.rmdir()


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # it becomes the root directory of a container
        yield Path(name)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
