"""`comptroller crds`: the CustomResourceDefinitions and the API reference, printed, written or compared."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path

from comptroller.api.reference import reference
from comptroller.api.schema import definitions
from comptroller.cli.files import FileError, read_text, write_text

HELP = "print, write or check the CustomResourceDefinitions and the API reference"
EXAMPLE = "comptroller crds | kubectl apply --server-side -f -"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the verb."""
    parser.description = f"{HELP[0].upper()}{HELP[1:]}. Exit code 1: --check found a difference."
    parser.epilog = f"example: {EXAMPLE}"
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", metavar="DIR", type=Path, help="write the files into a folder")
    what.add_argument("--check", metavar="DIR", type=Path, help="compare a folder's files with what would be written")


def run(args: argparse.Namespace) -> int:
    """Prints all definitions, or writes or checks a folder. Returns the exit code."""
    try:
        if args.write is not None:
            return _write(args.write)
        if args.check is not None:
            return _check(args.check)
    except FileError as error:
        print(f"comptroller: {error}", file=sys.stderr)
        return 1
    print("".join(definitions().values()), end="")
    return 0


def files() -> dict[str, str]:
    """Everything that is generated: file name to content."""
    return definitions() | {"README.md": reference()}


def _write(folder: Path) -> int:
    for name, content in files().items():
        write_text(folder / name, content)
    print(f"Wrote {len(files())} files to {folder}.")
    return 0


def _check(folder: Path) -> int:
    if not folder.is_dir():
        raise FileError(f"{folder}: there is no such folder. Make it with `comptroller crds --write {folder}`.")
    wrong = 0
    for name, content in files().items():
        path = folder / name
        there = read_text(path, f"Remove it, and run `comptroller crds --write {folder}`.") if path.exists() else ""
        if there != content:
            wrong += 1
            difference = difflib.unified_diff(there.splitlines(True), content.splitlines(True), str(path), "generated")
            sys.stderr.writelines(difference)
    if wrong:
        print(
            f"{wrong} of {len(files())} files in {folder} are not what the models generate. "
            f"Run `comptroller crds --write {folder}` and commit the result.",
            file=sys.stderr,
        )
        return 1
    print(f"{len(files())} files in {folder} are up to date.")
    return 0
