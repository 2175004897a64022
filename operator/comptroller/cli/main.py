"""The command line: verbs of the user, one module each. Exit codes: 0 done, 1 failed, 2 wrong use."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from comptroller import __version__
from comptroller.cli import crds, explain, plan, report, run, simulate, status


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line and runs its verb."""
    called = "kubectl comptroller" if Path(sys.argv[0]).name.startswith("kubectl-") else "comptroller"
    parser = argparse.ArgumentParser(prog=called, description=__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=f"comptroller {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, module in (
        ("run", run),
        ("status", status),
        ("explain", explain),
        ("plan", plan),
        ("report", report),
        ("simulate", simulate),
        ("crds", crds),
    ):
        summary, _, example = (module.__doc__ or "").partition("\n\n")
        verb = verbs.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=example.strip(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code


if __name__ == "__main__":
    sys.exit(main())
