"""Runs the operator until it is told to stop.

Example: comptroller run --settings /etc/comptroller/settings.yaml
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from comptroller.api.settings import Settings, SettingsError, load_settings
from comptroller.cli.files import FileError, read_text
from comptroller.handlers import watches
from comptroller.kube.client import KubeError
from comptroller.kube.login import LoginError
from comptroller.runtime import logs
from comptroller.runtime.operator import MissingCrdError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the verb."""
    parser.add_argument("--settings", type=Path, metavar="FILE", help="the settings as YAML; absent: the defaults")
    parser.add_argument(
        "--log-level", default="info", choices=("debug", "info", "warning", "error"), help="default: info"
    )


def run(options: argparse.Namespace) -> int:
    """Runs; 1 when the cluster cannot be worked with or another process leads now, 2 when the settings are wrong."""
    logs.configure(options.log_level)
    try:
        settings = read(options.settings)
    except FileError as error:
        print(f"comptroller: {error}", file=sys.stderr)
        return 2
    except SettingsError as error:
        print(f"comptroller: {options.settings}: {error}\nCorrect the settings file and start again.", file=sys.stderr)
        return 2
    try:
        asyncio.run(watches.run(settings))
    except (KubeError, LoginError, MissingCrdError, watches.LeadershipLostError) as error:
        print(f"comptroller: {error}", file=sys.stderr)
        return 1
    return 0


def read(path: Path | None) -> Settings:
    """The settings of a file, or the defaults. Raises `FileError` and `SettingsError`."""
    if path is None:
        return Settings()
    return load_settings(read_text(path, "Give --settings a YAML file, or leave it out for the defaults."))
