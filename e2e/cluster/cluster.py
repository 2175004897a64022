#!/usr/bin/env python3
"""A real Kubernetes on one Linux machine, without Docker and without a registry. See README.md beside this file."""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))  # it is run by its path, before anything is installed

from e2e.cluster import builder, lifecycle, nodes, sandbox
from e2e.cluster.control import Control
from e2e.cluster.imagestore import ImageStore
from e2e.cluster.layout import ClusterError, Layout
from e2e.cluster.status import print_status

PATH = "PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"


def main() -> int:
    options = _parser().parse_args()
    state = options.state.resolve()
    layout = Layout(state, options.bin.resolve() if options.bin else state / "bin")
    try:
        return _perform(layout, options)
    except (ClusterError, subprocess.CalledProcessError) as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1


def _perform(layout: Layout, options: argparse.Namespace) -> int:
    match options.verb:
        case "setup":
            sandbox.install_packages()
        case "can-run-nodes":
            reasons = sandbox.reasons_against_nodes()
            print("\n".join(reasons) or "nodes can run here")
            return bool(reasons)
        case "build":
            builder.build(layout)
        case "up":
            wanted = None if options.control_plane_only else options.nodes
            lifecycle.up(layout, wanted, audit=options.audit, kwok=options.kwok, owner=options.owner)
        case "down":
            lifecycle.down(layout)
        case "exec":
            command = options.command[options.command[:1] == ["--"] :]
            lifecycle.execute(layout, command or ["sh"])
        case "image":
            _image(layout, options)
        case "kubeconfig":
            print(layout.kubeconfig)
        case "status":
            return not print_status(Control(layout))
        case "start" | "stop" as verb:
            getattr(Control(layout), verb)(options.component)
    return 0


def _image(layout: Layout, options: argparse.Namespace) -> None:
    """Makes an image, if there is something to make it of, and loads it."""
    store = ImageStore(layout.images)
    if options.rootfs:
        layers = [store.add_directory(root) if root.is_dir() else store.add_archive(root) for root in options.rootfs]
        config = {"Entrypoint": options.entrypoint, "User": options.user, "Env": [PATH, *options.env]}
        store.put(options.name, layers, config)
    targets = options.nodes.split(",") if options.nodes else lifecycle.node_names(layout)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: nodes.load(Control(layout), node, store, options.name), targets))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, default=Path(".cluster"), help="the cluster's directory (%(default)s)")
    parser.add_argument("--bin", type=Path, metavar="DIR", help="directory of the binaries (STATE/bin)")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("setup", help="install the Debian packages that nodes and images need")
    verbs.add_parser("can-run-nodes", help="say why this machine cannot run nodes, and fail, or succeed")
    verbs.add_parser("build", help="build the binaries; no more than a look when they are up to date")

    up = verbs.add_parser("up", help="start the cluster, or what is missing of it, and wait until it is ready")
    up.add_argument("--nodes", default=nodes.DEFAULT_NODES, help="NAME[:GPU:COUNT],... (%(default)s)")
    up.add_argument("--control-plane-only", action="store_true", help="no nodes: on loopback, as any user")
    up.add_argument("--kwok", action="store_const", const="all", help="simulate the nodes with the label type=kwok")
    up.add_argument("--kwok-nodes-only", dest="kwok", action="store_const", const="nodes", help="but not their pods")
    up.add_argument("--audit", action="store_true", help="log every request in run/logs/audit.jsonl")
    up.add_argument("--owner", type=int, metavar="PID", help="end the cluster when this process ends")
    verbs.add_parser("down", help="end the cluster without a trace; binaries and images stay")

    run = verbs.add_parser("exec", help="run a command in the cluster's network, with KUBECONFIG, kubectl and helm")
    run.add_argument("command", nargs=argparse.REMAINDER)
    image = verbs.add_parser("image", help="make an image of root directories or tar files, and load it into nodes")
    image.add_argument("name")
    image.add_argument("rootfs", type=Path, nargs="*", help="one for each layer; none: load what was made before")
    image.add_argument("--entrypoint", type=str.split, default=[])
    image.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    image.add_argument("--user", default="")
    image.add_argument("--nodes", help="NAME,... (all)")

    verbs.add_parser("kubeconfig", help="print the path of the kubeconfig")
    verbs.add_parser("status", help="print what runs and what it takes; fail when something has ended")
    for verb in ("start", "stop"):
        verbs.add_parser(verb, help=f"{verb} a component that status names").add_argument("component")
    return parser


if __name__ == "__main__":
    sys.exit(main())
