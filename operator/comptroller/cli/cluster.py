"""What verbs read from the cluster of the current kubeconfig, with errors that say what to do."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from comptroller.kube.client import KubeClient, KubeError
from comptroller.kube.login import LoginError
from comptroller.kube.resources import OWNED_BY_USERS, KubeDict, Resource

Answer = TypeVar("Answer")


class ClusterError(Exception):
    """The cluster cannot be read; the message says why and what to do."""


def ask(question: Callable[[KubeClient], Awaitable[Answer]]) -> Answer:
    """Asks the cluster of the current kubeconfig, or that of the pod. Raises `ClusterError`."""
    return asyncio.run(_ask(question))


async def _ask(question: Callable[[KubeClient], Awaitable[Answer]]) -> Answer:
    try:
        async with await KubeClient.connect() as client:
            return await question(client)
    except LoginError as error:
        raise ClusterError(str(error)) from error
    except KubeError as error:
        raise ClusterError(_told(error)) from error


def _told(error: KubeError) -> str:
    message = error.message.rstrip(".")
    if error.status == 0 and "certificate" in message.lower():
        return f"{message}. Renew the kubeconfig: its certificate-authority does not fit the server."
    if error.status == 0:
        return f"{message}. Is the cluster of `kubectl config current-context` up and reachable from here?"
    if error.status == 404:
        return (
            "the cluster does not serve Comptroller's kinds. Install them: "
            "`comptroller crds | kubectl apply --server-side -f -`."
        )
    if error.status == 401:
        return f"the API server does not know you: {message}. Log in anew, or renew the kubeconfig's credentials."
    if error.status == 403:
        return f"{message}. Ask for the right to list modelpools, routingpolicies and cachewarmups."
    return f"the API server refused ({error.status}): {message}. Try again; if it stays, ask who runs the cluster."


async def fetch(client: KubeClient, namespace: str | None, *resources: Resource) -> list[list[KubeDict]]:
    """All objects of these kinds, in one namespace or (None) in all."""
    return [[item async for item in client.list(one, namespace)] for one in resources]


async def fetch_all(client: KubeClient, namespace: str | None) -> list[list[KubeDict]]:
    """The pools, policies and warm-ups of a namespace."""
    return await fetch(client, namespace, *OWNED_BY_USERS)


def coloured() -> bool:
    """Whether to print colours: only on a terminal, and not where NO_COLOR asks for none."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def bold(text: str) -> str:
    """The text in bold, on a terminal."""
    return f"\x1b[1m{text}\x1b[0m" if coloured() else text


def faint(text: str) -> str:
    """The text in grey, on a terminal."""
    return f"\x1b[2m{text}\x1b[0m" if coloured() else text
