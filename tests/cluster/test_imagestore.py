"""Images on disk: reproducible, shared by layer, streamed without what the receiver has."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from e2e.cluster.imagestore import ImageStore, Layer
from e2e.cluster.layout import ClusterError


def directory(path: Path, content: str) -> Path:
    (path / "app").mkdir(parents=True)
    (path / "app" / "main.py").write_text(content)
    return path


def archive_of(store: ImageStore, name: str, present: set[str]) -> dict[str, bytes]:
    target = io.BytesIO()
    store.stream(name, target, present)
    target.seek(0)
    with tarfile.open(fileobj=target) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def test_the_same_content_is_the_same_layer_whenever_it_was_written(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    first, second = directory(tmp_path / "one", "print(1)"), directory(tmp_path / "two", "print(1)")
    os.utime(second / "app" / "main.py", (0, 0))
    assert store.add_directory(first) == store.add_directory(second)
    assert store.add_directory(first) != store.add_directory(directory(tmp_path / "three", "print(2)"))


def test_a_stream_is_an_oci_layout_that_names_the_image_and_leaves_out_present_layers(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    base = store.add_directory(directory(tmp_path / "base", "base"))
    code = store.add_directory(directory(tmp_path / "code", "code"))
    digest = store.put("comptroller/x:dev", [base, code], {"Entrypoint": ["x"]})

    whole = archive_of(store, "comptroller/x:dev", present=set())
    rest = archive_of(store, "comptroller/x:dev", present={base.digest, digest})

    entry = json.loads(whole["index.json"])["manifests"][0]
    assert entry["digest"] == digest
    assert entry["annotations"] == {"io.containerd.image.name": "docker.io/comptroller/x:dev"}
    assert whole.keys() - rest.keys() == {f"blobs/{base.digest.replace(':', '/')}"}


def test_a_layer_is_made_once_for_the_same_inputs_and_again_when_its_file_is_lost(tmp_path: Path) -> None:
    store, made = ImageStore(tmp_path / "store"), []
    source = directory(tmp_path / "code", "code")

    def make() -> Layer:
        made.append(1)
        return store.add_directory(source)

    assert store.cached_layer("inputs", make) == store.cached_layer("inputs", make)
    assert len(made) == 1
    shutil.rmtree(store.blobs)
    store.cached_layer("inputs", make)
    assert len(made) == 2


def test_pruning_keeps_what_an_image_needs_and_nothing_else(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    old, new = (store.add_directory(directory(tmp_path / name, name)) for name in ("old", "new"))
    store.put("x", [old], {})
    store.put("x", [new], {})
    store.prune()
    archive_of(store, "x", present=set())
    assert {f"sha256:{path.name}" for path in store.blobs.iterdir()} >= {new.digest}
    assert old.digest not in {f"sha256:{path.name}" for path in store.blobs.iterdir()}


def test_an_unknown_image_is_an_error_that_names_the_known_ones(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "store")
    store.put("comptroller/x:dev", [], {})
    with pytest.raises(ClusterError, match="no image y; there are: comptroller/x:dev"):
        store.stream("y", io.BytesIO(), set())
