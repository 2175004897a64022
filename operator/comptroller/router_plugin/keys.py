"""Client keys -> tenant, from mounted Secrets that are read again when they change."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from pathlib import Path

from .config import Tenant

ANONYMOUS = Tenant("anonymous", "")
"""Everybody, when the policy names no tenant."""


def read_keys(tenant: Tenant) -> list[bytes]:
    """SHA-256 of each key of the tenant's Secret. Kubelet's own entries begin with two dots. A missing folder is empty:
    the Secret does not exist yet, and until then nobody gets in."""
    folder = Path(tenant.keys)
    if not folder.is_dir():
        return []
    values = (path.read_bytes().strip() for path in sorted(folder.iterdir()) if not path.name.startswith(".."))
    return [hashlib.sha256(value).digest() for value in values if value]


class KeyRing:
    """All keys of all tenants, as digests."""

    def __init__(self, tenants: Sequence[Tenant]) -> None:
        self._open = not tenants
        self._entries = [(digest, tenant) for tenant in tenants for digest in read_keys(tenant)]

    def tenant_of(self, presented: str | None) -> Tenant | None:
        """The tenant whose key was presented; None for a wrong or missing key.

        Every entry is compared, with a comparison whose time does not depend on the content: how long a refusal takes
        tells nothing about the keys.
        """
        if self._open:
            return ANONYMOUS
        digest = hashlib.sha256((presented or "").encode()).digest()
        found: Tenant | None = None
        for entry, tenant in self._entries:
            if hmac.compare_digest(entry, digest):
                found = tenant
        return found if presented else None


def presented_key(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The client's key: `Authorization: Bearer KEY` as OpenAI's clients send it, or `x-api-key` as Anthropic's do."""
    fallback = None
    for name, value in headers:
        lowered = name.lower()
        if lowered == b"authorization":
            scheme, _, key = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer" and key.strip():
                return key.strip()
        elif lowered in (b"x-api-key", b"api-key"):
            fallback = value.decode("latin-1").strip() or None
    return fallback
