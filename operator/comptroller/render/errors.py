"""What cannot be rendered, said with the field that is wrong."""

from __future__ import annotations


class RenderError(ValueError):
    """A spec that has no safe rendering. The message begins with the field path and ends with what to do."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem
