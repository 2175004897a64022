"""The way into a cluster: the pod's service account, else the kubeconfig, as `kubectl` finds it.

The library's own words name no remedy, and a file that is missing or no kubeconfig ends in errors of its inside; so
both are told here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio import client as aio_client
from kubernetes.aio import config as aio_config
from kubernetes.aio.config import ConfigException

CONNECTIONS = 32
_DEFAULT = "~/.kube/config"
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class LoginError(Exception):
    """There is no way to log in; the message says why and what to do."""


async def log_in() -> Any:
    """An API client with the pod's service account, or outside of a cluster with the kubeconfig's current context.

    Raises `LoginError`.
    """
    configuration = aio_client.Configuration()
    configuration.connection_pool_maxsize = CONNECTIONS
    if _in_a_pod():
        try:
            aio_config.load_incluster_config(client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise LoginError(
                f"there is no way to log in to a cluster: {error}. Give the pod a service account, and do not set its "
                "automountServiceAccountToken to false."
            ) from error
        return aio_client.ApiClient(configuration)
    files = _kubeconfig()
    with _in_words(files):
        await aio_config.load_kube_config(config_file=files, client_configuration=configuration)
        return aio_client.ApiClient(configuration)


def current_namespace() -> str:
    """The namespace of the current context, or of the pod; `default` where neither names one. Raises `LoginError`."""
    if _in_a_pod():
        return _OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.exists() else "default"
    files = _kubeconfig()
    with _in_words(files):
        _, active = aio_config.list_kube_config_contexts(config_file=files)
        return str((active.get("context") or {}).get("namespace") or "default")


def own_namespace() -> str | None:
    """The namespace of this process' pod; None outside of a cluster."""
    return _OWN_NAMESPACE.read_text().strip() if _in_a_pod() and _OWN_NAMESPACE.exists() else None


def _in_a_pod() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ


def _kubeconfig() -> str:
    """KUBECONFIG, which may name several files, or the usual one. Raises `LoginError` where there is no such file."""
    files = os.environ.get("KUBECONFIG") or _DEFAULT
    if not any(Path(one).expanduser().is_file() for one in files.split(os.pathsep) if one):
        raise LoginError(
            f"there is no way to log in to a cluster: there is no kubeconfig {files}. Set KUBECONFIG to the file that "
            "came with the cluster, such as `export KUBECONFIG=$HOME/.kube/config`."
        )
    return files


@contextmanager
def _in_words(files: str) -> Iterator[None]:
    """What is wrong with a kubeconfig, as a `LoginError`."""
    try:
        yield
    except (ConfigException, OSError) as error:
        raise LoginError(
            f"there is no way to log in to a cluster by the kubeconfig {files}: {str(error).rstrip('.')}. Choose a "
            "context with `kubectl config use-context NAME`, or set KUBECONFIG to another file."
        ) from error
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        why = " ".join(str(error).split()) if isinstance(error, yaml.YAMLError) else "it has not the form of one"
        raise LoginError(
            f"there is no way to log in to a cluster: {files} is no kubeconfig: {why}. Correct it, or set KUBECONFIG "
            "to another file."
        ) from error
