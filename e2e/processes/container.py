"""Pure: from a container's words to a local command, and from volumes to files.

Paths of mounts become paths below the pod's directory; names of Services become addresses on loopback.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from e2e.images.catalogue import IMAGES

Resolve = Callable[[str, str], str]
"""(namespace, name) of a Service -> its address on loopback."""
Read = Callable[[str, str], Mapping[str, Any] | None]
"""("ConfigMap" or "Secret", name) in the pod's namespace -> the object; None when there is none."""
Object = Mapping[str, Any]

TERMINATION_LOG = "termination-log"
KUBECONFIG = "kubeconfig"
_SERVICE = re.compile(r"\b([a-z0-9][a-z0-9-]*)\.([a-z0-9][a-z0-9-]*)\.svc(?:\.cluster\.local)?\b")


class MissingError(Exception):
    """A ConfigMap or Secret, or a key of one, that the pod waits for."""


@dataclass(frozen=True, slots=True)
class Programs:
    """What images are on this machine: interpreters, a program, and where the code lies."""

    repository: Path
    python: Path
    router_python: Path
    prometheus: Path


@dataclass(frozen=True, slots=True)
class Rewriting:
    """Makes a pod's texts true for a process of this machine."""

    root: Path
    mounts: tuple[str, ...]
    resolve: Resolve

    def word(self, text: str) -> str:
        """An argument or a value of the environment."""
        return self.names(self._paths(text, self._prefixes()))

    def content(self, text: str) -> str:
        """A mounted file. Prose may mention /data; only paths of two or more parts are meant as such."""
        return self.names(self._paths(text, [path for path in self._prefixes() if path.count("/") > 1]))

    def names(self, text: str) -> str:
        return _SERVICE.sub(lambda match: self.resolve(match[2], match[1]), text)

    def path(self, mount: str) -> Path:
        return self.root / mount.lstrip("/")

    def _prefixes(self) -> list[str]:
        """The mounts, and the folders above them that have a name of their own: `/etc` alone is not ours."""
        above = {str(one) for mount in self.mounts for one in PurePosixPath(mount).parents if len(one.parts) > 2}
        return sorted({*self.mounts, *above}, key=len, reverse=True)

    def _paths(self, text: str, prefixes: list[str]) -> str:
        if not prefixes:
            return text
        pattern = rf"(?<![\w./-])(?:{'|'.join(map(re.escape, prefixes))})(?![\w.-])"
        return re.sub(pattern, lambda match: f"{self.root}{match[0]}", text)


def rewriting(pod: Object, root: Path, resolve: Resolve) -> Rewriting:
    mounts = {mount["mountPath"] for one in pod["spec"]["containers"] for mount in one.get("volumeMounts") or ()}
    return Rewriting(root, tuple(sorted(mounts)), resolve)


def command(container: Object, address: str, programs: Programs, words: Rewriting) -> list[str]:
    """The command line. What would listen on all addresses listens on the pod's own."""
    name = image_name(container["image"])
    asked = [*(container.get("command") or IMAGES[name].entrypoint), *(container.get("args") or ())]
    first, *rest = [words.word(word).replace("0.0.0.0", address) for word in asked]
    if name == "prometheus":
        port = container["ports"][0]["containerPort"]
        return [str(programs.prometheus), *rest, f"--web.listen-address={address}:{port}"]
    if first != "python3":
        raise ValueError(f"image {container['image']}: {first} cannot be run as a local process")
    if name == "litellm":
        return [str(programs.router_python), *rest, "--host", address]
    if name == "operator" and "comptroller.warmup" in rest:
        return [str(programs.python), *rest, "--result", str(words.root / TERMINATION_LOG)]
    if name == "operator":
        return [str(programs.python), str(Path(__file__).with_name("launch.py")), address, *rest]
    return [str(programs.python), *rest]


