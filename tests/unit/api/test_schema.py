"""The generator refuses what a CRD cannot say, and its files are those that are committed."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
import yaml
from pydantic import BaseModel, Field, ValidationError, create_model

from comptroller.api.fields import ApiModel
from comptroller.api.kinds import KINDS
from comptroller.api.reference import reference
from comptroller.api.schema import NotStructuralError, definitions, object_schema, schema_of, walk
from comptroller.cli import crds

REPOSITORY = Path(__file__).resolve().parents[3]


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    crds.add_arguments(parser)
    return parser.parse_args(words)


def test_the_committed_files_are_those_that_the_models_generate(capsys: pytest.CaptureFixture[str]) -> None:
    code = crds.run(_arguments("--check", str(REPOSITORY / "crds")))
    assert (code, capsys.readouterr().err) == (0, "")


def test_a_difference_is_shown_with_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crds.run(_arguments("--write", str(tmp_path))) == 0
    (tmp_path / "comptroller.dev_modelpools.yaml").write_text("# edited by hand\n")
    assert crds.run(_arguments("--check", str(tmp_path))) == 1
    said = capsys.readouterr().err
    assert "-# edited by hand" in said
    assert f"Run `comptroller crds --write {tmp_path}` and commit the result." in said


def test_what_is_printed_can_be_applied(capsys: pytest.CaptureFixture[str]) -> None:
    assert crds.run(_arguments()) == 0
    kinds = [one["spec"]["names"]["kind"] for one in yaml.safe_load_all(capsys.readouterr().out)]
    assert kinds == list(KINDS)


class Twig(ApiModel):
    """Contains itself."""

    twigs: Annotated[list[Twig], Field(max_length=3)] = Field(description="Twigs.")


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ((int | str, Field(description="Two types.")), r"x: anyOf: .* cannot be said"),
        ((float, Field(description="A float.")), "x: a float does not survive"),
        ((str, Field(description="A text without an end.")), "x: maxLength is missing"),
        ((list[int], Field(description="A list without an end.")), "x: maxItems is missing"),
        ((dict[str, int], Field(description="A map without an end.")), "x: maxProperties is missing"),
        ((int, Field()), "x: has no description"),
        ((Any, Field(description="Anything.")), "x: has no type"),
        ((Twig, Field(description="A twig.")), r"x.twigs\[\]: Twig contains itself"),
        ((int, Field(description="Odd.", gt=0)), "x: exclusiveMinimum: 0 cannot be said"),
    ],
)
def test_what_a_definition_cannot_say_is_refused_with_the_field(field: Any, said: str) -> None:
    model = create_model("Odd", __base__=ApiModel, x=field)
    with pytest.raises(NotStructuralError, match=f"spec.{said}"):
        schema_of(model, "spec")


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_no_default_is_in_a_schema_and_every_list_has_a_type(kind: Any) -> None:
    for path, node in walk(object_schema(kind)):
        assert "default" not in node, path
        if node.get("type") == "array":
            assert "x-kubernetes-list-type" in node, path
        if node.get("type") == "integer":
            assert node["format"] == "int64", path


def test_generating_twice_gives_the_same_bytes() -> None:
    assert definitions() == definitions()


def test_the_reference_has_a_row_for_every_field() -> None:
    text = reference()
    for kind in KINDS.values():
        for root in ("spec", "status"):
            for path, node in walk(object_schema(kind)["properties"][root], root):
                if path != root and "description" in node:
                    assert f"| `{path}` |" in text, path


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_columns_point_at_fields_that_exist(kind: Any) -> None:
    paths = {path for path, _ in walk(object_schema(kind))}
    for column in kind.columns:
        if column.path.startswith((".spec", ".status")):
            path = column.path.split("[")[0].removeprefix(".")
            assert path in paths, column


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model and all that its fields hold."""
    yield model
    for field in model.model_fields.values():
        for inner in _named(field.annotation):
            yield from _models(inner)


def _named(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from _named(one)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_example_is_accepted_by_its_own_field(kind: Any) -> None:
    for model in {*_models(kind.spec), *_models(kind.status)}:
        for name, field in model.model_fields.items():
            for example in field.examples or []:
                readings = [example, yaml.safe_load(example)]
                assert any(_holds(model, field.alias, one) for one in readings), f"{model.__name__}.{name}: {example}"


def _holds(model: type[BaseModel], alias: str | None, value: Any) -> bool:
    """Whether a field takes a value, whatever else its model asks for."""
    try:
        model.model_validate({alias: value})
    except ValidationError as error:
        return all(one["loc"][0] != alias for one in error.errors())
    return True
