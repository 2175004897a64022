"""Says why a pool or a policy is as it is: what is wanted and why, what else could be done, what leaves and what not.

Reads the status of the objects in the cluster of the current kubeconfig; the operator itself is not asked.
Exit codes: 0 explained, 1 not found or the cluster cannot be read, 2 wrong use.

Example: comptroller explain pool/qwen3-32b-h100 -n inference
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence

from comptroller.cli.cluster import ClusterError, ask, bold, faint, fetch
from comptroller.kube.client import KubeClient
from comptroller.kube.login import LoginError, current_namespace
from comptroller.kube.resources import MODEL_POOL, ROUTING_POLICY, KubeDict, Resource
from comptroller.report.explain import Explanation, as_text, explain_policy, explain_pool
from comptroller.runtime.clock import now_datetime

WORDS: Mapping[str, Resource] = {
    word: resource
    for resource, words in (
        (MODEL_POOL, ("pool", "mp", "modelpool", "modelpools")),
        (ROUTING_POLICY, ("policy", "rp", "routingpolicy", "routingpolicies")),
    )
    for word in words
}
SHORT = {MODEL_POOL.kind: "pool", ROUTING_POLICY.kind: "policy"}


class WrongUseError(Exception):
    """A target that cannot be meant; the message says what to write."""


class NotFoundError(Exception):
    """There is no such object; the message lists what there is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("target", metavar="pool/NAME|policy/NAME", help="what to explain")
    parser.add_argument("-n", "--namespace", metavar="NAMESPACE", help="default: that of the current context")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: text")


def run(options: argparse.Namespace) -> int:
    """Explains one object; 1 when it is not there or the cluster cannot be read, 2 when the target means nothing."""
    try:
        resource, name = parse_target(options.target)
        namespace = options.namespace or current_namespace()
        explanation = ask(lambda client: explain(client, resource, namespace, name))
    except WrongUseError as error:
        print(f"comptroller: {error}", file=sys.stderr)
        return 2
    except (ClusterError, LoginError, NotFoundError) as error:
        print(f"comptroller: {error}", file=sys.stderr)
        return 1
    if options.output == "json":
        print(json.dumps(explanation.data, indent=2))
    else:
        print(as_text(explanation, bold, faint), end="")
    return 0


def parse_target(text: str) -> tuple[Resource, str]:
    """`pool/x` or `policy/x`, with kubectl's words for both kinds."""
    word, slash, name = text.partition("/")
    if not slash or not name or word.lower() not in WORDS:
        raise WrongUseError(
            f"{text} is nothing to explain: write pool/NAME or policy/NAME, such as pool/qwen3-32b-h100."
        )
    return WORDS[word.lower()], name


async def explain(client: KubeClient, resource: Resource, namespace: str, name: str) -> Explanation:
    """The explanation of one object. Raises `NotFoundError`."""
    pools, policies = await fetch(client, namespace, MODEL_POOL, ROUTING_POLICY)
    found = next((one for one in (pools if resource is MODEL_POOL else policies) if _name(one) == name), None)
    if found is None:
        raise NotFoundError(await _missing(client, resource, namespace, name, pools, policies))
    now = now_datetime().astimezone()
    if resource is MODEL_POOL:
        return explain_pool(found, policies, pools, now)
    return explain_policy(found, pools, now)


def _name(item: KubeDict) -> str:
    return str(item["metadata"]["name"])


async def _missing(
    client: KubeClient,
    resource: Resource,
    namespace: str,
    name: str,
    pools: Sequence[KubeDict],
    policies: Sequence[KubeDict],
) -> str:
    """What there is instead, in this namespace and of this name in others."""
    here = [f"pool/{_name(one)}" for one in pools] + [f"policy/{_name(one)}" for one in policies]
    text = f"there is no {resource.kind} {name} in namespace {namespace}. "
    if here:
        return f"{text}There are: {', '.join(here)}."
    everywhere = [item async for item in client.list(resource)]
    there = sorted({f"-n {one['metadata']['namespace']} {SHORT[resource.kind]}/{_name(one)}" for one in everywhere})
    same = [one for one in there if one.endswith(f"/{name}")] or there
    if not same:
        return f"{text}There is no {resource.kind} in the whole cluster: apply one first, see examples/."
    return f"{text}Elsewhere there are: {'; '.join(same[:10])}."
