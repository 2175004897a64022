"""A kubelet without containers: runs the pods of simulated nodes as local processes, for machines without nodes.

    python -m e2e.processes.node --state .cluster/processes --bin .cluster/bin

Needs a control plane with `--kwok-nodes-only`: kwok keeps the nodes ready, this runs the pods on them. It prints
"ready" once, ends at SIGTERM, at the end of its standard input (unless --keep) or when the cluster is gone, and with it
everything that it has started.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from e2e.cluster.layout import REPOSITORY, ClusterError, Layout
from e2e.cluster.nodes import DEFAULT_NODES, gpu_labels, parse
from e2e.processes.api import Api, ApiError, connect
from e2e.processes.container import Programs, rewriting
from e2e.processes.network import Network
from e2e.processes.pod import CONFLICT, RunningPod
from e2e.processes.reach import SERVICES_FILE, pod_folder

Object = dict[str, Any]
KINDS = {
    "Pod": "/api/v1/pods",
    "Service": "/api/v1/services",
    "ConfigMap": "/api/v1/configmaps",
    "Secret": "/api/v1/secrets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/networkpolicies",
}


class Agent:
    """The pods of our nodes, as long as it runs."""

    def __init__(self, api: Api, layout: Layout, programs: Programs) -> None:
        self._api, self._layout, self._programs = api, layout, programs
        self._known: dict[str, dict[str, Object]] = {kind: {} for kind in KINDS}
        number = 16 + os.getpid() % 200
        self._network = Network(number, self._all("Pod"), self._all("NetworkPolicy"))
        self._pods: dict[str, RunningPod] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._nodes = {node.name for node in parse(DEFAULT_NODES)}
        self._wake = asyncio.Event()
        self.begun = asyncio.Event()  # nodes are ready, Services are known

    async def run(self) -> None:
        """Until it is cancelled, or the API server is gone."""
        await self._make_nodes()
        async with asyncio.TaskGroup() as group:
            for kind, path in KINDS.items():
                changed = self._pod_changed if kind == "Pod" else self._other_changed
                group.create_task(self._api.follow(path, self._known[kind], changed))
            group.create_task(self._refresh())
            group.create_task(self._end_with_cluster())

    async def stop(self) -> None:
        for task in [*self._tasks.values(), *self._ending.values()]:
            task.cancel()
        await asyncio.gather(*(pod.stop(at_once=True) for pod in self._pods.values()), return_exceptions=True)

    def _all(self, kind: str) -> Any:
        return self._known[kind].values

    async def _make_nodes(self) -> None:
        for node in parse(DEFAULT_NODES):
            labels = {"type": "kwok", "kubernetes.io/hostname": node.name, "kubernetes.io/arch": "amd64"}
            resources = {"cpu": "32", "memory": "256Gi", "pods": "110"}
            if node.gpu:
                labels |= gpu_labels(node.gpu, node.gpus)
                resources["nvidia.com/gpu"] = str(node.gpus)
            status = {"capacity": resources, "allocatable": resources}
            metadata = {"name": node.name, "labels": labels}
            body = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status}
            try:
                await self._api.request("POST", "/api/v1/nodes", body)
            except ApiError as error:
                if error.status != CONFLICT:  # else it is there from an earlier run
                    raise
        while not all([await self._is_ready(name) for name in self._nodes]):  # noqa: ASYNC110 - it is polling
            await asyncio.sleep(0.3)

    async def _is_ready(self, node: str) -> bool:
        found = await self._api.request("GET", f"/api/v1/nodes/{node}")
        conditions = found["status"].get("conditions") or ()
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def _pod_changed(self, pod: Object, gone: bool) -> None:
        uid = pod["metadata"]["uid"]
        if pod["spec"].get("nodeName") not in self._nodes:
            return
        phase = (pod.get("status") or {}).get("phase")
        if uid not in self._pods and not gone and phase in ("Pending", "Running"):
            self._pods[uid] = self._running(pod)
            self._tasks[uid] = asyncio.create_task(self._live(self._pods[uid]))
        if (running := self._pods.get(uid)) is None:
            if not gone and pod["metadata"].get("deletionTimestamp"):
                self._ending.setdefault(uid, asyncio.create_task(self._running(pod).forget()))
            return
        running.current = pod
        if gone or pod["metadata"].get("deletionTimestamp"):
            if uid not in self._ending:
                self._ending[uid] = asyncio.create_task(self._leave(uid))
        else:
            self._wake.set()

    def _other_changed(self, _: Object, __: bool) -> None:
        self._wake.set()

    def _running(self, pod: Object) -> RunningPod:
        uid, namespace = pod["metadata"]["uid"], pod["metadata"]["namespace"]
        words = rewriting(
            pod, pod_folder(self._layout.run, namespace, pod["metadata"]["name"]),
            partial(self._network.service_address, uid),
        )  # fmt: skip
        return RunningPod(
            self._api, self._layout, self._programs, words, self._network.pod_address(uid),
            partial(self._read, namespace), self._listen, pod,
        )  # fmt: skip

    def _read(self, namespace: str, kind: str, name: str) -> Object | None:
        for one in self._known[kind].values():
            if one["metadata"]["name"] == name and one["metadata"]["namespace"] == namespace:
                return one
        return None

    async def _live(self, pod: RunningPod) -> None:
        try:
            await pod.run()
        except (ValueError, OSError) as error:
            print(f"{pod.path}: {error}", file=sys.stderr, flush=True)
            await pod.give_up()

    async def _leave(self, uid: str) -> None:
        pod = self._pods[uid]
        await pod.stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._tasks[uid], 2)
        await pod.forget()
        del self._pods[uid]

    async def _refresh(self) -> None:
        """Takes changes over: files of volumes, gates, Services. Changes come in bursts, so not for each at once."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            for pod in list(self._pods.values()):
                if pod.current["metadata"]["uid"] not in self._ending:
                    with suppress(Exception):  # what is missing is missing for `run`, too, which says so
                        await pod.write_files()
                    await pod.tell()
            await self._publish()
            self.begun.set()
            await asyncio.sleep(0.2)

    async def _end_with_cluster(self) -> None:
        while self._layout.kubeconfig.exists():  # noqa: ASYNC110 - it is polling
            await asyncio.sleep(1)
        raise ClusterError("the cluster was taken down")

    async def _listen(self) -> None:
        await self._network.listen(list(self._known["Service"].values()))

    async def _publish(self) -> None:
        """Says where Services are for who is no pod: the demo itself."""
        services = [one for one in self._known["Service"].values() if one["spec"].get("selector")]
        names = [(one["metadata"]["namespace"], one["metadata"]["name"]) for one in services]
        found = {f"{space}/{name}": self._network.service_address("", space, name) for space, name in names}
        await self._listen()
        draft = self._layout.run / f".{SERVICES_FILE}"
        draft.write_text(json.dumps(found))
        draft.replace(self._layout.run / SERVICES_FILE)


