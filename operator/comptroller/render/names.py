"""Names of children and label values: functions of the parent's name alone, valid wherever Kubernetes wants a DNS
label."""

from __future__ import annotations

import hashlib
import re

LONGEST_LABEL = 63
_DNS_LABEL = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")


def child_name(parent: str, suffix: str = "") -> str:
    """`parent` + `suffix` when that is a DNS label that a Service may have; else a cut one with a digest of the whole.

    >>> child_name("qwen3-8b", "-replicas")
    'qwen3-8b-replicas'
    """
    whole = parent + suffix
    if len(whole) <= LONGEST_LABEL and _DNS_LABEL.match(whole):
        return whole
    digest = hashlib.sha256(parent.encode()).hexdigest()[:8]
    cleaned = re.sub(r"[^-a-z0-9]", "-", parent.lower()).strip("-")
    cleaned = cleaned if cleaned[:1].isalpha() else f"p-{cleaned}"
    room = LONGEST_LABEL - len(digest) - 1 - len(suffix)
    return f"{cleaned[:room].rstrip('-')}-{digest}{suffix}"


def label_value(name: str) -> str:
    """The name of an object as the value of a label: itself, or cut with a digest when it is longer than 63
    characters."""
    if len(name) <= LONGEST_LABEL:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_LABEL - 9].rstrip('-._')}-{digest}"