def environment(pod: Object, address: str, programs: Programs, words: Rewriting, read: Read) -> dict[str, str]:
    """The process's whole environment: nothing of this machine but its PATH. Raises `MissingError`."""
    container = pod["spec"]["containers"][0]
    name = image_name(container["image"])
    folder = {"operator": "operator", "simulation": "e2e", "llamacpp": "e2e"}.get(name)
    found = {**IMAGES[name].environment, "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    found |= {"HOME": str(words.root), "TMPDIR": str(words.root), "PYTHONUNBUFFERED": "1"}
    if folder:
        found["PYTHONPATH"] = str(programs.repository / folder)
    if (words.root / KUBECONFIG).exists():
        found["KUBECONFIG"] = str(words.root / KUBECONFIG)
    for entry in container.get("env") or ():
        value = _value(entry, pod, address, read)
        if value is not None:
            found[entry["name"]] = words.word(value)
    return found


def image_name(image: str) -> str:
    """`comptroller/operator:dev` -> `operator`. Raises ValueError for what is no image of ours."""
    name = image.rpartition("/")[2].partition(":")[0]
    if image.partition("/")[0] != "comptroller" or name not in IMAGES:
        raise ValueError(f"image {image} cannot be run as a local process: known are {', '.join(IMAGES)}")
    return name


def volume_files(volume: Object, read: Read) -> dict[str, bytes] | None:
    """Relative path -> content; None for a volume without content of its own. Raises `MissingError`."""
    if "configMap" in volume:
        return _files("ConfigMap", volume["configMap"]["name"], volume["configMap"], read)
    if "secret" in volume:
        return _files("Secret", volume["secret"]["secretName"], volume["secret"], read)
    if "projected" in volume:
        found: dict[str, bytes] = {}
        for source in volume["projected"]["sources"]:
            for field, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
                if field in source:
                    found |= _files(kind, source[field]["name"], source[field], read)
        return found
    return None


def wants_login(pod: Object) -> bool:
    """Whether the pod mounts its service account's token."""
    sources = [one for volume in pod["spec"].get("volumes") or () for one in _sources(volume)]
    return any("serviceAccountToken" in source for source in sources)


def _sources(volume: Object) -> Iterable[Object]:
    return volume.get("projected", {}).get("sources") or ()


def _files(kind: str, name: str, source: Object, read: Read) -> dict[str, bytes]:
    content = data(kind, read(kind, name))
    if content is None:
        if source.get("optional"):
            return {}
        raise MissingError(f"{kind} {name} is not there")
    if not source.get("items"):
        return content
    missing = [item["key"] for item in source["items"] if item["key"] not in content]
    if missing and not source.get("optional"):
        raise MissingError(f"{kind} {name} has no key {missing[0]}")
    return {item["path"]: content[item["key"]] for item in source["items"] if item["key"] in content}


def data(kind: str, item: Object | None) -> dict[str, bytes] | None:
    """The content of a ConfigMap or Secret as bytes."""
    if item is None:
        return None
    if kind == "Secret":
        return {key: base64.b64decode(value) for key, value in (item.get("data") or {}).items()}
    binary = {key: base64.b64decode(value) for key, value in (item.get("binaryData") or {}).items()}
    return {key: value.encode() for key, value in (item.get("data") or {}).items()} | binary


def _value(entry: Object, pod: Object, address: str, read: Read) -> str | None:
    if "valueFrom" not in entry:
        return str(entry.get("value", ""))
    source = entry["valueFrom"]
    for field, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
        if field in source:
            content = data(kind, read(kind, source[field]["name"])) or {}
            if source[field]["key"] in content:
                return content[source[field]["key"]].decode()
            if source[field].get("optional"):
                return None
            raise MissingError(f"{kind} {source[field]['name']} has no key {source[field]['key']}")
    metadata = pod["metadata"]
    fields: dict[str, str] = {
        "status.podIP": address,
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
    }
    return fields.get((source.get("fieldRef") or {}).get("fieldPath", ""), "")
