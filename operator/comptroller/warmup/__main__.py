"""`python3 -m comptroller.warmup --plan FILE`: warms one replica, writes what was measured, exits 0 when it is warm.

Exit codes: 0 warm; 1 not warm (a further try may help); 2 the plan or the request is wrong (no further try helps).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from comptroller.warmup.plan import PlanError, read_plan
from comptroller.warmup.result import Result, write_result
from comptroller.warmup.run import warm


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line, warms, writes the result."""
    parser = argparse.ArgumentParser(prog="comptroller.warmup", description="Warms one replica's prefix cache.")
    parser.add_argument("--plan", type=Path, required=True, help="JSON file: what is sent, and where to")
    parser.add_argument("--result", type=Path, default=Path("/dev/termination-log"), help="where the result is written")
    options = parser.parse_args(arguments)
    try:
        plan = read_plan(options.plan)
    except PlanError as error:
        result = Result((), warm=False, error=str(error), wrong=True)
    else:
        result = asyncio.run(warm(plan))
    write_result(options.result, result)
    if result.error:
        sys.stderr.write(result.error + "\n")
    if result.warm:
        return 0
    return 2 if result.wrong else 1


if __name__ == "__main__":
    sys.exit(main())