async def serve(layout: Layout, programs: Programs, *, keep: bool) -> int:
    """Runs the agent until a signal, the end of standard input, or the end of the cluster."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if not keep:
        loop.add_reader(sys.stdin, stop.set)
    api = connect(layout)
    agent = Agent(api, layout, programs)
    running, stopped = asyncio.create_task(agent.run()), asyncio.create_task(stop.wait())
    try:
        known = asyncio.create_task(agent.begun.wait())
        await asyncio.wait([running, stopped, known], return_when=asyncio.FIRST_COMPLETED)
        if agent.begun.is_set():
            print("ready", flush=True)
        await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
        if running.done() and (error := running.exception()):
            print(f"the agent ends: {error!r}", file=sys.stderr)
            return 1
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await agent.stop()
        await api.session.close()
    return 0


def programs(layout: Layout) -> Programs:
    """What stands for the images. Raises ClusterError with what to do when something is not there."""
    fetched = layout.binaries.parent / "programs" / "usr/bin/prometheus"
    if not fetched.exists() and not shutil.which("prometheus"):
        from e2e.images.debian import take_out

        take_out("prometheus", ("usr/bin/prometheus",), layout.binaries.parent / "programs")
    found = Programs(
        repository=REPOSITORY,
        python=Path(sys.executable),
        router_python=REPOSITORY / ".venv-router" / "bin" / "python",
        prometheus=fetched if fetched.exists() else Path(shutil.which("prometheus") or ""),
    )
    if not found.router_python.exists():
        raise ClusterError(f"no router at {found.router_python}: make setup")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="the cluster's directory")
    parser.add_argument("--bin", type=Path, required=True, help="directory of the binaries")
    parser.add_argument("--keep", action="store_true", help="go on when standard input ends")
    given = parser.parse_args()
    layout = Layout(given.state.resolve(), given.bin.resolve())
    try:
        return asyncio.run(serve(layout, programs(layout), keep=given.keep))
    except (ClusterError, ApiError) as error:
        print(f"processes: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
