"""Files that verbs read and write, with errors that say what to do."""

from __future__ import annotations

from pathlib import Path


class FileError(Exception):
    """A file that cannot be read or written; the message names it, why, and what to do."""


def read_text(path: Path, otherwise: str) -> str:
    """The text of a file. `otherwise` is what to do where it cannot be read. Raises `FileError`."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: cannot be read: it is no text in UTF-8. {otherwise}") from error
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}. {otherwise}") from error


def check_place(path: Path) -> None:
    """Whether a file can be written there, before the work that makes it. Raises `FileError`."""
    if path.is_dir():
        raise FileError(f"{path}: is a folder. Name a file in it, such as {path / 'result'}.")
    if not path.parent.is_dir():
        raise FileError(f"{path}: there is no folder {path.parent}. Make it with `mkdir -p {path.parent}`.")


def write_text(path: Path, text: str) -> None:
    """Writes a file, and the folder around it. Raises `FileError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FileError(
            f"{path}: cannot be written: {error.strerror}. Choose a place that you may write to."
        ) from error
