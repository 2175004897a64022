"""Talks to the API server without kubectl: one connection for hundreds of dry runs."""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from comptroller.api.kinds import KINDS

GROUP_PATH = "/apis/comptroller.dev/v1alpha1"


class ObjectApi:
    """Creates, reads and writes objects of the three kinds in one namespace; nothing is stored in a dry run."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        context.load_cert_chain(user["client-certificate"], user["client-key"])
        server = urlsplit(cluster["server"])
        self._connection = http.client.HTTPSConnection(server.hostname or "", server.port, context=context, timeout=30)
        self._namespace = namespace

    def close(self) -> None:
        self._connection.close()

    def create(self, obj: dict[str, Any], dry_run: bool = True) -> dict[str, Any]:
        """The stored object, or the server's Status. Unknown fields are refused, as kubectl asks for."""
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        return self._send("POST", self._path(obj["kind"]) + query, obj)

    def create_leniently(self, obj: dict[str, Any]) -> dict[str, Any]:
        """The same where unknown fields are pruned, as clients other than kubectl do it."""
        return self._send("POST", self._path(obj["kind"]) + "?fieldValidation=Ignore&dryRun=All", obj)

    def write_status(self, obj: dict[str, Any], dry_run: bool = True) -> dict[str, Any]:
        """The object with its status replaced, or the server's Status."""
        query = "/status?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        stored = self.read(obj["kind"], obj["metadata"]["name"])
        body = {**obj, "metadata": {**obj["metadata"], "resourceVersion": stored["metadata"]["resourceVersion"]}}
        return self._send("PUT", f"{self._path(obj['kind'])}/{obj['metadata']['name']}{query}", body)

    def read(self, kind: str, name: str) -> dict[str, Any]:
        """A stored object."""
        return self._send("GET", f"{self._path(kind)}/{name}", None)

    def get(self, path: str) -> dict[str, Any]:
        """Anything else."""
        return self._send("GET", path, None)

    def _path(self, kind: str) -> str:
        return f"{GROUP_PATH}/namespaces/{self._namespace}/{KINDS[kind].plural}"

    def _send(self, verb: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        text = None if body is None else json.dumps(body)
        self._connection.request(verb, path, text, {"Content-Type": "application/json", "Accept": "application/json"})
        answer: dict[str, Any] = json.loads(self._connection.getresponse().read())
        return answer


def errors(answer: dict[str, Any]) -> list[str]:
    """What the server refuses, one `path: message` for each cause; empty if it accepts."""
    if answer.get("kind") != "Status" or answer.get("status") != "Failure":
        return []
    causes = answer.get("details", {}).get("causes", [])
    return [f"{one.get('field', '')}: {one['message']}" for one in causes] or [answer["message"]]
