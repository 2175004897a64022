"""Files that verbs cannot read or write: what is printed, and which exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from comptroller.cli.main import main


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: No such file or directory. Give --settings a YAML file, or leave it out"),
        (b"\x80", "cannot be read: it is no text in UTF-8. Give --settings a YAML file"),
        (b"loop: {tickSeconds: 0}", "loop.tickSeconds: must be at least 0.5 (given: 0)\nCorrect the settings file"),
        (b"a: [", "not valid YAML"),
        (b"- a", "must be an object with named fields"),
    ],
)
def test_settings_that_cannot_be_used_end_the_start(
    content: bytes | None,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("comptroller.runtime.logs.configure", lambda _: None)
    path = tmp_path / "settings.yaml"
    if content is not None:
        path.write_bytes(content)
    assert main(["run", "--settings", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"comptroller: {path}: ")
    assert says in error


def test_definitions_that_cannot_be_written_or_are_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["crds", "--write", str(tmp_path / "file")]) == 1
    assert "cannot be written: File exists. Choose a place that you may write to." in capsys.readouterr().err
    missing = tmp_path / "crds"
    assert main(["crds", "--check", str(missing)]) == 1
    assert f"there is no such folder. Make it with `comptroller crds --write {missing}`." in capsys.readouterr().err
    assert main(["crds", "--write", str(missing)]) == 0
    assert main(["crds", "--check", str(missing)]) == 0
