"""The house itself: layers, names, sizes, and nothing of the machine on which it was built."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "operator" / "comptroller"
LONGEST = 400


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=100
    )


def tracked() -> list[Path]:
    """Every file that is committed or about to be."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_folder_operator_never_shadows_the_module_of_that_name() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not (ROOT / "operator.py").exists()
    asked = "import json, operator; print(json.dumps([operator.__file__, operator.add(1, 2)]))"
    found = run(sys.executable, "-c", asked, PYTHONPATH=str(ROOT))
    assert found.returncode == 0, found.stderr
    path, three = json.loads(found.stdout)
    assert not Path(path).is_relative_to(ROOT / "operator")
    assert three == 3


def test_the_layers_hold() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    if not tool.exists():
        pytest.skip("import-linter is not installed")
    found = run(str(tool), "--no-cache", PYTHONPATH=str(ROOT / "operator"))
    assert found.returncode == 0, found.stdout + found.stderr


def test_no_file_of_the_operator_is_longer_than_one_concept() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    too_long = {name: lines for name, lines in lengths.items() if lines > LONGEST and not _is_the_language(name)}
    assert too_long == {}


def _is_the_language(name: str) -> bool:
    """The models of the API are one list of described fields each: they are read by field, not from top to bottom."""
    return name in ("operator/comptroller/api/modelpool.py", "operator/comptroller/api/routingpolicy.py")


def test_every_package_of_the_operator_has_a_sentence_or_is_empty() -> None:
    missing = [path for path in PACKAGE.rglob("*/") if list(path.glob("*.py")) and not (path / "__init__.py").exists()]
    assert missing == []


def test_every_module_of_the_operator_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*.py")
        if (text := path.read_text().strip()) and not text.startswith('"""')
    ]
    assert silent == []


# Written in pieces, so that this file does not contain what it looks for.
OF_A_MACHINE = ["/wo" + "rk/", "../sha" + "red"]


@pytest.mark.parametrize("words", OF_A_MACHINE)
def test_nothing_names_a_path_of_a_particular_machine(words: str) -> None:
    found = []
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content[:4096] and words.encode() in content:
            found.append(str(path.relative_to(ROOT)))
    assert found == []


def test_no_file_has_a_name_that_says_nothing() -> None:
    nothing = {"utils", "helpers", "common", "manager", "base", "misc"}
    assert [str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*.py") if path.stem in nothing] == []
