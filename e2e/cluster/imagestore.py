"""Container images without a builder and without a registry: an OCI image layout on disk.

Layers are stored once, by digest, however many images share them. Writing them depends on their content alone (sorted
names, no times, no owners' names), so what is made again from the same input is the same layer.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from e2e.cluster.layout import ClusterError, read_json, write_json

Descriptor = dict[str, Any]
Filter = Callable[[tarfile.TarInfo], tarfile.TarInfo | None]
Sink = IO[bytes] | io.BufferedIOBase


@dataclass(frozen=True, slots=True)
class Layer:
    """A stored layer: digests of the compressed file and of what is in it, and the compressed size."""

    digest: str
    content_digest: str
    size_bytes: int


class ImageStore:
    """The directory: `blobs/` by digest, `refs/` with one file for each image name."""

    def __init__(self, directory: Path) -> None:
        self.blobs, self.refs = directory / "blobs", directory / "refs"

    def cached_layer(self, key: str, make: Callable[[], Layer]) -> Layer:
        """The layer that was made for the same key (all its inputs, hashed), else a new one."""
        note = self.blobs.parent / "layers" / f"{key}.json"
        if (known := read_json(note)) and self._blob(known["digest"]).exists():
            return Layer(**known)
        layer = make()
        note.parent.mkdir(parents=True, exist_ok=True)
        write_json(note, asdict(layer))
        return layer

    def add_directory(self, directory: Path, prefix: str = ".", keep: Filter | None = None) -> Layer:
        """Stores a directory as a layer, below the path `prefix`."""

        def normalise(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
            member.uid = member.gid = member.mtime = 0
            member.uname = member.gname = ""
            return keep(member) if keep else member

        def write(target: Sink) -> None:
            with tarfile.open(fileobj=target, mode="w|", format=tarfile.GNU_FORMAT) as archive:
                archive.add(directory, prefix, filter=normalise)

        return self._add_layer(write)

    def add_archive(self, archive: Path) -> Layer:
        """Stores a tar file as a layer."""

        def write(target: Sink) -> None:
            with archive.open("rb") as source:
                while chunk := source.read(1 << 20):
                    target.write(chunk)

        return self._add_layer(write)

    def put(self, name: str, layers: Iterable[Layer], config: dict[str, Any]) -> str:
        """Stores the image of these layers under the name; returns its digest."""
        layers = list(layers)
        content = {
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer.content_digest for layer in layers]},
        }
        media_type = "application/vnd.oci.image.manifest.v1+json"
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": self._add_json("application/vnd.oci.image.config.v1+json", content),
            "layers": [
                _descriptor("application/vnd.oci.image.layer.v1.tar+zstd", layer.digest, layer.size_bytes)
                for layer in layers
            ],
        }
        entry = self._add_json(media_type, manifest)
        self.refs.mkdir(parents=True, exist_ok=True)
        write_json(self._ref(name), {"name": name, "manifest": entry})
        return str(entry["digest"])

    def names(self) -> list[str]:
        return sorted(read_json(ref)["name"] for ref in self.refs.glob("*.json"))

    def size_bytes(self, name: str) -> int:
        """How much the image weighs, compressed."""
        return sum(part["size"] for part in self._parts(self._entry(name)))

    def stream(self, name: str, target: Sink, present: set[str]) -> int:
        """Writes the image as an OCI archive without the blobs that the receiver has; returns the bytes of blobs."""
        entry = self._entry(name)
        # The name in full: what a kubelet looks for when a pod says "comptroller/operator:dev".
        annotated = entry | {"annotations": {"io.containerd.image.name": f"docker.io/{name}"}}
        index = {"schemaVersion": 2, "manifests": [annotated]}
        sent = 0
        with tarfile.open(fileobj=target, mode="w|") as archive:
            _add_file(archive, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
            _add_file(archive, "index.json", json.dumps(index).encode())
            for part in self._parts(entry):
                if part["digest"] not in present or "json" in part["mediaType"]:
                    archive.add(self._blob(part["digest"]), "blobs/" + part["digest"].replace(":", "/"))
                    sent += part["size"]
        return sent

    def prune(self) -> None:
        """Removes what no image needs any more."""
        needed = {part["digest"] for name in self.names() for part in self._parts(self._entry(name))}
        for blob in self.blobs.glob("*"):
            if f"sha256:{blob.name}" not in needed:
                blob.unlink()
        for note in (self.blobs.parent / "layers").glob("*.json"):
            if read_json(note)["digest"] not in needed:
                note.unlink()

    def _entry(self, name: str) -> Descriptor:
        if (known := read_json(self._ref(name))) is None:
            raise ClusterError(f"there is no image {name}; there are: {', '.join(self.names()) or 'none'}")
        return dict(known["manifest"])

    def _parts(self, entry: Descriptor) -> list[Descriptor]:
        manifest = json.loads(self._blob(entry["digest"]).read_text())
        return [entry, manifest["config"], *manifest["layers"]]

    def _ref(self, name: str) -> Path:
        return self.refs / (re.sub(r"[^\w.-]+", "_", name) + ".json")

    def _blob(self, digest: str) -> Path:
        return self.blobs / digest.removeprefix("sha256:")

    def _add_json(self, media_type: str, value: object) -> Descriptor:
        content = json.dumps(value, sort_keys=True).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.blobs.mkdir(parents=True, exist_ok=True)
        self._blob(digest).write_bytes(content)
        return _descriptor(media_type, digest, len(content))

    def _add_layer(self, write: Callable[[Sink], None]) -> Layer:
        """Compresses and hashes on the way. Compressed layers load several times faster into a node."""
        self.blobs.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.blobs, prefix=".", delete=False) as draft:
            path = Path(draft.name)
            try:
                with subprocess.Popen(["zstd", "-q", "-T0", "-1"], stdin=subprocess.PIPE, stdout=draft) as zstd:
                    assert zstd.stdin is not None
                    hashing = _Hashing(zstd.stdin)
                    write(hashing)
                    zstd.stdin.close()
                if zstd.returncode:
                    raise ClusterError(f"zstd ended with {zstd.returncode}")
                with path.open("rb") as compressed:
                    digest = hashlib.file_digest(compressed, "sha256").hexdigest()
                path.chmod(0o644)
                path.replace(self._blob(digest))
            finally:
                with suppress(FileNotFoundError):
                    path.unlink()
        return Layer(f"sha256:{digest}", f"sha256:{hashing.hash.hexdigest()}", self._blob(digest).stat().st_size)


class _Hashing(io.BufferedIOBase):
    """Writes through to a pipe and hashes what passes."""

    def __init__(self, target: IO[bytes]) -> None:
        self.target, self.hash = target, hashlib.sha256()

    def write(self, data: Any, /) -> int:
        self.hash.update(data)
        return self.target.write(data)


def _descriptor(media_type: str, digest: str, size_bytes: int) -> Descriptor:
    return {"mediaType": media_type, "digest": digest, "size": size_bytes}


def _add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
