"""What verbs read from the cluster of the current kubeconfig, with errors that say what to do."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from kubernetes.aio import config as aio_config
from kubernetes.aio.config import ConfigException

from comptroller.kube.client import KubeClient, KubeError
from comptroller.kube.resources import OWNED_BY_USERS, KubeDict, Resource

Answer = TypeVar("Answer")

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class ClusterError(Exception):
    """The cluster cannot be read; the message says why and what to do."""


def ask(question: Callable[[KubeClient], Awaitable[Answer]]) -> Answer:
    """Asks the cluster of the current kubeconfig, or that of the pod. Raises `ClusterError`."""
    return asyncio.run(_ask(question))


async def _ask(question: Callable[[KubeClient], Awaitable[Answer]]) -> Answer:
    try:
        connected = await KubeClient.connect()
    except (ConfigException, OSError, TypeError) as error:
        raise ClusterError(
            f"there is no way to log in to a cluster: {error}. Set KUBECONFIG, or choose a context with "
            "`kubectl config use-context NAME`."
        ) from error
    try:
        async with connected as client:
            return await question(client)
    except KubeError as error:
        raise ClusterError(_told(error)) from error


def _told(error: KubeError) -> str:
    if error.status == 0:
        return f"{error.message}. Is the cluster of `kubectl config current-context` up and reachable from here?"
    if error.status == 404:
        return (
            "the cluster does not serve Comptroller's kinds. Install them: "
            "`comptroller crds | kubectl apply --server-side -f -`."
        )
    if error.status in (401, 403):
        return f"{error.message}. Ask for the right to list modelpools, routingpolicies and cachewarmups."
    return f"the API server refused: {error.message}"


async def fetch(client: KubeClient, namespace: str | None, *resources: Resource) -> list[list[KubeDict]]:
    """All objects of these kinds, in one namespace or (None) in all."""
    return [[item async for item in client.list(one, namespace)] for one in resources]


async def fetch_all(client: KubeClient, namespace: str | None) -> list[list[KubeDict]]:
    """The pools, policies and warm-ups of a namespace."""
    return await fetch(client, namespace, *OWNED_BY_USERS)


def current_namespace() -> str:
    """The namespace of the current context, or of the pod; `default` where neither names one."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return _OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.exists() else "default"
    try:
        _, active = aio_config.list_kube_config_contexts()
    except (ConfigException, OSError, TypeError):
        return "default"
    return str(((active or {}).get("context") or {}).get("namespace") or "default")


def coloured() -> bool:
    """Whether to print colours: only on a terminal, and not where NO_COLOR asks for none."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def bold(text: str) -> str:
    """The text in bold, on a terminal."""
    return f"\x1b[1m{text}\x1b[0m" if coloured() else text


def faint(text: str) -> str:
    """The text in grey, on a terminal."""
    return f"\x1b[2m{text}\x1b[0m" if coloured() else text
