"""`kubectl explain` tells of every field what it is."""

from __future__ import annotations

from typing import Any

import pytest

from comptroller.api.kinds import KINDS, Kind
from comptroller.api.schema import object_schema, walk
from tests.api.conftest import ApiServer

pytestmark = pytest.mark.api


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_the_server_describes_every_field(api_server: ApiServer, kind: Kind) -> None:
    version = api_server.get("crd", kind.crd_name)["spec"]["versions"][0]
    served: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    fields = 0
    for root in ("spec", "status"):
        for path, node in walk(served["properties"][root], root):
            if path.endswith(("[]", ".*")):
                continue  # an entry is described by its list
            fields += 1
            assert node.get("description", "").rstrip().endswith("."), path
            assert len(node["description"]) > 8, path
            assert "default" not in node, path
    assert fields > 50


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_explain_recursive_lists_every_field(api_server: ApiServer, kind: Kind) -> None:
    told = api_server.kubectl("explain", kind.singular, "--recursive")
    for path, node in walk(object_schema(kind)):
        name = path.rsplit(".", 1)[-1]
        if path and "description" in node:
            assert f"{name}\t" in told, path


def test_explain_tells_unit_default_and_example(api_server: ApiServer) -> None:
    text = " ".join(api_server.kubectl("explain", "mp.spec.local.startupSeconds").split())
    assert "in seconds" in text
    assert "Default: 180." in text
    text = " ".join(api_server.kubectl("explain", "rp.spec.routes.quality.minimumPassRate").split())
    assert 'Example: "0.95".' in text
