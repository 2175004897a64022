"""What the real API server refuses, and that its message names the field and says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.api.conftest import ApiServer
from tests.api.crds_api import ObjectApi, errors
from tests.unit.api.examples import FULL, STATUS
from tests.unit.api.objects import changed
from tests.unit.api.refusals import BETWEEN_FIELDS, SPEC_BOUNDS, STATUS_BOUNDS, Refusal

pytestmark = pytest.mark.api


@pytest.fixture(scope="module")
def objects(api_server: ApiServer) -> Iterator[ObjectApi]:
    """The default namespace, in which nothing but the bearers of the status examples is stored."""
    api = ObjectApi(api_server.kubeconfig, "default")
    yield api
    api.close()


def _said(refusal: Refusal, said: list[str]) -> bool:
    """The server writes a map's key as `limits[memory]` or `limits.memory`, according to who refuses."""
    lines = [re.sub(r"\[([^\]\d][^\]]*)\]", r".\1", line) for line in said]
    return any(line.startswith(refusal.path) and refusal.message in line for line in lines)


@pytest.mark.parametrize("refusal", BETWEEN_FIELDS, ids=lambda one: one.id)
def test_a_rule_refuses_with_what_to_do(objects: ObjectApi, refusal: Refusal) -> None:
    said = errors(objects.create_leniently(refusal.obj))
    assert _said(refusal, said), said


def test_each_bound_of_a_spec_refuses_and_names_the_field(objects: ObjectApi) -> None:
    wrong = {one.id: said for one in SPEC_BOUNDS if not _said(one, said := errors(objects.create(one.obj)))}
    assert wrong == {}


def test_each_bound_of_a_status_refuses_and_names_the_field(objects: ObjectApi) -> None:
    for example in STATUS:
        objects.create(FULL[example](), dry_run=False)
    wrong = {one.id: said for one in STATUS_BOUNDS if not _said(one, said := errors(objects.write_status(one.obj)))}
    assert wrong == {}


def test_a_host_path_is_refused_as_an_unknown_field_too(objects: ObjectApi) -> None:
    volume = {"name": "root", "hostPath": {"path": "/"}}
    answer = objects.create(changed(FULL["local"](), {"spec.local.pod.volumes[5]": volume}))
    assert 'unknown field "spec.local.pod.volumes[5].hostPath"' in answer["message"]
