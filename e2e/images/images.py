#!/usr/bin/env python3
"""Makes the images of the demo and of the tests, and loads them into the nodes of a running cluster."""

from __future__ import annotations

import argparse
import fcntl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))  # it is run by its path, before anything is installed

from e2e.cluster import lifecycle, nodes
from e2e.cluster.control import Control
from e2e.cluster.imagestore import ImageStore
from e2e.cluster.layout import ClusterError, Layout
from e2e.images.catalogue import IMAGES
from e2e.images.layers import Layers


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".cluster"), help="the cluster's directory (%(default)s)")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    build = verbs.add_parser("build", help="make the images whose sources have changed")
    load = verbs.add_parser("load", help="load images into nodes, as far as these do not have them")
    for verb in (build, load):
        verb.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(IMAGES)} (all)")
    load.add_argument("--nodes", help="NAME,... (all)")
    options = parser.parse_args()
    layout = Layout(options.state.resolve(), options.state.resolve() / "bin")
    names = options.names or list(IMAGES)
    if unknown := set(names) - set(IMAGES):
        parser.error(f"no such image: {', '.join(sorted(unknown))}; there are {', '.join(IMAGES)}")
    try:
        if options.verb == "build":
            _build(layout, names)
        else:
            _load(layout, names, options.nodes.split(",") if options.nodes else lifecycle.node_names(layout))
    except (ClusterError, subprocess.CalledProcessError) as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    return 0


def _build(layout: Layout, names: list[str]) -> None:
    store = ImageStore(layout.images)
    layers = Layers(store, layout.images)
    with _locked(layout.images):
        for name in names:
            began = time.monotonic()
            layers.build(IMAGES[name])
            size = store.size_bytes(IMAGES[name].reference) / 1e6
            print(f"images: {name:12} {size:6.1f} MB {time.monotonic() - began:6.1f} s", flush=True)
        store.prune()


def _load(layout: Layout, names: list[str], targets: list[str]) -> None:
    store, control = ImageStore(layout.images), Control(layout)

    def load_all(node: str) -> None:
        for name in names:
            began = time.monotonic()
            sent = nodes.load(control, node, store, IMAGES[name].reference) / 1e6
            print(f"images: {name:12} into {node:12} {sent:6.1f} MB {time.monotonic() - began:6.1f} s", flush=True)

    with ThreadPoolExecutor() as pool:
        list(pool.map(load_all, targets))


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One build at a time: another one would remove what this one has not named yet."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
